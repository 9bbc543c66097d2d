//! The read/write rule, on one page.
//!
//! The classifier says what a text needs of a server; this module turns that into what the session
//! machine wants to know ([`Verdict`]) and decides, with what the client itself has asked for, where
//! a piece of work runs. Doubt goes to the primary, and every answer has a reason.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use pgweir_classifier::catalog::defines_objects;
use pgweir_classifier::{
    Access, Catalog, Characteristics, Control, Definition, Discard, Effect as Sign, Hint,
    Isolation, Label, LabelCache, Local, Options, Pin, Reason, Sharing, StatementLabel,
    UnknownFunctions, Unpin,
};
use pgweir_pool::{Access as Reach, Lsn, Node, Past, Reads, Want};
use pgweir_protocol::report::{Report, Severity};
use pgweir_protocol::settings::{SettingsMap, quote_literal};
use pgweir_protocol::sqlstate::SqlState;
use pgweir_protocol::verdict::{
    AccessMode, CatalogChange, Culprit, Effect, Enclosure, Execution, Inspection,
    Isolation as TransactionLevel, Manner, Move, Opening, OwnQuestion, Pins, Prepared,
    SessionFacts, Setback, SettingChange, Target, Trace, TransactionModes, Verdict,
};

use crate::catalogs::{Attendance, Change, DatabaseCatalog};
use crate::config::{self, ConsistencyLevel, Routing};
use crate::heals::{self, Heals};
use crate::routes::{Kind, MAX_SHOWN_BYTES, Route, Routes};
use crate::snapshot::{Policy, Rules, Spread, reach};
use crate::telemetry::metrics::Metrics;

/// Memory for verdicts on texts seen before, in bytes.
const CACHE_BYTES: usize = 8 << 20;

/// Writes of a database's clients after which nobody is expected to ask what it has drawn from a
/// sequence, if nobody has. Until then every write gets a memory of sequences of its own, which costs
/// the server some ten microseconds where connections change hands.
const UNASKED_WRITES: u32 = 10_000;

/// Encodings in which a byte of a character can look like a quote.
const UNSAFE_ENCODINGS: [&str; 7] =
    ["SJIS", "BIG5", "GBK", "UHC", "GB18030", "JOHAB", "SHIFT_JIS_2004"];

/// Judges texts for all clients of a database; remembers its verdicts.
#[derive(Debug)]
pub struct Router {
    database: Box<str>,
    catalog: Arc<DatabaseCatalog>,
    shared: Shared,
    habits: Arc<Habits>,
    heals: Heals,
}

/// What has been seen of a database's clients, by whatever rules they are served.
#[derive(Debug, Default)]
struct Habits {
    /// How often the schema has changed through pgweir.
    schema_epoch: AtomicU64,
    /// Somebody asks for what it has drawn from sequences.
    recalls_sequences: AtomicBool,
    /// Writes before anybody did; counted up to [`UNASKED_WRITES`].
    unasked_writes: AtomicU32,
}

/// What the routers of all databases share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) rules: Arc<Rules>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) routes: Arc<Routes>,
}

impl Router {
    /// A router for a database whose catalog is kept.
    pub(crate) fn new(
        database: Box<str>,
        catalog: Arc<DatabaseCatalog>,
        shared: Shared,
        self_heal: bool,
    ) -> Self {
        Self { database, catalog, shared, habits: Arc::default(), heals: Heals::new(self_heal) }
    }

    /// The router that takes its place under other rules.
    pub(crate) fn successor(
        &self,
        catalog: Arc<DatabaseCatalog>,
        shared: Shared,
        self_heal: bool,
    ) -> Self {
        let habits = self.habits.clone();
        Self { habits, ..Self::new(self.database.clone(), catalog, shared, self_heal) }
    }

    /// Memory for verdicts.
    pub(crate) fn new_cache() -> Arc<LabelCache<Verdict>> {
        Arc::new(LabelCache::new(CACHE_BYTES))
    }

    /// What is known of the database's objects.
    pub(crate) fn catalog(&self) -> &Arc<DatabaseCatalog> {
        &self.catalog
    }

    /// The verdict on a text, from the cache if it, or one that differs in literals, was seen.
    #[must_use]
    pub fn judge(&self, sql: &[u8], options: Options) -> Arc<Verdict> {
        let known = self.catalog.known();
        let generation = known.generation;
        let make = |label: Label| {
            // A question about a statement does not run it.
            let asks = matches!(label.local(), Some(Local::ExplainRoute { .. }));
            let rules = &self.shared.rules;
            let entry = rules.firewall.denies(sql, options).filter(|_| !asks);
            let verdict = match entry {
                Some(entry) => denied(entry),
                None => Verdict {
                    fingerprint: heals::mark(sql, options),
                    ..of_generation(generation, verdict(sql, &label), &label)
                },
            };
            let enclosed = self.enclosed(sql, options, &label, &verdict);
            Verdict { enclosed, ..by_rules(rules.number, verdict) }
        };
        let cache = &self.shared.rules.cache;
        let verdict = cache.get_or_insert_with(sql, options, generation, &known.catalog, make);
        self.heals.revised(&verdict).unwrap_or(verdict)
    }

    /// The verdict on a statement whose parameters have these types.
    fn with_types(
        &self,
        verdict: Arc<Verdict>,
        types: &mut dyn Iterator<Item = u32>,
    ) -> Arc<Verdict> {
        let types: Vec<u32> = types.filter(|oid| !Catalog::is_own_type(*oid)).collect();
        if types.is_empty() {
            return verdict;
        }
        let known = self.catalog.known();
        let verdict = Verdict { generation: known.generation, ..Verdict::clone(&verdict) };
        if types.iter().all(|oid| known.catalog.is_harmless_type(*oid)) {
            return Arc::new(verdict);
        }
        Arc::new(Verdict {
            target: Target::Primary,
            is_write: true,
            suits_replica: false,
            ..verdict
        })
    }

    /// What counts the statements with this verdict; nothing for a question to pgweir.
    fn enclosed(
        &self,
        sql: &[u8],
        options: Options,
        label: &Label,
        verdict: &Verdict,
    ) -> Enclosure {
        let (target, reason) = match &verdict.question {
            None => (target_name(verdict.target), label.reason.to_string()),
            Some(OwnQuestion::Denied { .. }) => (NO_TARGET, BLOCKED.to_owned()),
            Some(_) => return Enclosure::default(),
        };
        let kind = Kind {
            database: self.database.clone(),
            statement: pgweir_classifier::shown(sql, options, MAX_SHOWN_BYTES).into(),
            class: label.access.as_str(),
            reason: reason.into(),
            target,
        };
        Enclosure::new(self.shared.routes.enter(kind))
    }

