//! Transaction control.

use pg_query::protobuf::{TransactionStmt, TransactionStmtKind as Kind};

use super::setting::characteristics;
use crate::{Access, Control, Reason, StatementLabel};

pub(super) fn label(node: &TransactionStmt) -> StatementLabel {
    let name = || node.savepoint_name.clone();
    let chain = node.chain;
    let (kind, control) = match node.kind() {
        Kind::TransStmtBegin => ("BEGIN", Control::Begin(characteristics(&node.options))),
        Kind::TransStmtStart => {
            ("START TRANSACTION", Control::Begin(characteristics(&node.options)))
        }
        Kind::TransStmtCommit => ("COMMIT", Control::Commit { chain }),
        Kind::TransStmtRollback => ("ROLLBACK", Control::Rollback { chain }),
        Kind::TransStmtSavepoint => ("SAVEPOINT", Control::Savepoint(name())),
        Kind::TransStmtRelease => ("RELEASE", Control::Release(name())),
        Kind::TransStmtRollbackTo => ("ROLLBACK", Control::RollbackTo(name())),
        Kind::TransStmtPrepare => ("PREPARE TRANSACTION", Control::PrepareTransaction),
        Kind::TransStmtCommitPrepared => ("COMMIT PREPARED", Control::EndPrepared),
        Kind::TransStmtRollbackPrepared => ("ROLLBACK PREPARED", Control::EndPrepared),
        Kind::Undefined => {
            return StatementLabel::new("UNKNOWN", Access::Write, Reason::UnknownNode);
        }
    };
    let two_phase = matches!(control, Control::PrepareTransaction | Control::EndPrepared);
    let mut label = if two_phase {
        StatementLabel::new(kind, Access::Write, Reason::TwoPhase)
    } else {
        StatementLabel::new(kind, Access::Neutral, Reason::TransactionControl)
    };
    label.control = control;
    label
}
