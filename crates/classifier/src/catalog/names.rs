//! The question that a walk asks of every name it meets, and the answer.

use std::cell::RefCell;

use crate::{Access, Reason};

/// Something that a text names and does, which only a catalog can say more about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Use<'a> {
    /// It calls a function.
    Function {
        /// As it was written.
        schema: Option<&'a str>,
        /// Its name.
        name: &'a str,
        /// How many arguments the call has; `None` if there is no telling, or if some have names.
        arguments: Option<usize>,
    },
    /// `value.name`: a column, or a function of one argument in the notation of one.
    Field(&'a str),
    /// It uses an operator.
    Operator {
        /// As it was written.
        schema: Option<&'a str>,
        /// Its name.
        name: &'a str,
        /// How many operands stand beside it; `None` if there is no telling.
        operands: Option<usize>,
    },
    /// It reads a relation.
    Relation {
        /// As it was written.
        schema: Option<&'a str>,
        /// Its name.
        name: &'a str,
    },
    /// It changes a relation's rows, and sets off what is bound to that.
    Target {
        /// As it was written.
        schema: Option<&'a str>,
        /// Its name.
        name: &'a str,
    },
    /// It makes values of a type.
    Type {
        /// As it was written.
        schema: Option<&'a str>,
        /// Its name.
        name: &'a str,
    },
    /// It has rows whose type has no name: those that it puts together, and those of a query in `FROM`.
    Rows,
    /// Any query at all.
    Query,
}

/// What running something does besides its answer: a set of marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Traits(u8);

impl Traits {
    /// Nothing.
    pub(crate) const NONE: Self = Self(0);
    /// It may change what the session is: settings, locks, temporary objects.
    pub(crate) const SESSION: Self = Self(1);
    /// It draws from a sequence.
    pub(crate) const USES_SEQUENCE: Self = Self(1 << 1);
    /// It asks what the session has drawn from a sequence.
    pub(crate) const RECALLS_SEQUENCE: Self = Self(1 << 2);
    /// It may create, change or drop objects.
    pub(crate) const DEFINES: Self = Self(1 << 3);
    /// It may change settings until its transaction ends.
    pub(crate) const SETS_LOCALLY: Self = Self(1 << 4);
    /// It may run what it is given as text.
    pub(crate) const RUNS: Self = Self(1 << 5);
    /// It asks what is prepared in the session.
    pub(crate) const LISTS_STATEMENTS: Self = Self(1 << 6);
    /// It leaves state in a library of the backend's, which nobody can ask for.
    pub(crate) const KEEPS_STATE: Self = Self(1 << 7);

    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// Kinds of values: types that lead to functions which are not harmless. There are few or none of them in
/// a database; what is beyond the room for them counts as always there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Kinds(u64);

impl Kinds {
    /// None of them.
    pub(crate) const NONE: Self = Self(0);
    /// Rows whose type has no name: they can be made into those of any composite type.
    pub(crate) const ROWS: Self = Self(1 << 63);

    /// One of them by its number.
    pub(crate) fn one(number: usize) -> Self {
        let number = u32::try_from(number).ok().filter(|number| *number < 63);
        number.and_then(|number| 1_u64.checked_shl(number)).map_or(Self::NONE, Self)
    }

    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn has_any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// What a use amounts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) access: Access,
    pub(crate) reason: Reason,
    pub(crate) traits: Traits,
    /// Kinds of values that it brings with it.
    pub(crate) brings: Kinds,
    /// What it amounts to besides, where there are values of these kinds.
    pub(crate) if_there: Vec<(Kinds, Self)>,
    /// It rests on what is known of the database's own objects.
    pub(crate) uses_objects: bool,
    /// The catalog has no such name: a query that gives it a meaning of its own is right.
    pub(crate) is_unresolved: bool,
}

impl Finding {
    /// Nothing to say against it.
    pub(crate) const HARMLESS: Self = Self::new(Access::Read, Reason::Harmless);

    pub(crate) const fn new(access: Access, reason: Reason) -> Self {
        Self {
            access,
            reason,
            traits: Traits::NONE,
            brings: Kinds::NONE,
            if_there: Vec::new(),
            uses_objects: false,
            is_unresolved: false,
        }
    }

    pub(crate) fn with_traits(mut self, traits: Traits) -> Self {
        self.traits = self.traits.with(traits);
        self
    }

    /// The stronger of two.
    pub(crate) fn or(self, other: Self) -> Self {
        let traits = self.traits.with(other.traits);
        let brings = self.brings.with(other.brings);
        let mut if_there = self.if_there.clone();
        if_there.extend(other.if_there.iter().cloned());
        let uses_objects = self.uses_objects || other.uses_objects;
        let stronger = if other.access > self.access { other } else { self };
        Self { traits, brings, if_there, uses_objects, ..stronger }
    }
}

/// Whoever knows what names amount to.
pub(crate) trait Names {
    /// What this use amounts to.
    fn finding(&self, used: Use<'_>) -> Finding;

    /// True for a cluster that shards: a read may run on a node with catalogs of its own.
    fn is_sharded(&self) -> bool {
        false
    }

    /// True if relations are known: guesses from their names are not needed.
    fn knows_relations(&self) -> bool;
}

/// A [`Use`] that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Kept {
    kind: Kind,
    schema: Option<Box<str>>,
    name: Box<str>,
    arguments: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Function,
    Field,
    Operator,
    Relation,
    Target,
    Type,
    Rows,
    Query,
}

impl Kept {
    /// As it was noted.
    pub(crate) fn as_use(&self) -> Use<'_> {
        let (schema, name) = (self.schema.as_deref(), &*self.name);
        match self.kind {
            Kind::Function => Use::Function { schema, name, arguments: self.arguments },
            Kind::Field => Use::Field(name),
            Kind::Operator => Use::Operator { schema, name, operands: self.arguments },
            Kind::Relation => Use::Relation { schema, name },
            Kind::Target => Use::Target { schema, name },
            Kind::Type => Use::Type { schema, name },
            Kind::Rows => Use::Rows,
            Kind::Query => Use::Query,
        }
    }
}

impl From<Use<'_>> for Kept {
    fn from(used: Use<'_>) -> Self {
        let mut arguments = None;
        let (kind, schema, name) = match used {
            Use::Function { schema, name, arguments: given } => {
                arguments = given;
                (Kind::Function, schema, name)
            }
            Use::Field(name) => (Kind::Field, None, name),
            Use::Operator { schema, name, operands } => {
                arguments = operands;
                (Kind::Operator, schema, name)
            }
            Use::Relation { schema, name } => (Kind::Relation, schema, name),
            Use::Target { schema, name } => (Kind::Target, schema, name),
            Use::Type { schema, name } => (Kind::Type, schema, name),
            Use::Rows => (Kind::Rows, None, ""),
            Use::Query => (Kind::Query, None, ""),
        };
        Self { kind, schema: schema.map(Box::from), name: name.into(), arguments }
    }
}

/// Notes what a text uses and finds nothing wrong with any of it.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    uses: RefCell<Vec<Kept>>,
}

impl Recorder {
    /// What was noted.
    pub(crate) fn into_uses(self) -> Vec<Kept> {
        self.uses.into_inner()
    }
}

impl Names for Recorder {
    fn finding(&self, used: Use<'_>) -> Finding {
        self.uses.borrow_mut().push(used.into());
        Finding::HARMLESS
    }

    fn knows_relations(&self) -> bool {
        true
    }
}
