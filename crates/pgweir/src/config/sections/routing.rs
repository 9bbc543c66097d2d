//! `[routing]`

use std::fmt;

use serde_json::{Value as Json, json};
use toml::de::DeValue;

use crate::config::fields::Fields;
use crate::config::scope::Scope;
use crate::config::spec::{available, nested, section, words};
use crate::config::value::{Element, quoted, read_string};

section! {
    /// Which node serves what. May be overridden in `[databases.NAME.routing]`.
    pub struct Routing checked by check {
        /// Where reads go.
        reads: Reads = Reads::Replicas => available();
        /// Where transactions that do not say READ ONLY go.
        transactions: TransactionRouting = TransactionRouting::Primary => available();
        /// How one of several replicas is chosen.
        balance: Balance = Balance::LeastBusy => available();
        /// How long a client keeps its replica.
        affinity: Affinity = Affinity::Statement => available();
        /// Where a call goes that the catalog cannot vouch for.
        unknown_functions: UnknownFunctions = UnknownFunctions::Primary => available();
        /// Functions you vouch for: they only read. E.g. `["app.search"]`.
        read_functions: Vec<FunctionName> = Vec::new() => available();
        /// Functions that write, whatever the catalog says.
        write_functions: Vec<FunctionName> = Vec::new() => available();
        /// A read-only error from a replica is retried on the primary, and learned.
        self_heal: bool = true => available();
    }
}

nested!(Routing);

words! {
    /// Where reads go.
    pub enum Reads {
        /// To a replica, else to the primary.
        Replicas = "replicas" => available();
        /// To a replica, else 57P03.
        ReplicasOnly = "replicas-only" => available();
        /// To any node; the primary takes its share.
        Any = "any" => available();
        /// To the primary.
        Primary = "primary" => available();
    }
}

words! {
    /// Where transactions that do not say READ ONLY go.
    pub enum TransactionRouting {
        /// To the primary.
        Primary = "primary" => available();
        /// A READ COMMITTED one reads from a replica until its first write.
        Split = "split" => available();
    }
}

words! {
    /// How one of several replicas is chosen.
    pub enum Balance {
        /// The less busy of two taken at random.
        LeastBusy = "least-busy" => available();
        /// In turn.
        RoundRobin = "round-robin" => available();
        /// At random.
        Random = "random" => available();
        /// The one that answers soonest.
        Latency = "latency" => available();
    }
}

words! {
    /// How long a client keeps its replica.
    pub enum Affinity {
        /// For one statement.
        Statement = "statement" => available();
        /// For one transaction.
        Transaction = "transaction" => available();
        /// For as long as it is connected.
        Session = "session" => available();
    }
}

words! {
    /// Where a call goes that the catalog cannot vouch for.
    pub enum UnknownFunctions {
        /// To the primary.
        Primary = "primary" => available();
        /// Wherever the statement would go without it.
        Replica = "replica" => available();
    }
}

/// A function's name as SQL names it: folded to lower case unless quoted, with its schema or without.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FunctionName {
    /// The schema; `None` means any.
    pub schema: Option<String>,
    /// The name.
    pub name: String,
}

impl FunctionName {
    /// Reads `name` or `schema.name` (PostgreSQL manual, "Identifiers and Key Words").
    fn parse(text: &str) -> Option<Self> {
        let (first, rest) = identifier(text)?;
        let Some(rest) = rest.strip_prefix('.') else {
            return rest.is_empty().then_some(Self { schema: None, name: first });
        };
        let (name, rest) = identifier(rest)?;
        rest.is_empty().then_some(Self { schema: Some(first), name })
    }
}

/// Takes one identifier off the front of a text.
fn identifier(text: &str) -> Option<(String, &str)> {
    if let Some(mut rest) = text.strip_prefix('"') {
        let mut name = String::new();
        loop {
            let (part, after) = rest.split_once('"')?;
            name.push_str(part);
            match after.strip_prefix('"') {
                Some(after) => {
                    name.push('"');
                    rest = after;
                }
                None => return (!name.is_empty()).then_some((name, after)),
            }
        }
    }
    let is_letter = |c: char| c == '_' || c.is_ascii_alphabetic() || !c.is_ascii();
    let is_part = |c: char| is_letter(c) || c.is_ascii_digit() || c == '$';
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end)?;
    name.starts_with(is_letter).then(|| (name.to_ascii_lowercase(), rest))
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quote = |part: &str| {
            let is_plain =
                identifier(part).is_some_and(|(name, rest)| name == part && rest.is_empty());
            if is_plain { part.to_owned() } else { format!("\"{}\"", part.replace('"', "\"\"")) }
        };
        if let Some(schema) = &self.schema {
            write!(f, "{}.", quote(schema))?;
        }
        f.write_str(&quote(&self.name))
    }
}

impl Element for FunctionName {
    fn read(value: &DeValue<'_>, scope: &mut Scope<'_>) -> Option<Self> {
        let text = read_string("a function's name", value, scope)?;
        let read = Self::parse(&text);
        if read.is_none() {
            let raw = value.as_str().unwrap_or_default();
            let suggestion = match raw.split_once('(') {
                Some((name, _)) if Self::parse(name).is_some() => format!("write \"{name}\""),
                _ => "write \"name\" or \"schema.name\"".to_owned(),
            };
            let message = format!("{} is not a function's name", quoted(raw));
            scope.report(message, Some(suggestion));
        }
        read
    }

    fn toml(&self) -> String {
        toml::Value::from(self.to_string()).to_string()
    }

    fn schema() -> Json {
        json!({ "type": "string" })
    }
}

fn check(routing: &mut Routing, fields: &Fields<'_, '_>, scope: &mut Scope<'_>) {
    for name in &routing.write_functions {
        if routing.read_functions.contains(name) {
            let message = format!("{name} is in read_functions too");
            fields.report("write_functions", scope, message, "leave it out of one of them");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn function_names() {
        let rows = [
            ("f", Some((None, "f"))),
            ("App.Search", Some((Some("app"), "search"))),
            ("\"App\".\"a\"\"b\"", Some((Some("App"), "a\"b"))),
            ("_x$1", Some((None, "_x$1"))),
            ("größe", Some((None, "größe"))),
            ("", None),
            ("f(int)", None),
            ("a.b.c", None),
            ("1f", None),
            (".f", None),
            ("a.", None),
            ("\"\"", None),
            ("\"f", None),
            ("a b", None),
        ];
        for (text, expected) in rows {
            let expected = expected.map(|(schema, name): (Option<&str>, &str)| FunctionName {
                schema: schema.map(str::to_owned),
                name: name.to_owned(),
            });
            assert_eq!(FunctionName::parse(text), expected, "{text}");
            if let Some(name) = expected {
                assert_eq!(FunctionName::parse(&name.to_string()), Some(name), "{text}");
            }
        }
    }
}
