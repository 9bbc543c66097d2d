//! Whom the common name of a client certificate stands for.
//!
//! As a map of pg_ident.conf does (PostgreSQL manual, "User Name Maps"), with a `*` in the place of regular
//! expressions: those match in the middle of a name unless they are anchored, and have let people in for it.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use toml::de::DeValue;

use super::scope::{Scope, Step, key_text};
use super::spec::{Setting, Shape};
use super::value::{read_entries, read_string};

/// Stands for any characters in a certificate's name, and for the same in a user's.
const ANY: char = '*';

/// By the name in a certificate, the users that it stands for. Empty, a name stands for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameMap(BTreeMap<String, Vec<String>>);

impl NameMap {
    /// Whether who has a certificate of this name may be that user.
    #[must_use]
    pub fn allows(&self, name: &str, user: &str) -> bool {
        if self.0.is_empty() {
            return name == user;
        }
        self.0.iter().any(|(pattern, users)| {
            fits(pattern, name).is_some_and(|part| users.iter().any(|to| is_user(to, part, user)))
        })
    }

    fn schema() -> Json {
        let users =
            json!([{ "type": "string" }, { "type": "array", "items": { "type": "string" } }]);
        json!({ "type": "object", "additionalProperties": { "anyOf": users } })
    }
}

/// What of a name the pattern's `*` stands for, if the name fits; nothing where there is no `*`.
fn fits<'a>(pattern: &str, name: &'a str) -> Option<&'a str> {
    match pattern.split_once(ANY) {
        None => (pattern == name).then_some(""),
        Some((before, after)) => {
            let part = name.strip_prefix(before)?.strip_suffix(after)?;
            (!part.is_empty()).then_some(part)
        }
    }
}

/// Whether a user of the map is this one, `part` in the place of its `*`.
fn is_user(to: &str, part: &str, user: &str) -> bool {
    fits(to, user).is_some_and(|found| found == part || !to.contains(ANY))
}

fn read_pattern(text: &str, what: &str, scope: &mut Scope<'_>) -> bool {
    let message = match text.matches(ANY).count() {
        _ if text.is_empty() => format!("{what} is empty"),
        0 | 1 => return true,
        _ => format!("{what} has more than one *"),
    };
    scope.report(message, Some("write for example { \"*.example.com\" = \"*\" }".to_owned()));
    false
}

/// The users that one name stands for: a string, or a list of them.
fn read_users(name: &str, value: &DeValue<'_>, scope: &mut Scope<'_>) -> Option<Vec<String>> {
    let users = match value {
        DeValue::Array(elements) => {
            let read = elements.iter().enumerate().map(|(at, element)| {
                scope.enter(Step::Element(at), element.span(), |scope| {
                    read_string("a user", element.get_ref(), scope)
                })
            });
            read.collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>()?
        }
        value => vec![read_string("a user", value, scope)?],
    };
    let is_sound = users.iter().all(|user| read_pattern(user, "the user's name", scope));
    if users.iter().any(|user| user.contains(ANY)) && !name.contains(ANY) {
        let suggestion = "a user's * stands for what the certificate's * has stood for".to_owned();
        scope.report("there is no * in the certificate's name", Some(suggestion));
        return None;
    }
    is_sound.then_some(users)
}

impl Setting for NameMap {
    const SHAPE: Shape = Shape::Value { schema: Self::schema, words: Vec::new, is_optional: false };

    fn overlay(&mut self, value: &DeValue<'_>, scope: &mut Scope<'_>) -> bool {
        let example = "{ \"common name\" = \"user\" }";
        let read = read_entries(value, example, scope, |name, value, scope| {
            let users = read_pattern(name, "the certificate's name", scope)
                .then(|| read_users(name, value, scope))
                .flatten()?;
            Some((name.to_owned(), users))
        });
        read.map(|read| self.0 = read).is_some()
    }

    fn toml(&self) -> String {
        if self.0.is_empty() {
            return "{}".to_owned();
        }
        let users = |users: &[String]| match users {
            [user] => format!("{user:?}"),
            users => format!("{users:?}"),
        };
        let pairs = self.0.iter().map(|(name, to)| format!("{} = {}", key_text(name), users(to)));
        format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &[&str])]) -> NameMap {
        let users = |users: &[&str]| users.iter().map(|&user| user.to_owned()).collect();
        NameMap(pairs.iter().map(|&(name, to)| (name.to_owned(), users(to))).collect())
    }

    #[test]
    fn whom_a_name_stands_for() {
        let mapped = map(&[
            ("alice smith", &["alice", "reports"]),
            ("*.app.example.com", &["*"]),
            ("batch-*", &["job_*_runner", "batch"]),
        ]);
        let rows = [
            ("alice smith", "alice", true),
            ("alice smith", "reports", true),
            ("alice smith", "alice smith", false),
            ("Alice smith", "alice", false),
            ("alice", "alice", false),
            ("web.app.example.com", "web", true),
            ("web.app.example.com", "other", false),
            ("web.app.example.com.evil.org", "web", false),
            (".app.example.com", "", false),
            ("a.b.app.example.com", "a.b", true),
            ("*.app.example.com", "*", true),
            ("batch-night", "job_night_runner", true),
            ("batch-night", "job_day_runner", false),
            ("batch-night", "batch", true),
            ("batch-", "batch", false),
        ];
        for (name, user, expected) in rows {
            assert_eq!(mapped.allows(name, user), expected, "{name} as {user}");
        }
        let none = NameMap::default();
        for (name, user, expected) in [
            ("app", "app", true),
            ("app", "App", false),
            ("app", "postgres", false),
            ("*", "app", false),
        ] {
            assert_eq!(none.allows(name, user), expected, "{name} as {user}");
        }
    }
}
