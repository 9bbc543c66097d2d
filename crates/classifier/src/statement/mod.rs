//! One judgement per statement: its access, its control of the transaction, its effects on the session.

pub(crate) mod constant;
mod cursor;
mod definition;
mod explain;
pub(crate) mod setting;
mod temporary;
mod transaction;
mod utility;

use pg_query::protobuf::{CallStmt, CopyStmt, DoStmt, RawStmt};
use pg_query::{Node, NodeEnum, NodeRef};

use crate::catalog::defines_objects;
use crate::catalog::names::Names;
use crate::label::Sharing;
use crate::walk::Walk;
use crate::{Access, Control, Effect, Pin, Reason, StatementLabel, Unpin, hidden};

/// Judges the statements of one text.
pub(crate) struct Judge<'a> {
    /// The text, comments blanked out.
    text: &'a str,
    names: &'a dyn Names,
    sharing: Sharing,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(text: &'a str, names: &'a dyn Names) -> Self {
        Self { text, names, sharing: Sharing::Normalised }
    }

    /// How far the label may be shared, after all statements have been judged.
    pub(crate) fn sharing(&self) -> Sharing {
        self.sharing
    }

    /// The label depends on literals; no other text has it.
    fn literals_matter(&mut self) {
        self.sharing = Sharing::Exact;
    }

    /// Judges one statement as the parser gives it.
    pub(crate) fn statement(&mut self, raw: &RawStmt) -> StatementLabel {
        let range = self.range(raw);
        let slice = self.text.get(range.clone()).unwrap_or_default();
        let node = raw.stmt.as_ref().and_then(|statement| statement.node.as_ref());
        let mut label = match node {
            Some(node) => self.node(node, slice),
            None => StatementLabel::new("UNKNOWN", Access::Write, Reason::UnknownNode),
        };
        if let Some(node) = node {
            label.definition = definition::definition(node, &label);
        }
        label.range = Some(range);
        label
    }

    /// Where the statement stands, without the space around it.
    fn range(&self, raw: &RawStmt) -> std::ops::Range<usize> {
        let start = usize::try_from(raw.stmt_location).unwrap_or(0).min(self.text.len());
        let length = usize::try_from(raw.stmt_len).unwrap_or(0);
        let end = if length == 0 { self.text.len() } else { start.saturating_add(length) };
        let whole = self.text.get(start..end.min(self.text.len())).unwrap_or_default();
        let whole = whole.trim_end_matches(|c: char| c.is_ascii_whitespace() || c == ';');
        let trimmed = whole.trim_ascii_start();
        let start = start + (whole.len() - trimmed.len());
        start..start + trimmed.len()
    }

    fn node(&mut self, node: &NodeEnum, slice: &str) -> StatementLabel {
        match node {
            NodeEnum::SelectStmt(select) => {
                let mut label = self.query("SELECT", node.to_ref());
                temporary::select_into(select, &mut label);
                label
            }
            NodeEnum::InsertStmt(_) => self.query("INSERT", node.to_ref()),
            NodeEnum::UpdateStmt(update) => {
                let mut label = self.query("UPDATE", node.to_ref());
                if update.relation.as_ref().is_some_and(|of| of.relname == "pg_settings") {
                    // A rule of this view calls set_config (manual, 54.24 pg_settings).
                    label.effect(Effect::RanHiddenCode);
                }
                label
            }
            NodeEnum::DeleteStmt(_) => self.query("DELETE", node.to_ref()),
            NodeEnum::MergeStmt(_) => self.query("MERGE", node.to_ref()),
            NodeEnum::TransactionStmt(node) => transaction::label(node),
            NodeEnum::VariableSetStmt(node) => self.set(node, slice),
            NodeEnum::VariableShowStmt(node) => self.show(node),
            NodeEnum::CopyStmt(node) => self.copy(node),
            NodeEnum::ExplainStmt(node) => self.explain(node),
            NodeEnum::CallStmt(node) => self.procedure_call(node),
            NodeEnum::DoStmt(node) => self.code_block(node),
            _ => self
                .cursor_or_prepared(node, slice)
                .or_else(|| session(node))
                .or_else(|| self.creation(node))
                .unwrap_or_else(|| self.utility(node, slice)),
        }
    }

    /// A query that is run: what its walk finds.
    fn query(&mut self, kind: &'static str, root: NodeRef<'_>) -> StatementLabel {
        self.walk(kind, root, false)
    }

    fn walk(&mut self, kind: &'static str, root: NodeRef<'_>, planned: bool) -> StatementLabel {
        self.walk_with(kind, root, planned, &[])
    }

    fn walk_with(
        &mut self,
        kind: &'static str,
        root: NodeRef<'_>,
        planned: bool,
        beside: &[Node],
    ) -> StatementLabel {
        let walk = Walk::new(self.names, planned).run(root, beside);
        if walk.literal_sensitive {
            self.literals_matter();
        }
        let runs_text = walk.runs_text();
        let mut label = StatementLabel::new(kind, walk.access, walk.reason);
        if let Some(characteristics) = walk.transaction {
            label.control = Control::SetTransaction(characteristics);
        }
        label.effects = walk.effects;
        label.uses_objects = walk.uses_objects;
        if runs_text {
            self.runs_text(&mut label);
        }
        label
    }

    /// What is run as text may define something. The words for that stand in the statement, unless they
    /// come as parameters or out of a table.
    fn runs_text(&mut self, label: &mut StatementLabel) {
        self.literals_matter();
        let defines = defines_objects(self.text);
        if defines && !label.effects.contains(&Effect::DefinesObjects) {
            label.effect(Effect::DefinesObjects);
        }
    }

    /// Judges a statement inside another one (`EXPLAIN`, `PREPARE`, `DECLARE`, `COPY`, `CREATE … AS`).
    fn inner(&mut self, node: Option<&Node>, planned: bool) -> StatementLabel {
        self.inner_with(node, planned, &[])
    }

    /// The same, with what stands beside the query: types of parameters.
    fn inner_with(
        &mut self,
        node: Option<&Node>,
        planned: bool,
        beside: &[Node],
    ) -> StatementLabel {
        let Some(node) = node.and_then(|node| node.node.as_ref()) else {
            return StatementLabel::new("UNKNOWN", Access::Write, Reason::UnknownNode);
        };
        let kind = match node {
            NodeEnum::SelectStmt(_) => "SELECT",
            NodeEnum::InsertStmt(_) => "INSERT",
            NodeEnum::UpdateStmt(_) => "UPDATE",
            NodeEnum::DeleteStmt(_) => "DELETE",
            NodeEnum::MergeStmt(_) => "MERGE",
            NodeEnum::CreateTableAsStmt(create) if planned => {
                return self.inner(create.query.as_deref(), planned);
            }
            NodeEnum::DeclareCursorStmt(declare) if planned => {
                return self.inner(declare.query.as_deref(), planned);
            }
            NodeEnum::ExecuteStmt(execute) => return self.execute(execute, planned),
            _ => return self.node(node, ""),
        };
        self.walk_with(kind, node.to_ref(), planned, beside)
    }

    /// `COPY`. A table is read like `SELECT * FROM` it; a file or a program is the server's.
    fn copy(&mut self, node: &CopyStmt) -> StatementLabel {
        let mut label = StatementLabel::new("COPY", Access::Read, Reason::Harmless);
        if node.is_from {
            label.raise(Access::Write, Reason::CopyFrom);
            return label;
        }
        let inner = match (&node.relation, node.query.as_deref()) {
            (Some(relation), _) => self.query("COPY", NodeRef::RangeVar(relation)),
            (None, query) => self.inner(query, false),
        };
        label.raise(inner.access, inner.reason);
        label.effects = inner.effects;
        label.uses_objects = inner.uses_objects;
        if node.is_program || !node.filename.is_empty() {
            label.raise(Access::Primary, Reason::CopyToServer);
        }
        label
    }

    /// `CALL`: judged like a call of a function of that name.
    fn procedure_call(&mut self, node: &CallStmt) -> StatementLabel {
        match &node.funccall {
            Some(call) => self.query("CALL", NodeRef::FuncCall(call)),
            None => StatementLabel::new("CALL", Access::Write, Reason::UnknownNode),
        }
    }

    /// `DO`: code that can do anything. What it has done to the session has to be asked of the server,
    /// which can say everything but the names of custom settings; those are read off its words.
    fn code_block(&mut self, node: &DoStmt) -> StatementLabel {
        self.literals_matter();
        let mut label = StatementLabel::new("DO", Access::Write, Reason::Utility("DO"));
        label.effect(Effect::RanHiddenCode);
        let code = code_of(node);
        if defines_objects(&code) {
            label.effect(Effect::DefinesObjects);
        }
        let mentioned = hidden::mentioned_settings(&code);
        for name in mentioned.names {
            label.effect(Effect::AsksSetting(name));
        }
        if mentioned.is_dynamic {
            label.effect(Effect::Pin(Pin::UntrackableSettings));
        }
        label
    }
}

