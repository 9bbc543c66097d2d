//! The types a key may have: how each is read, written and described.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Value as Json, json};
use toml::de::{DeInteger, DeValue};

use super::address::{Address, AddressError};
use super::fields::NOT_AVAILABLE;
use super::quantity::{self, Size};
use super::scope::{Scope, Step, kind};
use super::secret::Secret;
use super::spec::{Availability, Measure, Setting, Shape, Word};
use super::suggest;

/// How much of a wrong value a message repeats, in characters.
const MAX_QUOTED: usize = 60;

/// A wrong value as a message repeats it.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or(text)),
        None => format!("{text:?}"),
    }
}

fn no_words() -> Vec<Word> {
    Vec::new()
}

/// Strings may hold `${NAME}`, so every schema of a string accepts one.
const FROM_ENVIRONMENT: &str = r"\$\{[^}]+\}";

fn or_from_environment(schema: &Json) -> Json {
    json!({ "anyOf": [schema, { "type": "string", "pattern": FROM_ENVIRONMENT }] })
}

/// A value that is a string in the file and a type of its own here.
pub(crate) trait Text: Clone + PartialEq {
    /// What a right value looks like, as in "expected …".
    const EXPECTS: &'static str;
    /// Whether the text must not be repeated in messages.
    const IS_SECRET: bool = false;
    /// Whether a list of one may be shown as its element.
    const IS_SHOWN_ALONE: bool = false;

    /// Reads the text, `${…}` already replaced. A problem is a message and a suggestion.
    fn from_text(text: &str, scope: &Scope<'_>) -> Result<Self, Complaint>;

    /// The text that reads as this value.
    fn to_text(&self) -> String;

    /// The JSON Schema.
    fn schema() -> Json {
        json!({ "type": "string" })
    }
}

/// What is wrong with a text; the message follows the text in quotes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub(crate) message: String,
    pub(crate) suggestion: String,
}

impl Complaint {
    pub(crate) fn new(message: impl Into<String>, suggestion: impl Into<String>) -> Self {
        Self { message: message.into(), suggestion: suggestion.into() }
    }

    /// Reports the complaint about a string of the file, of which `${…}` may have made another: what
    /// a variable holds may be secret, so only the file's own words are repeated.
    pub(crate) fn report(self, value: &DeValue<'_>, is_secret: bool, scope: &mut Scope<'_>) {
        let raw = value.as_str().unwrap_or_default();
        let subject = if is_secret { "the value".to_owned() } else { quoted(raw) };
        let suggestion = (!raw.contains("${")).then_some(self.suggestion);
        scope.report(format!("{subject} {}", self.message), suggestion);
    }
}

/// Reads a table whose keys are the operator's: an entry each, or `None` if anything in it is no good.
/// `example` is one as it should be.
pub(super) fn read_entries<K: Ord, V>(
    value: &DeValue<'_>,
    example: &str,
    scope: &mut Scope<'_>,
    read: impl Fn(&str, &DeValue<'_>, &mut Scope<'_>) -> Option<(K, V)>,
) -> Option<BTreeMap<K, V>> {
    let DeValue::Table(table) = value else {
        let message = format!("expected a table, got {}", kind(value));
        scope.report(message, Some(format!("write {example}")));
        return None;
    };
    let mut entries = BTreeMap::new();
    let mut is_sound = true;
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        let entry =
            scope.enter(Step::Key(name), key.span(), |scope| read(name, value.get_ref(), scope));
        is_sound &= entry.is_some();
        entries.extend(entry);
    }
    is_sound.then_some(entries)
}

/// The string itself, `${…}` replaced; anything but a string is a problem.
pub(crate) fn read_string(
    expects: &str,
    value: &DeValue<'_>,
    scope: &mut Scope<'_>,
) -> Option<String> {
    match value {
        DeValue::String(raw) => scope.expand(raw),
        other => {
            scope.report(format!("expected {expects}, got {}", kind(other)), None);
            None
        }
    }
}

fn read_text<T: Text>(value: &DeValue<'_>, scope: &mut Scope<'_>) -> Option<T> {
    let text = read_string(T::EXPECTS, value, scope)?;
    T::from_text(&text, scope)
        .map_err(|complaint| complaint.report(value, T::IS_SECRET, scope))
        .ok()
}

fn toml_string(text: &str) -> String {
    toml::Value::from(text).to_string()
}