    /// Learns whether clients of this database ask for what they have drawn from sequences.
    fn note_sequences(&self, verdict: &Verdict) {
        if verdict.recalls_sequences {
            self.habits.recalls_sequences.store(true, Ordering::Relaxed);
        } else if verdict.is_write
            && self.habits.unasked_writes.load(Ordering::Relaxed) < UNASKED_WRITES
        {
            self.habits.unasked_writes.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The reason of a statement that the firewall does not let pass.
const BLOCKED: &str = "blocked";

/// Where such a statement goes.
pub(crate) const NO_TARGET: &str = "none";

/// The verdict on a statement that runs into this entry of the firewall's list.
pub(crate) fn denied(entry: &str) -> Verdict {
    let report = Report::new(
        Severity::Error,
        SqlState::INSUFFICIENT_PRIVILEGE,
        "pgweir: the firewall does not let this statement pass",
    )
    .with_detail(format!("It matches {entry:?} in firewall.block."))
    .with_hint("Who runs pgweir can take the entry out of its configuration.");
    let mut error = Vec::new();
    report.encode_error(&mut error);
    Verdict {
        // Any server refuses what stands in for it.
        target: Target::Replica,
        is_write: false,
        suits_replica: true,
        controls_transaction: false,
        pins_when_sent: Pins::NONE,
        changes_catalog: CatalogChange::None,
        question: Some(OwnQuestion::Denied { error: error.into() }),
        ..Verdict::unknown(BLOCKED)
    }
}

/// What is known about functions from the configuration alone.
#[must_use]
pub fn catalog(routing: &Routing) -> Catalog {
    let names = |list: &[crate::config::FunctionName]| -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    };
    Catalog::builtin()
        .with_unknown_functions(match routing.unknown_functions {
            config::UnknownFunctions::Primary => UnknownFunctions::Write,
            config::UnknownFunctions::Replica => UnknownFunctions::Read,
        })
        .with_read_functions(names(&routing.read_functions).iter().map(String::as_str))
        .with_write_functions(names(&routing.write_functions).iter().map(String::as_str))
}

/// Where work runs that has such a verdict: the rule.
#[must_use]
pub fn target(verdict: &Verdict, facts: SessionFacts<'_>) -> Target {
    if facts.split.is_some_and(|access| takes_to_primary(access, verdict.trace)) {
        return Target::Primary;
    }
    if let Some(told) = verdict.hint.or_else(|| session_hint(facts)) {
        return match told {
            Target::Replica if verdict.suits_replica => Target::Replica,
            _ => Target::Primary,
        };
    }
    if defaults_to_serializable(facts) {
        return Target::Primary;
    }
    match verdict.begin {
        None => verdict.target,
        Some(modes) => {
            let read_only = modes.read_only.unwrap_or_else(|| defaults_to_read_only(facts));
            let is_free = read_only && !modes.is_serializable();
            if is_free { verdict.target } else { Target::Primary }
        }
    }
}

/// Whether a transaction goes to the primary for what a text leaves in it. One that is READ ONLY has come
/// to read: what holds it where it is, it may have there.
fn takes_to_primary(access: AccessMode, trace: Trace) -> bool {
    match access {
        AccessMode::ReadWrite => trace >= Trace::Held,
        AccessMode::ReadOnly => trace >= Trace::Bound,
    }
}

/// The same where READ WRITE transactions may be split: a BEGIN goes where the transaction's reads go.
#[must_use]
pub fn target_of(verdict: &Verdict, facts: SessionFacts<'_>, splits_writers: bool) -> Target {
    let is_alone = verdict.opening.is_some_and(|opening| opening.is_alone());
    let begins =
        is_alone && facts.split.is_none() && splits(verdict, facts, splits_writers).is_some();
    if begins { Target::Replica } else { target(verdict, facts) }
}

/// Whether a transaction that begins like this reads from a replica, and goes on on the primary with the
/// first statement that belongs there: a READ ONLY one in any case, another of READ COMMITTED where
/// `routing.transactions` says so. Who has told where it goes has it so.
#[must_use]
pub fn splits(
    verdict: &Verdict,
    facts: SessionFacts<'_>,
    splits_writers: bool,
) -> Option<AccessMode> {
    let modes = verdict.begin.or(verdict.set_transaction)?;
    let is_told = || verdict.hint.is_some() || session_hint(facts).is_some();
    if modes.is_serializable() || verdict.denial().is_some() || is_told() {
        return None;
    }
    let is_read_only = modes.read_only.unwrap_or_else(|| defaults_to_read_only(facts));
    if is_read_only {
        return (!defaults_to_serializable(facts)).then_some(AccessMode::ReadOnly);
    }
    let is_plain = verdict.opening.is_some_and(|opening| opening.is_alone())
        && modes.isolation.is_none_or(|level| level == TransactionLevel::ReadCommitted);
    (splits_writers && is_plain).then_some(AccessMode::ReadWrite)
}

/// `SET pgweir.route`.
fn session_hint(facts: SessionFacts<'_>) -> Option<Target> {
    match own_setting(facts.settings, "pgweir.route")? {
        "primary" => Some(Target::Primary),
        "replica" => Some(Target::Replica),
        _ => None,
    }
}

/// The value of a setting of pgweir's own, as the statement that replays it says it.
pub(crate) fn own_setting<'a>(settings: &'a SettingsMap, name: &str) -> Option<&'a str> {
    settings.get(name)?.split('\'').nth_back(1)
}

fn defaults_to_read_only(facts: SessionFacts<'_>) -> bool {
    facts.reported.get("default_transaction_read_only") == Some("on")
}

fn is_serializable_default(effect: &Effect) -> bool {
    match effect {
        Effect::Setting(SettingChange::Set { name, statement }) => {
            &**name == "default_transaction_isolation" && says_serializable(statement)
        }
        _ => false,
    }
}

/// Texts behind it in the same pipeline are read before the server reports the change.
fn changes_syntax(effect: &Effect) -> bool {
    match effect {
        Effect::Setting(SettingChange::Set { name, .. } | SettingChange::Reset { name }) => {
            matches!(&**name, "standard_conforming_strings" | "client_encoding")
        }
        _ => false,
    }
}

fn says_serializable(statement: &str) -> bool {
    statement.to_ascii_lowercase().contains("serializable")
}

/// A standby refuses SERIALIZABLE even for a plain read (0A000).
fn defaults_to_serializable(facts: SessionFacts<'_>) -> bool {
    facts
        .settings
        .get("default_transaction_isolation")
        .is_some_and(|statement| says_serializable(statement))
}

// ---- from label to verdict ----

/// What the session machine needs to know of a label.
#[must_use]
pub fn verdict(sql: &[u8], label: &Label) -> Verdict {
    let mut effects = Vec::new();
    let mut pins_when_sent = Pins::NONE;
    let mut leaves_state = label.unparsed;
    if label.unparsed {
        // PostgreSQL will refuse it. Should it know a grammar we do not, it may leave anything.
        effects.push((0, Effect::Pin(Pins::UNINSPECTED)));
    }
    let alone = std::str::from_utf8(sql).ok().filter(|_| label.statements.len() == 1);
    for (index, statement) in label.statements.iter().enumerate() {
        for effect in statement_effects(statement, alone) {
            if let Effect::Pin(pins) = &effect {
                pins_when_sent = pins_when_sent.with(pins.surviving_rollback());
                leaves_state = true;
            }
            effects.push((index, effect));
        }
    }
    // What it executes may write; a session that knows the statement judges that instead.
    let executes = label.effects().any(|sign| matches!(sign, Sign::Execute(_) | Sign::Plan(_)));
    // What runs next on a standby would be refused, or read otherwise than it is here.
    let changes_next =
        effects.iter().any(|(_, effect)| is_serializable_default(effect) || changes_syntax(effect));
    let question = label.local().and_then(|local| own_question(sql, local));
    let begin = label.statements.iter().rev().find_map(|statement| match &statement.control {
        Control::Begin(modes) => Some(transaction_modes(modes)),
        _ => None,
    });
    let only = match label.statements.as_slice() {
        [only] => Some(&only.control),
        _ => None,
    };
    Verdict {
        target: match label.access {
            Access::Neutral | Access::Read if changes_next => Target::Primary,
            Access::Neutral | Access::Read => Target::Replica,
            // The server that is asked only repeats what it is told.
            Access::Primary if question.as_ref().is_some_and(is_known_here) => Target::Replica,
            Access::Primary | Access::Write => Target::Primary,
        },
        reason: label.reason.as_str(),
        reason_index: label.reason.index(),
        is_write: label.access == Access::Write || executes,
        suits_replica: !executes && !leaves_state && suits_replica(label),
        begin,
        only_begins: matches!(only, Some(Control::Begin(_))),
        only_ends: only.is_some_and(ends),
        only_sets: only_sets(label),
        set_transaction: only.and_then(set_transaction),
        controls_transaction: label
            .statements
            .iter()
            .any(|statement| !matches!(statement.control, Control::None)),
        effects: effects.into(),
        pins_when_sent,
        hint: label.hint.map(|hint| match hint {
            Hint::Primary => Target::Primary,
            Hint::Replica => Target::Replica,
        }),
        changes_catalog: catalog_change(sql, label),
        question,
        ..remembered(label)
    }
}

