//! The one source for every key of the configuration.
//!
//! A section of the file is written once, as a [`section!`]: each key with its type, its default, its
//! line of why (the doc comment) and whether this version has the feature behind it. The parser, the
//! reference configuration, the JSON Schema and the suggestions for misspelt keys are all read from
//! there. A value that is one of a few words is a [`words!`], likewise. To make a key or a word
//! available, change its `planned()` to `available()`.

use serde_json::Value as Json;

use super::fields::Fields;
use super::scope::Scope;

/// Whether this version has the feature behind a key, or behind one word of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Availability {
    /// Works.
    Available,
    /// Not built yet: any value but the default is refused.
    Planned,
}

/// What is to be said about a key besides its name, type and default.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) availability: Availability,
    /// Least and greatest value, in the unit of [`Setting::measure`].
    pub(crate) range: Option<(u64, u64)>,
    /// A TOML value to show where the default is that there is none.
    pub(crate) example: Option<&'static str>,
    /// Whether the section makes no sense without this key.
    pub(crate) is_required: bool,
    /// A section that only holds what differs from the section it names.
    pub(crate) overrides: Option<&'static str>,
}

/// A key or word that works.
pub(crate) const fn available() -> Facts {
    Facts {
        availability: Availability::Available,
        range: None,
        example: None,
        is_required: false,
        overrides: None,
    }
}

/// A key or word whose feature is not built yet.
pub(crate) const fn planned() -> Facts {
    Facts { availability: Availability::Planned, ..available() }
}

impl Facts {
    /// Bounds the value: a count, milliseconds or bytes, both ends included.
    pub(crate) const fn within(self, least: u64, greatest: u64) -> Self {
        Self { range: Some((least, greatest)), ..self }
    }

    /// Shows this TOML value, commented out, where there is no default.
    pub(crate) const fn example(self, toml: &'static str) -> Self {
        Self { example: Some(toml), ..self }
    }

    /// The section must have this key.
    pub(crate) const fn required(self) -> Self {
        Self { is_required: true, ..self }
    }

    /// The key is a section of what differs from the section of that name.
    pub(crate) const fn overriding(self, section: &'static str) -> Self {
        Self { overrides: Some(section), ..self }
    }
}

/// One key of a section.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// The lines of why, as in the doc comment.
    pub(crate) why: &'static [&'static str],
    pub(crate) facts: Facts,
    pub(crate) shape: Shape,
    /// The default as TOML.
    pub(crate) default: fn() -> String,
}

/// What stands behind a key.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    /// A value.
    Value {
        /// Its JSON Schema.
        schema: fn() -> Json,
        /// The words it may be, when it is one of a few.
        words: fn() -> Vec<Word>,
        /// Whether its zero or empty form means that there is none, whatever the range.
        is_optional: bool,
    },
    /// A section of its own.
    Table(&'static Table),
    /// Sections that the operator names.
    Named {
        /// The keys of each.
        table: &'static Table,
        /// The name that the reference configuration uses.
        example: &'static str,
    },
    /// A name kept for later.
    Reserved,
}

/// The keys of a section, in the order of the reference configuration.
pub(crate) struct Table {
    /// The lines of why of the section itself.
    pub(crate) about: &'static [&'static str],
    pub(crate) keys: &'static [Key],
}

/// One word of a [`words!`], with its availability.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word {
    pub(crate) text: &'static str,
    pub(crate) why: &'static [&'static str],
    pub(crate) facts: Facts,
}

/// A type that a key may have.
pub(crate) trait Setting: Clone + PartialEq {
    /// What stands behind a key of this type.
    const SHAPE: Shape;

    /// Takes the value from the file. On a problem reports it, keeps the old value and answers false.
    fn overlay(&mut self, value: &toml::de::DeValue<'_>, scope: &mut Scope<'_>) -> bool;

    /// The value as TOML.
    fn toml(&self) -> String;

    /// Lists what stands behind the key: itself, or each of its own keys.
    fn list(&self, key: &str, default: &Self, out: &mut Vec<Listed>) {
        out.push(Listed { key: key.to_owned(), value: self.toml(), default: default.toml() });
    }

    /// The number that [`Facts::within`] bounds, and how to write such a number.
    fn measure(&self) -> Option<Measure> {
        None
    }
}

/// A key with its value, as SHOW CONFIG lists it. Secrets are masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The dotted key.
    pub key: String,
    /// The value in force, as TOML.
    pub value: String,
    /// The default, as TOML.
    pub default: String,
}

/// A bounded quantity.
pub(crate) struct Measure {
    /// A count, milliseconds or bytes.
    pub(crate) amount: u64,
    /// Writes an amount the way the file does.
    pub(crate) show: fn(u64) -> String,
}

/// A struct that stands behind a table of the file.
pub(crate) trait Section: Sized {
    /// Its keys.
    const TABLE: &'static Table;

