//! The keys of one table of the file, beside those that its section knows.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::scope::{Scope, Step};
use super::spec::{Availability, Facts, Section, Setting, Table};
use super::suggest;

/// How a key or word that is not built yet is refused.
pub(crate) const NOT_AVAILABLE: &str = "not available in this version";

/// The keys that a table of the file has, beside those that its section knows.
pub(crate) struct Fields<'a, 't> {
    table: &'a DeTable<'t>,
    known: &'static Table,
}

impl<'a, 't> Fields<'a, 't> {
    pub(crate) fn new(table: &'a DeTable<'t>, known: &'static Table) -> Self {
        Self { table, known }
    }

    /// The key's value, where the file has it.
    pub(crate) fn get(&self, name: &str) -> Option<&'a Spanned<DeValue<'t>>> {
        let (_, value) = self.table.iter().find(|(key, _)| key.get_ref() == name)?;
        // What a syntax error left without a value has no place in the text.
        (!value.span().is_empty()).then_some(value)
    }

    /// Whether the file has the key.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Takes a section into `target`.
    pub(crate) fn section<S: Section>(&self, name: &str, target: &mut S, scope: &mut Scope<'_>) {
        let Some(value) = self.get(name) else { return };
        scope.enter(Step::Key(name), value.span(), |scope| {
            scope.table(value.get_ref(), S::TABLE, |fields, scope| {
                target.overlay_table(fields, scope)
            });
        });
    }

    /// Reads the sections that the operator named, each into what `start` gives for it, and `check`s
    /// each by its name.
    pub(crate) fn named<S: Section>(
        &self,
        name: &str,
        scope: &mut Scope<'_>,
        mut start: impl FnMut(&Fields<'_, '_>, &mut Scope<'_>) -> S,
        mut check: impl FnMut(&str, &S, &Fields<'_, '_>, &mut Scope<'_>),
    ) -> BTreeMap<String, S> {
        let mut sections = BTreeMap::new();
        let Some(value) = self.get(name) else {
            return sections;
        };
        scope.enter(Step::Key(name), value.span(), |scope| {
            scope.table(value.get_ref(), self.known, |fields, scope| {
                for (key, value) in fields.table {
                    let name = key.get_ref().as_ref();
                    let mut read = |fields: &Fields<'_, '_>, scope: &mut Scope<'_>| {
                        let mut section = start(fields, scope);
                        let is_read = section.overlay_table(fields, scope);
                        check(name, &section, fields, scope);
                        sections.insert(name.to_owned(), section);
                        is_read
                    };
                    scope.enter(Step::Key(name), key.span(), |scope| {
                        scope.table(value.get_ref(), S::TABLE, &mut read)
                    });
                }
                true
            })
        });
        sections
    }

    /// A string key's value, before its turn and without reporting anything.
    pub(crate) fn peek(&self, name: &str, scope: &mut Scope<'_>) -> Option<String> {
        let raw = self.get(name)?.get_ref().as_str()?;
        scope.quietly(|scope| scope.expand(raw))
    }

    /// Takes one key into `target`. Answers false when its value was a problem.
    pub(crate) fn read<T: Setting>(
        &self,
        name: &str,
        facts: Facts,
        target: &mut T,
        standard: &T,
        scope: &mut Scope<'_>,
    ) -> bool {
        let Some(value) = self.get(name) else {
            if facts.is_required && !scope.is_partial() {
                let example = facts.example.map_or_else(|| standard.toml(), str::to_owned);
                let suggestion = format!("for example {name} = {example}");
                self.report(name, scope, "missing", suggestion);
                return false;
            }
            return true;
        };
        scope.enter(Step::Key(name), value.span(), |scope| {
            let mut read = target.clone();
            let known = scope.count();
            let is_sound =
                read.overlay(value.get_ref(), scope) && judge(facts, &read, standard, scope);
            if is_sound {
                *target = read;
            } else {
                let default = standard.toml();
                scope.suggest_since(known, || match facts.example {
                    Some(example) => format!("for example {name} = {example}"),
                    None => format!("the default is {default}"),
                });
            }
            is_sound
        })
    }

    /// Notes a problem at a key of this table, or at the table when the file does not have the key.
    pub(crate) fn report(
        &self,
        name: &str,
        scope: &mut Scope<'_>,
        message: impl Into<String>,
        suggestion: impl Into<String>,
    ) {
        let suggestion = Some(suggestion.into());
        let span = self.get(name).map_or_else(|| scope.span(), Spanned::span);
        scope.enter(Step::Key(name), span, |scope| scope.report(message, suggestion));
    }

    /// Notes a problem at an element of a list.
    pub(crate) fn report_element(
        &self,
        name: &str,
        at: usize,
        scope: &mut Scope<'_>,
        message: impl Into<String>,
        suggestion: &str,
    ) {
        let Some(value) = self.get(name) else { return };
        let element = value.get_ref().as_array().and_then(|elements| elements.get(at));
        let span = element.map_or_else(|| value.span(), Spanned::span);
        scope.enter(Step::Key(name), value.span(), |scope| {
            scope.enter(Step::Element(at), span, |scope| {
                scope.report(message, Some(suggestion.to_owned()));
            });
        });
    }

    /// Notes every key of the file that its section does not know.
    pub(crate) fn report_unknown(&self, scope: &mut Scope<'_>) {
        // A section whose header is broken leaves its keys at the top.
        if scope.is_partial() && scope.is_at_top() {
            return;
        }
        for (key, _) in self.table {
            let name = key.get_ref();
            if self.known.keys.iter().any(|known| known.name == name) {
                continue;
            }
            let suggestion = suggest::for_key(name, self.known);
            scope.enter(Step::Key(name), key.span(), |scope| {
                scope.report("unknown key", suggestion);
            });
        }
    }
}

/// Refuses a value that this version cannot honour, or that is out of its bounds.
fn judge<T: Setting>(facts: Facts, value: &T, standard: &T, scope: &mut Scope<'_>) -> bool {
    if facts.availability != Availability::Available && value != standard {
        let suggestion = match standard.toml() {
            empty if empty.is_empty() => "leave it out".to_owned(),
            default => format!("leave it out, or write the default {default}"),
        };
        scope.report(NOT_AVAILABLE, Some(suggestion));
        return false;
    }
    let (Some(measure), Some((least, greatest))) = (value.measure(), facts.range) else {
        return true;
    };
    if (least..=greatest).contains(&measure.amount) {
        return true;
    }
    let (bound, word) = match measure.amount < least {
        true => (least, "least"),
        false => (greatest, "greatest"),
    };
    let got = (measure.show)(measure.amount);
    let message = format!("{got} is out of range");
    scope.report(message, Some(format!("the {word} is {}", (measure.show)(bound))));
    false
}