fn set_transaction(control: &Control) -> Option<TransactionModes> {
    match control {
        Control::SetTransaction(modes) => Some(transaction_modes(modes)),
        _ => None,
    }
}

/// Whether it ends a transaction, and none begins with it.
const fn ends(control: &Control) -> bool {
    matches!(
        control,
        Control::Commit { chain: false }
            | Control::Rollback { chain: false }
            | Control::PrepareTransaction
    )
}

/// Whether a replica can do what its client insists on. What the session has drawn from a sequence none knows.
fn suits_replica(label: &Label) -> bool {
    let recalls = |sign: &Sign| *sign == Sign::RecallsSequence;
    label.access != Access::Write && !label.effects().any(recalls)
}

/// The BEGIN at a text's head, if it may open a transaction that changes servers, and leaves it open.
fn opening(label: &Label) -> Option<Opening> {
    let [first, rest @ ..] = label.statements.as_slice() else {
        return None;
    };
    let Control::Begin(modes) = first.control else {
        return None;
    };
    let is_open = rest.iter().all(|one| one.control == Control::None);
    let rest = rest.iter().map(trace_of_one).max();
    let may_change = modes.isolation != Some(Isolation::Serializable)
        && is_open
        && rest < Some(Trace::Bound)
        && !label.unparsed;
    let isolation = modes.isolation.map(level);
    may_change.then_some(Opening { tag: first.kind, isolation, rest })
}

/// What a text leaves behind in its transaction.
fn trace(label: &Label) -> Trace {
    let traces = label.statements.iter().map(trace_of_one);
    let most = traces.max().unwrap_or(Trace::None);
    let is_one = label.statements.len() <= 1;
    let control = label.statements.iter().position(|one| one.control != Control::None);
    match control {
        _ if label.unparsed => Trace::Bound,
        _ if is_one || most == Trace::Bound => most,
        // Several are not said again one by one.
        None if most > Trace::None => Trace::Held,
        None => Trace::None,
        // What they leave ends with the transaction.
        Some(at) if ends_last(label, at) => Trace::None,
        // What controls the transaction on its way is not told apart from the rest.
        Some(_) => Trace::Bound,
    }
}

/// Whether the statement at this place is the last one, and ends the transaction.
fn ends_last(label: &Label, at: usize) -> bool {
    matches!(
        label.statements.get(at..),
        Some([only]) if matches!(
            only.control,
            Control::Commit { chain: false } | Control::Rollback { chain: false }
        )
    )
}

fn trace_of_one(statement: &StatementLabel) -> Trace {
    let effects = statement.effects.iter().map(trace_of_sign).max().unwrap_or(Trace::None);
    let control = match &statement.control {
        Control::None | Control::Commit { chain: false } | Control::Rollback { chain: false } => {
            Trace::None
        }
        Control::Savepoint(_) | Control::Release(_) | Control::RollbackTo(_) => Trace::Repeatable,
        Control::SetTransaction(modes) if statement.kind == "SET" => trace_of_modes(modes),
        _ => Trace::Bound,
    };
    let own = match &statement.local {
        // What it asks of pgweir is better heeded by going on where it holds in any case.
        Some(Local::Set { .. } | Local::Reset(_)) => Trace::Bound,
        _ => Trace::None,
    };
    let kind = match statement.kind {
        "SET CONSTRAINTS" => Trace::Repeatable,
        _ => Trace::None,
    };
    effects.max(control).max(own).max(kind)
}

/// READ ONLY is possible at any time, and on any server; a level before anything was read.
fn trace_of_modes(modes: &Characteristics) -> Trace {
    let is_standbys = modes.isolation != Some(Isolation::Serializable);
    match modes.read_only {
        Some(false) => Trace::Bound,
        Some(true) if modes.isolation.is_none() && modes.deferrable.is_none() => Trace::Repeatable,
        None if modes.isolation.is_none() && modes.deferrable.is_none() => Trace::Bound,
        _ if is_standbys => Trace::Held,
        _ => Trace::Bound,
    }
}

fn trace_of_sign(sign: &Sign) -> Trace {
    match sign {
        Sign::Set { .. }
        | Sign::Reset { .. }
        | Sign::ResetAll
        | Sign::SetSessionCharacteristics(_) => Trace::Repeatable,
        // As the statement that it executes.
        Sign::Execute(_)
        | Sign::Plan(_)
        | Sign::Discard(Discard::Plans)
        // What a cursor holds it holds no more.
        | Sign::Unpin(Unpin::CloseCursor(_)) => Trace::None,
        Sign::DeclareCursor(_) | Sign::SetsLocally | Sign::AsksSetting(_) | Sign::RanHiddenCode => {
            Trace::Held
        }
        _ => Trace::Bound,
    }
}

/// Statements whose answers tell nothing of what is stored.
const SHOWING_NOTHING: [&str; 11] = [
    "SET",
    "RESET",
    "SHOW",
    "DISCARD",
    "BEGIN",
    "START TRANSACTION",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT",
    "RELEASE",
    "DEALLOCATE",
];

fn shows_nothing(label: &Label) -> bool {
    if matches!(label.local(), Some(Local::ExplainRoute { .. })) {
        return true;
    }
    !label.unparsed
        && label.statements.iter().all(|statement| SHOWING_NOTHING.contains(&statement.kind))
}

/// What a text means for what is known of the database's objects. One that our grammar cannot read may
/// be a definition that the server's can.
fn catalog_change(sql: &[u8], label: &Label) -> CatalogChange {
    if label.unparsed && defines_objects(&String::from_utf8_lossy(sql)) {
        return CatalogChange::Everything;
    }
    let mut names: Option<Vec<Box<str>>> = None;
    let mut is_doubtful = false;
    for statement in &label.statements {
        match &statement.definition {
            Definition::Nothing => {}
            Definition::Named(more) => {
                let more = more.iter().map(|name| name.as_str().into());
                names.get_or_insert_default().extend(more);
            }
            Definition::Anything => is_doubtful = true,
            Definition::Everything => return CatalogChange::Everything,
        }
    }
    if is_doubtful {
        return CatalogChange::Any;
    }
    names.map_or(CatalogChange::None, |names| CatalogChange::Named(names.into()))
}

/// What the session has to do for a text with this label, and about the statements it names.
fn remembered(label: &Label) -> Verdict {
    let only = match label.statements.as_slice() {
        [only] => Some(only),
        _ => None,
    };
    Verdict {
        recalls_sequences: label.effects().any(|sign| *sign == Sign::RecallsSequence),
        shows_nothing: shows_nothing(label),
        lists_statements: label.effects().any(|sign| *sign == Sign::ListsStatements),
        deallocates: only.and_then(deallocated).map(Into::into),
        executes: only.and_then(executed),
        mentions: label.effects().filter_map(mentioned).map(Into::into).collect(),
        inspects: inspection(label),
        vacates: label.effects().find_map(vacated).map(Into::into),
        opening: opening(label),
        trace: trace(label),
        ..Verdict::unknown("")
    }
}

/// Whether a text is one statement about the session's settings.
fn only_sets(label: &Label) -> bool {
    match label.statements.as_slice() {
        [only] => {
            matches!(only.kind, "SET" | "RESET" | "DISCARD")
                && only.effects.iter().all(|sign| {
                    matches!(sign, Sign::Set { .. } | Sign::Reset { .. } | Sign::ResetAll)
                        || *sign == Sign::Discard(Discard::All)
                })
        }
        _ => false,
    }
}

