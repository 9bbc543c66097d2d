//! `EXPLAIN`. Without `ANALYZE` a statement is planned and not run, so what it would write it does not;
//! its functions are judged all the same, because planning runs those that are immutable or stable.

use pg_query::NodeEnum;
use pg_query::protobuf::ExplainStmt;

use super::Judge;
use super::constant::constant;
use crate::{Access, Reason, StatementLabel};

impl Judge<'_> {
    pub(super) fn explain(&mut self, node: &ExplainStmt) -> StatementLabel {
        let runs = self.explain_runs(node);
        let mut label = self.inner(node.query.as_deref(), !runs);
        label.kind = "EXPLAIN";
        label.control = crate::Control::None;
        let may_leave = label.access < Access::Primary || label.reason == Reason::SqlExecute;
        if self.names.is_sharded() && may_leave {
            // A plan names the node that made it.
            label.access = Access::Primary;
            label.reason = Reason::CoordinatorOnly("EXPLAIN".into());
        }
        label
    }

    /// Whether `ANALYZE` is on: the last mention counts, a mention without a value is `on`, and a
    /// value that PostgreSQL would not understand is taken for `on`.
    fn explain_runs(&mut self, node: &ExplainStmt) -> bool {
        let mut runs = false;
        for option in &node.options {
            let Some(NodeEnum::DefElem(option)) = &option.node else {
                continue;
            };
            if !option.defname.eq_ignore_ascii_case("analyze") {
                continue;
            }
            runs = match option.arg.as_deref() {
                None => true,
                Some(value) => {
                    self.literals_matter();
                    let value = constant(value).and_then(|value| value.as_text());
                    !value.is_some_and(|value| is_off(&value))
                }
            };
        }
        runs
    }
}

/// The values that `defGetBoolean` takes for false.
fn is_off(value: &str) -> bool {
    value == "0" || value.eq_ignore_ascii_case("false") || value.eq_ignore_ascii_case("off")
}
