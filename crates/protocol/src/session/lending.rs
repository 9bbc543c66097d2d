//! One namespace for what the protocol prepares and what SQL prepares.
//!
//! A protocol-level statement goes by a name of pgweir's own on a server, and SQL would look for it
//! under the client's. So before a text is sent that names one (EXECUTE, PREPARE, DEALLOCATE), the
//! server is given the statement under the client's name as well, for as long as the client has the
//! server. Where SQL lists what is prepared, it is lent all of the client's, and drops what is held under
//! names of pgweir's own. What SQL itself has prepared keeps its name and follows its client like a setting
//! ([`crate::prepared::SqlStatements`]).

use std::sync::Arc;

use crate::message::{self, TransactionStatus};
use crate::outgoing::Outgoing;
use crate::pipeline::{Errand, Owed, Parsed};
use crate::prepared::Statement;
use crate::settings::SettingsMap;
use crate::verdict::{Pins, Prepared, Router, Verdict};

use super::Session;
use super::extended::put_parse;
use super::link::{Attached, Link, Stage};

/// A step on the way from the SQL statements that a server holds to those a client has.
#[derive(Debug)]
pub(super) enum Step {
    /// DEALLOCATE of a name.
    Drop(Box<str>),
    /// The PREPARE of a name.
    Make(Box<str>, Arc<str>),
    /// The same, because the client's next message names it.
    MakeNow(Box<str>, Arc<str>),
}

impl<R: Router> Session<R> {
    /// A server has been told of one of the client's SQL statements. One that it refuses (its tables
    /// are gone, or not there yet) stays the client's: what refers to it gets the server's error.
    pub(super) fn step_taken(&mut self, error: Option<Vec<u8>>) {
        let Link::Attached(attached) = &mut self.link else {
            return;
        };
        let held = &attached.facts.sql;
        match (attached.steps.pop_front(), error) {
            (Some(Step::Drop(name)), _) => attached.facts.sql = held.without(&name),
            (Some(Step::Make(name, text) | Step::MakeNow(name, text)), None) => {
                attached.facts.sql = held.with(&name, text);
                attached.unmade.retain(|unmade| *unmade != name);
            }
            (Some(Step::Make(name, _)), Some(_)) => attached.unmade.push(name),
            (Some(Step::MakeNow(..)), Some(error)) => {
                if attached.stage == Stage::Awaited {
                    attached.stage = Stage::Leaving;
                }
                self.refusal.refuse_next(error);
            }
            (None, _) => {}
        }
        if let Link::Attached(attached) = &mut self.link
            && !attached.steps.is_empty()
        {
            attached.errand = Some(Errand::Statements);
        }
    }

    /// Whether nothing of the client's lies between the server and what comes now.
    pub(super) fn is_at_head(&self) -> bool {
        matches!(&self.link, Link::Attached(attached) if attached.pipeline.is_empty())
    }

    /// Before a text that names a statement which the server has refused: tries again. True while the text
    /// has to wait for it.
    pub(super) fn makes_now(&mut self, verdict: &Verdict, to_server: &mut Outgoing) -> bool {
        let Link::Attached(attached) = &mut self.link else {
            return false;
        };
        if attached.unmade.is_empty()
            || verdict.deallocates.is_some()
            || attached.status == TransactionStatus::Failed
        {
            return false;
        }
        let texts = self.statements.sql.texts();
        for name in &verdict.mentions {
            if attached.unmade.contains(name)
                && let Some(text) = texts.get(name)
            {
                attached.take_step(Step::MakeNow(name.clone(), text.clone()), to_server);
            }
        }
        attached.errand.is_some()
    }

    /// Whether a statement that SQL has prepared is one that the server does not have.
    pub(super) fn is_unmade(&self, name: &str) -> bool {
        let Link::Attached(attached) = &self.link else {
            return false;
        };
        attached.unmade.iter().any(|unmade| **unmade == *name)
    }

    /// Judges a simple query. It runs at once, so that an EXECUTE is what it executes.
    pub(super) fn judge_query(&mut self, sql: &[u8]) -> Arc<Verdict> {
        let verdict = self.judge(sql);
        let Some(execution) = &verdict.executes else {
            return verdict;
        };
        match self.verdict_of(execution.name.as_bytes()) {
            Some(body) => Arc::new(verdict.executing(execution, &body)),
            None => verdict,
        }
    }

