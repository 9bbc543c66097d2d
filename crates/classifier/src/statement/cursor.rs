//! Cursors and SQL-level prepared statements.

use pg_query::NodeEnum;
use pg_query::protobuf::{DeclareCursorStmt, ExecuteStmt, PrepareStmt};

use super::Judge;
use crate::walk::non_empty;
use crate::{Access, Definition, Effect, Pin, Reason, StatementLabel, Unpin};

/// `CURSOR_OPT_HOLD` of PostgreSQL's `parsenodes.h`.
const CURSOR_OPTION_HOLD: i32 = 0x0020;

impl Judge<'_> {
    pub(super) fn cursor_or_prepared(
        &mut self,
        node: &NodeEnum,
        slice: &str,
    ) -> Option<StatementLabel> {
        let mut label;
        match node {
            NodeEnum::DeclareCursorStmt(node) => return Some(self.declare(node)),
            NodeEnum::PrepareStmt(node) => return Some(self.prepare(node, slice)),
            NodeEnum::FetchStmt(node) => {
                let kind = if node.ismove { "MOVE" } else { "FETCH" };
                label = StatementLabel::new(kind, Access::Neutral, Reason::Cursor);
            }
            NodeEnum::ClosePortalStmt(node) => {
                label = StatementLabel::new("CLOSE CURSOR", Access::Neutral, Reason::Cursor);
                let name = non_empty(&node.portalname).map(str::to_owned);
                label.effect(Effect::Unpin(Unpin::CloseCursor(name)));
            }
            NodeEnum::ExecuteStmt(node) => return Some(self.execute(node, false)),
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
        label.effect(Effect::DeclareCursor(node.portalname.clone()));
        if node.options & CURSOR_OPTION_HOLD != 0 {
            label.effect(Effect::Pin(Pin::HoldCursor(node.portalname.clone())));
        }
        label
    }

    /// `EXECUTE`: what the statement of that name does is not known here, but what its arguments do is: they
    /// are expressions, and run even where the statement is only planned. Where they need more than a
    /// replica, they are the reason.
    pub(super) fn execute(&mut self, node: &ExecuteStmt, planned: bool) -> StatementLabel {
        let mut label = StatementLabel::new("EXECUTE", Access::Primary, Reason::SqlExecute);
        for argument in node.params.iter().filter_map(|argument| argument.node.as_ref()) {
            let found = self.walk("EXECUTE", argument.to_ref(), false);
            if found.access > Access::Read && label.reason == Reason::SqlExecute {
                label.access = found.access;
                label.reason = found.reason;
            } else {
                label.raise(found.access, found.reason);
            }
            label.effects.extend(found.effects);
            label.uses_objects |= found.uses_objects;
        }
        let name = node.name.clone();
        label.effect(if planned { Effect::Plan(name) } else { Effect::Execute(name) });
        label
    }

    /// `PREPARE`: nothing runs yet. The statement follows its session from server to server; one that
    /// will read can be prepared, and executed, anywhere.
    fn prepare(&mut self, node: &PrepareStmt, slice: &str) -> StatementLabel {
        self.literals_matter();
        // EXECUTE makes values of its parameters' types.
        let mut body = self.inner_with(node.query.as_deref(), false, &node.argtypes);
        if body.effects.contains(&Effect::DefinesObjects) {
            body.definition = Definition::Everything;
        }
        let access = if body.access > Access::Read { Access::Primary } else { Access::Neutral };
        let mut label = StatementLabel::new("PREPARE", access, body.reason.clone());
        label.uses_objects = body.uses_objects;
        label.effect(Effect::Prepare {
            name: node.name.clone(),
            statement: slice.to_owned(),
            body: Box::new(body),
        });
        label
    }
}
