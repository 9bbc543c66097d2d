//! What strangers say: sessions that try to be misrouted, and what comes of them.
//!
//! Every session is played to the primary itself and, in databases that began alike, through pgweir: with
//! self-healing and without it, at once behind each definition and after that has become known. Every
//! answer has to be the same, and so has everything that the sessions leave behind. Without self-healing
//! replicas apply what is committed before anybody hears of it, and reads need not be fresh: so that
//! whatever may go to a replica does.

mod combine;
mod script;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use pgweir_sandbox::Sandbox;

use self::script::{Protocol, Script, scripts};
use crate::harness::{Client, Failure, Frame, SOON, Weir, prepare, until};

const USER: &str = "postgres";

/// Which scripts are played, if not all: a part of their names.
const ONLY: &str = "PGWEIR_STRANGERS";

/// Another course for what is put together at random.
const SEED: &str = "PGWEIR_STRANGERS_SEED";

/// How a script is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Way {
    name: &'static str,
    protocol: Protocol,
    through: Through,
    /// Waits behind each definition until it is known.
    is_patient: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Through {
    Nothing,
    /// As it is configured by default.
    Healing,
    /// An error of a replica's is the client's.
    Bare,
}

const WAYS: &[Way] = {
    use Protocol::{Extended, Simple};
    use Through::{Bare, Healing, Nothing};
    &[
        Way { name: "direct", protocol: Simple, through: Nothing, is_patient: false },
        Way { name: "patient", protocol: Simple, through: Bare, is_patient: true },
        Way { name: "hasty", protocol: Simple, through: Bare, is_patient: false },
        Way { name: "healing", protocol: Simple, through: Healing, is_patient: false },
        Way { name: "direct_extended", protocol: Extended, through: Nothing, is_patient: false },
        Way { name: "hasty_extended", protocol: Extended, through: Bare, is_patient: false },
        Way { name: "patient_extended", protocol: Extended, through: Bare, is_patient: true },
    ]
};

fn is_full() -> bool {
    std::env::var_os("PGWEIR_E2E_FULL").is_some()
}

/// The short form has two of them through pgweir, both without self-healing.
fn ways() -> &'static [Way] {
    if is_full() { WAYS } else { &WAYS[..SHORT] }
}

/// So many of them.
const SHORT: usize = 3;

/// A cluster whose standbys have applied what is committed.
fn cluster() -> Sandbox {
    let sandbox = Sandbox::builder()
        .setting("max_connections", "200")
        .setting("hot_standby_feedback", "on")
        .setting("max_prepared_transactions", "20")
        .setting("synchronous_commit", "remote_apply")
        .start()
        .unwrap();
    let names: Vec<String> = sandbox.replicas().map(|node| node.name().to_string()).collect();
    let all = format!("FIRST {} ({})", names.len(), names.join(", "));
    sandbox.primary().set_config("synchronous_standby_names", &all).unwrap();
    sandbox.primary().reload().unwrap();
    sandbox
}

struct Stage {
    sandbox: Sandbox,
    healing: Weir,
    bare: Weir,
    markers: Mutex<usize>,
}

/// A session that is being played.
struct Player<'s> {
    stage: &'s Stage,
    way: Way,
    database: String,
    client: Client,
    /// Where each message ran, if somebody said.
    nodes: BTreeMap<bool, usize>,
}

impl Stage {
    fn new() -> Self {
        let sandbox = cluster();
        let healing = Weir::start(&sandbox, "");
        let config = "routing.self_heal = false\nconsistency.level = \"eventual\"";
        let bare = Weir::start(&sandbox, config);
        Self { sandbox, healing, bare, markers: Mutex::default() }
    }

    fn port(&self, way: Way) -> u16 {
        match way.through {
            Through::Nothing => self.sandbox.primary().port(),
            Through::Healing => self.healing.port(),
            Through::Bare => self.bare.port(),
        }
    }

    /// Plays one session; what was answered to each message.
    fn play(
        &self,
        session: &script::Session,
        way: Way,
        database: &str,
    ) -> (Vec<Vec<String>>, Player<'_>) {
        let client = Client::connect(self.port(way), USER, database, &[]).unwrap();
        let mut player = Player {
            stage: self,
            way,
            database: database.to_owned(),
            client,
            nodes: BTreeMap::new(),
        };
        let answers = session.messages.iter().map(|message| player.say(message)).collect();
        (answers, player)
    }