fn deallocated(statement: &StatementLabel) -> Option<&str> {
    statement.effects.iter().find_map(|sign| match sign {
        Sign::Deallocate(Some(name)) => Some(name.as_str()),
        _ => None,
    })
}

/// EXECUTE, or EXPLAIN of it. Where its arguments do harm, or leave anything behind, they decide.
fn executed(statement: &StatementLabel) -> Option<Execution> {
    let is_up_to_it =
        statement.reason == Reason::SqlExecute && matches!(statement.effects.as_slice(), [_]);
    let (name, how) = statement.effects.iter().find_map(|sign| match sign {
        Sign::Execute(name) => Some((name, Manner::Alone)),
        Sign::Plan(name) => Some((name, Manner::Planned)),
        _ => None,
    })?;
    let how = if is_up_to_it { how } else { Manner::Besides };
    matches!(statement.kind, "EXECUTE" | "EXPLAIN")
        .then(|| Execution { name: name.as_str().into(), how })
}

/// The prepared statement that SQL calls by its name.
fn mentioned(sign: &Sign) -> Option<&str> {
    match sign {
        Sign::Prepare { name, .. }
        | Sign::Execute(name)
        | Sign::Plan(name)
        | Sign::Deallocate(Some(name)) => Some(name),
        _ => None,
    }
}

/// The database that has to be free of connections.
fn vacated(sign: &Sign) -> Option<&str> {
    match sign {
        Sign::NeedsDatabaseAlone(name) => Some(name),
        _ => None,
    }
}

/// What a server has to be asked after a text with this label.
fn inspection(label: &Label) -> Option<Inspection> {
    let mut asked = Inspection::default();
    let mut settings: Vec<Box<str>> = Vec::new();
    for sign in label.effects() {
        match sign {
            Sign::RanHiddenCode | Sign::Execute(_) | Sign::Plan(_) => asked.of = Pins::INSPECTED,
            Sign::AsksSetting(name) => settings.push(name.as_str().into()),
            Sign::Unpin(unpin) => asked.released = asked.released.with(released(unpin)),
            _ => {}
        }
    }
    asked.settings = settings.into();
    (asked != Inspection::default()).then_some(asked)
}

/// One of several may be gone; that is no proof that none is left.
fn released(unpin: &Unpin) -> Pins {
    match unpin {
        Unpin::Unlisten(_) => Pins::LISTEN,
        Unpin::CloseCursor(_) => Pins::HOLD_CURSOR,
        Unpin::AdvisoryLock | Unpin::AllAdvisoryLocks => Pins::ADVISORY_LOCK,
        Unpin::Dropped(_) => Pins::TEMPORARY,
    }
}

fn transaction_modes(modes: &pgweir_classifier::Characteristics) -> TransactionModes {
    TransactionModes {
        read_only: modes.read_only,
        isolation: modes.isolation.map(level),
        deferrable: modes.deferrable,
    }
}

fn level(level: Isolation) -> TransactionLevel {
    match level {
        Isolation::ReadUncommitted | Isolation::ReadCommitted => TransactionLevel::ReadCommitted,
        Isolation::RepeatableRead => TransactionLevel::RepeatableRead,
        Isolation::Serializable => TransactionLevel::Serializable,
    }
}

fn own_question(sql: &[u8], local: &Local) -> Option<OwnQuestion> {
    match local {
        Local::Show(name) => Some(OwnQuestion::Show { name: name.as_str().into() }),
        Local::ExplainRoute { range, .. } => {
            let statement = std::str::from_utf8(sql.get(range.clone())?).ok()?;
            Some(OwnQuestion::Route { statement: statement.into() })
        }
        Local::Set { name, value, local } if name == TOKEN => Some(token_setting(value, *local)),
        Local::Set { name, value, .. } => refused_setting(name, value),
        Local::Reset(_) => None,
    }
}

/// Whether pgweir knows the answer itself, and a server is only needed to give it.
fn is_known_here(question: &OwnQuestion) -> bool {
    !matches!(question, OwnQuestion::Show { name } if &**name == TOKEN)
}

/// The settings of pgweir's own, each with the values it takes, the usual one first.
const OWN_SETTINGS: [(&str, &[&str]); 2] = [
    ("route", &["auto", "primary", "replica"]),
    ("consistency", &["session", "eventual", "global"]),
];

/// The setting that takes a position in the write-ahead log, and shows one.
const TOKEN: &str = "token";

/// What `SHOW pgweir.token` runs: a position that lies behind everything that the session has written
/// and read. The primary is behind nothing; a standby that serves the session now is behind nothing that
/// the session knows of (or else it would not be let serve it), and has received all that it shows.
const SHOW_TOKEN: &str = "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() \
     THEN GREATEST(pg_catalog.pg_last_wal_receive_lsn(),pg_catalog.pg_last_wal_replay_lsn()) \
     ELSE pg_catalog.pg_current_wal_insert_lsn() END\
     ::pg_catalog.text AS \"pgweir.token\"";

/// The answer to `SET pgweir.token`.
fn token_setting(value: &str, local: bool) -> OwnQuestion {
    // What RESET leaves behind on PostgreSQL.
    if !value.is_empty() && value.parse::<Lsn>().is_err() {
        return OwnQuestion::Refused {
            message: format!("invalid value for parameter \"pgweir.token\": \"{value}\"").into(),
            hint: "A token is what SHOW pgweir.token shows: a position in the write-ahead log, such as \
                   16/B374D848."
                .into(),
        };
    }
    let scope = if local { "LOCAL " } else { "" };
    let statement = format!("SET {scope}pgweir.token = {}", quote_literal(value));
    OwnQuestion::Token { statement: statement.into(), value: value.into() }
}

fn refused_setting(name: &str, value: &str) -> Option<OwnQuestion> {
    let values = OWN_SETTINGS.iter().find(|(known, _)| *known == name).map(|(_, values)| *values);
    match values {
        Some(values) if values.contains(&value) => None,
        Some(values) => Some(OwnQuestion::Refused {
            message: format!("invalid value for parameter \"pgweir.{name}\": \"{value}\"").into(),
            hint: format!("Available values: {}.", values.join(", ")).into(),
        }),
        None => Some(OwnQuestion::Refused {
            message: format!("parameter \"pgweir.{name}\" cannot be set in this version").into(),
            hint: "What can be set is pgweir.route, pgweir.consistency and pgweir.token.".into(),
        }),
    }
}

/// What a statement does; `alone` is the text that is nothing else.
fn statement_effects(statement: &StatementLabel, alone: Option<&str>) -> Vec<Effect> {
    let mut effects: Vec<Effect> = match &statement.control {
        Control::Commit { .. } | Control::PrepareTransaction => vec![Effect::Commit],
        Control::Rollback { .. } => vec![Effect::Rollback],
        Control::Savepoint(name) => vec![Effect::Savepoint(name.as_str().into())],
        Control::Release(name) => vec![Effect::Release(name.as_str().into())],
        Control::RollbackTo(name) => vec![Effect::RollbackTo(name.as_str().into())],
        Control::None | Control::Begin(_) | Control::SetTransaction(_) | Control::EndPrepared => {
            Vec::new()
        }
    };
    effects.extend(statement.local.as_ref().and_then(own_setting_effect));
    effects.extend(statement.effects.iter().flat_map(effects_of));
    if alone.is_none() {
        // It is not all that holds the transaction.
        effects.retain(|effect| !matches!(effect, Effect::Declare(_)));
    }
    for effect in &mut effects {
        if let (Effect::Prepare(prepared), Some(text)) = (effect, alone) {
            // As pg_prepared_statements shows it.
            prepared.statement = text.into();
        }
    }
    effects
}

