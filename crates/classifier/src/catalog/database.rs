//! One database's objects: what each amounts to with everything it leads to.
//!
//! Objects and what they use make a graph: a view uses functions, a function's body calls others, a
//! table has columns of a domain whose check calls one. An object amounts to the strongest of all that can
//! be reached from it, and has the traits of all of them; that is computed once, when the snapshot is
//! made, and looked up by name afterwards.
//!
//! A name without a schema stands for every object of that name. Which one a session means depends on
//! its search path, its privileges and the types of arguments; all of them together are never weaker.

use std::collections::{HashMap, HashSet};

use crate::statement::setting;
use crate::{Verdict, builtins};

use super::body::{self, Body};
use super::extensions;
use super::facts::{Class, FIRST_USER_OID, Facts, Function, Named, ObjectId, OwnFunction};
use super::names::{Kinds, Traits, Use};
use super::sharding;

/// How many steps of the way to what decided are shown.
const SHOWN_STEPS: usize = 6;

/// What the operator has to say about functions.
pub(crate) trait Vouched {
    /// The operator's own word on a function, if there is one.
    fn vouched(&self, schema: Option<&str>, name: &str) -> Option<Verdict>;
    /// What to make of one that nobody vouches for.
    fn unknown(&self) -> Verdict;
    /// A function of PostgreSQL's own, as this crate's tables have it; `None` if they do not.
    fn own_function(&self, schema: Option<&str>, name: &str) -> Option<Verdict>;
    /// Whether the cluster shards: objects that not every node has are the coordinator's.
    fn is_sharded(&self) -> bool;
}

/// What an object is in itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Nothing to say against it.
    Nothing,
    /// A function; the words say what it does, where they are known.
    Function(&'static str),
    /// One server's own relation.
    ServerRelation,
    /// An unlogged table: a standby has no rows of it.
    Unlogged,
    /// A foreign table: another server's answer, or this one's files.
    Foreign,
    /// A sequence.
    Sequence,
    /// In a cluster that shards: not every node has it, or has the same.
    CoordinatorOnly,
}

/// An object and all that it leads to.
#[derive(Debug)]
pub(crate) struct Object {
    name: Box<str>,
    pub(crate) verdict: Verdict,
    pub(crate) traits: Traits,
    why: Why,
    /// Which of the objects it uses has decided.
    cause: Option<usize>,
    /// The kinds of values that come with it.
    pub(crate) brings: Kinds,
    /// A function or operator: the kinds of values that can lead to it where others have its name.
    pub(crate) operands: Kinds,
}

/// An object as it is found by its name.
#[derive(Debug)]
struct Entry {
    schema: Box<str>,
    object: usize,
    /// How many arguments a function takes, or operands an operator.
    arguments: Arity,
}

type Arity = std::ops::RangeInclusive<usize>;
type Index = HashMap<Box<str>, Vec<Entry>>;

/// An immutable snapshot.
#[derive(Debug, Default)]
pub(crate) struct Database {
    objects: Vec<Object>,
    functions: Index,
    relations: Index,
    /// Relations as they are changed.
    targets: Index,
    types: Index,
    operators: Index,
    /// By name, how many arguments functions of PostgreSQL's own take.
    own_arities: HashMap<Box<str>, Vec<Arity>>,
    /// Names of PostgreSQL's own relations.
    own_relations: HashSet<Box<str>>,
    /// Names in the code of functions that nothing has.
    awaited: HashSet<Box<str>>,
    /// Types, by number, whose values can be made and used without harm.
    harmless_types: HashSet<u32>,
    /// Names of views.
    views: HashSet<Box<str>>,
    /// Any query may run code that can be replaced.
    has_ambient_code: bool,
    custom_settings: Vec<Box<str>>,
    has_dynamic_settings: bool,
}

impl Database {
    /// Makes a snapshot of what a database has said.
    pub(crate) fn of(facts: &Facts, vouched: &dyn Vouched) -> Self {
        let mut builder = Builder::new(facts, vouched);
        builder.relations();
        builder.names();
        builder.newer_functions();
        builder.functions();
        builder.stored_uses();
        builder.close()
    }

