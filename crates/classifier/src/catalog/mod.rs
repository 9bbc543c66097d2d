//! What functions, operators, types and relations are: the facts that the walk asks for.
//!
//! PostgreSQL's own objects come from tables in this crate (see `builtins`). What an operator vouches
//! for or warns of stands above them. Everything else is a database's own: known from a snapshot of its
//! system catalogs ([`Catalog::with_database`]), not known yet ([`Catalog::with_unread_database`]), or
//! out of reach, as for whoever asks without a server. Doubt goes to the primary: what is unknown is a
//! write. Only without a database at all is an unknown relation taken for a plain table.

mod body;
mod database;
mod extensions;
pub mod facts;
pub(crate) mod names;
pub mod sharding;

use std::collections::HashSet;
use std::sync::Arc;

pub use self::body::defines_objects;
pub(crate) use self::body::uses_of_query;
use self::database::{Database, Object, Vouched, Why};
use self::facts::{FIRST_USER_OID, Facts, Row, Unusable};
use self::names::{Finding, Kinds, Names, Traits, Use};
use crate::walk::is_temporary_schema;
use crate::{Access, Reason, builtins};

/// The oldest major version of PostgreSQL whose functions are told apart by version.
const BASE_VERSION: u16 = builtins::TABLE_VERSION;

/// What calling a function or reading a relation amounts to, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Harmless on a standby, and the answer is the same.
    Read,
    /// Only the primary's answer is right.
    Primary,
    /// It writes, or acts on the server it runs on.
    Write,
    /// It runs SQL that is given as a value or lives in a table.
    RunsText,
    /// Nobody has said.
    Unknown,
}

/// What to make of a function that neither PostgreSQL nor the operator vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnknownFunctions {
    /// It may write.
    #[default]
    Write,
    /// The operator has decided to take the risk.
    Read,
}

/// What stands for a name where any query is in doubt.
const ANY_QUERY: &str = "any query";

/// How much is known of the objects in a database.
#[derive(Debug, Clone)]
enum Knowledge {
    /// There is no database to know anything of.
    Nothing,
    /// There is one, and what was known of it, if anything, may not be true any more.
    Unread(Option<Arc<Database>>),
    /// Nor do names of PostgreSQL's own mean for certain what they are known for.
    InDoubt(Option<Arc<Database>>),
    /// All of it.
    Read(Arc<Database>),
}

/// An immutable snapshot of what is known about a database's objects. Cheap to clone.
///
/// Names are as PostgreSQL folds them: lower case, unless they were created in quotes. A name may be
/// given as `name`, which stands for any schema, or as `schema.name`.
#[derive(Debug, Clone)]
pub struct Catalog {
    server_version: u16,
    read_functions: Arc<HashSet<Box<str>>>,
    write_functions: Arc<HashSet<Box<str>>>,
    unknown_functions: UnknownFunctions,
    is_sharded: bool,
    knowledge: Knowledge,
}

impl Default for Catalog {
    fn default() -> Self {
        Self::builtin()
    }
}

impl Catalog {
    /// PostgreSQL's own objects and nothing else.
    #[must_use]
    pub fn builtin() -> Self {
        Self {
            server_version: BASE_VERSION,
            read_functions: Arc::default(),
            write_functions: Arc::default(),
            unknown_functions: UnknownFunctions::default(),
            is_sharded: false,
            knowledge: Knowledge::Nothing,
        }
    }

    /// Adds the harmless functions that PostgreSQL has gained up to this major version. Without it a
    /// function that is new in the servers' version counts as unknown.
    #[must_use]
    pub fn with_server_version(mut self, major: u16) -> Self {
        self.server_version = major;
        self
    }