/// pgweir's own settings are PostgreSQL's custom settings too: the server keeps and reverts them
/// like any other.
fn own_setting_effect(local: &Local) -> Option<Effect> {
    match local {
        Local::Set { name, value, local: false } => Some(set(
            format!("pgweir.{name}"),
            &format!("SET pgweir.{name} = {}", quote_literal(value)),
        )),
        Local::Reset(name) => {
            Some(Effect::Setting(SettingChange::Reset { name: format!("pgweir.{name}").into() }))
        }
        _ => None,
    }
}

fn set(name: String, statement: &str) -> Effect {
    Effect::Setting(SettingChange::Set { name: name.into(), statement: statement.into() })
}

fn effects_of(sign: &Sign) -> Vec<Effect> {
    match sign {
        Sign::Set { local: true, .. }
        | Sign::Reset { local: true, .. }
        | Sign::Discard(Discard::Plans)
        | Sign::Execute(_)
        | Sign::Plan(_)
        | Sign::UsesSequence
        | Sign::RecallsSequence
        | Sign::ListsStatements
        | Sign::RanHiddenCode
        | Sign::DefinesObjects
        | Sign::AsksSetting(_)
        | Sign::SetsLocally
        | Sign::NeedsDatabaseAlone(_) => Vec::new(),
        Sign::Prepare { name, statement, body } => vec![Effect::Prepare(Prepared {
            name: name.as_str().into(),
            statement: statement.as_str().into(),
            verdict: Arc::new(Verdict {
                fingerprint: heals::mark(statement.as_bytes(), Options::default()),
                ..verdict_of_body(body)
            }),
        })],
        Sign::Set { name, value, .. } => vec![set(name.clone(), &value.statement)],
        Sign::Reset { name, .. } => {
            vec![Effect::Setting(SettingChange::Reset { name: name.as_str().into() })]
        }
        Sign::ResetAll => vec![Effect::Setting(SettingChange::ResetAll)],
        Sign::SetSessionCharacteristics(modes) => session_characteristics(modes),
        Sign::Discard(Discard::All) => vec![Effect::Setting(SettingChange::DiscardAll)],
        Sign::Discard(Discard::Sequences) => vec![Effect::ForgetSequences],
        Sign::Discard(Discard::Temporary) => vec![Effect::Unpin(Pins::TEMPORARY)],
        Sign::Deallocate(Some(name)) => vec![Effect::Deallocate(name.as_str().into())],
        Sign::Deallocate(None) => {
            vec![Effect::ForgetStatements, Effect::Unpin(Pins::SQL_PREPARE)]
        }
        Sign::Pin(pin) => vec![Effect::Pin(pins(pin))],
        Sign::Unpin(Unpin::Unlisten(None)) => vec![Effect::Unpin(Pins::LISTEN)],
        Sign::DeclareCursor(name) => vec![Effect::Declare(name.as_str().into())],
        Sign::Unpin(Unpin::CloseCursor(None)) => {
            vec![Effect::Unpin(Pins::HOLD_CURSOR), Effect::CloseCursor(None)]
        }
        Sign::Unpin(Unpin::CloseCursor(Some(name))) => {
            vec![Effect::CloseCursor(Some(name.as_str().into()))]
        }
        Sign::Unpin(Unpin::AllAdvisoryLocks) => vec![Effect::Unpin(Pins::ADVISORY_LOCK)],
        // The server is asked what is left.
        Sign::Unpin(_) => Vec::new(),
    }
}

/// Marks a verdict with the state of knowledge that it rests on, and those on what it prepares.
fn of_generation(generation: u64, mut verdict: Verdict, label: &Label) -> Verdict {
    verdict.generation = if label.uses_objects() { generation } else { 0 };
    for (_, effect) in &mut verdict.effects {
        if let Effect::Prepare(prepared) = effect {
            Arc::make_mut(&mut prepared.verdict).generation = generation;
        }
    }
    verdict
}

/// Marks a verdict with the rules that it was found by, and those on what it prepares.
fn by_rules(rules: u32, mut verdict: Verdict) -> Verdict {
    verdict.rules = rules;
    for (_, effect) in &mut verdict.effects {
        if let Effect::Prepare(prepared) = effect {
            Arc::make_mut(&mut prepared.verdict).rules = rules;
        }
    }
    verdict
}

/// The verdict on what EXECUTE of a prepared statement runs.
fn verdict_of_body(body: &StatementLabel) -> Verdict {
    let label = Label {
        statements: vec![body.clone()],
        access: body.access,
        reason: body.reason.clone(),
        hint: None,
        sharing: Sharing::Exact,
        unparsed: false,
    };
    verdict(b"", &label)
}

fn pins(pin: &Pin) -> Pins {
    match pin {
        Pin::TemporaryObject(_) => Pins::TEMPORARY,
        Pin::Listen(_) => Pins::LISTEN,
        Pin::HoldCursor(_) => Pins::HOLD_CURSOR,
        Pin::AdvisoryLock => Pins::ADVISORY_LOCK,
        Pin::Load => Pins::LOAD,
        Pin::RandomSeed => Pins::RANDOM_SEED,
        Pin::UntrackableSettings => Pins::SETTINGS,
    }
}

fn session_characteristics(modes: &pgweir_classifier::Characteristics) -> Vec<Effect> {
    let switch = |on: bool| if on { "on" } else { "off" };
    let isolation = modes.isolation.map(|level| match level {
        Isolation::ReadUncommitted => "read uncommitted",
        Isolation::ReadCommitted => "read committed",
        Isolation::RepeatableRead => "repeatable read",
        Isolation::Serializable => "serializable",
    });
    let settings = [
        ("default_transaction_isolation", isolation),
        ("default_transaction_read_only", modes.read_only.map(switch)),
        ("default_transaction_deferrable", modes.deferrable.map(switch)),
    ];
    settings
        .into_iter()
        .filter_map(|(name, value)| {
            value.map(|value| set(name.to_owned(), &format!("SET {name} = '{value}'")))
        })
        .collect()
}

// ---- one client's router ----

/// What a client has set of its reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// The mark of the settings that say so.
    mark: u64,
    pub(crate) level: ConsistencyLevel,
    token: Option<Lsn>,
}

impl Wishes {
    /// Reads them off the client's settings; what is not set there is as configured.
    pub(crate) fn read(settings: &SettingsMap, usual: ConsistencyLevel) -> Self {
        let level = own_setting(settings, "pgweir.consistency");
        let token = own_setting(settings, "pgweir.token");
        Self {
            mark: settings.mark(),
            level: level.and_then(level_named).unwrap_or(usual),
            token: token.and_then(|token| token.parse().ok()),
        }
    }

    /// The same once the settings may have changed.
    pub(crate) fn renewed(self, settings: &SettingsMap, usual: ConsistencyLevel) -> Self {
        if settings.mark() == self.mark { self } else { Self::read(settings, usual) }
    }
}

fn level_named(name: &str) -> Option<ConsistencyLevel> {
    match name {
        "eventual" => Some(ConsistencyLevel::Eventual),
        "session" => Some(ConsistencyLevel::Session),
        "global" => Some(ConsistencyLevel::Global),
        _ => None,
    }
}

fn level_name(level: ConsistencyLevel) -> &'static str {
    match level {
        ConsistencyLevel::Eventual => "eventual",
        ConsistencyLevel::Session => "session",
        ConsistencyLevel::Global => "global",
    }
}

/// Statements between two answers of which the log tells, at most.
const MAX_NOTED: usize = 1000;

/// What the log will say of a statement.
#[derive(Debug)]
pub(crate) struct Noted {
    /// Its kind; none for what nobody has looked into.
    pub(crate) route: Option<Arc<Route>>,
    /// The node that it was sent to, if it was let pass.
    pub(crate) node: Option<Arc<Node>>,
}