    /// The objects that a use may mean.
    pub(crate) fn meant(&self, used: Use<'_>) -> impl Iterator<Item = (usize, &Object)> {
        let (index, schema, name, arguments) = match used {
            Use::Function { schema, name, arguments } => (&self.functions, schema, name, arguments),
            Use::Field(name) => (&self.functions, None, name, Some(1)),
            Use::Operator { schema, name, operands } => (&self.operators, schema, name, operands),
            Use::Relation { schema, name } => (&self.relations, schema, name, None),
            Use::Target { schema, name } => (&self.targets, schema, name, None),
            Use::Type { schema, name } => (&self.types, schema, name, None),
            Use::Rows | Use::Query => (&self.targets, None, "", None),
        };
        let is_type = matches!(used, Use::Type { .. });
        let is_rows = matches!(used, Use::Rows);
        spellings(name)
            .take(if is_type { usize::MAX } else { 1 })
            .filter_map(move |name| index.get(name).filter(|_| !is_rows))
            .flatten()
            .filter(move |entry| schema.is_none_or(|schema| *entry.schema == *schema))
            .filter(move |entry| arguments.is_none_or(|count| entry.arguments.contains(&count)))
            .filter_map(|entry| Some((entry.object, self.objects.get(entry.object)?)))
    }

    /// True if a function of PostgreSQL's own of this name can be called like this.
    pub(crate) fn own_takes(&self, name: &str, arguments: usize) -> bool {
        match self.own_arities.get(name) {
            Some(arities) => arities.iter().any(|arity| arity.contains(&arguments)),
            // A type's name, called like a function.
            None => arguments == 1,
        }
    }

    /// True if PostgreSQL has a relation of its own of this name.
    pub(crate) fn is_own_relation(&self, name: &str) -> bool {
        self.own_relations.contains(name)
    }

    /// True if code in the database waits for something of this name.
    pub(crate) fn awaits(&self, name: &str) -> bool {
        self.awaited.contains(name)
    }

    /// True for a type whose values can be made and used without harm.
    pub(crate) fn is_harmless_type(&self, oid: u32) -> bool {
        self.harmless_types.contains(&oid)
    }

    /// True if the relations of this name are tables and their like: reading them runs no code of their own.
    pub(crate) fn is_table(&self, name: &str) -> bool {
        self.relations.contains_key(name) && !self.views.contains(name)
    }

    /// True if any query may run code that can be replaced.
    pub(crate) fn has_ambient_code(&self) -> bool {
        self.has_ambient_code
    }

    /// The way from an object to what has decided on it, and what that is.
    pub(crate) fn way(&self, object: &Object) -> (String, Why) {
        let mut way = object.name.to_string();
        let mut at = object;
        for step in 0..self.objects.len() {
            let Some(next) = at.cause.and_then(|cause| self.objects.get(cause)) else { break };
            at = next;
            if step < SHOWN_STEPS {
                way = format!("{way} > {}", at.name);
            }
        }
        if let Why::Function(what) = at.why
            && !what.is_empty()
        {
            way = format!("{way}: {what}");
        }
        (way, at.why)
    }

    /// Names of custom settings that code in the database changes, in lower case.
    pub(crate) fn custom_settings(&self) -> &[Box<str>] {
        &self.custom_settings
    }

    /// True if code in the database may change settings whose names are not in its text.
    pub(crate) fn has_dynamic_settings(&self) -> bool {
        self.has_dynamic_settings
    }

    /// How many objects are known.
    pub(crate) fn len(&self) -> usize {
        self.objects.len()
    }
}

/// A type's name, and those of the types whose arrays would be called so (`makeArrayTypeName`).
fn spellings(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| name.strip_prefix('_'))
}

struct Builder<'f> {
    facts: &'f Facts,
    vouched: &'f dyn Vouched,
    database: Database,
    by_id: HashMap<ObjectId, usize>,
    /// Functions of PostgreSQL's own that were met.
    own: HashMap<Box<str>, usize>,
    own_functions: HashMap<u32, &'f OwnFunction>,
    /// What each object uses.
    uses: Vec<(usize, usize)>,
    /// What it uses by a name that PostgreSQL's own have, too.
    uses_by_operand: Vec<(usize, usize)>,
    /// Objects that the operator vouches for: nothing they use counts.
    settled: HashSet<usize>,
    settings: HashSet<Box<str>>,
}