    /// Functions the operator vouches for.
    #[must_use]
    pub fn with_read_functions<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        Arc::make_mut(&mut self.read_functions).extend(names.into_iter().map(Box::from));
        self
    }

    /// Functions the operator knows to write; this beats everything else.
    #[must_use]
    pub fn with_write_functions<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        Arc::make_mut(&mut self.write_functions).extend(names.into_iter().map(Box::from));
        self
    }

    /// What to make of functions that nobody vouches for.
    #[must_use]
    pub fn with_unknown_functions(mut self, policy: UnknownFunctions) -> Self {
        self.unknown_functions = policy;
        self
    }

    /// Of a cluster that shards: reads go to nodes that have catalogs of their own, and of the user's
    /// objects only those that [`sharding::QUESTIONS`] name.
    #[must_use]
    pub fn with_sharding(mut self) -> Self {
        self.is_sharded = true;
        self
    }

    /// The same with a database's own objects, as its answers to [`facts::QUESTIONS`] say. To be called
    /// last: what the operator says of functions holds for whatever calls them, too.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn with_database(mut self, rows: impl IntoIterator<Item = Row>) -> Result<Self, Unusable> {
        let database = Database::of(&Facts::of(rows)?, &self);
        self.knowledge = Knowledge::Read(Arc::new(database));
        Ok(self)
    }

    /// The same with a database whose objects are not known, or not any more: until they are read,
    /// whatever is not PostgreSQL's own may be anything. What code in it may set is kept.
    #[must_use]
    pub fn with_unread_database(mut self) -> Self {
        self.knowledge = Knowledge::Unread(self.last());
        self
    }

    /// The same with a database that may have got objects which are meant in the place of PostgreSQL's
    /// own: until they are read, no query is known to be harmless.
    #[must_use]
    pub fn with_doubtful_database(mut self) -> Self {
        self.knowledge = Knowledge::InDoubt(self.last());
        self
    }

    /// True if the objects of a database are known.
    #[must_use]
    pub fn is_read(&self) -> bool {
        matches!(self.knowledge, Knowledge::Read(_))
    }

    /// How many objects of the database are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.last_known().map_or(0, Database::len)
    }

    /// True if none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The custom settings (names with a point, in lower case) that code in the database changes by
    /// name.
    #[must_use]
    pub fn custom_settings(&self) -> &[Box<str>] {
        self.last_known().map(Database::custom_settings).unwrap_or_default()
    }

    /// True if code in the database may change settings whose names are not in its text, or if nobody
    /// knows.
    #[must_use]
    pub fn has_dynamic_settings(&self) -> bool {
        self.last_known().is_none_or(Database::has_dynamic_settings)
    }

    /// True for the number of a type of PostgreSQL's own.
    #[must_use]
    pub fn is_own_type(oid: u32) -> bool {
        oid < FIRST_USER_OID
    }

    /// True if values of this type can be made, and used, without harm. False for what is not known.
    #[must_use]
    pub fn is_harmless_type(&self, oid: u32) -> bool {
        Self::is_own_type(oid) || self.known().is_some_and(|known| known.is_harmless_type(oid))
    }

    /// True if something in the database, or a function of PostgreSQL's own, has this name.
    #[must_use]
    pub fn has_name(&self, name: &str) -> bool {
        let schema = None;
        let uses = [
            Use::Function { schema, name, arguments: None },
            Use::Relation { schema, name },
            Use::Type { schema, name },
        ];
        let Some(known) = self.known() else { return self.is_own(name) };
        let meant = |used| known.meant(used).next().is_some();
        self.is_own(name) || known.awaits(name) || uses.into_iter().any(meant)
    }

    /// True if something of PostgreSQL's own has this name.
    #[must_use]
    pub fn is_own(&self, name: &str) -> bool {
        builtins::function(None, name, self.server_version).is_some()
            || builtins::is_type(None, name)
            || builtins::relation(None, name).is_some()
            || builtins::relation(Some("information_schema"), name) == Some(Verdict::Read)
    }

    fn last(&self) -> Option<Arc<Database>> {
        match &self.knowledge {
            Knowledge::Read(database) => Some(database.clone()),
            Knowledge::Unread(last) | Knowledge::InDoubt(last) => last.clone(),
            Knowledge::Nothing => None,
        }
    }

    fn last_known(&self) -> Option<&Database> {
        match &self.knowledge {
            Knowledge::Read(database) => Some(database),
            Knowledge::Unread(last) | Knowledge::InDoubt(last) => last.as_deref(),
            Knowledge::Nothing => None,
        }
    }

    fn is_unread(&self) -> bool {
        matches!(self.knowledge, Knowledge::Unread(_) | Knowledge::InDoubt(_))
    }

    fn known(&self) -> Option<&Database> {
        match &self.knowledge {
            Knowledge::Read(database) => Some(database),
            _ => None,
        }
    }

    /// What calling this function of PostgreSQL's own, or one that the operator has spoken of, amounts
    /// to, whichever of its overloads is meant.
    #[must_use]
    pub fn function(&self, schema: Option<&str>, name: &str) -> Verdict {
        self.vouched(schema, name)
            .or_else(|| self.own_function(schema, name))
            .unwrap_or_else(|| self.unknown())
    }

    /// What one of several objects of a name amounts to: the strongest.
    fn meant(&self, used: Use<'_>) -> Option<Finding> {
        let database = self.last_known()?;
        if self.is_unread() {
            return self.was_meant(database, used);
        }
        let by_operand = matches!(used, Use::Field(_)) || self.is_own_name(used);
        let findings = database.meant(used).map(|(_, object)| {
            let finding = finding_of(database, object);
            // Of several functions of a name, one that takes a certain type needs a value of it.
            if by_operand && object.operands != Kinds::NONE {
                let if_there = vec![(object.operands, finding)];
                return Finding { if_there, ..Finding::HARMLESS };
            }
            finding
        });
        let finding = findings.reduce(Finding::or)?;
        Some(Finding { uses_objects: !matches!(used, Use::Query), ..finding })
    }

    /// The same while nothing is known for certain: what had objects of the user's may have others.
    fn was_meant(&self, database: &Database, used: Use<'_>) -> Option<Finding> {
        let name = match used {
            Use::Function { name, .. }
            | Use::Field(name)
            | Use::Operator { name, .. }
            | Use::Relation { name, .. }
            | Use::Type { name, .. } => name,
            Use::Target { .. } | Use::Rows => return None,
            Use::Query => {
                let (_, ambient) = database.meant(used).next()?;
                let is_harmless = ambient.verdict == Verdict::Read && !database.has_ambient_code();
                return (!is_harmless).then(|| self.unread(ANY_QUERY));
            }
        };
        database.meant(used).next().map(|_| self.unread_use(used, name))
    }

    /// A use of something that is not known, or not any more: what it may do to its session has to be asked
    /// of the server, but where it was a table.
    fn unread_use(&self, used: Use<'_>, name: &str) -> Finding {
        let finding = self.unread(name);
        let Some(last) = self.last_known() else {
            let calls = matches!(used, Use::Function { .. });
            return if calls { finding.with_traits(self.of_unread(name)) } else { finding };
        };
        let was = last.meant(used).fold(Traits::NONE, |all, (_, object)| all.with(object.traits));
        let finding = finding.with_traits(was);
        match used {
            Use::Relation { .. } if last.is_table(name) => finding,
            _ => finding.with_traits(self.of_unread(name)),
        }
    }

    /// True if PostgreSQL has a function or operator of its own of this name that can be used like this.
    fn is_own_name(&self, used: Use<'_>) -> bool {
        match used {
            Use::Function { schema, name, arguments: Some(count) } => {
                builtins::function(schema, name, self.server_version).is_some()
                    && self.known().is_none_or(|known| known.own_takes(name, count))
            }
            Use::Operator { schema, name, operands } => {
                builtins::is_operator(schema, name, operands)
            }
            _ => false,
        }
    }

    fn called(&self, used: Use<'_>, schema: Option<&str>, name: &str) -> Finding {
        if let Some(verdict) = self.vouched(schema, name) {
            return of_function(verdict, name);
        }
        let own = self.own_function(schema, name);
        let own = own.map(|verdict| of_function(verdict, name));
        // `name(x)` may be a cast.
        let as_type = match used {
            Use::Function { arguments: None | Some(1), .. } => Some(Use::Type { schema, name }),
            _ => None,
        };
        let meant = self.meant(used).into_iter().chain(as_type.and_then(|used| self.meant(used)));
        own.into_iter().chain(meant).reduce(Finding::or).unwrap_or_else(|| {
            match (&self.knowledge, self.unknown_functions) {
                // It may be known to write in a moment.
                (Knowledge::Unread(_) | Knowledge::InDoubt(_), _) => self.unread_use(used, name),
                (_, UnknownFunctions::Read) => Finding::HARMLESS,
                _ => of_function(Verdict::Unknown, name),
            }
        })
    }

    /// What a function may do that is not known, but for its name.
    fn of_unread(&self, name: &str) -> Traits {
        if self.is_sharded && sharding::defines(name) {
            Traits::SESSION.with(Traits::DEFINES)
        } else {
            Traits::SESSION
        }
    }

    /// Something of the user's, while the database's objects are not known.
    fn unread(&self, name: &str) -> Finding {
        let finding = Finding::new(Access::Write, Reason::CatalogUnread(name.into()));
        Finding { is_unresolved: true, uses_objects: true, ..finding }
    }

    fn field(&self, used: Use<'_>, name: &str) -> Finding {
        let own = builtins::is_field(name).then(|| of_function(self.function(None, name), name));
        let as_type = self.meant(Use::Type { schema: None, name });
        let known = own.into_iter().chain(self.meant(used)).chain(as_type).reduce(Finding::or);
        known.unwrap_or(Finding::HARMLESS)
    }

    fn operator(&self, used: Use<'_>, name: &str) -> Finding {
        let own = self.is_own_name(used).then_some(Finding::HARMLESS);
        let known = own.into_iter().chain(self.meant(used)).reduce(Finding::or);
        known.unwrap_or_else(|| match self.unknown_functions {
            _ if self.is_unread() => self.unread_use(used, name),
            UnknownFunctions::Read => Finding::HARMLESS,
            UnknownFunctions::Write => {
                Finding::new(Access::Write, Reason::UnknownOperator(name.into()))
            }
        })
    }

    fn relation(&self, used: Use<'_>, schema: Option<&str>, name: &str) -> Finding {
        if is_temporary_schema(schema) {
            return Finding::new(Access::Primary, Reason::TemporaryRelation(name.into()));
        }
        let own = builtins::relation(schema, name);
        // A search path may name PostgreSQL's own schema behind others; usually it comes first.
        if let Some(finding) = self.meant(used) {
            let is_servers = own == Some(Verdict::Primary)
                && self.known().is_none_or(|known| known.is_own_relation(name));
            let reason = Reason::ServerRelation(name.into());
            return if is_servers {
                finding.or(Finding::new(Access::Primary, reason))
            } else {
                finding
            };
        }
        if own == Some(Verdict::Read) && !self.is_sharded {
            return Finding::HARMLESS;
        }
        let reason = match (own, &self.knowledge) {
            (Some(_), _) => Reason::ServerRelation(name.into()),
            (None, Knowledge::Unread(_) | Knowledge::InDoubt(_)) => {
                return self.unread_use(used, name);
            }
            (None, Knowledge::Read(_)) => {
                return Self::not_there(Reason::UnknownRelation(name.into()));
            }
            // The name that `serial` and identity columns give to sequences has to do.
            (None, Knowledge::Nothing) if name.ends_with("_seq") => {
                Reason::SequenceState(name.into())
            }
            (None, Knowledge::Nothing) => return Finding::HARMLESS,
        };
        Finding::new(Access::Primary, reason)
    }

    fn type_of(&self, used: Use<'_>, schema: Option<&str>, name: &str) -> Finding {
        let own = builtins::is_type(schema, name) || builtins::relation(schema, name).is_some();
        if self.is_unread() && !own {
            return self.unread_use(used, name);
        }
        if self.is_sharded && sharding::is_number_of_objects(name) {
            return of_function(Verdict::Primary, name);
        }
        self.meant(used).unwrap_or_else(|| match self.knowledge {
            Knowledge::Read(_) if !own => Self::not_there(Reason::UnknownType(name.into())),
            _ => Finding::HARMLESS,
        })
    }

    /// A name that nothing has in a database whose objects are known: a temporary table, if any.
    fn not_there(reason: Reason) -> Finding {
        let finding = Finding::new(Access::Write, reason);
        Finding { is_unresolved: true, uses_objects: true, ..finding }
    }
}

