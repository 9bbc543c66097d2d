//! Which custom settings a piece of code may set: read off its words, not understood.
//!
//! A server lists the settings that a session has changed, but not those that an application has made
//! up (a dot in the name): whoever wants to know their values has to know their names. Code that is
//! stored in a function, or given to `DO`, mentions them where it sets them; what is a mention and what
//! only looks like one makes no difference, because asking for one name more does no harm.

use std::collections::BTreeSet;

/// The most names that one piece of code is believed to mention.
const MAX_NAMES: usize = 256;

/// What a piece of code says about custom settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MentionedSettings {
    /// The custom settings it may set, in lower case.
    pub names: BTreeSet<String>,
    /// It sets something whose name it puts together, or changes what no name tells: a seed, the
    /// loaded libraries.
    pub is_dynamic: bool,
}

/// The custom settings that code may set, in whatever procedural language it is written.
#[must_use]
pub fn mentioned_settings(code: &str) -> MentionedSettings {
    let mut found = MentionedSettings::default();
    let mut rest = code;
    while let Some((word, after)) = next_word(rest) {
        rest = after;
        match word.to_ascii_lowercase().as_str() {
            "set_config" => found.function_call(after),
            "set" | "reset" => found.statement(after),
            "setseed" | "load" => found.is_dynamic = true,
            _ => {}
        }
    }
    found
}

impl MentionedSettings {
    /// What follows `set_config`: a name in quotes and a comma, or something to be evaluated.
    fn function_call(&mut self, after: &str) {
        let Some(arguments) = after.trim_start().strip_prefix('(') else {
            return;
        };
        let arguments = arguments.trim_start().trim_start_matches(['e', 'E']);
        let quoted = arguments.trim_start_matches('\'');
        if quoted.len() == arguments.len() {
            self.is_dynamic = true;
            return;
        }
        let (name, tail) = quoted.split_at(quoted.find('\'').unwrap_or(quoted.len()));
        let tail = tail.trim_start_matches('\'').trim_start();
        // `'a.b'::text` is a name too.
        if tail.starts_with([',', ':']) {
            self.note(name);
        } else {
            self.is_dynamic = true;
        }
    }

    /// What follows SET or RESET: a name, or the end of a string that something is appended to.
    fn statement(&mut self, after: &str) {
        let mut rest = after.trim_start();
        for scope in ["local", "session"] {
            if let Some((word, tail)) = next_word(rest)
                && rest.starts_with(word)
                && word.eq_ignore_ascii_case(scope)
            {
                rest = tail.trim_start();
            }
        }
        if rest.starts_with(['\'', '|', '%']) {
            self.is_dynamic = true;
            return;
        }
        let end = rest.find(|c: char| !(is_of_name(c) || c == '"')).unwrap_or(rest.len());
        let (name, _) = rest.split_at(end);
        self.note(&name.replace('"', ""));
    }

    fn note(&mut self, name: &str) {
        let name = name.trim_matches('.').to_ascii_lowercase();
        if !name.contains('.') {
            return;
        }
        if self.names.len() < MAX_NAMES {
            self.names.insert(name);
        } else {
            self.is_dynamic = true;
        }
    }
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

fn is_of_name(c: char) -> bool {
    is_of_word(c) || c == '.'
}

/// The next word, and what follows it.
fn next_word(text: &str) -> Option<(&str, &str)> {
    let start = text.find(is_of_word)?;
    let from = text.get(start..)?;
    let end = from.find(|c| !is_of_word(c)).unwrap_or(from.len());
    from.split_at_checked(end)
}

#[cfg(test)]
mod tests {
    use super::mentioned_settings;

    #[test]
    fn names_are_found_where_code_sets_them() {
        let rows: [(&str, &[&str], bool); 17] = [
            ("BEGIN PERFORM set_config('app.tenant', $1, false); END", &["app.tenant"], false),
            (
                "PERFORM pg_catalog.SET_CONFIG( 'App.Tenant'::text, x, false)",
                &["app.tenant"],
                false,
            ),
            ("EXECUTE 'SELECT set_config(''a.b'', ''c'', false)'", &["a.b"], false),
            ("SELECT set_config(E'a.b', 'c', true)", &["a.b"], false),
            (
                "SET app.tenant = 'x'; SET LOCAL a.b TO 1; SET SESSION c.d = 2",
                &["a.b", "app.tenant", "c.d"],
                false,
            ),
            ("RESET app.tenant", &["app.tenant"], false),
            ("SET \"App\".\"Tenant\" = 1", &["app.tenant"], false),
            ("UPDATE t SET a = 1; set work_mem = '1MB'", &[], false),
            ("PERFORM set_config('work_mem', '1MB', false)", &[], false),
            ("PERFORM set_config(name, value, false)", &[], true),
            ("PERFORM set_config('app.' || name, value, false)", &[], true),
            ("EXECUTE 'SET ' || name || ' = 1'", &[], true),
            ("EXECUTE format('SET %I = %L', n, v)", &[], true),
            ("EXECUTE 'SET SESSION ' || quote_ident(n)", &[], true),
            ("EXECUTE v_sql; CREATE TABLE offset_config (a int)", &[], false),
            ("PERFORM setseed(0.5)", &[], true),
            ("LOAD 'auto_explain'", &[], true),
        ];
        for (code, names, is_dynamic) in rows {
            let found = mentioned_settings(code);
            assert!(found.names.iter().eq(names), "{code}: {found:?}");
            assert_eq!(found.is_dynamic, is_dynamic, "{code}");
        }
    }
}