impl<'f> Builder<'f> {
    fn new(facts: &'f Facts, vouched: &'f dyn Vouched) -> Self {
        let own_functions = facts.own_functions.iter().map(|own| (own.named.oid, own)).collect();
        Self {
            facts,
            vouched,
            database: Database::default(),
            by_id: HashMap::new(),
            own: HashMap::new(),
            own_functions,
            uses: Vec::new(),
            uses_by_operand: Vec::new(),
            settled: HashSet::new(),
            settings: HashSet::new(),
        }
    }

    fn object(&mut self, name: &str, verdict: Verdict, traits: Traits, why: Why) -> usize {
        let (brings, operands) = (Kinds::NONE, Kinds::NONE);
        let name = name.into();
        let object = Object { name, verdict, traits, why, cause: None, brings, operands };
        self.database.objects.push(object);
        self.database.objects.len() - 1
    }

    fn named(&mut self, class: Class, named: &Named, verdict: Verdict, why: Why) {
        let object = self.object(&named.name, verdict, Traits::NONE, why);
        self.by_id.insert((class, named.oid), object);
        let index = match class {
            Class::Relation => &mut self.database.relations,
            Class::Target => &mut self.database.targets,
            Class::Type => &mut self.database.types,
            _ => &mut self.database.operators,
        };
        let arguments = match (class, named.kind.as_str()) {
            (Class::Operator, "b") => 2..=2,
            (Class::Operator, _) => 1..=1,
            _ => 0..=usize::MAX,
        };
        let entry = Entry { schema: named.schema.as_str().into(), object, arguments };
        index.entry(named.name.as_str().into()).or_default().push(entry);
    }

    /// Relations by what they are in themselves. PostgreSQL's own are only known by their numbers:
    /// by name, this crate's tables know them.
    fn relations(&mut self) {
        let facts = self.facts;
        for relation in &facts.relations {
            if relation.oid < FIRST_USER_OID {
                self.database.own_relations.insert(relation.name.as_str().into());
                let own = builtins::relation(Some(&relation.schema), &relation.name);
                let least =
                    if self.vouched.is_sharded() { Verdict::Primary } else { Verdict::Read };
                let verdict = own.unwrap_or(Verdict::Read).max(least);
                let traits = builtins::traits(&relation.name);
                let object = self.object(&relation.name, verdict, traits, Why::ServerRelation);
                self.by_id.insert((Class::Relation, relation.oid), object);
                continue;
            }
            let (verdict, why) = match relation.kind.as_str() {
                "Sp" | "Su" => (Verdict::Primary, Why::Sequence),
                "fp" => (Verdict::Primary, Why::Foreign),
                kind if kind.ends_with('u') => (Verdict::Primary, Why::Unlogged),
                _ => self.by_place(Class::Relation, relation.oid),
            };
            if relation.kind.starts_with('v') {
                self.database.views.insert(relation.name.as_str().into());
            }
            self.named(Class::Relation, relation, verdict, why);
            self.named(Class::Target, relation, Verdict::Read, Why::Nothing);
        }
        let anything = self.object("", Verdict::Read, Traits::NONE, Why::Nothing);
        self.by_id.insert((Class::Anything, 0), anything);
        let entry = Entry { schema: Box::default(), object: anything, arguments: 0..=0 };
        self.database.targets.insert(Box::default(), vec![entry]);
    }

    /// What an object amounts to that is harmless in itself, by where it is.
    fn by_place(&self, class: Class, oid: u32) -> (Verdict, Why) {
        let is_everywhere = oid < FIRST_USER_OID || self.facts.everywhere.contains(&(class, oid));
        if is_everywhere || !self.vouched.is_sharded() {
            (Verdict::Read, Why::Nothing)
        } else {
            (Verdict::Primary, Why::CoordinatorOnly)
        }
    }

    /// Types, operators, and the names of functions.
    fn names(&mut self) {
        let facts = self.facts;
        for named in &facts.types {
            let (verdict, why) = self.by_place(Class::Type, named.oid);
            self.named(Class::Type, named, verdict, why);
        }
        for named in &facts.operators {
            let (verdict, why) = self.by_place(Class::Operator, named.oid);
            self.named(Class::Operator, named, verdict, why);
        }
        for function in &facts.functions {
            let object =
                self.object(&function.name, Verdict::Read, Traits::NONE, Why::Function(""));
            self.by_id.insert((Class::Function, function.oid), object);
            let most = function.most_arguments.unwrap_or(usize::MAX);
            let entry = Entry {
                schema: function.schema.as_str().into(),
                object,
                arguments: function.fewest_arguments..=most,
            };
            let index = &mut self.database.functions;
            index.entry(function.name.as_str().into()).or_default().push(entry);
        }
    }

