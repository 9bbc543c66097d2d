//! Constants as the grammar gives them: arguments of `SET`, of calls and of options.

use pg_query::protobuf::a_const::Val;
use pg_query::{Node, NodeEnum};

/// A literal, or a word that stands for one (`on`, `off`, a name).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Constant {
    /// A string or a bare word.
    Text(String),
    /// A number, as it is written.
    Number(String),
    /// `true`, `false`.
    Boolean(bool),
}

impl Constant {
    /// The text PostgreSQL makes of it.
    pub(crate) fn as_text(&self) -> Option<String> {
        Some(match self {
            Self::Text(text) | Self::Number(text) => text.clone(),
            Self::Boolean(value) => if *value { "true" } else { "false" }.to_owned(),
        })
    }

    /// Its value as a boolean, by the rules of `parse_bool`.
    pub(crate) fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Boolean(value) => Some(*value),
            Self::Text(text) | Self::Number(text) => parse_bool(text),
        }
    }

    /// Written so that it means the same under either `standard_conforming_strings`.
    pub(crate) fn to_sql(&self) -> String {
        match self {
            Self::Text(text) => quote_literal(text),
            Self::Number(number) => number.clone(),
            Self::Boolean(value) => value.to_string(),
        }
    }
}

/// PostgreSQL's reading of a boolean setting: `on`, `off` and `1`, `0` in full, and any unambiguous
/// beginning of `true`, `false`, `yes`, `no`, in any letter case.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    let text = text.trim_ascii().to_ascii_lowercase();
    let begins = |word: &str| !text.is_empty() && word.starts_with(text.as_str());
    match text.as_str() {
        "on" | "1" => Some(true),
        "off" | "of" | "0" => Some(false),
        _ if begins("true") || begins("yes") => Some(true),
        _ if begins("false") || begins("no") => Some(false),
        _ => None,
    }
}

/// A string literal; with a backslash in it an `E''` literal.
pub(crate) fn quote_literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

/// An identifier in quotes.
pub(crate) fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Reads a node as a constant: a literal, a bare word, a number with a sign, a literal under casts
/// (`'b'::text`, `false::boolean`). `NULL` and parameters are not constants.
pub(crate) fn constant(node: &Node) -> Option<Constant> {
    match node.node.as_ref()? {
        NodeEnum::AConst(literal) if !literal.isnull => Some(match literal.val.as_ref()? {
            Val::Ival(integer) => Constant::Number(integer.ival.to_string()),
            Val::Fval(float) => Constant::Number(float.fval.clone()),
            Val::Boolval(boolean) => Constant::Boolean(boolean.boolval),
            Val::Sval(string) => Constant::Text(string.sval.clone()),
            Val::Bsval(_) => return None,
        }),
        NodeEnum::String(string) => Some(Constant::Text(string.sval.clone())),
        NodeEnum::Integer(integer) => Some(Constant::Number(integer.ival.to_string())),
        NodeEnum::Float(float) => Some(Constant::Number(float.fval.clone())),
        NodeEnum::Boolean(boolean) => Some(Constant::Boolean(boolean.boolval)),
        NodeEnum::TypeCast(cast) => {
            let type_name = cast.type_name.as_ref()?;
            let (schema, name) = crate::walk::qualified(&type_name.names);
            let own = schema.is_none_or(|schema| schema == "pg_catalog");
            // Casts that leave the text as it is; a cast of a cast is not worth the recursion.
            let plain = own && matches!(name, "text" | "bool") && type_name.array_bounds.is_empty();
            let argument = cast.arg.as_ref()?;
            match argument.node.as_ref()? {
                NodeEnum::AConst(_) if plain => constant(argument),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_read_as_postgresql_reads_them() {
        let rows = [
            ("on", Some(true)),
            ("ON", Some(true)),
            ("t", Some(true)),
            ("tru", Some(true)),
            ("y", Some(true)),
            ("1", Some(true)),
            ("off", Some(false)),
            ("of", Some(false)),
            ("o", None),
            ("n", Some(false)),
            ("false", Some(false)),
            ("0", Some(false)),
            ("", None),
            ("truest", None),
        ];
        for (text, expected) in rows {
            assert_eq!(parse_bool(text), expected, "{text:?}");
        }
    }

    #[test]
    fn literals_survive_either_kind_of_string() {
        assert_eq!(quote_literal("it's"), "'it''s'");
        assert_eq!(quote_literal(r"a\'b"), r"E'a\\''b'");
        assert_eq!(quote_identifier("a\"b"), "\"a\"\"b\"");
    }
}