impl Vouched for Catalog {
    fn vouched(&self, schema: Option<&str>, name: &str) -> Option<Verdict> {
        if !self.write_functions.is_empty() && contains(&self.write_functions, schema, name) {
            return Some(Verdict::Write);
        }
        if !self.read_functions.is_empty() && contains(&self.read_functions, schema, name) {
            return Some(Verdict::Read);
        }
        None
    }

    fn unknown(&self) -> Verdict {
        match self.unknown_functions {
            UnknownFunctions::Write => Verdict::Unknown,
            UnknownFunctions::Read => Verdict::Read,
        }
    }

    fn own_function(&self, schema: Option<&str>, name: &str) -> Option<Verdict> {
        let verdict = builtins::function(schema, name, self.server_version)?;
        if !self.is_sharded {
            return Some(verdict);
        }
        match schema {
            Some("information_schema") => Some(verdict.max(Verdict::Primary)),
            _ => Some(sharding::of_own_function(name, verdict)),
        }
    }

    fn is_sharded(&self) -> bool {
        self.is_sharded
    }
}

impl Names for Catalog {
    fn finding(&self, used: Use<'_>) -> Finding {
        match used {
            Use::Function { schema, name, .. } => self.called(used, schema, name),
            Use::Field(name) => self.field(used, name),
            Use::Operator { name, .. } => self.operator(used, name),
            Use::Relation { schema, name } => self.relation(used, schema, name),
            Use::Type { schema, name } => self.type_of(used, schema, name),
            Use::Rows => Finding { brings: Kinds::ROWS, ..Finding::HARMLESS },
            Use::Query if matches!(self.knowledge, Knowledge::InDoubt(_)) => self.unread(ANY_QUERY),
            Use::Target { .. } | Use::Query => self.meant(used).unwrap_or(Finding::HARMLESS),
        }
    }

