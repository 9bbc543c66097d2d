//! Calls: what the catalog says about them, and what some leave behind in the session.

use pg_query::protobuf::{FuncCall, SelectStmt};
use pg_query::{Node, NodeEnum, NodeRef};

use super::{Walk, children, qualified};
use crate::catalog::names::{Finding, Use};
use crate::catalog::uses_of_query;
use crate::lex::tokens::tokens;
use crate::statement::constant::{Constant, constant};
use crate::statement::setting;
use crate::{Access, Effect, Pin, Reason, Unpin};

/// PostgreSQL's own settings that all servers of a cluster have alike: who the session is, and what the
/// data directory and the program are made with.
const SAME_EVERYWHERE: [&str; 9] = [
    "block_size",
    "integer_datetimes",
    "is_superuser",
    "max_function_args",
    "max_identifier_length",
    "max_index_keys",
    "role",
    "server_encoding",
    "session_authorization",
];

impl<'a> Walk<'a> {
    pub(super) fn call(&mut self, call: &'a FuncCall) {
        let (schema, name) = qualified(&call.funcname);
        let is_named = |node: &Node| matches!(node.node, Some(NodeEnum::NamedArgExpr(_)));
        let counted =
            !call.func_variadic && !call.agg_within_group && !call.args.iter().any(is_named);
        let arguments = counted.then_some(call.args.len());
        let finding = self.names.finding(Use::Function { schema, name, arguments });
        if !(is_own_reader(&finding) && self.reads_constant(name, call)) {
            self.finds(finding);
        }
        if schema.is_none_or(|schema| schema == "pg_catalog") {
            self.session_call(name, call);
        }
        children!(self, call, FuncCall {
            each: [agg_order, args],
            one: [agg_filter],
            part: [over: WindowDef],
            skip: [
                funcname, agg_within_group, agg_star, agg_distinct, func_variadic, funcformat,
                location,
            ],
        });
    }

    /// PostgreSQL's functions that run a query, or read a relation, which they are given as text. A constant
    /// is judged as if it stood in the statement; false where there is none, or where it does more than read.
    fn reads_constant(&mut self, name: &str, call: &FuncCall) -> bool {
        let argument = |at: usize| call.args.get(at).and_then(text_of);
        match (name, call.args.len()) {
            // Of its own kind, and nothing that is run.
            ("ts_rewrite", 3) => true,
            ("ts_rewrite", 2) => self.reads_query(argument(1)),
            (
                "query_to_xml" | "query_to_xmlschema" | "query_to_xml_and_xmlschema" | "ts_stat",
                _,
            ) => self.reads_query(argument(0)),
            ("table_to_xml" | "table_to_xml_and_xmlschema" | "satisfies_hash_partition", _) => {
                self.reads_relation(argument(0))
            }
            _ => false,
        }
    }

    fn reads_query(&mut self, text: Option<String>) -> bool {
        self.literal_sensitive = true;
        let Some(uses) = text.and_then(|text| uses_of_query(&text)) else { return false };
        for used in &uses {
            self.asks(used.as_use());
        }
        true
    }

    /// A name as `regclass` reads it.
    fn reads_relation(&mut self, text: Option<String>) -> bool {
        self.literal_sensitive = true;
        let tokens = text.and_then(|text| tokens(&text, true)).unwrap_or_default();
        let (schema, name) = match tokens.as_slice() {
            [name] => (None, name),
            [schema, point, name] if point.is_mark('.') => (schema.name(), name),
            _ => return false,
        };
        let Some(name) = name.name().filter(|_| tokens.len() == 1 || schema.is_some()) else {
            return false;
        };
        self.asks(Use::Relation { schema, name });
        true
    }

    /// A call in a notation of its own.
    pub(super) fn named_call(&mut self, schema: Option<&str>, name: &str) {
        self.asks(Use::Function { schema, name, arguments: None });
    }

    /// PostgreSQL's functions that change what the session is.
    fn session_call(&mut self, name: &str, call: &'a FuncCall) {
        match name {
            "set_config" => self.set_config(call),
            "current_setting" => self.current_setting(call),
            "setseed" => self.pin(Pin::RandomSeed),
            "nextval" | "setval" => self.effect(Effect::UsesSequence),
            "currval" | "lastval" => self.effect(Effect::RecallsSequence),
            "pg_prepared_statement" => self.effect(Effect::ListsStatements),
            "pg_advisory_lock"
            | "pg_advisory_lock_shared"
            | "pg_try_advisory_lock"
            | "pg_try_advisory_lock_shared" => self.pin(Pin::AdvisoryLock),
            "pg_advisory_unlock" | "pg_advisory_unlock_shared" => {
                self.effect(Effect::Unpin(Unpin::AdvisoryLock));
            }
            "pg_advisory_unlock_all" => self.effect(Effect::Unpin(Unpin::AllAdvisoryLocks)),
            _ => {}
        }
    }

    fn pin(&mut self, pin: Pin) {
        self.raise(Access::Primary, Reason::Pins(pin.as_str()));
        self.effect(Effect::Pin(pin));
    }