    /// What a database holds.
    fn dump(&self, database: &str) -> String {
        let primary = self.sandbox.primary();
        primary.psql_in(database, "DROP SCHEMA IF EXISTS markers CASCADE").unwrap();
        let output = self
            .sandbox
            .program("pg_dump")
            .args(["--host", primary.host(), "--port", &primary.port().to_string()])
            .args(["--username", USER, database])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).replace(database, "DATABASE");
        let lines = text.lines().filter(|line| !line.starts_with("\\"));
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl Player<'_> {
    fn say(&mut self, text: &str) -> Vec<String> {
        let (stage, database) = (self.stage, &self.database);
        let type_oid = |name: &str| {
            let sql = format!("SELECT '{name}'::regtype::oid");
            stage.sandbox.primary().psql_in(database, &sql).unwrap().trim().parse().unwrap()
        };
        self.client.wire.send(&script::bytes(text, self.way.protocol, type_oid));
        let mut frames = Vec::new();
        while let Ok(Some(frame)) = self.client.wire.try_frame() {
            frames.push(frame);
            if frames.last().is_some_and(|frame| frame.tag == b'Z') {
                break;
            }
        }
        let is_idle = frames.last().is_some_and(|frame| frame.body == b"I");
        let defines = frames.iter().any(|frame| frame.tag == b'C' && is_definition(&frame.body));
        if is_idle && self.way.is_patient && defines {
            self.wait_until_known();
        }
        if is_idle && self.way.through == Through::Bare {
            // What is not read, because of its encoding, is not pgweir's to answer.
            let rows = self.client.query("SHOW pgweir.last_node").rows.concat();
            if let Some(Some(node)) = rows.first() {
                let is_primary = *node == stage.sandbox.primary().address();
                *self.nodes.entry(is_primary).or_default() += 1;
            }
        }
        frames.iter().filter_map(|frame| words(frame, &self.database)).collect()
    }

    /// A function that is made through pgweir is known when what was made before it is.
    fn wait_until_known(&self) {
        let mut number = self.stage.markers.lock().unwrap();
        *number += 1;
        let mut keeper =
            Client::connect(self.stage.port(self.way), USER, &self.database, &[]).unwrap();
        let marker = format!("markers.marker_{number}()");
        keeper.ask(&format!(
            "SET client_min_messages = error; CREATE SCHEMA IF NOT EXISTS markers; \
             CREATE FUNCTION {marker} RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'"
        ));
        until("the catalog to be known", SOON, || {
            let told = keeper.ask(&format!("EXPLAIN (ROUTE) SELECT {marker}"));
            let is_known =
                !["unknown_function", "catalog_unread"].iter().any(|reason| told.contains(reason));
            if is_known { Ok(()) } else { Err(told) }
        });
    }
}

/// Whether a command tag tells of a definition, or of the end of a transaction that may have held one.
fn is_definition(tag: &[u8]) -> bool {
    [&b"CREATE"[..], b"ALTER", b"DROP", b"COMMIT", b"SELECT INTO"]
        .iter()
        .any(|word| tag.starts_with(word))
}

/// A frame in words that are the same in all databases; none for what need not be.
fn words(frame: &Frame, database: &str) -> Option<String> {
    let text = match frame.tag {
        // Settings are reported when they are known; the sameness of that is tried elsewhere.
        b'S' | b'A' => return None,
        b'E' | b'N' => {
            format!("{} {:?}", char::from(frame.tag), Failure::parse(&frame.body).fields())
        }
        b'T' => format!("T {:?}", columns(&frame.body)),
        // A user's type has another number in each database.
        b't' => format!("t {} parameters", frame.body[1]),
        tag => format!("{} {}", char::from(tag), frame.body.escape_ascii()),
    };
    Some(text.replace(database, "DATABASE"))
}