    /// The client's protocol-level statements that a text names and the server does not know by
    /// these names.
    fn unlent<'a>(&self, verdict: &'a Verdict) -> Vec<(&'a str, Arc<Statement>)> {
        if verdict.mentions.is_empty() {
            return Vec::new();
        }
        let named = |name: &&str| self.statements.named.get(name.as_bytes()).cloned();
        let names = verdict.mentions.iter().map(|name| &**name);
        let unlent = names.filter(|name| !self.is_lent(name.as_bytes()));
        unlent.filter_map(|name| Some((name, named(&name)?))).collect()
    }

    pub(super) fn is_lent(&self, name: &[u8]) -> bool {
        let Link::Attached(attached) = &self.link else {
            return false;
        };
        attached.lent.iter().any(|lent| **lent == *name)
    }

    /// Before a simple query: lends the names in a pipeline of pgweir's own. True while the query
    /// has to wait for it.
    pub(super) fn lends_names(&mut self, verdict: &Verdict, to_server: &mut Outgoing) -> bool {
        // DEALLOCATE alone is answered without the statement.
        if verdict.deallocates.is_some() {
            return false;
        }
        let all = if verdict.lists_statements { self.all_unlent() } else { Vec::new() };
        let unlent = self.unlent(verdict);
        let Link::Attached(attached) = &mut self.link else {
            return false;
        };
        let hides = verdict.lists_statements && !attached.facts.statements.is_empty();
        if attached.status == TransactionStatus::Failed
            || (unlent.is_empty() && all.is_empty() && !hides)
        {
            return false;
        }
        if verdict.lists_statements {
            for held in attached.facts.statements.take().iter() {
                to_server.own(|out| message::close_statement(&held.name, out));
            }
        }
        let unlent =
            unlent.into_iter().map(|(name, statement)| (name.as_bytes().into(), statement));
        for (name, statement) in unlent.chain(all) {
            to_server.own(|out| put_parse(&name, &statement.parse, out));
            attached.lent.push(name);
        }
        to_server.own(message::sync);
        attached.pipeline.push(Owed::Errand(Errand::Lend));
        attached.errand = Some(Errand::Lend);
        true
    }

    /// In a pipeline of the client's: lends the names in passing.
    pub(super) fn lend_names(&mut self, verdict: &Verdict, to_server: &mut Outgoing) {
        let unlent = self.unlent(verdict);
        let Link::Attached(attached) = &mut self.link else {
            return;
        };
        for (name, statement) in unlent {
            to_server.own(|out| put_parse(name.as_bytes(), &statement.parse, out));
            let name: Box<[u8]> = name.as_bytes().into();
            attached.lent.push(name.clone());
            attached.owe(Owed::Parse(Parsed::Lent { name }));
        }
    }

    /// The client's protocol-level statements that the server does not know by their names, oldest first.
    fn all_unlent(&self) -> Vec<(Box<[u8]>, Arc<Statement>)> {
        let named = self.statements.named.iter();
        let unlent = named.filter(|(name, _)| !self.is_lent(name));
        let mut all: Vec<(Box<[u8]>, Arc<Statement>)> =
            unlent.map(|(name, statement)| (name.clone(), statement.clone())).collect();
        all.sort_unstable_by(|(a, one), (b, other)| (one.id, a).cmp(&(other.id, b)));
        all
    }

    /// Before an Execute that lists what is prepared: that is the client's statements, by its names.
    /// What the portal runs it keeps.
    pub(super) fn show_own_names(&mut self, verdict: &Verdict, to_server: &mut Outgoing) {
        if !verdict.lists_statements {
            return;
        }
        let all = self.all_unlent();
        let Link::Attached(attached) = &mut self.link else {
            return;
        };
        for held in attached.facts.statements.take().iter() {
            attached.drop_statement(held.clone(), to_server);
        }
        for (name, statement) in all {
            to_server.own(|out| put_parse(&name, &statement.parse, out));
            attached.lent.push(name.clone());
            attached.owe(Owed::Parse(Parsed::Lent { name }));
        }
    }

    /// PREPARE has succeeded.
    pub(super) fn prepared(&mut self, prepared: &Prepared) {
        let Link::Attached(attached) = &mut self.link else {
            return;
        };
        attached.unmade.retain(|unmade| *unmade != prepared.name);
        if self.statements.sql.insert(prepared) {
            let text = prepared.statement.clone();
            attached.facts.sql = attached.facts.sql.with(&prepared.name, text);
        } else {
            self.track.pin(Pins::SQL_PREPARE);
        }
    }

    /// DEALLOCATE has succeeded. What an Execute drops of the protocol's was forgotten when it was
    /// sent: by now the client may have given the name to another statement.
    pub(super) fn deallocated(&mut self, name: &str, in_query: bool) {
        let Link::Attached(attached) = &mut self.link else {
            return;
        };
        attached.unmade.retain(|unmade| **unmade != *name);
        attached.facts.sql = attached.facts.sql.without(name);
        if !self.statements.sql.remove(name) && in_query {
            attached.lent.retain(|lent| **lent != *name.as_bytes());
            self.statements.named.remove(name.as_bytes());
        }
    }

    /// An Execute that deallocates a statement of the protocol's is on its way: for what comes behind
    /// it the name is free. It was lent for the purpose.
    pub(super) fn drops(&mut self, verdict: &Verdict) -> Option<(Box<[u8]>, Arc<Statement>)> {
        let name = verdict.deallocates.as_ref()?.as_bytes();
        let dropped = self.statements.named.remove(name)?;
        if let Link::Attached(attached) = &mut self.link {
            attached.lent.retain(|lent| **lent != *name);
        }
        Some(dropped)
    }
}