    /// Functions of PostgreSQL's own that are newer than this crate's tables: immutable ones cannot write
    /// and do not tell servers apart; of others there is no telling.
    fn newer_functions(&mut self) {
        let facts = self.facts;
        for own in &facts.own_functions {
            let arity = own.fewest_arguments..=own.most_arguments.unwrap_or(usize::MAX);
            let name = own.named.name.as_str();
            self.database.own_arities.entry(name.into()).or_default().push(arity.clone());
            let own = &own.named;
            if self.own_verdict(Some(&own.schema), &own.name).0.is_some() {
                continue;
            }
            let verdict = if own.kind == "i" { Verdict::Read } else { self.vouched.unknown() };
            let object = self.object(&own.name, verdict, Traits::NONE, Why::Function(""));
            let schema = own.schema.as_str().into();
            let entry = Entry { schema, object, arguments: arity };
            let index = &mut self.database.functions;
            index.entry(own.name.as_str().into()).or_default().push(entry);
        }
    }

    /// What functions are in themselves, and what their texts use.
    fn functions(&mut self) {
        let facts = self.facts;
        for function in &facts.functions {
            let Some(&object) = self.by_id.get(&(Class::Function, function.oid)) else { continue };
            let mut body = match self.vouched.vouched(Some(&function.schema), &function.name) {
                Some(verdict) => {
                    self.settled.insert(object);
                    Body::of(verdict, "the operator's word", Traits::NONE)
                }
                None => self.body(function),
            };
            if body.verdict == Verdict::Unknown && self.vouched.unknown() == Verdict::Read {
                // The operator takes the risk, that of what it may do to a session included.
                body.verdict = Verdict::Read;
                body.traits = Traits::NONE;
            }
            if body.traits.has(Traits::SESSION) && body.verdict == Verdict::Read {
                body.verdict = Verdict::Primary;
                body.why = "it changes the session";
            }
            if sets_transaction(function) && body.verdict == Verdict::Read {
                body.verdict = Verdict::Primary;
                body.why = body::OF_TRANSACTION;
            }
            let mut why = Why::Function(body.why);
            if body.verdict == Verdict::Read
                && !self.settled.contains(&object)
                && let (verdict @ Verdict::Primary, place) =
                    self.by_place(Class::Function, function.oid)
            {
                (body.verdict, why) = (verdict, place);
            }
            self.note_settings(function, &body);
            let mut brings = Kinds::NONE;
            for used in body.uses.iter().collect::<HashSet<_>>() {
                if used.as_use() == Use::Rows {
                    brings = Kinds::ROWS;
                }
                self.uses_by_name(object, used.as_use());
            }
            if let Some(object) = self.database.objects.get_mut(object) {
                object.brings = brings;
                object.verdict = body.verdict;
                object.traits = body.traits;
                object.why = why;
            }
        }
    }

    fn body(&self, function: &Function) -> Body {
        let is_volatile = function.volatility == 'v';
        let by_declaration = || match is_volatile {
            true => {
                let traits = Traits::SESSION.with(Traits::RUNS);
                Body::of(Verdict::Unknown, "a volatile function in C", traits)
            }
            false => Body::of(Verdict::Read, "", Traits::NONE),
        };
        let extension = function.extension.as_deref();
        if let Some(body) = extension.and_then(|of| body_in_extension(of, &function.name)) {
            return body;
        }
        match (function.kind, function.language.as_str(), &function.body, &function.alias) {
            ('a', ..) => Body::of(Verdict::Read, "", Traits::NONE),
            (_, "internal", _, Some(alias)) => {
                // One that SQL cannot call, because of its arguments, is not in the tables.
                let (verdict, traits) = self.own_verdict(Some("pg_catalog"), alias);
                verdict.map_or_else(by_declaration, |verdict| Body::of(verdict, "", traits))
            }
            (_, "c" | "internal", ..) => by_declaration(),
            (_, language, Some(text), _) => Body::read(language, text, is_volatile),
            (_, _, None, _) => Body::opaque("a body too long to be read"),
        }
    }