/// Judges texts for one client.
#[derive(Debug)]
pub struct ClientRouter {
    router: Arc<Router>,
    policy: Policy,
    node: Option<Arc<Node>>,
    last_node: Option<Arc<Node>>,
    /// What the client has written and read.
    pub(crate) past: Past,
    /// The client defines objects, and its transaction is not over.
    change: Option<Change>,
    /// What looks for a node was judged by what is known of the database's objects.
    uses_objects: bool,
    sent_count: u64,
    /// What was sent since the last answer, if anything is logged.
    noted: Vec<Noted>,
    attendance: Attendance,
}

impl ClientRouter {
    pub(crate) fn new(
        router: Arc<Router>,
        policy: Policy,
        past: Past,
        attendance: Attendance,
    ) -> Self {
        Self {
            router,
            policy,
            node: None,
            last_node: None,
            past,
            change: None,
            uses_objects: false,
            sent_count: 0,
            noted: Vec::new(),
            attendance,
        }
    }

    /// Judges by another router from now on; the client is at rest.
    pub(crate) fn change(&mut self, router: Arc<Router>, policy: Policy) {
        if !Arc::ptr_eq(router.catalog(), self.router.catalog()) {
            self.attendance = router.catalog().attend_at_once();
        }
        self.router = router;
        self.policy = policy;
    }

    /// Whether something is to be done when the client is at rest.
    pub(crate) fn awaits_rest(&self) -> bool {
        self.change.is_some()
    }

    /// The client's transaction is over, and so is what it has defined.
    pub(crate) fn at_rest(&mut self) {
        self.change = None;
    }

    /// How fresh a replica has to be to know the objects that the client is about to use as they are
    /// known here.
    fn knows_objects_after(&self) -> Option<Instant> {
        self.router.catalog.known().fresh_after.filter(|_| self.uses_objects)
    }

    /// Where work runs that has such a verdict. On a cluster that shards, what only the coordinator
    /// answers is its own whatever a hint says: another node may have other rows under the same name.
    /// So is a transaction, for nobody knows what else it is going to use.
    fn home(&self, verdict: &Verdict, facts: SessionFacts<'_>) -> Target {
        let is_the_coordinators = verdict.begin.is_some() || verdict.target == Target::Primary;
        if self.has_own_catalogs() && is_the_coordinators {
            return Target::Primary;
        }
        target(verdict, facts)
    }

    /// Whether a transaction that begins like this reads from a replica, and may go on on the primary.
    /// On a cluster that shards, its next statement may use what only the coordinator has.
    fn split(&self, verdict: &Verdict, facts: SessionFacts<'_>) -> Option<AccessMode> {
        let may_split = !self.has_own_catalogs();
        splits(verdict, facts, self.policy.splits_transactions).filter(|_| may_split)
    }

    /// Whether servers that may read have catalogs of their own.
    fn has_own_catalogs(&self) -> bool {
        self.policy.spread == Spread::Sharded
    }

    /// What the client's work needs of a node.
    pub(crate) fn want(&self, reach: Reach, wishes: Wishes, now: Instant) -> Want {
        if reach == Reach::Primary {
            let plain = self.policy.want(reach);
            let is_heeded =
                wishes.level != ConsistencyLevel::Eventual && self.policy.spread == Spread::Whole;
            return if is_heeded { self.past.heeded_by_primary(plain) } else { plain };
        }
        let plain = Want {
            fresh_after: self.knows_objects_after(),
            lsn_at_least: wishes.token,
            ..self.policy.want(reach)
        };
        if self.policy.spread != Spread::Whole {
            // No write-ahead log is everybody's there.
            let fresh_after = plain.fresh_after.max(self.past.last_write());
            return Want { fresh_after, ..plain };
        }
        match wishes.level {
            ConsistencyLevel::Eventual => plain,
            ConsistencyLevel::Session => self.past.heeded(plain, now),
            ConsistencyLevel::Global => {
                let everybodys = self.policy.cluster.last_write();
                let fresh_after = plain.fresh_after.max(everybodys);
                self.past.heeded(Want { fresh_after, ..plain }, now)
            }
        }
    }

    /// Whether the replica that the client's transaction runs on has not replayed a token.
    fn is_behind(&self, token: Lsn) -> bool {
        let topology = self.policy.cluster.topology();
        let node =
            self.node.as_ref().map(|node| node.id()).filter(|node| !topology.is_primary(*node));
        let view = node.and_then(|node| topology.view(node));
        view.is_some_and(|view| view.covers < Some(token))
    }

    /// What `SET pgweir.token` runs as. A transaction cannot leave its server.
    fn take_token(&self, statement: &str, value: &str, facts: SessionFacts<'_>) -> String {
        match value.parse() {
            Ok(token) if facts.is_bound && self.is_behind(token) => refusal(
                "55000",
                &format!("the server of this transaction is not known to have replayed {token}"),
                "Set pgweir.token before the transaction begins.",
            ),
            _ => statement.to_owned(),
        }
    }

    /// Keeps what the log will say of a statement on its way. The last ones of a pipeline count.
    fn note(&mut self, verdict: &Verdict) {
        if self.noted.len() >= MAX_NOTED {
            self.noted.clear();
        }
        let node = self.node.clone().filter(|_| verdict.denial().is_none());
        self.noted.push(Noted { route: verdict.enclosed.share(), node });
    }

    /// What was sent since it was asked last.
    pub(crate) fn take_noted(&mut self) -> Vec<Noted> {
        std::mem::take(&mut self.noted)
    }

    /// What is counted for everybody.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.router.shared.metrics
    }

    /// Statements sent to servers so far.
    pub(crate) fn sent_count(&self) -> u64 {
        self.sent_count
    }

    /// The client works on this node from now on.
    pub(crate) fn attached(&mut self, node: &Arc<Node>) {
        self.uses_objects = false;
        if !self.node.as_ref().is_some_and(|known| Arc::ptr_eq(known, node)) {
            self.node = Some(node.clone());
        }
    }
}

fn options(facts: SessionFacts<'_>) -> Options {
    if facts.is_usual {
        return Options::default();
    }
    let encoding = facts.reported.get("client_encoding").unwrap_or("UTF8");
    Options {
        standard_conforming_strings: facts.reported.get("standard_conforming_strings")
            != Some("off"),
        client_encoding_safe: !UNSAFE_ENCODINGS.contains(&encoding),
    }
}

impl pgweir_protocol::verdict::Router for ClientRouter {
    fn judge(&mut self, sql: &[u8], facts: SessionFacts<'_>) -> Arc<Verdict> {
        self.router.judge(sql, options(facts))
    }

    fn with_types(
        &mut self,
        verdict: Arc<Verdict>,
        types: &mut dyn Iterator<Item = u32>,
    ) -> Arc<Verdict> {
        self.router.with_types(verdict, types)
    }

    fn target(&mut self, verdict: &Verdict, facts: SessionFacts<'_>) -> Target {
        self.uses_objects |= verdict.generation != 0;
        match self.router.heals.revised(verdict) {
            Some(revised) => self.home(&revised, facts),
            None => self.home(verdict, facts),
        }
    }

    fn splits(&self, verdict: &Verdict, facts: SessionFacts<'_>) -> Option<AccessMode> {
        self.split(verdict, facts)
    }

    fn opened_on_replica(&mut self, access: AccessMode) {
        self.router.shared.metrics.transactions.split(access);
    }

    fn moved(&mut self, access: AccessMode, why: Move) {
        self.router.shared.metrics.transactions.moved(access, why);
    }

    fn told_error(&mut self, code: SqlState, culprit: Culprit) {
        self.metrics().errors.count(code, culprit);
    }

