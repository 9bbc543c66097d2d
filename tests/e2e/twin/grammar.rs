//! Random sessions: turns in the notation of [`super::notation`], drawn from rows of texts.
//!
//! Texts are drawn by topic, and a turn says one or several of them in a form of its own: a query, a
//! string of several statements, or a pipeline. Nothing keeps a turn from failing: errors are
//! wanted, and what state they leave is what is looked for.

use crate::harness::Dice;

/// Settings, and values to set them to. `search_path` never leaves `public` for long: tables are
/// named with their schema where another statement would otherwise be meant.
const SETTINGS: &[(&str, &[&str])] = &[
    ("work_mem", &["1MB", "2MB", "3MB", "much"]),
    ("TimeZone", &["UTC", "Asia/Tokyo", "Europe/Lisbon", "nowhere"]),
    ("DateStyle", &["ISO", "German", "SQL, DMY", "MDY"]),
    ("IntervalStyle", &["postgres", "iso_8601"]),
    ("application_name", &["one", "two", "three"]),
    ("search_path", &["public", "other, public", "nowhere"]),
    ("extra_float_digits", &["0", "3", "-4", "99"]),
    ("statement_timeout", &["0", "10min"]),
    ("enable_seqscan", &["on", "off"]),
    ("my.own", &["a", "b", "it''s"]),
    ("role", &["app", "none", "nobody_at_all"]),
    ("default_transaction_isolation", &["serializable", "repeatable read", "read committed"]),
];

/// What a text is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Topic {
    Read,
    Write,
    Setting,
    Transaction,
    Prepared,
    Cursor,
    Temporary,
    Sequence,
    Listen,
    Role,
    Error,
    Cleaning,
}

/// How often each is drawn.
const TOPICS: &[(Topic, usize)] = &[
    (Topic::Read, 18),
    (Topic::Write, 10),
    (Topic::Setting, 22),
    (Topic::Transaction, 16),
    (Topic::Prepared, 12),
    (Topic::Cursor, 5),
    (Topic::Temporary, 5),
    (Topic::Sequence, 5),
    (Topic::Listen, 2),
    (Topic::Role, 4),
    (Topic::Error, 4),
    (Topic::Cleaning, 2),
];

const READS: &[&str] = &[
    "select 1",
    "select count(*) from public.mine_#",
    "select a, b from public.mine_# order by 1, 2 limit 3",
    "select generate_series(1, 3)",
    "select '2020-02-01'::date, '1 day 2 hours'::interval, 0.1::float8 + 0.2",
    "values (1), (2)",
    "show transaction_isolation",
    "show transaction_read_only",
    "select current_user, session_user, current_setting('work_mem')",
    "select * from own",
    "select count(*) from public.mine_# for update",
    "",
];

const WRITES: &[&str] = &[
    "insert into public.mine_# values ($, 'x')",
    "insert into public.mine_# values ($, 'y') returning a",
    "update public.mine_# set b = 'z' where a = $",
    "delete from public.mine_# where a = $",
    "with new as (insert into public.mine_# values ($, 'w') returning a) select * from new",
    "insert into mine_# values ($, 'v')",
];

const TRANSACTIONS: &[&str] = &[
    "begin",
    "begin",
    "commit",
    "commit",
    "commit",
    "rollback",
    "rollback",
    "savepoint a",
    "savepoint b",
    "rollback to a",
    "release a",
    "rollback to b",
    "commit and chain",
];

const PREPARED: &[&str] = &[
    "prepare p as select $1::int + $",
    "prepare q(int) as insert into public.mine_# values ($1, 'q')",
    "prepare r as select current_setting('work_mem')",
    "execute p($)",
    "execute p($)",
    "execute q($)",
    "execute r",
    "execute p",
    "deallocate p",
    "deallocate q",
    "deallocate r",
    "deallocate all",
];

const CURSORS: &[&str] = &[
    "declare c cursor for select generate_series(1, 9)",
    "fetch 2 from c",
    "fetch c",
    "move 1 in c",
    "close c",
    "declare h cursor with hold for select generate_series(1, 9)",
    "fetch 2 from h",
    "close h",
];

const TEMPORARIES: &[&str] = &[
    "create temp table own (a int)",
    "create temp table own as select $ as a",
    "create temp table own (a int) on commit drop",
    "insert into own values ($)",
    "select sum(a) from own",
    "drop table own",
    "discard temp",
];