    fn note_settings(&mut self, function: &Function, body: &Body) {
        self.database.has_dynamic_settings |= body.sets_unknown;
        self.settings.extend(body.settings.iter().cloned());
        let configured = function.settings.lines().filter_map(|line| line.split_once('='));
        self.settings.extend(configured.filter_map(|(name, _)| body::custom(name)));
    }

    /// A function of PostgreSQL's own, as this crate's tables have it; `None` if they do not.
    fn own_verdict(&self, schema: Option<&str>, name: &str) -> (Option<Verdict>, Traits) {
        let verdict = self.vouched.own_function(schema, name);
        (verdict, builtins::traits(name))
    }

    /// An object uses whatever a name may mean. What nothing has, nothing can call; by the time that
    /// it is created this snapshot is old ([`Database::awaits`]).
    fn uses_by_name(&mut self, object: usize, used: Use<'_>) {
        let meant: Vec<usize> = self.database.meant(used).map(|(meant, _)| meant).collect();
        let own = match used {
            Use::Function { schema, name, arguments: Some(count) } => {
                self.own_verdict(schema, name).0.is_some() && self.database.own_takes(name, count)
            }
            Use::Operator { schema, name, operands } => {
                builtins::is_operator(schema, name, operands)
            }
            Use::Field(_) => true,
            _ => false,
        };
        if meant.is_empty()
            && let Use::Function { name, .. }
            | Use::Relation { name, .. }
            | Use::Type { name, .. }
            | Use::Field(name) = used
        {
            self.database.awaited.insert(name.into());
        }
        let uses = if own { &mut self.uses_by_operand } else { &mut self.uses };
        uses.extend(meant.into_iter().map(|meant| (object, meant)));
        if let Use::Function { name, .. } | Use::Field(name) = used {
            let schema = if let Use::Function { schema, .. } = used { schema } else { None };
            let as_type = Use::Type { schema, name };
            let meant: Vec<usize> = self.database.meant(as_type).map(|(at, _)| at).collect();
            self.uses.extend(meant.into_iter().map(|meant| (object, meant)));
        }
        match used {
            Use::Function { schema, name, .. } => {
                self.uses_own(object, schema, name, Verdict::Read);
            }
            Use::Field(name) if builtins::is_field(name) => {
                self.uses_own(object, None, name, Verdict::Read);
            }
            Use::Relation { schema, name } => {
                let least =
                    if self.vouched.is_sharded() { Verdict::Primary } else { Verdict::Read };
                let own = builtins::relation(schema, name).map(|own| own.max(least));
                if let Some(verdict) = own.filter(|own| *own > Verdict::Read) {
                    let traits = builtins::traits(name);
                    let own = self.object(name, verdict, traits, Why::ServerRelation);
                    self.uses.push((object, own));
                }
            }
            _ => {}
        }
    }

    /// An object calls a function of PostgreSQL's own; `otherwise` if the tables do not have it.
    fn uses_own(&mut self, object: usize, schema: Option<&str>, name: &str, otherwise: Verdict) {
        let (verdict, traits) = self.own_verdict(schema, name);
        let verdict = verdict.unwrap_or(otherwise);
        if verdict == Verdict::Read && traits == Traits::NONE {
            return;
        }
        let own = match self.own.get(name) {
            Some(&known) => known,
            None => {
                let verdict = if traits.has(Traits::SESSION) {
                    verdict.max(Verdict::Primary)
                } else {
                    verdict
                };
                let own = self.object(name, verdict, traits, Why::Function(""));
                self.own.insert(name.into(), own);
                own
            }
        };
        self.uses.push((object, own));
    }

