//! The walk over a query's syntax tree.
//!
//! A raw syntax tree holds three families of nodes: queries and their clauses (`query`), expressions
//! (`expression`) and SQL/JSON (`json`). Each has a table that names *every* field of every node, either
//! as children to visit or as something that cannot matter; a field that a new version of the grammar
//! adds does not compile until somebody has decided. A node that is in none of the tables is a write.
//! The walk keeps its own stack, so no text can overflow the thread's.

mod expression;
mod function;
mod json;
mod query;

use pg_query::{Node, NodeRef};

use crate::catalog::names::{Finding, Kinds, Names, Traits, Use};
use crate::{Access, Effect, Pin, Reason};

/// Visits the children of a node and accounts for each of its fields: `each` are lists of nodes, `one`
/// optional nodes, `part` optional nodes of a fixed type, `skip` what cannot hold anything that matters.
macro_rules! children {
    ($walk:ident, $node:expr, $type:ident {
        $(each: [$($each:ident),* $(,)?] $(,)?)?
        $(one: [$($one:ident),* $(,)?] $(,)?)?
        $(part: [$($part:ident: $variant:ident),* $(,)?] $(,)?)?
        $(skip: [$($skip:ident),* $(,)?] $(,)?)?
    }) => {{
        let pg_query::protobuf::$type {
            $($($each,)*)? $($($one,)*)? $($($part,)*)? $($($skip: _,)*)?
        } = $node;
        $($($walk.push_each($each);)*)?
        $($($walk.push_one($one.as_deref());)*)?
        $($(if let Some(part) = $part {
            $walk.pending.push(pg_query::NodeRef::$variant(part));
        })*)?
    }};
}
pub(crate) use children;