/// Drawn and asked for in one statement; what is asked later is another matter ([`ASKS`]).
const SEQUENCES: &[&str] = &[
    "select nextval('public.counter')",
    "select nextval('public.counter'), currval('public.counter'), lastval()",
    "select setval('public.counter', $), currval('public.counter')",
    "discard sequences",
];

/// A turn of its own, outside a transaction. Who asks for a value that was drawn on another server
/// connection is told that there is none, instead of the value (docs/routing.md, Pins).
pub(crate) const ASKS: &[&str] =
    &["Query \"select currval('public.counter')\"", "Run \"select lastval()\" | Sync"];

const LISTENS: &[&str] = &[
    "listen bell_#",
    "notify bell_#, 'rung $'",
    "select pg_notify('bell_#', 'rung')",
    "unlisten bell_#",
    "unlisten *",
];

const ROLES: &[&str] = &[
    "set role app",
    "set local role app",
    "reset role",
    "set session authorization app",
    "reset session authorization",
    "select current_user, session_user",
    "show role",
];

const ERRORS: &[&str] = &[
    "select 1/0",
    "select no_such_column",
    "selec",
    "insert into public.mine_# values ('x', 1)",
    "do $$ begin raise exception 'own' using errcode = 'ZZ001'; end $$",
    "do $$ begin raise notice 'heard'; end $$",
    "vacuum public.mine_#",
];

const CLEANINGS: &[&str] = &["reset all", "discard all", "close all", "discard plans"];

/// Texts of the protocol's own statements, which have names that SQL's statements never have.
const STATEMENTS: &[(&str, &[&str])] = &[
    ("select $1::int + 1", &["$"]),
    ("select count(*) from public.mine_# where a < $1", &["$"]),
    ("insert into public.mine_# values ($1, $2)", &["$", "st"]),
    ("show work_mem", &[]),
    ("select current_setting('TimeZone'), $1::text", &["t"]),
    ("select generate_series(1, $1::int)", &["$"]),
];

/// Draws turns for one client.
pub(crate) struct Grammar<'a> {
    pub(crate) dice: &'a mut Dice,
    /// Tables and channels of its own carry this number.
    pub(crate) client: usize,
}

