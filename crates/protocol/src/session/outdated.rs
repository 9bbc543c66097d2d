//! Prepared statements whose tables have changed.
//!
//! A server refuses a statement whose result has become another one (`SELECT *` of a table with a new
//! column): "cached plan must not change result type". The client prepares it again, and goes on. Where
//! statements are shared and prepared on demand, two things could go wrong. Who prepares the text anew
//! could be given the old statement: so texts are not shared beyond a change of the schema
//! ([`crate::prepared::StatementRegistry::intern`]). And another server could be given the old statement
//! anew, and answer with rows that the client would read by the old description: so a statement that may
//! be outdated is described first, where a client was told what it looks like.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::cursor::Cursor;
use crate::message;
use crate::outgoing::Outgoing;
use crate::pipeline::{Errand, Owed, Parsed};
use crate::prepared::Statement;
use crate::report::{Report, ServerReport, Severity};
use crate::sqlstate::SqlState;
use crate::verdict::Router;

use super::Session;
use super::extended::put_parse;
use super::link::Link;

/// PostgreSQL's own words (`plancache.c`).
const MESSAGE: &str = "cached plan must not change result type";

impl<R: Router> Session<R> {
    /// Whether a statement has to be looked at on this server before the client may use it. True while
    /// the client's message has to wait for that.
    pub(super) fn checks(&mut self, statement: &Arc<Statement>, to_server: &mut Outgoing) -> bool {
        if !statement.may_be_outdated(self.router.schema_epoch()) || !statement.is_described() {
            return false;
        }
        let is_known = self.outdated.contains(&statement.id);
        let Link::Attached(attached) = &mut self.link else {
            return false;
        };
        if is_known || attached.facts.statements.touch(statement.id) {
            return false;
        }
        attached.hold(statement, to_server);
        to_server.own(|out| {
            put_parse(&statement.name, &statement.parse, out);
            message::describe_statement(&statement.name, out);
            message::flush(out);
        });
        attached.owe(Owed::Parse(Parsed::Carried(statement.clone())));
        attached.owe(Owed::Check(statement.clone()));
        attached.errand = Some(Errand::Check);
        true
    }

    /// A server has told what a statement's result looks like.
    pub(super) fn described(&mut self, statement: &Arc<Statement>, body: &[u8]) {
        if !statement.matches(description(body)) {
            statement.retire();
            self.note_outdated(statement.id);
        }
    }

    fn note_outdated(&mut self, id: u64) {
        if !self.outdated.contains(&id) {
            // DEALLOCATE and DISCARD close statements, too.
            let named = &self.statements.named;
            let is_named = |id: u64| named.iter().any(|(_, statement)| statement.id == id);
            self.outdated.retain(|known| is_named(*known));
            self.outdated.push(id);
        }
    }

    /// A client closes a statement.
    pub(super) fn forget_outdated(&mut self, id: u64) {
        self.outdated.retain(|outdated| *outdated != id);
    }

    /// A statement that is outdated for this client is not given to a server again, and taken from one
    /// that holds it as it is now: what is bound to it fails, as it would on a direct connection.
    pub(super) fn withholds(
        &mut self,
        statement: &Arc<Statement>,
        to_server: &mut Outgoing,
    ) -> bool {
        if !self.outdated.contains(&statement.id) {
            return false;
        }
        if let Link::Attached(attached) = &mut self.link
            && attached.facts.statements.touch(statement.id)
        {
            attached.drop_statement(statement.clone(), to_server);
        }
        true
    }

    /// An error that a server gives for a statement: notes that it is outdated, where that is what it
    /// says; where the statement was withheld, says so in the server's place.
    pub(super) fn outdated_error(
        &mut self,
        id: Option<u64>,
        report: Option<&ServerReport<'_>>,
        body: &[u8],
    ) -> Option<Vec<u8>> {
        let id = id?;
        if is_outdated_plan(body) {
            let held = self.statements.named.iter().find(|(_, statement)| statement.id == id);
            if let Some((_, statement)) = held {
                statement.retire();
            }
            self.note_outdated(id);
            return None;
        }
        let is_missing = report?.code == SqlState::INVALID_SQL_STATEMENT_NAME;
        if !is_missing || !self.outdated.contains(&id) {
            return None;
        }
        let mut frame = Vec::new();
        Report::new(Severity::Error, SqlState::FEATURE_NOT_SUPPORTED, MESSAGE)
            .encode_error(&mut frame);
        Some(frame)
    }
}

/// "cached plan must not change result type": the routine tells it in any language.
fn is_outdated_plan(body: &[u8]) -> bool {
    body.ends_with(b"RRevalidateCachedQuery\0\0")
}

/// What a RowDescription says of names and types; where a column comes from does not matter, and NoData
/// has none. One that cannot be read is like no other.
fn description(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    if hash_columns(body, &mut hasher).is_none() {
        body.hash(&mut hasher);
    }
    hasher.finish()
}

fn hash_columns(body: &[u8], hasher: &mut DefaultHasher) -> Option<()> {
    if body.is_empty() {
        return Some(());
    }
    let mut row = Cursor::new("RowDescription", body);
    let columns = row.i16().ok()?;
    for _ in 0..columns {
        row.cstr().ok()?.hash(hasher);
        let _table_and_column = row.bytes(6).ok()?;
        row.bytes(10).ok()?.hash(hasher);
        let _format = row.i16().ok()?;
    }
    Some(())
}