macro_rules! text_settings {
    ($($type:ty),+) => {$(
        impl Setting for $type {
            const SHAPE: Shape = Shape::Value {
                schema: <Self as Text>::schema,
                words: no_words,
                is_optional: false,
            };

            fn overlay(&mut self, value: &DeValue<'_>, scope: &mut Scope<'_>) -> bool {
                read_text(value, scope).map(|read| *self = read).is_some()
            }

            fn toml(&self) -> String {
                toml_string(&self.to_text())
            }
        }

        impl Optional for $type {
            const NOTHING: &'static str = "\"\"";

            fn read(value: &DeValue<'_>, scope: &mut Scope<'_>) -> Option<Option<Self>> {
                let text = read_string(Self::EXPECTS, value, scope)?;
                if text.is_empty() { Some(None) } else { read_text(value, scope).map(Some) }
            }
        }
    )+};
}

text_settings!(String, PathBuf, Secret, Address);

impl Text for String {
    const EXPECTS: &'static str = "a string";

    fn from_text(text: &str, _: &Scope<'_>) -> Result<Self, Complaint> {
        if text.contains('\0') {
            return Err(Complaint::new("holds a zero byte", "PostgreSQL's names and SQL cannot"));
        }
        Ok(text.to_owned())
    }

    fn to_text(&self) -> String {
        self.clone()
    }
}

/// A path in the file is relative to the file, not to where pgweir was started.
impl Text for PathBuf {
    const EXPECTS: &'static str = "a path";

    fn from_text(text: &str, scope: &Scope<'_>) -> Result<Self, Complaint> {
        if text.is_empty() || text.contains('\0') {
            return Err(Complaint::new("is not a path", "leave the key out for none"));
        }
        Ok(scope.world().directory.join(text))
    }

    fn to_text(&self) -> String {
        self.display().to_string()
    }
}

impl Text for Secret {
    const EXPECTS: &'static str = "a string";
    const IS_SECRET: bool = true;

