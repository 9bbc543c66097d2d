//! Statements that create tables: whether what they create is temporary and outlives its transaction.

use pg_query::NodeEnum;
use pg_query::protobuf::{CreateTableAsStmt, IntoClause, OnCommitAction, RangeVar, SelectStmt};

use super::Judge;
use crate::walk::{is_temporary_schema, non_empty};
use crate::{Access, Effect, Pin, Reason, StatementLabel};

impl Judge<'_> {
    /// `CREATE TABLE`, `CREATE TABLE AS`, `CREATE VIEW`, `CREATE SEQUENCE`.
    pub(super) fn creation(&mut self, node: &NodeEnum) -> Option<StatementLabel> {
        let utility = |kind| StatementLabel::new(kind, Access::Write, Reason::Utility(kind));
        let mut label;
        match node {
            NodeEnum::CreateStmt(node) => {
                label = utility("CREATE TABLE");
                let dropped = node.oncommit() == OnCommitAction::OncommitDrop;
                created(node.relation.as_ref(), dropped, &mut label);
            }
            NodeEnum::CreateTableAsStmt(node) => return Some(self.create_as(node)),
            NodeEnum::ViewStmt(node) => {
                label = utility("CREATE VIEW");
                created(node.view.as_ref(), false, &mut label);
            }
            NodeEnum::CreateSeqStmt(node) => {
                label = utility("CREATE SEQUENCE");
                created(node.sequence.as_ref(), false, &mut label);
            }
            _ => return None,
        }
        Some(label)
    }

    fn create_as(&mut self, node: &CreateTableAsStmt) -> StatementLabel {
        let body = self.inner(node.query.as_deref(), false);
        let materialized = node.objtype() == pg_query::protobuf::ObjectType::ObjectMatview;
        let kind = if materialized { "CREATE MATERIALIZED VIEW" } else { "CREATE TABLE AS" };
        let mut label = StatementLabel::new(kind, Access::Write, Reason::Utility(kind));
        label.effects = body.effects;
        label.uses_objects = body.uses_objects;
        created_into(node.into.as_deref(), &mut label);
        label
    }
}

/// `SELECT … INTO`, at whichever arm of a set operation the grammar has put it.
pub(super) fn select_into(select: &SelectStmt, label: &mut StatementLabel) {
    let mut arm = Some(select);
    while let Some(select) = arm {
        created_into(select.into_clause.as_deref(), label);
        arm = select.larg.as_deref();
    }
}

fn created_into(into: Option<&IntoClause>, label: &mut StatementLabel) {
    if let Some(into) = into {
        let dropped = into.on_commit() == OnCommitAction::OncommitDrop;
        created(into.rel.as_ref(), dropped, label);
    }
}

/// A temporary relation pins, unless it goes with its transaction.
fn created(relation: Option<&RangeVar>, dropped_on_commit: bool, label: &mut StatementLabel) {
    let Some(relation) = relation else { return };
    let temporary =
        relation.relpersistence == "t" || is_temporary_schema(non_empty(&relation.schemaname));
    if temporary && !dropped_on_commit {
        label.effect(Effect::Pin(Pin::TemporaryObject(Some(relation.relname.clone()))));
    }
}
