//! Cursors and SQL-level prepared statements.

use pg_query::NodeEnum;
use pg_query::protobuf::{DeclareCursorStmt, PrepareStmt};

use super::Judge;
use crate::walk::non_empty;
use crate::{Access, Effect, Pin, Reason, StatementLabel, Unpin};

/// `CURSOR_OPT_HOLD` of PostgreSQL's `parsenodes.h`.
const CURSOR_OPTION_HOLD: i32 = 0x0020;

impl Judge<'_> {
    pub(super) fn cursor_or_prepared(&mut self, node: &NodeEnum) -> Option<StatementLabel> {
        let mut label;
        match node {
            NodeEnum::DeclareCursorStmt(node) => return Some(self.declare(node)),
            NodeEnum::PrepareStmt(node) => return Some(self.prepare(node)),
            NodeEnum::FetchStmt(node) => {
                let kind = if node.ismove { "MOVE" } else { "FETCH" };
                label = StatementLabel::new(kind, Access::Neutral, Reason::Cursor);
            }
            NodeEnum::ClosePortalStmt(node) => {
                label = StatementLabel::new("CLOSE CURSOR", Access::Neutral, Reason::Cursor);
                let name = non_empty(&node.portalname).map(str::to_owned);
                label.effect(Effect::Unpin(Unpin::CloseCursor(name)));
            }
            NodeEnum::ExecuteStmt(node) => {
                label = StatementLabel::new("EXECUTE", Access::Primary, Reason::SqlExecute);
                label.effect(Effect::Execute(node.name.clone()));
            }
            NodeEnum::DeallocateStmt(node) => {
                label = StatementLabel::new("DEALLOCATE", Access::Neutral, Reason::Deallocate);
                let name = non_empty(&node.name).map(str::to_owned);
                label.effect(Effect::Deallocate(name));
            }
            _ => return None,
        }
        Some(label)
    }

    /// `DECLARE`: the cursor is judged as the query it will run. A cursor that outlives its
    /// transaction ties the session to the connection.
    fn declare(&mut self, node: &DeclareCursorStmt) -> StatementLabel {
        let mut label = self.inner(node.query.as_deref(), false);
        label.kind = "DECLARE CURSOR";
        if node.options & CURSOR_OPTION_HOLD != 0 {
            label.effect(Effect::Pin(Pin::HoldCursor(node.portalname.clone())));
        }
        label
    }

    /// `PREPARE`: nothing runs yet, but `EXECUTE` will find the statement on this connection only.
    /// What running it does to the session is out of sight then.
    fn prepare(&mut self, node: &PrepareStmt) -> StatementLabel {
        let body = self.inner(node.query.as_deref(), false);
        let mut label = StatementLabel::new("PREPARE", Access::Primary, Reason::Harmless);
        label.reason = Reason::Pins("sql_prepare");
        label.raise(body.access, body.reason);
        label.effect(Effect::Prepare { name: node.name.clone(), access: body.access });
        label.effect(Effect::Pin(Pin::SqlPrepare(node.name.clone())));
        let changes_session =
            |effect: &Effect| !matches!(effect, Effect::UsesSequence | Effect::RanHiddenCode);
        if body.effects.iter().any(changes_session) {
            label.effect(Effect::Pin(Pin::UntrackableSettings));
        }
        label
    }
}