impl Grammar<'_> {
    /// One turn.
    pub(crate) fn turn(&mut self) -> String {
        match self.dice.below(20) {
            0..8 => format!("Query {}", quoted(&self.text())),
            8..11 => {
                let count = 2 + self.dice.below(3);
                let texts: Vec<String> = (0..count).map(|_| self.text()).collect();
                format!("Query {}", quoted(&texts.join("; ")))
            }
            11..14 => format!("Run {} | Sync", quoted(&self.text())),
            14..16 => {
                let count = 2 + self.dice.below(3);
                let runs: Vec<String> =
                    (0..count).map(|_| format!("Run {}", quoted(&self.text()))).collect();
                format!("{} | Sync", runs.join(" | "))
            }
            16 => self.copy(),
            17 => self.read_only(),
            _ => self.statement(),
        }
    }

    /// Something by the protocol's own statements and portals.
    fn statement(&mut self) -> String {
        // No two names have the same text: pgweir prepares it once, and an error may show the other
        // name.
        let which = self.dice.below(4);
        let name = ["s", "t", "u", "\"\""][which];
        let (text, values) = STATEMENTS[(2 * which + self.dice.below(2)) % STATEMENTS.len()];
        let text = quoted(&self.filled(text));
        let parse = format!("Parse {name} {text}");
        let values: Vec<String> = values.iter().map(|value| quoted(&self.filled(value))).collect();
        let bind = |portal: &str| format!("Bind {portal} {name} {}", values.join(" "));
        // The unnamed statement is not used in a later turn: a Parse that was skipped behind an error
        // leaves the one before it, of which pgweir keeps no copy ([`super::known`]).
        let kinds = if name == "\"\"" { 3 } else { 9 };
        match self.dice.below(kinds) {
            0 => format!("{parse} | Describe S {name} | Sync"),
            1 => format!("{parse} | {} | Execute \"\" 0 | Sync", bind("\"\"")),
            2 => format!("Close S {name} | {parse} | {} | Execute \"\" 0 | Sync", bind("\"\"")),
            3 => format!("Describe S {name} | Sync"),
            4 => format!("Close S {name} | Sync"),
            5 => format!("{} | Execute o 1 | Execute o 0 | Sync", bind("o")),
            6 => "Execute o 1 | Close P o | Sync".to_owned(),
            7 => format!("{} | Execute \"\" 0 | Run \"select 1/0\" | Sync", bind("\"\"")),
            _ => format!("{} | Describe P \"\" | Execute \"\" 0 | Sync", bind("\"\"")),
        }
    }

    /// A whole read-only transaction, of reads alone: it runs on a standby, which refuses in its own
    /// words, and more, than a read-only transaction of the primary does.
    fn read_only(&mut self) -> String {
        let read = |grammar: &mut Self| {
            let row = READS[grammar.dice.below(READS.len())];
            quoted(&grammar.filled(row))
        };
        let (one, two) = (read(self), read(self));
        let begin = ["begin read only", "begin; set transaction read only"][self.dice.below(2)];
        match self.dice.below(3) {
            0 => format!("Query \"{begin}\" | Query {one} | Run {two} | Sync | Query \"commit\""),
            1 => format!(
                "Run \"begin read only\" | Run {one} | Sync | Run \"rollback\" | Sync | Run {two} | Sync"
            ),
            _ => format!(
                "Query \"begin read only; set local work_mem = '5MB'\" | Query {one} | Query \"end\""
            ),
        }
    }

    fn copy(&mut self) -> String {
        let line = self.filled("$\\tc\\n");
        let query = self.filled("\"copy public.mine_# from stdin\"");
        match self.dice.below(6) {
            0 => format!("Query {query} | CopyData \"{line}\" | CopyDone"),
            1 => format!("Query {query} | CopyData \"{line}\" | CopyFail \"no\""),
            2 => format!("Run {query} | CopyData \"{line}\" | CopyDone | Sync"),
            3 => format!("Run {query} | CopyData \"bad\\n\" | CopyDone | Sync"),
            4 => self.filled(
                "Query \"copy (select a from public.mine_# order by 1 limit 2) to stdout\"",
            ),
            _ => self.filled("Run \"copy (select 1) to stdout\" | Run \"select $\" | Sync"),
        }
    }

    /// One statement.
    fn text(&mut self) -> String {
        let total: usize = TOPICS.iter().map(|(_, weight)| weight).sum();
        let mut at = self.dice.below(total);
        let drawn = TOPICS.iter().find(|(_, weight)| {
            let is_here = at < *weight;
            at = at.saturating_sub(*weight);
            is_here
        });
        let rows = match drawn.unwrap().0 {
            Topic::Setting => return self.setting(),
            Topic::Read => READS,
            Topic::Write => WRITES,
            Topic::Transaction => TRANSACTIONS,
            Topic::Prepared => PREPARED,
            Topic::Cursor => CURSORS,
            Topic::Temporary => TEMPORARIES,
            Topic::Sequence => SEQUENCES,
            Topic::Listen => LISTENS,
            Topic::Role => ROLES,
            Topic::Error => ERRORS,
            Topic::Cleaning => CLEANINGS,
        };
        let row = rows[self.dice.below(rows.len())];
        self.filled(row)
    }

    fn setting(&mut self) -> String {
        let (name, values) = SETTINGS[self.dice.below(SETTINGS.len())];
        let value = values[self.dice.below(values.len())];
        // A list in quotes is one name.
        let list = if value.contains(", ") { value.to_owned() } else { format!("'{value}'") };
        match self.dice.below(12) {
            0..3 => format!("set {name} = {list}"),
            3..5 => format!("set local {name} = {list}"),
            5 => format!("reset {name}"),
            6 => format!("set {name} to default"),
            7 => format!("select set_config('{name}', '{value}', false)"),
            8 => format!("select set_config('{name}', '{value}', true)"),
            // A setting of nobody's is unknown, or empty where others have used the connection:
            // PostgreSQL has no way to forget a name.
            9.. if name.starts_with("my.") => {
                format!("select nullif(current_setting('{name}', true), '')")
            }
            9 => format!("select current_setting('{name}', true)"),
            _ => format!("show {name}"),
        }
    }

    /// A row with its number of the client (`#`) and numbers of its own (`$`, where no `$1` is meant).
    fn filled(&mut self, row: &str) -> String {
        let row = row.replace('#', &self.client.to_string());
        let mut text = String::new();
        let mut rest = row.as_str();
        while let Some(at) = rest.find('$') {
            text.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if rest.starts_with(|next: char| next.is_ascii_digit()) {
                text.push('$');
            } else if let Some(after) = rest.strip_prefix('$') {
                text.push_str("$$");
                rest = after;
            } else {
                text.push_str(&(1 + self.dice.below(9)).to_string());
            }
        }
        text + rest
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