/// The arguments of `DO`: its code, and the language's name.
fn code_of(node: &DoStmt) -> String {
    let mut code = String::new();
    for argument in &node.args {
        if let Some(NodeEnum::DefElem(option)) = &argument.node
            && let Some(value) = option.arg.as_deref().and_then(constant::constant)
            && let Some(text) = value.as_text()
        {
            code.push_str(&text);
            code.push('\n');
        }
    }
    code
}

/// Statements that are about the session itself.
fn session(node: &NodeEnum) -> Option<StatementLabel> {
    let utility = |kind| StatementLabel::new(kind, Access::Write, Reason::Utility(kind));
    let neutral = |kind| StatementLabel::new(kind, Access::Neutral, Reason::SessionSetting);
    let mut label;
    match node {
        NodeEnum::ListenStmt(node) => {
            label = utility("LISTEN");
            label.effect(Effect::Pin(Pin::Listen(node.conditionname.clone())));
        }
        NodeEnum::UnlistenStmt(node) => {
            label = neutral("UNLISTEN");
            let channel = crate::walk::non_empty(&node.conditionname).map(str::to_owned);
            label.effect(Effect::Unpin(Unpin::Unlisten(channel)));
        }
        NodeEnum::LoadStmt(_) => {
            label = StatementLabel::new("LOAD", Access::Neutral, Reason::Harmless);
            label.effect(Effect::Pin(Pin::Load));
        }
        NodeEnum::DiscardStmt(node) => {
            use pg_query::protobuf::DiscardMode;
            label = neutral("DISCARD");
            label.effect(Effect::Discard(match node.target() {
                DiscardMode::DiscardPlans => crate::Discard::Plans,
                DiscardMode::DiscardSequences => crate::Discard::Sequences,
                DiscardMode::DiscardTemp => crate::Discard::Temporary,
                DiscardMode::DiscardAll | DiscardMode::Undefined => crate::Discard::All,
            }));
        }
        NodeEnum::ConstraintsSetStmt(_) => {
            label = neutral("SET CONSTRAINTS");
            label.reason = Reason::TransactionControl;
        }
        _ => return None,
    }
    Some(label)
}
