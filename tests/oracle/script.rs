//! A script of psql's, cut into what is sent: statements, the data of COPY, and the few of psql's own
//! commands that change what is sent.

use std::collections::HashMap;

/// One thing to send.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) sql: String,
    /// What follows `COPY … FROM STDIN`.
    pub(crate) data: Option<String>,
}

/// Cuts a script. Variables that psql would get from its environment are given.
pub(crate) fn statements(text: &str, environment: &HashMap<&str, String>) -> Vec<Statement> {
    let mut variables: HashMap<String, String> = HashMap::new();
    let mut found = Vec::new();
    let mut pending = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with('\\') && pending.trim().is_empty() {
            command(line, environment, &mut variables);
            continue;
        }
        // A command of psql's behind a statement sends it.
        let (sql, sends) = match line.find(" \\").filter(|_| !line.contains('\'')) {
            Some(at) => (&line[..at], true),
            None => (line, false),
        };
        pending.push_str(sql);
        pending.push('\n');
        if sends {
            pending.push(';');
        }
        while let Some(end) = end_of_statement(&pending) {
            let rest = pending.split_off(end);
            let sql = interpolate(pending.trim().trim_end_matches(';'), &variables);
            pending = rest;
            if sql.trim().is_empty() {
                continue;
            }
            // No data follows where the server is to refuse.
            let fails = ["-- fail", "-- error"].iter().any(|mark| pending.contains(mark));
            let data = (takes_data(&sql) && !fails).then(|| {
                let data = lines.by_ref().take_while(|line| *line != "\\.");
                data.flat_map(|line| [line, "\n"]).collect()
            });
            found.push(Statement { sql, data });
        }
    }
    found
}

fn takes_data(sql: &str) -> bool {
    let sql = sql.to_ascii_lowercase();
    let lines = sql.lines().map(str::trim_start);
    let mut lines = lines.filter(|line| !line.is_empty() && !line.starts_with("--"));
    let first = lines.next();
    first.is_some_and(|line| line.starts_with("copy")) && sql.contains("from stdin")
}

/// `\set` and `\getenv`; all others only show things.
fn command(
    line: &str,
    environment: &HashMap<&str, String>,
    variables: &mut HashMap<String, String>,
) {
    let mut words = line.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some("\\getenv"), Some(name), Some(variable)) => {
            if let Some(value) = environment.get(variable) {
                variables.insert(name.to_owned(), value.clone());
            }
        }
        (Some("\\set"), Some(name), Some(first)) => {
            let parts = std::iter::once(first).chain(words);
            let value: String = parts
                .map(|part| match part.strip_prefix(':') {
                    Some(name) => variables.get(name).cloned().unwrap_or_default(),
                    None => part.trim_matches('\'').to_owned(),
                })
                .collect();
            variables.insert(name.to_owned(), value);
        }
        _ => {}
    }
}

/// Puts variables in: `:'name'` as a literal, `:"name"` as a name, `:name` as it is.
fn interpolate(sql: &str, variables: &HashMap<String, String>) -> String {
    let mut sql = sql.to_owned();
    for (name, value) in variables {
        sql = sql
            .replace(&format!(":'{name}'"), &format!("'{value}'"))
            .replace(&format!(":\"{name}\""), &format!("\"{value}\""));
    }
    sql
}

/// Where the first statement ends, behind its semicolon: outside of quotes, comments, parentheses and
/// bodies in SQL-standard form.
fn end_of_statement(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    let (mut depth, mut blocks) = (0_i32, 0_i32);
    let mut first = "";
    while at < bytes.len() {
        match bytes[at] {
            b'\'' => {
                let escapes = at > 0 && matches!(bytes[at - 1], b'e' | b'E');
                at = end_of_quoted(bytes, at, b'\'', escapes)?;
            }
            b'"' => at = end_of_quoted(bytes, at, b'"', false)?,
            b'-' if bytes.get(at + 1) == Some(&b'-') => {
                at += text[at..].find('\n').unwrap_or(text.len() - at);
            }
            b'/' if bytes.get(at + 1) == Some(&b'*') => at = end_of_comment(bytes, at)?,
            b'$' => at = end_of_dollar(text, at)?,
            b'(' => (depth, at) = (depth + 1, at + 1),
            b')' => (depth, at) = (depth - 1, at + 1),
            b';' if depth <= 0 && blocks <= 0 => return Some(at + 1),
            byte if byte.is_ascii_alphabetic() || byte == b'_' => {
                let length = text[at..]
                    .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'))
                    .unwrap_or(text.len() - at);
                let word = &text[at..at + length];
                if first.is_empty() {
                    first = word;
                }
                if first.eq_ignore_ascii_case("create") {
                    blocks += i32::from(word.eq_ignore_ascii_case("atomic"));
                    blocks += i32::from(blocks > 0 && word.eq_ignore_ascii_case("case"));
                    blocks -= i32::from(blocks > 0 && word.eq_ignore_ascii_case("end"));
                }
                at += length;
            }
            _ => at += 1,
        }
    }
    None
}

fn end_of_quoted(bytes: &[u8], start: usize, quote: u8, escapes: bool) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match (bytes.get(at)?, bytes.get(at + 1)) {
            (b'\\', _) if escapes => at += 2,
            (byte, Some(next)) if *byte == quote && *next == quote => at += 2,
            (byte, _) if *byte == quote => return Some(at + 1),
            _ => at += 1,
        }
    }
}

fn end_of_comment(bytes: &[u8], start: usize) -> Option<usize> {
    let (mut at, mut depth) = (start, 0);
    loop {
        match (bytes.get(at)?, bytes.get(at + 1)) {
            (b'/', Some(b'*')) => (at, depth) = (at + 2, depth + 1),
            (b'*', Some(b'/')) => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

/// `$1` is a parameter; `$tag$` opens a literal.
fn end_of_dollar(text: &str, start: usize) -> Option<usize> {
    let rest = &text[start + 1..];
    let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
    if !rest[length..].starts_with('$') || rest.starts_with(|c: char| c.is_ascii_digit()) {
        return Some(start + 1);
    }
    let tag = &text[start..start + length + 2];
    let body = start + tag.len();
    text[body..].find(tag).map(|end| body + end + tag.len())
}
