//! Keys that are set to other values than the file's, as `SET` on the console does; and where in a file a
//! key is.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, Source};
use super::scope::Step;

/// Sets a dotted key of a file's tree to a value in TOML. Sections on the way to it are made if need be.
///
/// # Errors
/// The key is none, or the value is no TOML.
pub(super) fn set<'t>(
    tree: &mut DeTable<'t>,
    key: &'t str,
    value: &'t str,
) -> Result<(), &'static str> {
    let names = names(key).ok_or("not a dotted key")?;
    let Some((last, sections)) = names.split_last() else { return Err("not a dotted key") };
    let (parsed, errors) = DeValue::parse_recoverable(value);
    if !errors.is_empty() {
        return Err("the value is not TOML");
    }
    let mut table = tree;
    for section in sections {
        table = enter(table, section).ok_or("a key on the way to it is not a section")?;
    }
    place(table, last, parsed.into_inner());
    Ok(())
}

/// Whether a text is a value in TOML.
#[must_use]
pub(crate) fn is_toml(text: &str) -> bool {
    DeValue::parse_recoverable(text).1.is_empty()
}

/// The section of this name in a table; it is made if it is not there.
fn enter<'a, 't>(table: &'a mut DeTable<'t>, name: &str) -> Option<&'a mut DeTable<'t>> {
    if !table.iter().any(|(key, _)| key.get_ref() == name) {
        place(table, name, DeValue::Table(DeTable::new()));
    }
    let (_, value) = table.iter_mut().find(|(key, _)| key.get_ref() == name)?;
    match value.get_mut() {
        DeValue::Table(inner) => Some(inner),
        _ => None,
    }
}

/// Puts a value into a table in the place of the one that is there. It has no place in the text: any
/// span that is not empty will do.
fn place<'t>(table: &mut DeTable<'t>, name: &str, value: DeValue<'t>) {
    let value = Spanned::new(0..1, value);
    if let Some((_, known)) = table.iter_mut().find(|(key, _)| key.get_ref() == name) {
        *known = value;
    } else {
        table.insert(Spanned::new(0..1, name.to_owned().into()), value);
    }
}

/// The names of a dotted key, which may be quoted each.
fn names(key: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = key;
    loop {
        let name;
        (name, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
        };
        if name.is_empty() {
            return None;
        }
        names.push(name.to_owned());
        if rest.is_empty() {
            return Some(names);
        }
        rest = rest.strip_prefix('.')?;
    }
}

/// A problem with a key of a file that can be read: found elsewhere, told like those found by reading.
#[must_use]
pub fn problem_at(text: &str, file: &Path, key: &str, message: impl Into<String>) -> Problem {
    let (tree, _) = DeTable::parse_recoverable(text);
    let mut sought = (key, 0..0);
    // The key itself, or the section that has it not.
    let mut candidate = Some(key);
    while let Some(path) = candidate {
        if let Some(span) = find(tree.get_ref(), "", path) {
            sought = (key, span);
            break;
        }
        candidate = path.rsplit_once('.').map(|(section, _)| section);
    }
    let (key, span) = sought;
    let place = Source::new(file, text).position(span.start);
    Problem { key: key.to_owned(), ..Problem::at(place, file, message) }
}

fn find(table: &DeTable<'_>, path: &str, sought: &str) -> Option<std::ops::Range<usize>> {
    table.iter().find_map(|(key, value)| {
        let mut path = path.to_owned();
        Step::Key(key.get_ref()).append_to(&mut path);
        if path == sought {
            let is_section = matches!(value.get_ref(), DeValue::Table(_));
            return Some(if is_section { key.span() } else { value.span() });
        }
        match value.get_ref() {
            DeValue::Table(inner) if sought.starts_with(&path) => find(inner, &path, sought),
            _ => None,
        }
    })
}