    /// `set_config(name, value, is_local)` is `SET`, if it can be read from the text what it sets and
    /// that it is evaluated once. Of what is local, and ends with the transaction, it need only be known
    /// that there is something. Where only the name can be read, the server knows the value.
    fn set_config(&mut self, call: &'a FuncCall) {
        self.literal_sensitive = true;
        let arguments: Vec<_> = call.args.iter().map(constant).collect();
        let [name, value, local] = arguments.as_slice() else {
            return self.pin(Pin::UntrackableSettings);
        };
        let local = local.as_ref().and_then(Constant::as_bool);
        let once = self.direct.iter().any(|direct| std::ptr::eq(*direct, call));
        match (name.as_ref().and_then(Constant::as_text), value, local) {
            (Some(name), Some(value), Some(local)) if once || local => {
                let change = setting::by_function(&name, value, local);
                if change.transaction.is_some() {
                    self.raise(Access::Primary, Reason::TransactionControl);
                    self.transaction = change.transaction;
                }
                for effect in change.effects {
                    match effect {
                        Effect::Pin(pin) => self.pin(pin),
                        other => self.effect(other),
                    }
                }
                if !once {
                    self.sets_locally();
                }
            }
            (_, _, Some(true)) => self.sets_locally(),
            (Some(name), _, _) if setting::can_be_asked(&name) => {
                // A standby would refuse what follows, or even be asked, under some of PostgreSQL's own.
                if !name.contains('.') {
                    self.raise(Access::Primary, Reason::ChangesSession("set_config".into()));
                }
                self.effect(Effect::AsksSetting(name.to_ascii_lowercase()));
            }
            _ => self.pin(Pin::UntrackableSettings),
        }
        if !call.args.first().is_some_and(is_told) {
            self.raise(Access::Primary, Reason::ServerFunction("set_config".into()));
        }
    }

    fn sets_locally(&mut self) {
        if !self.effects.contains(&Effect::SetsLocally) {
            self.effect(Effect::SetsLocally);
        }
    }

    /// Settings that applications make up have a dot in their names and travel with the session; the
    /// others may differ from server to server, and `SHOW` asks the primary for them, too.
    fn current_setting(&mut self, call: &'a FuncCall) {
        self.literal_sensitive = true;
        let name = call.args.first().and_then(constant);
        let name = name.as_ref().and_then(Constant::as_text);
        let is_same = |name: &String| {
            name.contains('.') || SAME_EVERYWHERE.contains(&&*name.to_ascii_lowercase())
        };
        if !name.as_ref().is_some_and(is_same) {
            self.raise(Access::Primary, Reason::ServerFunction("current_setting".into()));
        }
    }
}

/// Whether nothing of the user's is meant, and what is PostgreSQL's own runs what it is given.
fn is_own_reader(finding: &Finding) -> bool {
    matches!(finding.reason, Reason::RunsText(_)) && !finding.uses_objects
}

/// The text of a constant, which may be cast to the type of a relation's name.
fn text_of(node: &Node) -> Option<String> {
    let literal = match node.node.as_ref()? {
        NodeEnum::TypeCast(cast) => {
            let (_, name) = qualified(&cast.type_name.as_ref()?.names);
            cast.arg.as_deref().filter(|_| matches!(name, "text" | "regclass"))?
        }
        _ => node,
    };
    match (constant(literal)?, &literal.node) {
        (Constant::Text(text), Some(NodeEnum::AConst(_))) => Some(text),
        _ => None,
    }
}

/// Whether a setting is named by a constant, or by what comes from outside. One of the transaction's own may be
/// refused by a server in recovery; from outside nobody is expected to name it.
fn is_told(name: &Node) -> bool {
    match (constant(name), &name.node) {
        (Some(name), _) => name.as_text().is_none_or(|name| !setting::is_of_transaction(&name)),
        (None, Some(NodeEnum::TypeCast(cast))) => cast.arg.as_deref().is_some_and(is_told),
        (None, Some(NodeEnum::ParamRef(_) | NodeEnum::ColumnRef(_))) => true,
        _ => false,
    }
}

/// The calls of `set_config` that are evaluated exactly once: the query is a target list of nothing
/// but such calls and constants. Next to a function that returns a set they would run per row.
pub(super) fn direct_calls(root: NodeRef<'_>) -> Vec<&FuncCall> {
    let NodeRef::SelectStmt(select) = root else {
        return Vec::new();
    };
    if !is_target_list_only(select) {
        return Vec::new();
    }
    let mut calls = Vec::new();
    for target in &select.target_list {
        let Some(NodeEnum::ResTarget(target)) = &target.node else {
            return Vec::new();
        };
        match target.val.as_ref().and_then(|value| value.node.as_ref()) {
            Some(NodeEnum::FuncCall(call)) if qualified(&call.funcname).1 == "set_config" => {
                calls.push(&**call);
            }
            Some(NodeEnum::AConst(_)) => {}
            _ => return Vec::new(),
        }
    }
    calls
}

fn is_target_list_only(select: &SelectStmt) -> bool {
    select.from_clause.is_empty()
        && select.where_clause.is_none()
        && select.group_clause.is_empty()
        && select.having_clause.is_none()
        && select.distinct_clause.is_empty()
        && select.sort_clause.is_empty()
        && select.limit_count.is_none()
        && select.limit_offset.is_none()
        && select.into_clause.is_none()
        && select.with_clause.is_none()
        && select.larg.is_none()
        && select.rarg.is_none()
}