    /// What the catalogs say of uses.
    fn stored_uses(&mut self) {
        let facts = self.facts;
        for &(user, used) in &facts.uses {
            let Some(&object) = self.by_id.get(&user) else { continue };
            if let Some(&used) = self.by_id.get(&used) {
                self.uses.push((object, used));
            } else if let Some(own) = self.own_functions.get(&used.1).map(|own| &own.named)
                && used.0 == Class::Function
            {
                // One that is newer than the tables: immutable functions cannot write.
                let otherwise =
                    if own.kind == "i" { Verdict::Read } else { self.vouched.unknown() };
                self.uses_own(object, Some(&own.schema), &own.name, otherwise);
                self.database.has_dynamic_settings |= own.name == "set_config";
            }
        }
        self.mark(&facts.askers, Verdict::Primary, "it asks for a setting of the server's");
        self.mark(&facts.writers, Verdict::Write, "it writes or locks rows");
        self.settings.extend(facts.settings.iter().filter_map(|name| body::custom(name)));
        self.find_ambient_code();
    }

    /// What is known of objects from their stored trees.
    fn mark(&mut self, marked: &[ObjectId], verdict: Verdict, why: &'static str) {
        for id in marked {
            if let Some(object) = self.by_id.get(id)
                && let Some(object) = self.database.objects.get_mut(*object)
                && verdict > object.verdict
            {
                object.verdict = verdict;
                object.why = Why::Function(why);
            }
        }
    }

    /// Functions in C do not become others.
    fn find_ambient_code(&mut self) {
        let anything = (Class::Anything, 0);
        let fixed: HashSet<u32> = self
            .facts
            .functions
            .iter()
            .filter(|function| matches!(function.language.as_str(), "c" | "internal"))
            .map(|function| function.oid)
            .collect();
        self.database.has_ambient_code = self.facts.uses.iter().any(|(user, (class, used))| {
            *user == anything && *class == Class::Function && !fixed.contains(used)
        });
    }

    /// Carries what every object amounts to to all that use it.
    ///
    /// First as if every use by name could mean every object of the name. If that finds functions or
    /// operators that are not harmless, and that only values of some types lead to, these types become
    /// kinds, and it is done again with what each object can get hold of in mind.
    fn close(mut self) -> Database {
        let own: Vec<_> =
            self.database.objects.iter().map(|object| (object.verdict, object.traits)).collect();
        let all: Vec<_> = self.uses.iter().chain(&self.uses_by_operand).copied().collect();
        let users = self.users(&all);
        carry(&mut self.database.objects, &users);
        if self.find_kinds() {
            for (object, (verdict, traits)) in self.database.objects.iter_mut().zip(own) {
                (object.verdict, object.traits, object.cause) = (verdict, traits, None);
            }
            let uses = self.uses_with_kinds();
            let users = self.users(&uses);
            carry(&mut self.database.objects, &users);
        }
        self.database.harmless_types = self.harmless_types();
        let mut settings: Vec<_> = self.settings.into_iter().collect();
        settings.sort_unstable();
        self.database.custom_settings = settings;
        self.database
    }

    /// Types that lead to nothing but reads, and that no function or operator waits for that does more.
    fn harmless_types(&self) -> HashSet<u32> {
        let is_harmless = |oid: u32| {
            let object = self.by_id.get(&(Class::Type, oid));
            let object = object.and_then(|at| self.database.objects.get(*at));
            let is_plain = |object: &Object| {
                object.verdict == Verdict::Read
                    && object.traits == Traits::NONE
                    && object.brings == Kinds::NONE
            };
            oid < FIRST_USER_OID || object.is_some_and(is_plain)
        };
        let types = self.facts.types.iter().map(|of_type| (of_type.oid, of_type.oid));
        let all = types.chain(self.facts.arrays.iter().copied());
        all.filter(|(_, element)| is_harmless(*element)).map(|(oid, _)| oid).collect()
    }

    /// By object, those that use it.
    fn users(&self, uses: &[(usize, usize)]) -> Vec<Vec<usize>> {
        let mut users: Vec<Vec<usize>> = vec![Vec::new(); self.database.objects.len()];
        for &(user, used) in uses {
            if !self.settled.contains(&user)
                && let Some(users) = users.get_mut(used)
            {
                users.push(user);
            }
        }
        users
    }