/// Names and types of columns.
fn columns(body: &[u8]) -> Vec<(String, String)> {
    let mut rest = &body[2..];
    let mut columns = Vec::new();
    while let Some(end) = rest.iter().position(|&byte| byte == 0) {
        let (name, after) = rest.split_at(end + 1);
        let (description, after) = after.split_at(18);
        let oid = u32::from_be_bytes(description[6..10].try_into().unwrap());
        let of_type = if oid < 16_384 { oid.to_string() } else { "the user's".to_owned() };
        columns.push((String::from_utf8_lossy(name).into_owned(), of_type));
        rest = after;
    }
    columns
}

/// Plays a script in every way; what differs from a direct connection.
#[expect(clippy::print_stdout, reason = "says what ran where")]
fn differences(stage: &Stage, script: &Script) -> Vec<String> {
    let database = |way: Way| format!("strangers_{}_{}", script.name, way.name);
    let ways = ways();
    for &way in ways {
        prepare(&stage.sandbox, &format!("CREATE DATABASE {}", database(way)));
    }
    let mut found = Vec::new();
    let mut direct = Vec::new();
    let mut nodes: BTreeMap<(&str, bool), usize> = BTreeMap::new();
    for session in &script.sessions {
        for &way in ways {
            let (answers, player) = stage.play(session, way, &database(way));
            for (is_primary, count) in player.nodes {
                *nodes.entry((way.name, is_primary)).or_default() += count;
            }
            if way.through == Through::Nothing {
                direct = answers;
                continue;
            }
            for ((text, want), got) in session.messages.iter().zip(&direct).zip(&answers) {
                if want != got {
                    found.push(format!(
                        "{}, {}, {}: {text}\n    want {want:#?}\n    got  {got:#?}",
                        script.name, session.name, way.name
                    ));
                }
            }
        }
    }
    println!("{}: {nodes:?}", script.name);
    found.extend(left_behind(stage, script));
    found
}

/// How what a script leaves behind differs.
fn left_behind(stage: &Stage, script: &Script) -> Vec<String> {
    let mut found = Vec::new();
    let mut want = String::new();
    for &way in ways() {
        let dump = stage.dump(&format!("strangers_{}_{}", script.name, way.name));
        if way.through == Through::Nothing {
            want = dump;
        } else if dump != want {
            let [lines, other] = [&want, &dump].map(|dump| dump.lines().collect::<Vec<_>>());
            let missing: Vec<_> = lines.iter().filter(|line| !other.contains(line)).collect();
            let more: Vec<_> = other.iter().filter(|line| !lines.contains(line)).collect();
            found.push(format!(
                "{}, {}: what is left behind\n    missing {missing:#?}\n    more {more:#?}",
                script.name, way.name
            ));
        }
    }
    found
}

/// Sessions that are known to deviate, each for itself.
const KNOWN: &str = "known";

/// What is known to deviate still does: else it belongs among the others.
fn no_longer_deviating(stage: &Stage, script: &Script) -> Vec<String> {
    let [direct, patient] =
        ["direct", "patient"].map(|name| *WAYS.iter().find(|way| way.name == name).unwrap());
    let database = |way: Way| format!("strangers_{}_{}", script.name, way.name);
    for way in [direct, patient] {
        prepare(&stage.sandbox, &format!("CREATE DATABASE {}", database(way)));
    }
    let sessions = script.sessions.iter().enumerate();
    let same = sessions.filter(|(number, session)| {
        let [want, got] = [direct, patient].map(|way| stage.play(session, way, &database(way)).0);
        *number > 0 && want == got
    });
    same.map(|(_, session)| session.name.clone()).collect()
}

#[test]
fn nobody_is_misrouted() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/oracle/sessions");
    let only = std::env::var(ONLY).unwrap_or_default();
    let seed = std::env::var(SEED).map_or(1, |seed| seed.parse().unwrap());
    let mut scripts = scripts(&directory);
    scripts.push(combine::script(seed, if is_full() { 2000 } else { 250 }));
    scripts.retain(|script| script.name.contains(&only));
    let stage = Stage::new();
    let (known, scripts): (Vec<_>, Vec<_>) =
        scripts.into_iter().partition(|script| script.name == KNOWN);
    for script in &known {
        assert_eq!(no_longer_deviating(&stage, script), Vec::<String>::new(), "they are alike");
    }
    let found: Vec<String> =
        scripts.iter().flat_map(|script| differences(&stage, script)).collect();
    assert!(found.is_empty(), "{} differ\n{}", found.len(), found.join("\n"));
}