    fn from_text(text: &str, _: &Scope<'_>) -> Result<Self, Complaint> {
        if text.contains('\0') {
            return Err(Complaint::new("holds a zero byte", "a password cannot"));
        }
        Ok(Self::new(text))
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

impl Text for Address {
    const EXPECTS: &'static str = "an address such as \"127.0.0.1:6432\"";
    const IS_SHOWN_ALONE: bool = true;

    fn from_text(text: &str, _: &Scope<'_>) -> Result<Self, Complaint> {
        Self::parse(text, None).map_err(AddressError::into_complaint)
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

impl Text for IpNet {
    const EXPECTS: &'static str = "an address range such as \"10.0.0.0/8\"";

    fn from_text(text: &str, _: &Scope<'_>) -> Result<Self, Complaint> {
        let network = match text.parse::<std::net::IpAddr>() {
            Ok(address) => Self::from(address),
            Err(_) => text.parse::<Self>().map_err(|_| {
                Complaint::new("is not an address range", "for example \"10.0.0.0/8\"")
            })?,
        };
        if network.addr() != network.network() {
            let suggestion = format!("did you mean \"{}\"?", network.trunc());
            return Err(Complaint::new("has bits set to the right of its mask", suggestion));
        }
        Ok(network)
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

impl Setting for bool {
    const SHAPE: Shape = Shape::Value {
        schema: || or_from_environment(&json!({ "type": "boolean" })),
        words: no_words,
        is_optional: false,
    };

    fn overlay(&mut self, value: &DeValue<'_>, scope: &mut Scope<'_>) -> bool {
        let read = match value {
            DeValue::Boolean(read) => Some(*read),
            DeValue::String(raw) if raw.contains("${") => {
                let Some(text) = scope.expand(raw) else {
                    return false;
                };
                text.parse().ok()
            }
            _ => None,
        };
        let Some(read) = read else {
            let got = describe(value);
            scope.report(format!("expected true or false, got {got}"), None);
            return false;
        };
        *self = read;
        true
    }

    fn toml(&self) -> String {
        self.to_string()
    }
}

/// A value as messages repeat it: what the file says, short.
fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(integer) => integer.to_string(),
        other => kind(other).to_owned(),
    }
}

fn integer(read: &DeInteger<'_>) -> Option<i128> {
    i128::from_str_radix(read.as_str(), read.radix()).ok()
}

/// A count. `None` when the value is no whole number, or one that no count can be.
fn read_count<T: TryFrom<i128>>(value: &DeValue<'_>, scope: &mut Scope<'_>) -> Option<T> {
    let number = match value {
        DeValue::Integer(read) => integer(read),
        DeValue::String(raw) if raw.contains("${") => scope.expand(raw)?.trim().parse().ok(),
        _ => None,
    };
    let count = number.and_then(|number| T::try_from(number).ok());
    if let (None, Some(number)) = (&count, number) {
        let end = if number < 0 { "the least is 0" } else { "that is too many" };
        scope.report(format!("{} is out of range", describe(value)), Some(end.to_owned()));
    } else if count.is_none() {
        let suggestion = match value {
            DeValue::String(raw) if raw.parse::<u32>().is_ok() => {
                Some(format!("write {raw}, without the quotes"))
            }
            _ => None,
        };
        scope.report(format!("expected a whole number, got {}", describe(value)), suggestion);
    }
    count
}

macro_rules! count_settings {
    ($($type:ty),+) => {$(
        impl Setting for $type {
            const SHAPE: Shape = Shape::Value {
                schema: || or_from_environment(&json!({ "type": "integer", "minimum": 0 })),
                words: no_words,
                is_optional: false,
            };

            fn overlay(&mut self, value: &DeValue<'_>, scope: &mut Scope<'_>) -> bool {
                read_count(value, scope).map(|read| *self = read).is_some()
            }

            fn toml(&self) -> String {
                self.to_string()
            }

            fn measure(&self) -> Option<Measure> {
                Some(Measure { amount: u64::from(*self), show: |amount| amount.to_string() })
            }
        }

        impl Optional for $type {
            const NOTHING: &'static str = "0";

            fn read(value: &DeValue<'_>, scope: &mut Scope<'_>) -> Option<Option<Self>> {
                read_count(value, scope).map(|read: $type| (read != 0).then_some(read))
            }
        }
    )+};
}

count_settings!(u16, u32);

fn read_duration(value: &DeValue<'_>, scope: &mut Scope<'_>) -> Option<Duration> {
    if let DeValue::Integer(read) = value {
        // The one number that needs no unit.
        if integer(read) == Some(0) {
            return Some(Duration::ZERO);
        }
        let suggestion = format!("write a unit, such as \"{}s\"", read.as_str());
        scope.report(format!("expected a duration, got {read}"), Some(suggestion));
        return None;
    }
    let text = read_string("a duration such as \"5s\"", value, scope)?;
    let read = quantity::parse_duration(&text);
    if read.is_none() {
        let message = format!("{} is not a duration", describe(value));
        scope.report(message, Some("for example \"250ms\", \"5s\", \"10m\", \"1h\"".into()));
    }
    read
}

impl Setting for Duration {
    const SHAPE: Shape = Shape::Value {
        schema: || {
            json!({ "anyOf": [
                { "type": "string", "pattern": quantity::DURATION_PATTERN },
                { "const": 0 },
                { "type": "string", "pattern": FROM_ENVIRONMENT },
            ] })
        },
        words: no_words,
        is_optional: false,
    };

    fn overlay(&mut self, value: &DeValue<'_>, scope: &mut Scope<'_>) -> bool {
        read_duration(value, scope).map(|read| *self = read).is_some()
    }

    fn toml(&self) -> String {
        format!("\"{}\"", quantity::duration_text(*self))
    }

    fn measure(&self) -> Option<Measure> {
        let amount = u64::try_from(self.as_millis()).unwrap_or(u64::MAX);
        let show =
            |amount| format!("\"{}\"", quantity::duration_text(Duration::from_millis(amount)));
        Some(Measure { amount, show })
    }
}

impl Optional for Duration {
    const NOTHING: &'static str = "\"0s\"";

    fn read(value: &DeValue<'_>, scope: &mut Scope<'_>) -> Option<Option<Self>> {
        read_duration(value, scope).map(|read| (!read.is_zero()).then_some(read))
    }
}

fn read_size(value: &DeValue<'_>, scope: &mut Scope<'_>) -> Option<Size> {
    let read = match value {
        DeValue::Integer(read) => integer(read).and_then(|bytes| u64::try_from(bytes).ok()),
        DeValue::String(raw) => quantity::parse_size(&scope.expand(raw)?),
        _ => None,
    };
    if read.is_none() {
        let message = format!("{} is not a size", describe(value));
        scope.report(
            message,
            Some("for example \"16KiB\", \"8MB\", \"1GiB\" or plain bytes".into()),
        );
    }
    read.map(Size)
}

impl Setting for Size {
    const SHAPE: Shape = Shape::Value {
        schema: || {
            json!({ "anyOf": [
                { "type": "string", "pattern": quantity::SIZE_PATTERN },
                { "type": "integer", "minimum": 0 },
                { "type": "string", "pattern": FROM_ENVIRONMENT },
            ] })
        },
        words: no_words,
        is_optional: false,
    };

    fn overlay(&mut self, value: &DeValue<'_>, scope: &mut Scope<'_>) -> bool {
        read_size(value, scope).map(|read| *self = read).is_some()
    }

    fn toml(&self) -> String {
        format!("\"{self}\"")
    }

    fn measure(&self) -> Option<Measure> {
        Some(Measure { amount: self.0, show: |amount| format!("\"{}\"", Size(amount)) })
    }
}

impl Optional for Size {
    const NOTHING: &'static str = "\"0B\"";

    fn read(value: &DeValue<'_>, scope: &mut Scope<'_>) -> Option<Option<Self>> {
        read_size(value, scope).map(|read| (read.0 != 0).then_some(read))
    }
}

/// A value whose zero or empty form in the file means that there is none.
pub(crate) trait Optional: Setting {
    /// That form, as TOML.
    const NOTHING: &'static str;

    /// Reads a value that may be that form.
    fn read(value: &DeValue<'_>, scope: &mut Scope<'_>) -> Option<Option<Self>>;
}

impl<T: Optional> Setting for Option<T> {
    const SHAPE: Shape = match T::SHAPE {
        Shape::Value { schema, words, .. } => Shape::Value { schema, words, is_optional: true },
        other => other,
    };

    fn overlay(&mut self, value: &DeValue<'_>, scope: &mut Scope<'_>) -> bool {
        T::read(value, scope).map(|read| *self = read).is_some()
    }

    fn toml(&self) -> String {
        self.as_ref().map_or_else(|| T::NOTHING.to_owned(), Setting::toml)
    }

    fn measure(&self) -> Option<Measure> {
        self.as_ref().and_then(Setting::measure)
    }
}

/// A value that a list may hold.
pub(crate) trait Element: Clone + PartialEq {
    /// Whether a list of one is written as its element.
    const IS_SHOWN_ALONE: bool = false;

    /// Reads one element.
    fn read(value: &DeValue<'_>, scope: &mut Scope<'_>) -> Option<Self>;

    /// The element as TOML.
    fn toml(&self) -> String;

    /// Its JSON Schema.
    fn schema() -> Json;
}

impl<T: Text> Element for T {
    const IS_SHOWN_ALONE: bool = T::IS_SHOWN_ALONE;

    fn read(value: &DeValue<'_>, scope: &mut Scope<'_>) -> Option<Self> {
        read_text(value, scope)
    }

    fn toml(&self) -> String {
        toml_string(&self.to_text())
    }

    fn schema() -> Json {
        <T as Text>::schema()
    }
}

/// A list; one value alone is a list of one.
impl<T: Element> Setting for Vec<T> {
    const SHAPE: Shape = Shape::Value {
        schema: || json!({ "anyOf": [T::schema(), { "type": "array", "items": T::schema() }] }),
        words: no_words,
        is_optional: false,
    };

    fn overlay(&mut self, value: &DeValue<'_>, scope: &mut Scope<'_>) -> bool {
        let read: Option<Self> = match value {
            DeValue::Array(elements) => {
                // Every element is read before any of them ends the list: all problems are named.
                let read: Vec<Option<T>> = elements
                    .iter()
                    .enumerate()
                    .map(|(at, element)| {
                        scope.enter(Step::Element(at), element.span(), |scope| {
                            T::read(element.get_ref(), scope)
                        })
                    })
                    .collect();
                read.into_iter().collect()
            }
            DeValue::String(text) if text.is_empty() => Some(Vec::new()),
            alone => T::read(alone, scope).map(|element| vec![element]),
        };
        read.map(|read| *self = read).is_some()
    }

    fn toml(&self) -> String {
        match self.as_slice() {
            [alone] if T::IS_SHOWN_ALONE => alone.toml(),
            elements => {
                let elements: Vec<String> = elements.iter().map(Element::toml).collect();
                format!("[{}]", elements.join(", "))
            }
        }
    }
}

/// The JSON Schema of a value that is one of a few words: those that work.
pub(crate) fn words_schema(words: &[Word]) -> Json {
    let usable: Vec<&str> = usable(words).collect();
    or_from_environment(&json!({ "enum": usable }))
}

/// The words that work in this version.
pub(crate) fn usable(words: &[Word]) -> impl Iterator<Item = &'static str> {
    let is_usable = |word: &&Word| word.facts.availability == Availability::Available;
    words.iter().filter(is_usable).map(|word| word.text)
}

/// Reads one of a few words.
pub(crate) fn read_word<T: Copy>(
    words: &[(T, Word)],
    value: &DeValue<'_>,
    scope: &mut Scope<'_>,
) -> Option<T> {
    let all: Vec<Word> = words.iter().map(|(_, word)| *word).collect();
    let text = read_string("a string", value, scope)?;
    let Some((read, word)) = words.iter().find(|(_, word)| word.text == text) else {
        let suggestion = suggest::for_word(&text, &all);
        scope.report(format!("{} is not one of its values", describe(value)), Some(suggestion));
        return None;
    };
    if word.facts.availability == Availability::Available {
        return Some(*read);
    }
    let suggestion = format!("use {}", suggest::either(usable(&all)));
    scope.report(format!("\"{text}\" is {NOT_AVAILABLE}"), Some(suggestion));
    None
}