impl Attached {
    /// Sends what brings the server's SQL statements to those that the client has prepared, each in a
    /// query of its own, as the client has said it: `pg_prepared_statements` shows the text. True if
    /// there is something to wait for.
    pub(super) fn is_brought(&mut self, wanted: &SettingsMap, to_server: &mut Outgoing) -> bool {
        let held = self.facts.sql.clone();
        if held == *wanted {
            return false;
        }
        for (name, _) in held.iter().filter(|(name, text)| wanted.get(name) != Some(text)) {
            self.take_step(Step::Drop(name.into()), to_server);
        }
        for (name, text) in wanted.iter().filter(|(name, text)| held.get(name) != Some(text)) {
            if !self.unmade.iter().any(|unmade| **unmade == *name) {
                self.take_step(Step::Make(name.into(), text.clone()), to_server);
            }
        }
        self.errand.is_some()
    }

    fn take_step(&mut self, step: Step, to_server: &mut Outgoing) {
        match &step {
            Step::Drop(name) => {
                let sql = format!("DEALLOCATE \"{}\"", name.replace('"', "\"\""));
                self.run(Errand::Statements, sql.as_bytes(), to_server);
            }
            Step::Make(_, text) | Step::MakeNow(_, text) => {
                self.run(Errand::Statements, text.as_bytes(), to_server);
            }
        }
        self.steps.push_back(step);
    }

    /// Whether the server knows statements by names that are the client's own.
    pub(super) fn has_lent_names(&self) -> bool {
        !self.lent.is_empty()
    }

    /// Takes all names back, between the client's pieces of work.
    pub(super) fn take_names_back(&mut self, to_server: &mut Outgoing) {
        for name in std::mem::take(&mut self.lent) {
            to_server.own(|out| message::close_statement(&name, out));
        }
        to_server.own(message::sync);
        self.pipeline.push(Owed::Errand(Errand::TakeBack));
        self.errand = Some(Errand::TakeBack);
    }

    /// The client closes a statement: its name is free again.
    pub(super) fn take_name_back(&mut self, name: &[u8], to_server: &mut Outgoing) {
        let Some(at) = self.lent.iter().position(|lent| **lent == *name) else {
            return;
        };
        self.lent.swap_remove(at);
        to_server.own(|out| message::close_statement(name, out));
        self.owe(Owed::TakenBack { name: name.into() });
    }

    /// Of messages that the server skips, undoes what was noted of lent names, the latest first.
    pub(super) fn undo_lending(&mut self, skipped: &[Owed]) {
        for owed in skipped.iter().rev() {
            match owed {
                Owed::Parse(Parsed::Lent { name }) => self.lent.retain(|lent| lent != name),
                Owed::TakenBack { name } | Owed::Execute { dropped: Some((name, _)), .. } => {
                    self.lent.push(name.clone());
                }
                Owed::Execute { forgotten: Some(forgotten), .. } => {
                    self.lent.extend_from_slice(&forgotten.lent);
                }
                _ => {}
            }
        }
    }
}
