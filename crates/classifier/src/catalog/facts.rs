//! What is asked of a database about its objects, and the answers as they come.
//!
//! One string of queries in one transaction with one snapshot; each row begins with a letter that says
//! what it is. Nothing is asked that takes a lock on a relation of the user's: definitions are not asked
//! for as SQL (that locks what they name), but as the trees that PostgreSQL stores, from which the server
//! cuts out the numbers of the objects they use. Such numbers are exact where SQL would have to be
//! resolved again: overloads, search paths and quoting are settled.
//!
//! PostgreSQL's own objects have numbers below [`FIRST_USER_OID`]; they are known by name.
//! Manual: "System Catalogs".

use std::collections::HashSet;

/// The first number that an object of the user's can have (`FirstNormalObjectId` in `transam.h`).
pub(crate) const FIRST_USER_OID: u32 = 16_384;

/// Rows of one kind that are read at most. A database with more is not known at all.
pub const MAX_ROWS: usize = 500_000;

/// The queries. Bodies over [`super::body::MAX_BODY_BYTES`] in length, and those that come after
/// 32 MiB of others, are left out.
pub const QUESTIONS: &str = include_str!("questions.sql");

/// What changes when the answers to [`QUESTIONS`] may have changed: one row with one column. A version
/// of a row in a system catalog is told from another by the transaction that wrote it.
pub const FINGERPRINT: &str = include_str!("fingerprint.sql");

/// A row of an answer, as text.
pub type Row = Vec<Option<String>>;

/// Why answers cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// There are more objects of a kind than [`MAX_ROWS`].
    TooMany(char),
    /// A row is not what was asked for.
    Malformed(String),
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooMany(kind) => write!(f, "more than {MAX_ROWS} rows of kind \"{kind}\""),
            Self::Malformed(row) => write!(f, "an answer that was not asked for: {row}"),
        }
    }
}

impl std::error::Error for Unusable {}

/// A function, procedure, aggregate or window function of the user's.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) oid: u32,
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) kind: char,
    pub(crate) language: String,
    pub(crate) volatility: char,
    pub(crate) fewest_arguments: usize,
    /// `None` if there is no most.
    pub(crate) most_arguments: Option<usize>,
    /// `None` if it has none as text, or one too long.
    pub(crate) body: Option<String>,
    /// The function of PostgreSQL's own that is behind it, for the language `internal`.
    pub(crate) alias: Option<String>,
    /// Settings it runs with, `name=value`, one per line.
    pub(crate) settings: String,
    /// The extension it belongs to.
    pub(crate) extension: Option<String>,
}

/// Anything else that has a name.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) oid: u32,
    pub(crate) schema: String,
    pub(crate) name: String,
    /// Relations: `relkind` and `relpersistence`. Types: `typtype`. Operators: `oprkind`. Functions of
    /// PostgreSQL's own: `provolatile`.
    pub(crate) kind: String,
}

/// A function of PostgreSQL's own.
#[derive(Debug)]
pub(crate) struct OwnFunction {
    pub(crate) named: Named,
    pub(crate) fewest_arguments: usize,
    /// `None` if there is no most.
    pub(crate) most_arguments: Option<usize>,
}

/// The catalogs that an object can be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Class {
    /// `pg_proc`.
    Function,
    /// `pg_class`, when it is read.
    Relation,
    /// `pg_class`, when its rows are changed.
    Target,
    /// `pg_type`.
    Type,
    /// `pg_operator`.
    Operator,
    /// Not an object: what any query may run.
    Anything,
}

impl Class {
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "p" | "funcid" | "aggfnoid" | "winfnoid" | "tsmhandler" => Self::Function,
            "r" | "relid" => Self::Relation,
            "w" | "written" => Self::Target,
            "t" | "type" | "resulttype" | "consttype" | "vartype" | "funcresulttype" => Self::Type,
            "o" | "opno" | "eqop" | "sortop" => Self::Operator,
            "a" => Self::Anything,
            _ => return None,
        })
    }
}

/// An object by its number.
pub(crate) type ObjectId = (Class, u32);

/// All answers.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) functions: Vec<Function>,
    /// Functions of PostgreSQL's own.
    pub(crate) own_functions: Vec<OwnFunction>,
    /// Relations, PostgreSQL's own included.
    pub(crate) relations: Vec<Named>,
    pub(crate) types: Vec<Named>,
    /// Types of arrays, and what they are arrays of.
    pub(crate) arrays: Vec<(u32, u32)>,
    pub(crate) operators: Vec<Named>,
    /// What uses what.
    pub(crate) uses: Vec<(ObjectId, ObjectId)>,
    /// Functions and operators, and the types that lead to them.
    pub(crate) operands: Vec<(ObjectId, ObjectId)>,
    /// Objects whose stored trees write or lock rows.
    pub(crate) writers: Vec<ObjectId>,
    /// Objects whose stored trees ask for settings that may be one server's own.
    pub(crate) askers: Vec<ObjectId>,
    /// Names of settings that stored trees change.
    pub(crate) settings: Vec<String>,
    /// Objects that every node of a cluster that shards has, and answers alike.
    pub(crate) everywhere: HashSet<ObjectId>,
}