    fn elsewhere(&mut self, setback: Setback<'_>) -> Option<Target> {
        let metrics = &self.router.shared.metrics;
        match setback {
            Setback::Lost => {
                metrics.replays_lost.increment(1);
                Some(Target::Replica)
            }
            Setback::Conflict => {
                metrics.replays_conflict.increment(1);
                // Nowhere else it is safe from the same.
                let spares_primary = self.policy.reads.reads == Reads::ReplicasOnly;
                Some(if spares_primary { Target::Replica } else { Target::Primary })
            }
            // Standbys of one primary have what it has.
            Setback::Lacking { .. } if !self.has_own_catalogs() => None,
            Setback::Refused { verdict, text } | Setback::Lacking { verdict, text } => {
                let node = self.node.as_ref().map_or("", |node| node.name());
                let heals = self.router.heals.heals(verdict, text, node);
                heals.then(|| metrics.self_heals.increment(1))?;
                if let Some(route) = verdict.and_then(|verdict| verdict.enclosed.get::<Route>()) {
                    route.heal();
                }
                Some(Target::Primary)
            }
        }
    }

    fn sent(&mut self, verdict: &Verdict, on: Target) {
        self.router.note_sequences(verdict);
        self.router.catalog.define(&verdict.changes_catalog, &mut self.change);
        if let Some(database) = &verdict.vacates {
            self.policy.cluster.vacate(database);
        }
        self.sent_count += 1;
        self.past.asked(!verdict.shows_nothing);
        let is_denied = verdict.denial().is_some();
        if self.policy.log.any() && (is_denied || verdict.question.is_none()) {
            self.note(verdict);
        }
        if is_denied {
            self.router.shared.metrics.firewall_refusals.increment(1);
            self.router.shared.routes.refused(verdict);
        }
        // A question to pgweir is not what the client means by its last statement.
        if verdict.question.is_none() {
            self.router.shared.metrics.sent(verdict, on);
            if let Some(node) = &self.node {
                node.count(verdict.is_write);
                self.router.shared.routes.sent(verdict, node.shared_name(), on);
            }
            self.last_node.clone_from(&self.node);
        }
    }

    fn schema_epoch(&self) -> u64 {
        self.router.habits.schema_epoch.load(Ordering::Relaxed)
    }

    fn schema_changed(&mut self) {
        self.router.habits.schema_epoch.fetch_add(1, Ordering::Relaxed);
    }

    fn recalls_sequences(&self) -> bool {
        self.router.habits.recalls_sequences.load(Ordering::Relaxed)
            || self.router.habits.unasked_writes.load(Ordering::Relaxed) < UNASKED_WRITES
    }

    fn is_outdated(&self, verdict: &Verdict) -> bool {
        if verdict.rules != 0 && verdict.rules != self.router.shared.rules.number {
            return true;
        }
        let is_older = || verdict.generation != self.router.catalog.known().generation;
        verdict.generation != 0 && is_older() || self.router.heals.revised(verdict).is_some()
    }

    fn has_unlisted_settings(&self) -> bool {
        self.router.catalog.known().catalog.has_dynamic_settings()
    }

    fn custom_settings(&mut self) -> Arc<[Box<str>]> {
        self.router.catalog.custom_settings()
    }

    fn answer(&mut self, question: &OwnQuestion, facts: SessionFacts<'_>) -> String {
        match question {
            OwnQuestion::Show { name } => self.show(name),
            OwnQuestion::Route { statement } => self.explain(statement, facts),
            OwnQuestion::Refused { message, hint } => refusal("22023", message, hint),
            OwnQuestion::Token { statement, value } => self.take_token(statement, value, facts),
            // The session has a text of its own for this one.
            OwnQuestion::Denied { .. } => String::new(),
        }
    }
}

/// A statement that fails on any server, in a pgweir error's words.
fn refusal(code: &str, message: &str, hint: &str) -> String {
    format!(
        "DO {}",
        quote_literal(&format!(
            "BEGIN RAISE EXCEPTION USING ERRCODE={}, MESSAGE={}, HINT={}; END",
            quote_literal(code),
            quote_literal(&format!("pgweir: {message}")),
            quote_literal(hint)
        ))
    )
}

impl ClientRouter {
    /// What `SHOW pgweir.name` answers; an unknown name is left to PostgreSQL to refuse.
    fn show(&self, name: &str) -> String {
        // The server knows what was SET, LOCAL or not; what was not has the configured value.
        let set = |usual: &str| {
            let (name, usual) = (format!("pgweir.{name}"), quote_literal(usual));
            format!(
                "SELECT coalesce(nullif(pg_catalog.current_setting('{name}',true),''),\
                 {usual}) AS \"{name}\""
            )
        };
        let value = match name {
            "last_node" => self.last_node.as_ref().map_or("", |node| node.name()).to_owned(),
            "version" => env!("CARGO_PKG_VERSION").to_owned(),
            "route" => return set("auto"),
            "consistency" => return set(level_name(self.policy.level)),
            TOKEN => return SHOW_TOKEN.to_owned(),
            _ => return format!("SHOW \"pgweir\".\"{}\"", name.replace('"', "\"\"")),
        };
        format!("SELECT {} AS \"pgweir.{name}\"", quote_literal(&value))
    }

    /// Whether it is a BEGIN whose transaction reads from a replica.
    fn begins_on_replica(&self, verdict: &Verdict, facts: SessionFacts<'_>) -> bool {
        verdict.opening.is_some_and(|opening| opening.is_alone())
            && facts.split.is_none()
            && self.split(verdict, facts).is_some()
    }

    /// What `EXPLAIN (ROUTE) statement` answers: a row per fact, then one per node.
    fn explain(&self, statement: &str, facts: SessionFacts<'_>) -> String {
        let options = options(facts);
        let known = self.router.catalog.known();
        let label = pgweir_classifier::classify(statement.as_bytes(), options, &known.catalog);
        if let Some(entry) = self.router.shared.rules.firewall.denies(statement.as_bytes(), options)
        {
            return rows_of(&[
                ("statement".to_owned(), statement.to_owned()),
                ("class".to_owned(), label.access.as_str().to_owned()),
                ("target".to_owned(), NO_TARGET.to_owned()),
                ("reason".to_owned(), format!("{BLOCKED} ({entry})")),
            ]);
        }
        let fingerprint = heals::mark(statement.as_bytes(), options);
        let generation = if label.uses_objects() { known.generation } else { 0 };
        let verdict = Verdict { fingerprint, generation, ..verdict(statement.as_bytes(), &label) };
        let (target, reason) = match self.router.heals.revised(&verdict) {
            Some(revised) => (self.home(&revised, facts), heals::REASON.to_owned()),
            None if self.begins_on_replica(&verdict, facts) => {
                (Target::Replica, label.reason.to_string())
            }
            None => (self.home(&verdict, facts), label.reason.to_string()),
        };
        let mut rows = vec![
            ("statement".to_owned(), statement.to_owned()),
            ("class".to_owned(), label.access.as_str().to_owned()),
            ("target".to_owned(), target_name(target).to_owned()),
            ("reason".to_owned(), reason),
        ];
        let (wishes, now) = (Wishes::read(facts.settings, self.policy.level), Instant::now());
        let want = self.want(reach(target), wishes, now);
        for candidate in self.policy.candidates(&want, now) {
            let mut value = match &candidate.eligible {
                Ok(()) => "eligible".to_owned(),
                Err(why) => format!("not eligible: {why}"),
            };
            if let (role, Some(group)) = candidate.place {
                value = format!("{value} ({}, group {group})", role.as_str());
            }
            rows.push((format!("node {}", candidate.node.name()), value));
        }
        rows_of(&rows)
    }
}

/// The SELECT that answers with these facts.
fn rows_of(rows: &[(String, String)]) -> String {
    let rows: Vec<String> = rows
        .iter()
        .map(|(fact, value)| format!("({},{})", quote_literal(fact), quote_literal(value)))
        .collect();
    format!("SELECT * FROM (VALUES {}) AS route(\"fact\",\"value\")", rows.join(","))
}

/// A target in the words of hints and settings.
#[must_use]
pub fn target_name(target: Target) -> &'static str {
    match target {
        Target::Primary => "primary",
        Target::Replica => "replica",
    }
}