/// What a walk is about to find out, and what it has found so far.
pub(crate) struct Walk<'a> {
    names: &'a dyn Names,
    /// The query is planned and never executed (plain `EXPLAIN`): what it would write it does not.
    planned_only: bool,
    pending: Vec<NodeRef<'a>>,
    /// Calls that stand alone in a target list, evaluated exactly once.
    direct: Vec<&'a pg_query::protobuf::FuncCall>,
    /// Relations that nobody knows, unless the query names them itself, in `WITH`.
    unresolved: Vec<(&'a str, Finding)>,
    /// What counts only where there are values of some kinds.
    conditional: Vec<(Kinds, Finding)>,
    /// The kinds of values that may be there.
    kinds: Kinds,
    /// Names in `WITH`.
    named_queries: Vec<&'a str>,
    pub(crate) access: Access,
    pub(crate) reason: Reason,
    pub(crate) effects: Vec<Effect>,
    /// A `set_config` that acts as `SET TRANSACTION`.
    pub(crate) transaction: Option<crate::Characteristics>,
    /// The values of literals had a say.
    pub(crate) literal_sensitive: bool,
    /// So had the database's own objects.
    pub(crate) uses_objects: bool,
    /// What running it does besides.
    traits: Traits,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(names: &'a dyn Names, planned_only: bool) -> Self {
        Self {
            names,
            planned_only,
            pending: Vec::new(),
            direct: Vec::new(),
            unresolved: Vec::new(),
            conditional: Vec::new(),
            kinds: Kinds::NONE,
            named_queries: Vec::new(),
            access: Access::Read,
            reason: Reason::Harmless,
            effects: Vec::new(),
            transaction: None,
            literal_sensitive: false,
            uses_objects: false,
            traits: Traits::NONE,
        }
    }

    /// Walks everything under a node, with what stands beside it.
    pub(crate) fn run(mut self, root: NodeRef<'a>, beside: &'a [Node]) -> Self {
        self.direct = function::direct_calls(root);
        self.push_each(beside);
        self.pending.push(root);
        self.asks(Use::Query);
        while let Some(node) = self.pending.pop() {
            let known = self.query(node) || self.expression(node) || self.json(node);
            if !known {
                self.raise(Access::Write, Reason::UnknownNode);
            }
        }
        for (name, finding) in std::mem::take(&mut self.unresolved) {
            if !self.named_queries.contains(&name) {
                self.finds(finding);
            }
        }
        self.settle();
        self
    }

    /// Takes in what depends on the kinds of values that have turned out to be there.
    fn settle(&mut self) {
        loop {
            let there = self.conditional.iter().position(|(kinds, _)| kinds.has_any(self.kinds));
            let Some(at) = there else { return };
            let (_, finding) = self.conditional.swap_remove(at);
            self.finds(finding);
        }
    }

    fn raise(&mut self, access: Access, reason: Reason) {
        if access > self.access {
            self.access = access;
            self.reason = reason;
        }
    }

    /// Notes an effect of running the query, if it is run.
    fn effect(&mut self, effect: Effect) {
        if !self.planned_only {
            self.effects.push(effect);
        }
    }

    /// A part of the query that writes when it is executed.
    fn writes(&mut self, reason: Reason) {
        if !self.planned_only {
            self.raise(Access::Write, reason);
        }
    }

    fn push_each(&mut self, nodes: &'a [Node]) {
        // Last first, so that nodes are visited in the order of the text.
        for node in nodes.iter().rev() {
            self.push_one(Some(node));
        }
    }

    fn push_one(&mut self, node: Option<&'a Node>) {
        if let Some(node) = node.and_then(|node| node.node.as_ref()) {
            self.pending.push(node.to_ref());
        }
    }

    /// Asks what a use amounts to.
    fn asks(&mut self, used: Use<'_>) {
        let finding = self.names.finding(used);
        self.finds(finding);
    }

    fn finds(&mut self, finding: Finding) {
        self.uses_objects |= finding.uses_objects;
        self.kinds = self.kinds.with(finding.brings);
        self.conditional.extend(finding.if_there);
        self.leaves(finding.traits);
        self.raise(finding.access, finding.reason);
    }

    /// True if it may run what it is given as text.
    pub(crate) fn runs_text(&self) -> bool {
        self.traits.has(Traits::RUNS) && !self.planned_only
    }

    /// What code that is out of sight leaves behind in the session.
    fn leaves(&mut self, traits: Traits) {
        self.traits = self.traits.with(traits);
        let effects = [
            (Traits::SESSION, Effect::RanHiddenCode),
            (Traits::USES_SEQUENCE, Effect::UsesSequence),
            (Traits::RECALLS_SEQUENCE, Effect::RecallsSequence),
            (Traits::DEFINES, Effect::DefinesObjects),
            (Traits::SETS_LOCALLY, Effect::SetsLocally),
            (Traits::LISTS_STATEMENTS, Effect::ListsStatements),
            (Traits::KEEPS_STATE, Effect::Pin(Pin::Load)),
        ];
        for (mark, effect) in effects {
            if traits.has(mark) && !self.effects.contains(&effect) {
                self.effect(effect);
            }
        }
    }

    /// A relation that is read or written.
    fn relation(&mut self, relation: &'a pg_query::protobuf::RangeVar) {
        let (schema, name) = (non_empty(&relation.schemaname), relation.relname.as_str());
        if name == "pg_prepared_statements" && schema.is_none_or(|schema| schema == "pg_catalog") {
            self.effect(Effect::ListsStatements);
        }
        let finding = self.names.finding(Use::Relation { schema, name });
        if finding.is_unresolved && schema.is_none() {
            self.unresolved.push((name, finding));
        } else {
            self.finds(finding);
        }
    }

    /// A relation whose rows are changed: whatever is bound to that runs, too.
    fn target(&mut self, relation: Option<&'a pg_query::protobuf::RangeVar>) {
        if let Some(relation) = relation
            && !self.planned_only
        {
            let (schema, name) = (non_empty(&relation.schemaname), relation.relname.as_str());
            let finding = self.names.finding(Use::Target { schema, name });
            self.leaves(finding.traits);
        }
    }

    /// An operator, as the grammar gives it: a name or a schema and a name.
    fn operator(&mut self, name: &'a [Node], operands: usize) {
        let (schema, name) = qualified(name);
        if !name.is_empty() {
            self.asks(Use::Operator { schema, name, operands: Some(operands) });
        }
    }

    /// An operator that the grammar implies.
    fn implied_operator(&mut self, name: &str) {
        self.asks(Use::Operator { schema: None, name, operands: Some(2) });
    }
}

/// True for `pg_temp` and `pg_temp_12`.
pub(crate) fn is_temporary_schema(schema: Option<&str>) -> bool {
    schema.is_some_and(|schema| schema == "pg_temp" || schema.starts_with("pg_temp_"))
}

/// The parser's empty string is the absent one.
pub(crate) fn non_empty(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// Schema and name out of a list of name parts; a database in front is left out.
pub(crate) fn qualified(parts: &[Node]) -> (Option<&str>, &str) {
    let mut names = parts.iter().rev().map(|part| string(part).unwrap_or_default());
    let name = names.next().unwrap_or_default();
    (names.next(), name)
}

/// The text of a name part.
pub(crate) fn string(node: &Node) -> Option<&str> {
    match node.node.as_ref()? {
        pg_query::NodeEnum::String(string) => Some(&string.sval),
        _ => None,
    }
}