    /// Gives numbers to the types that lead to functions and operators which are not harmless; false if
    /// there are none. Types beyond the room for them are left out, and so are what they lead to: that
    /// counts wherever its name is.
    fn find_kinds(&mut self) -> bool {
        let mut kinds: HashMap<usize, Kinds> = HashMap::new();
        let mut crowded = HashSet::new();
        let types = self.facts.types.iter().filter(|of_type| of_type.kind == "c");
        let composite: HashSet<usize> = types
            .filter_map(|of_type| self.by_id.get(&(Class::Type, of_type.oid)).copied())
            .collect();
        for (led_to, of_type) in &self.facts.operands {
            let (Some(&led_to), Some(&of_type)) = (self.by_id.get(led_to), self.by_id.get(of_type))
            else {
                continue;
            };
            let Some(object) = self.database.objects.get_mut(led_to) else { continue };
            if object.verdict == Verdict::Read && object.traits == Traits::NONE {
                continue;
            }
            let next = kinds.len();
            let kind = *kinds.entry(of_type).or_insert_with(|| Kinds::one(next));
            let rows = if composite.contains(&of_type) { Kinds::ROWS } else { Kinds::NONE };
            object.operands = object.operands.with(kind).with(rows);
            if kind == Kinds::NONE {
                crowded.insert(led_to);
            }
        }
        for at in crowded {
            if let Some(object) = self.database.objects.get_mut(at) {
                object.operands = Kinds::NONE;
            }
        }
        for (of_type, kind) in &kinds {
            if let Some(object) = self.database.objects.get_mut(*of_type) {
                object.brings = *kind;
            }
        }
        !kinds.is_empty()
    }

    /// The uses that can come about: one by name of what needs values of some kind, only where such values
    /// can be. Each that can may bring values of other kinds.
    fn uses_with_kinds(&mut self) -> Vec<(usize, usize)> {
        let mut uses = self.uses.clone();
        let mut open = self.uses_by_operand.clone();
        loop {
            let users = self.users(&uses);
            bring(&mut self.database.objects, &users);
            let objects = &self.database.objects;
            let comes_about =
                |(user, used): &(usize, usize)| match (objects.get(*user), objects.get(*used)) {
                    (Some(user), Some(used)) => {
                        used.operands == Kinds::NONE || used.operands.has_any(user.brings)
                    }
                    _ => false,
                };
            let (come, rest): (Vec<_>, Vec<_>) = open.into_iter().partition(comes_about);
            if come.is_empty() {
                return uses;
            }
            uses.extend(come);
            open = rest;
        }
    }
}

/// What is known of an extension's function by its name.
fn body_in_extension(extension: &str, name: &str) -> Option<Body> {
    let known = extensions::function(extension, name)?;
    let mut traits = extensions::traits(extension, name);
    if known > Verdict::Primary {
        traits = traits.with(Traits::SESSION);
        if sharding::defines(name) {
            traits = traits.with(Traits::DEFINES);
        }
    }
    Some(Body::of(known, "", traits))
}

/// Whether a function runs with modes of its transaction's that are its own.
fn sets_transaction(function: &Function) -> bool {
    let configured = function.settings.lines().filter_map(|line| line.split_once('='));
    configured.into_iter().any(|(name, _)| setting::is_of_transaction(name))
}

/// Carries verdicts and traits from each object to its users, until nothing changes.
fn carry(objects: &mut [Object], users: &[Vec<usize>]) {
    let mut changed: Vec<usize> = (0..objects.len()).collect();
    while let Some(at) = changed.pop() {
        let Some(&Object { verdict, traits, .. }) = objects.get(at) else { continue };
        if verdict == Verdict::Read && traits == Traits::NONE {
            continue;
        }
        for &user in users.get(at).into_iter().flatten() {
            let Some(object) = objects.get_mut(user) else { continue };
            let before = (object.verdict, object.traits);
            if verdict > object.verdict {
                object.verdict = verdict;
                object.cause = Some(at);
            }
            object.traits = object.traits.with(traits);
            if before != (object.verdict, object.traits) {
                changed.push(user);
            }
        }
    }
}

/// Carries the kinds of values from each object to its users, until nothing changes.
fn bring(objects: &mut [Object], users: &[Vec<usize>]) {
    let mut changed: Vec<usize> = (0..objects.len()).collect();
    while let Some(at) = changed.pop() {
        let Some(brings) = objects.get(at).map(|object| object.brings) else { continue };
        for &user in users.get(at).into_iter().flatten() {
            let Some(object) = objects.get_mut(user) else { continue };
            let before = object.brings;
            object.brings = before.with(brings);
            if before != object.brings {
                changed.push(user);
            }
        }
    }
}