    fn is_sharded(&self) -> bool {
        self.is_sharded
    }

    fn knows_relations(&self) -> bool {
        !matches!(self.knowledge, Knowledge::Nothing)
    }
}

/// A function of PostgreSQL's own, or one that the operator has spoken of.
fn of_function(verdict: Verdict, name: &str) -> Finding {
    let name = || name.into();
    match verdict {
        Verdict::Read => Finding::HARMLESS,
        Verdict::Primary => Finding::new(Access::Primary, Reason::ServerFunction(name())),
        Verdict::Write => Finding::new(Access::Write, Reason::WriteFunction(name())),
        Verdict::RunsText => {
            Finding::new(Access::Write, Reason::RunsText(name())).with_traits(Traits::SESSION)
        }
        Verdict::Unknown => Finding::new(Access::Write, Reason::UnknownFunction(name()))
            .with_traits(Traits::SESSION),
    }
}

/// An object of a database's: what it amounts to, and the way to what has decided.
fn finding_of(database: &Database, object: &Object) -> Finding {
    if object.verdict == Verdict::Read {
        return Finding { brings: object.brings, ..Finding::HARMLESS.with_traits(object.traits) };
    }
    let (way, why) = database.way(object);
    let way: Box<str> = way.into();
    let (access, reason) = match (object.verdict, why) {
        (Verdict::Read, _) => (Access::Read, Reason::Harmless),
        (_, Why::Unlogged) => (Access::Primary, Reason::UnloggedRelation(way)),
        (_, Why::Foreign) => (Access::Primary, Reason::ForeignRelation(way)),
        (_, Why::Sequence) => (Access::Primary, Reason::SequenceState(way)),
        (_, Why::CoordinatorOnly) => (Access::Primary, Reason::CoordinatorOnly(way)),
        (_, Why::ServerRelation) => (Access::Primary, Reason::ServerRelation(way)),
        (Verdict::Primary, _) if object.traits.has(Traits::SESSION) => {
            (Access::Primary, Reason::ChangesSession(way))
        }
        (Verdict::Primary, _) => (Access::Primary, Reason::ServerFunction(way)),
        (Verdict::Write, _) => (Access::Write, Reason::WriteFunction(way)),
        (Verdict::RunsText, _) => (Access::Write, Reason::RunsText(way)),
        (Verdict::Unknown, _) => (Access::Write, Reason::UnknownFunction(way)),
    };
    Finding { brings: object.brings, ..Finding::new(access, reason).with_traits(object.traits) }
}

/// True if the set names the function, with its schema or without.
fn contains(names: &HashSet<Box<str>>, schema: Option<&str>, name: &str) -> bool {
    names.contains(name)
        || schema.is_some_and(|schema| names.contains(format!("{schema}.{name}").as_str()))
}