impl Facts {
    /// Reads the answers.
    pub(crate) fn of(rows: impl IntoIterator<Item = Row>) -> Result<Self, Unusable> {
        let mut facts = Self::default();
        for row in rows {
            let malformed = || Unusable::Malformed(format!("{row:?}"));
            let mut cells = Cells { row: &row, at: 0 };
            let kind = cells.text().ok_or_else(malformed)?;
            facts.row(kind, &mut cells).ok_or_else(malformed)?;
        }
        facts.is_bounded()?;
        Ok(facts)
    }

    fn row(&mut self, kind: &str, cells: &mut Cells<'_>) -> Option<()> {
        match kind {
            "f" => self.functions.push(cells.function()?),
            "b" => self.own_functions.push(cells.own_function()?),
            "r" => self.relations.push(cells.named()?),
            "t" => self.types.push(cells.named()?),
            "y" => self.arrays.push((cells.number()?, cells.number()?)),
            "o" => self.operators.push(cells.named()?),
            "e" => self.uses.push((cells.object()?, cells.object()?)),
            "d" => self.operands.push((cells.object()?, cells.object()?)),
            "x" => self.writers.push(cells.object()?),
            "q" => self.askers.push(cells.object()?),
            "n" => self.settings.push(cells.string()?),
            "s" => {
                self.everywhere.insert(cells.object()?);
            }
            _ => return None,
        }
        Some(())
    }

    fn is_bounded(&self) -> Result<(), Unusable> {
        let counts = [
            ('f', self.functions.len()),
            ('r', self.relations.len()),
            ('t', self.types.len()),
            ('y', self.arrays.len()),
            ('o', self.operators.len()),
            ('e', self.uses.len()),
            ('d', self.operands.len()),
            ('x', self.writers.len()),
            ('q', self.askers.len()),
            ('n', self.settings.len()),
            ('s', self.everywhere.len()),
        ];
        match counts.into_iter().find(|(_, count)| *count > MAX_ROWS) {
            Some((kind, _)) => Err(Unusable::TooMany(kind)),
            None => Ok(()),
        }
    }
}

/// The cells of a row, one after the other.
struct Cells<'r> {
    row: &'r Row,
    at: usize,
}

impl<'r> Cells<'r> {
    fn optional(&mut self) -> Option<Option<&'r str>> {
        let cell = self.row.get(self.at)?;
        self.at += 1;
        Some(cell.as_deref())
    }

    fn text(&mut self) -> Option<&'r str> {
        self.optional()?
    }

    fn string(&mut self) -> Option<String> {
        self.text().map(str::to_owned)
    }

    fn maybe_string(&mut self) -> Option<Option<String>> {
        Some(self.optional()?.map(str::to_owned))
    }

    fn number(&mut self) -> Option<u32> {
        self.text()?.parse().ok()
    }

    fn count(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    fn maybe_count(&mut self) -> Option<Option<usize>> {
        Some(match self.optional()? {
            None => None,
            Some(count) => Some(count.parse().ok()?),
        })
    }

    fn letter(&mut self) -> Option<char> {
        self.text()?.chars().next()
    }

    fn object(&mut self) -> Option<ObjectId> {
        Some((Class::of(self.text()?)?, self.number()?))
    }

    fn named(&mut self) -> Option<Named> {
        Some(Named {
            oid: self.number()?,
            schema: self.string()?,
            name: self.string()?,
            kind: self.string()?,
        })
    }

    fn own_function(&mut self) -> Option<OwnFunction> {
        Some(OwnFunction {
            named: self.named()?,
            fewest_arguments: self.count()?,
            most_arguments: self.maybe_count()?,
        })
    }

    fn function(&mut self) -> Option<Function> {
        Some(Function {
            oid: self.number()?,
            schema: self.string()?,
            name: self.string()?,
            kind: self.letter()?,
            language: self.string()?,
            volatility: self.letter()?,
            fewest_arguments: self.count()?,
            most_arguments: self.maybe_count()?,
            body: self.maybe_string()?,
            alias: self.maybe_string()?,
            settings: self.maybe_string()?.unwrap_or_default(),
            extension: self.maybe_string()?,
        })
    }
}