    /// Takes every key that the table has. Answers whether every value was understood.
    fn overlay_keys(&mut self, fields: &Fields<'_, '_>, scope: &mut Scope<'_>) -> bool;

    /// Looks for values that do not go together. A key whose value was a problem kept its old one:
    /// [`Scope::is_sure`] tells.
    fn check(&mut self, fields: &Fields<'_, '_>, scope: &mut Scope<'_>);

    /// Lists every key under this path with its value.
    fn list_keys(&self, path: &str, default: &Self, out: &mut Vec<Listed>);

    /// Takes a whole table: its keys, the unknown ones, and what does not go together.
    fn overlay_table(&mut self, fields: &Fields<'_, '_>, scope: &mut Scope<'_>) -> bool {
        let understood = self.overlay_keys(fields, scope);
        fields.report_unknown(scope);
        self.check(fields, scope);
        understood
    }
}

/// Declares a section: see the module's head.
///
/// `checked by` names a function that looks for values that do not go together.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $vis:vis struct $name:ident $(checked by $check:path)? {
            $(
                $(#[doc = $why:literal])+
                $key:ident: $type:ty = $default:expr => $facts:expr;
            )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq)]
        $vis struct $name {
            $( $(#[doc = $why])+ $vis $key: $type, )+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default,)+ }
            }
        }

        impl $crate::config::spec::Section for $name {
            const TABLE: &'static $crate::config::spec::Table = &$crate::config::spec::Table {
                about: &[$($about),+],
                keys: &[$(
                    $crate::config::spec::Key {
                        name: stringify!($key),
                        why: &[$($why),+],
                        facts: $facts,
                        shape: <$type as $crate::config::spec::Setting>::SHAPE,
                        default: || {
                            $crate::config::spec::Setting::toml(&Self::default().$key)
                        },
                    },
                )+],
            };

            fn overlay_keys(
                &mut self,
                fields: &$crate::config::fields::Fields<'_, '_>,
                scope: &mut $crate::config::scope::Scope<'_>,
            ) -> bool {
                let standard = Self::default();
                let mut understood = true;
                $(
                    understood &= fields.read(
                        stringify!($key),
                        $facts,
                        &mut self.$key,
                        &standard.$key,
                        scope,
                    );
                )+
                understood
            }

            fn list_keys(
                &self,
                path: &str,
                default: &Self,
                out: &mut Vec<$crate::config::spec::Listed>,
            ) {
                $(
                    $crate::config::spec::Setting::list(
                        &self.$key,
                        &format!("{path}.{}", stringify!($key)),
                        &default.$key,
                        out,
                    );
                )+
            }

            fn check(
                &mut self,
                _fields: &$crate::config::fields::Fields<'_, '_>,
                _scope: &mut $crate::config::scope::Scope<'_>,
            ) {
                $( $check(self, _fields, _scope); )?
            }
        }
    };
}

/// Lets a section stand behind a key of another section.
macro_rules! nested {
    ($($name:ty),+) => {$(
        impl $crate::config::spec::Setting for $name {
            const SHAPE: $crate::config::spec::Shape = $crate::config::spec::Shape::Table(
                <$name as $crate::config::spec::Section>::TABLE,
            );

            fn overlay(
                &mut self,
                value: &toml::de::DeValue<'_>,
                scope: &mut $crate::config::scope::Scope<'_>,
            ) -> bool {
                scope.table(value, <$name as $crate::config::spec::Section>::TABLE, |fields, scope| {
                    $crate::config::spec::Section::overlay_table(self, fields, scope)
                })
            }

            fn toml(&self) -> String {
                String::new()
            }

            fn list(&self, key: &str, default: &Self, out: &mut Vec<$crate::config::spec::Listed>) {
                $crate::config::spec::Section::list_keys(self, key, default, out);
            }
        }
    )+};
}

/// Declares a value that is one of a few words: see the module's head.
macro_rules! words {
    (
        $(#[doc = $about:literal])+
        pub enum $name:ident {
            $(
                $(#[doc = $why:literal])+
                $variant:ident = $text:literal => $facts:expr;
            )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $( $(#[doc = $why])+ $variant, )+
        }

        impl $name {
            const WORDS: &'static [(Self, $crate::config::spec::Word)] = &[$(
                (
                    Self::$variant,
                    $crate::config::spec::Word {
                        text: $text,
                        why: &[$($why),+],
                        facts: $facts,
                    },
                ),
            )+];

            /// The word in the configuration.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $( Self::$variant => $text, )+
                }
            }

            fn words() -> Vec<$crate::config::spec::Word> {
                Self::WORDS.iter().map(|(_, word)| *word).collect()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::config::spec::Setting for $name {
            const SHAPE: $crate::config::spec::Shape = $crate::config::spec::Shape::Value {
                schema: || $crate::config::value::words_schema(&Self::words()),
                words: Self::words,
                is_optional: false,
            };

            fn overlay(
                &mut self,
                value: &toml::de::DeValue<'_>,
                scope: &mut $crate::config::scope::Scope<'_>,
            ) -> bool {
                $crate::config::value::read_word(Self::WORDS, value, scope)
                    .map(|word| *self = word)
                    .is_some()
            }

            fn toml(&self) -> String {
                format!("\"{}\"", self.as_str())
            }
        }
    };
}

pub(crate) use {nested, section, words};