#[cfg(test)]
mod tests {
    use pgweir_protocol::parameters::Parameters;

    use super::*;

    fn judged(sql: &str) -> Verdict {
        let label = pgweir_classifier::classify(
            sql.as_bytes(),
            Options::default(),
            &catalog(&Routing::default()),
        );
        verdict(sql.as_bytes(), &label)
    }

    #[test]
    fn what_a_statement_leaves_in_its_transaction() {
        let rows = [
            (Trace::None, "SELECT 1"),
            (Trace::None, ""),
            (Trace::None, "SELECT 1; TABLE pg_class; EXPLAIN SELECT 2"),
            (Trace::None, "COPY (SELECT 1) TO STDOUT"),
            (Trace::None, "FETCH 3 FROM c"),
            (Trace::None, "CLOSE c"),
            (Trace::None, "SELECT 1; COMMIT"),
            (Trace::None, "SET LOCAL work_mem = '1MB'; SELECT 1; ROLLBACK"),
            (Trace::None, "COMMIT"),
            (Trace::None, "ROLLBACK"),
            (Trace::None, "DISCARD PLANS"),
            (Trace::None, "SHOW pgweir.last_node"),
            (Trace::None, "EXPLAIN (ROUTE) SELECT 1"),
            (Trace::Repeatable, "SAVEPOINT s"),
            (Trace::Repeatable, "RELEASE s"),
            (Trace::Repeatable, "ROLLBACK TO s"),
            (Trace::Repeatable, "SET work_mem = '1MB'"),
            (Trace::Repeatable, "SET LOCAL search_path TO a, b"),
            (Trace::Repeatable, "RESET work_mem"),
            (Trace::Repeatable, "RESET ALL"),
            (Trace::Repeatable, "SET ROLE app"),
            (Trace::Repeatable, "SET CONSTRAINTS ALL DEFERRED"),
            (Trace::Repeatable, "SET TRANSACTION READ ONLY"),
            (Trace::Repeatable, "SELECT set_config('app.tenant', '1', true)"),
            (Trace::Repeatable, "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"),
            (Trace::Held, "SELECT set_config('app.tenant', $1, true)"),
            (Trace::Held, "SELECT 1; SET LOCAL work_mem = '1MB'"),
            (Trace::Held, "DECLARE c CURSOR FOR SELECT 1"),
            (Trace::Held, "DECLARE c CURSOR FOR SELECT 1; FETCH c"),
            (Trace::Held, "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"),
            (Trace::Held, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"),
            (Trace::Held, "SET TRANSACTION READ ONLY, DEFERRABLE"),
            (Trace::Held, "SET TRANSACTION DEFERRABLE"),
            (Trace::Bound, "SELECT 1; COMMIT; SELECT 2"),
            (Trace::Bound, "SELECT 1; COMMIT AND CHAIN"),
            (Trace::Bound, "DECLARE c CURSOR WITH HOLD FOR SELECT 1"),
            (Trace::Bound, "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"),
            (Trace::Bound, "SET transaction_read_only = off"),
            (Trace::Bound, "SET TRANSACTION SNAPSHOT '1-1-1'"),
            (Trace::Bound, "BEGIN"),
            (Trace::Bound, "COMMIT AND CHAIN"),
            (Trace::Bound, "SET TRANSACTION READ WRITE"),
            (Trace::Bound, "SET LOCAL transaction_isolation = 'serializable'"),
            (Trace::Bound, "PREPARE p AS SELECT 1"),
            (Trace::Bound, "DEALLOCATE p"),
            (Trace::Bound, "DISCARD TEMP"),
            (Trace::Bound, "SET pgweir.consistency = 'eventual'"),
            (Trace::Bound, "SET LOCAL pgweir.route = 'primary'"),
            (Trace::Bound, "LISTEN c"),
            (Trace::Bound, "SELECT pg_advisory_lock(1)"),
            (Trace::Bound, "SELECT currval('s')"),
            (Trace::Bound, "SELEKT 1"),
        ];
        let wrong: Vec<_> = rows
            .iter()
            .map(|(expected, sql)| (sql, expected, judged(sql).trace))
            .filter(|(_, expected, got)| got != *expected)
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn a_begin_that_may_be_split() {
        use AccessMode::{ReadOnly, ReadWrite};
        let rows = [
            ("BEGIN", Some(ReadWrite)),
            ("START TRANSACTION", Some(ReadWrite)),
            ("BEGIN READ WRITE", Some(ReadWrite)),
            ("BEGIN DEFERRABLE", Some(ReadWrite)),
            ("BEGIN ISOLATION LEVEL READ COMMITTED", Some(ReadWrite)),
            ("BEGIN ISOLATION LEVEL READ UNCOMMITTED, READ WRITE", Some(ReadWrite)),
            ("BEGIN ISOLATION LEVEL REPEATABLE READ", None),
            ("BEGIN ISOLATION LEVEL SERIALIZABLE", None),
            ("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY", None),
            ("BEGIN; SELECT 1", None),
            ("BEGIN READ ONLY", Some(ReadOnly)),
            ("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY", Some(ReadOnly)),
            ("BEGIN READ ONLY; SELECT 1", Some(ReadOnly)),
            ("SET TRANSACTION READ ONLY", Some(ReadOnly)),
            ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", Some(ReadOnly)),
            ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY", None),
            ("/* pgweir: primary */ BEGIN", None),
            ("/* pgweir: replica */ BEGIN READ ONLY", None),
            ("SELECT 1", None),
        ];
        let (none, told) = (SettingsMap::default(), "SET pgweir.route = 'primary'");
        let told = SettingsMap::new([("pgweir.route".into(), told.into())].into());
        let read_only = [("default_transaction_read_only".to_owned(), "on".to_owned())];
        let (usual, read_only) = (Parameters::default(), read_only.into_iter().collect());
        let facts = |settings, reported| SessionFacts {
            settings,
            reported,
            is_usual: true,
            split: None,
            is_bound: false,
        };
        for (sql, expected) in rows {
            let verdict = judged(sql);
            let usually = facts(&none, &usual);
            assert_eq!(splits(&verdict, usually, true), expected, "{sql}");
            let read_only_alone = expected.filter(|access| *access == ReadOnly);
            assert_eq!(splits(&verdict, usually, false), read_only_alone, "{sql}");
            assert_eq!(
                splits(&verdict, facts(&told, &usual), true),
                None,
                "{sql}, told where to go"
            );
            let is_writer = sql.contains("READ WRITE");
            if expected == Some(ReadWrite) {
                let by_default = if is_writer { ReadWrite } else { ReadOnly };
                let got = splits(&verdict, facts(&none, &read_only), true);
                assert_eq!(got, Some(by_default), "{sql}, read only by default");
            }
        }
    }

    #[test]
    fn a_text_may_begin_a_transaction_and_go_on_in_it() {
        let rows = [
            ("BEGIN READ ONLY", Some(None)),
            ("BEGIN READ ONLY; SELECT 1; SELECT 2", Some(Some(Trace::None))),
            ("BEGIN READ ONLY; SET LOCAL work_mem = '1MB'", Some(Some(Trace::Repeatable))),
            ("BEGIN READ ONLY; DECLARE c CURSOR FOR SELECT 1", Some(Some(Trace::Held))),
            ("BEGIN READ ONLY; SELECT 1; COMMIT", None),
            ("BEGIN READ ONLY; SAVEPOINT s", None),
            ("BEGIN READ ONLY; LISTEN c", None),
            ("BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY; SELECT 1", None),
            ("SELECT 1; BEGIN READ ONLY", None),
        ];
        for (sql, expected) in rows {
            let got = judged(sql).opening.map(|opening| opening.rest);
            assert_eq!(got, expected, "{sql}");
        }
    }
}
