//! What holds for every script: a client cannot tell the machine from a server of its own.
//!
//! Random clients talk through sessions to a handful of [model servers](crate::model), which they
//! share; what each is told has to be what one model server of its own would have told it, however
//! bytes are cut and in whatever order things happen. Where servers are lost or cannot be had,
//! less holds, and never nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use pgweir_protocol::prepared::StatementRegistry;
use pgweir_protocol::report::{Report, Severity, SqlState};
use pgweir_protocol::server::ServerFacts;
use pgweir_protocol::session::MAX_REPLAYS;
use pgweir_protocol::verdict::Target;
use proptest::prelude::*;
use proptest::sample::select;

use crate::model::{Server, setting};
use crate::notation::{Listener, Speaker, encode};
use crate::rig::{Client, Waiting, fresh_facts};
use crate::router::Scripted;
use crate::script::{Outcome, ServerSetup, Setup};

/// Connections to each role: enough for every client to hold one.
const CONNECTIONS: usize = 3;

/// Statements a server keeps: so few that they have to make room for each other.
const HOLDS: usize = 3;

/// Things that can happen in one move before it counts as endless.
const MOST_EVENTS: usize = 200_000;

/// A startup parameter of some clients.
const STARTUP: (&str, &str) = ("a", "app");

// ---- what clients say ----

/// What a client sends in one go, in words, and then waits for the answer to.
type Move = String;

/// Statements that may stand in a string with others.
fn plain_sql(client: usize) -> impl Strategy<Value = String> {
    let value = move |name: &'static str| {
        (1..3_usize).prop_map(move |value| format!("set {name} to v{client}{value}"))
    };
    prop_oneof![
        3 => Just("select 1".to_owned()),
        1 => Just("select many".to_owned()),
        2 => Just("insert into t".to_owned()),
        2 => value("a"),
        1 => value("b"),
        1 => value("timezone"),
        1 => Just("select broken".to_owned()),
    ]
}

/// Statements that begin and end transactions, or parts of them.
fn control_sql() -> impl Strategy<Value = String> {
    select(vec![
        "begin",
        "begin",
        "commit",
        "commit",
        "rollback",
        "savepoint s",
        "rollback to s",
        "release s",
    ])
    .prop_map(str::to_owned)
}

fn sql(client: usize) -> impl Strategy<Value = String> {
    let plain = || plain_sql(client);
    prop_oneof![
        8 => plain(),
        6 => control_sql(),
        1 => Just(String::new()),
        1 => Just("select parse error".to_owned()),
        1 => Just("reset b".to_owned()),
        1 => Just("reset a".to_owned()),
        1 => Just("reset timezone".to_owned()),
        1 => Just("create temp table x".to_owned()),
        1 => Just("copy (select 1) to stdout".to_owned()),
        2 => (plain(), plain()).prop_map(|(a, b)| format!("{a}; {b}")),
        2 => (plain(), control_sql(), plain()).prop_map(|(a, b, c)| format!("{a};{b};{c};")),
    ]
}

/// One statement for the extended protocol.
fn one_sql(client: usize) -> impl Strategy<Value = String> {
    prop_oneof![
        8 => plain_sql(client),
        4 => control_sql(),
        1 => Just(String::new()),
        1 => Just("select parse error".to_owned()),
        1 => Just("reset b".to_owned()),
        1 => Just("deallocate all".to_owned()),
    ]
}

fn name() -> impl Strategy<Value = &'static str> {
    select(vec!["s1", "s2", "s3"])
}

/// A part of a pipeline.
fn part(client: usize) -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (one_sql(client), 0..3).prop_map(|(sql, rows)| {
            format!("Parse \"\" {sql:?} | Bind \"\" \"\" | Describe P \"\" | Execute \"\" {rows}")
        }),
        // Not under a name that may be taken: a text that a failed transaction accepts. It would
        // be refused for the name, if the statement of that name could be prepared there.
        3 => (name(), plain_sql(client)).prop_map(|(name, sql)| format!("Parse {name} {sql:?}")),
        1 => (name(), one_sql(client)).prop_map(|(name, sql)| {
            format!("Close S {name} | Parse {name} {sql:?} | Describe S {name}")
        }),
        4 => name().prop_map(|name| format!("Bind \"\" {name} | Execute \"\" 0")),
        1 => name().prop_map(|name| format!("Describe S {name}")),
        1 => name().prop_map(|name| format!("Bind p {name} | Execute p 1 | Execute p 0")),
        1 => select(vec!["Close P p", "Execute p 1", "Describe P p"]).prop_map(str::to_owned),
        1 => name().prop_map(|name| format!("Close S {name}")),
        1 => Just("Flush".to_owned()),
    ]
}

fn pipeline(client: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(part(client), 0..5)
        .prop_map(|parts| parts.into_iter().chain(["Sync".to_owned()]))
        .prop_map(|parts| parts.collect::<Vec<_>>().join(" | "))
}

fn copy() -> impl Strategy<Value = String> {
    let begin = select(vec![
        "Query \"copy t from stdin\"",
        "Parse \"\" \"copy t from stdin\" | Bind \"\" \"\" | Execute \"\" 0",
        "Parse \"\" \"copy t from stdin\" | Bind \"\" \"\" | Execute \"\" 0 | Sync",
    ]);
    let data = select(vec!["1\\n", "bad\\n"]);
    let end = select(vec!["CopyDone", "CopyFail \"no\""]);
    (begin, data, end).prop_map(|(begin, data, end)| {
        let sync = if begin.starts_with("Parse") { " | Sync" } else { "" };
        format!("{begin} | CopyData \"{data}\" | CopyData \"{data}\" | {end}{sync}")
    })
}

/// A transaction that may run on a replica, as long as it asks for nothing that is the primary's.
fn read_only_block(client: usize) -> impl Strategy<Value = Vec<Move>> {
    let begin = select(vec![
        vec!["begin read only"],
        vec!["begin read only; select 1"],
        vec!["begin", "set transaction read only"],
    ]);
    let run = |sql: String| {
        format!("Parse \"\" {sql:?} | Bind \"\" \"\" | Describe P \"\" | Execute \"\" 0 | Sync")
    };
    let inner = prop_oneof![
        plain_sql(client).prop_map(|sql| format!("Query {sql:?}")),
        plain_sql(client).prop_map(run),
        name().prop_map(|name| format!("Bind \"\" {name} | Sync")),
        Just("Query \"select where\"".to_owned()),
        Just(run("select where".to_owned())),
    ];
    let end = select(vec!["commit", "rollback", "commit; insert into t", "select 1; rollback"]);
    (begin, prop::collection::vec(inner, 0..4), end).prop_map(|(begin, inner, end)| {
        let query = |sql: &str| format!("Query {sql:?}");
        let begin = begin.into_iter().map(query);
        begin.chain(inner).chain([query(end)]).collect()
    })
}

/// A transaction that may begin on a replica, and go on on the primary. What a standby refuses though it
/// looked like a read comes first in its message: behind a row it would be its client's error.
fn split_block(client: usize) -> impl Strategy<Value = Vec<Move>> {
    let run = |sql: &str| format!("Parse \"\" {sql:?} | Bind \"\" \"\" | Execute \"\" 0");
    let lasting = select(vec![
        "savepoint s",
        "savepoint t",
        "rollback to s",
        "rollback to t",
        "release s",
        "release t",
        "set transaction read only",
        "set local a to local",
        "set local timezone to local",
        "begin",
    ])
    .prop_map(str::to_owned);
    let sql = move || prop_oneof![6 => plain_sql(client), 4 => lasting.clone()];
    let parts = prop::collection::vec(sql(), 1..4).prop_map(move |all| {
        let all = all.iter().map(|sql| run(sql)).chain(["Sync".to_owned()]);
        all.collect::<Vec<_>>().join(" | ")
    });
    let inner = prop_oneof![
        6 => sql().prop_map(|sql| format!("Query {sql:?}")),
        1 => Just("Query \"select draw\"".to_owned()),
        1 => Just("Query \"select where\"".to_owned()),
        2 => prop::collection::vec(sql(), 2..4).prop_map(|all| {
            all.iter().map(|sql| format!("Query {sql:?}")).collect::<Vec<_>>().join(" | ")
        }),
        2 => (plain_sql(client), plain_sql(client)).prop_map(|(a, b)| format!("Query \"{a};{b}\"")),
        4 => parts,
        2 => name().prop_map(|name| format!("Bind \"\" {name} | Execute \"\" 0 | Sync")),
        1 => (name(), plain_sql(client)).prop_map(|(name, sql)| {
            format!("Close S {name} | Parse {name} {sql:?} | Describe S {name} | Sync")
        }),
    ];
    let begin = select(vec![
        "Query \"begin\"",
        "Query \"start transaction\"",
        "Query \"begin read only\"",
        "Query \"begin read only; select 1\"",
        "Parse \"\" \"begin\" | Bind \"\" \"\" | Execute \"\" 0 | Sync",
        "Parse \"\" \"begin\" | Bind \"\" \"\" | Execute \"\" 0 | Parse \"\" \"select 1\" | Bind \"\" \"\" \
         | Execute \"\" 0 | Sync",
    ]);
    let end = select(vec!["commit", "rollback", "commit; insert into t", "rollback; select 1"]);
    (begin, prop::collection::vec(inner, 0..8), end).prop_map(|(begin, inner, end)| {
        let end = format!("Query {end:?}");
        [begin.to_owned()].into_iter().chain(inner).chain([end]).collect()
    })
}

/// What clients say that begin transactions, in turns.
fn splitting() -> impl Strategy<Value = Vec<(usize, Move)>> {
    let turn = |client: usize| {
        prop_oneof![
            3 => split_block(client),
            1 => reads(client).prop_map(|one| vec![one]),
        ]
        .prop_map(move |moves| moves.into_iter().map(|one| (client, one)).collect::<Vec<_>>())
    };
    prop::collection::vec(prop_oneof![turn(0), turn(1)], 1..6)
        .prop_map(|turns| turns.into_iter().flatten().collect())
}

/// A part of a pipeline that a replica may have.
fn read_part(client: usize) -> impl Strategy<Value = String> {
    let sql = || prop_oneof![6 => plain_read(client), 1 => Just("deallocate all".to_owned())];
    let run =
        |sql| format!("Parse \"\" {sql:?} | Bind \"\" \"\" | Describe P \"\" | Execute \"\" 0");
    prop_oneof![
        4 => sql().prop_map(run),
        3 => (name(), sql()).prop_map(|(name, sql)| format!("Parse {name} {sql:?}")),
        2 => (name(), sql()).prop_map(|(name, sql)| {
            format!("Close S {name} | Parse {name} {sql:?} | Describe S {name}")
        }),
        4 => name().prop_map(|name| format!("Bind \"\" {name} | Execute \"\" 0")),
        1 => name().prop_map(|name| format!("Describe S {name}")),
        1 => name().prop_map(|name| format!("Close S {name}")),
    ]
}

/// What leaves nothing behind but settings.
fn plain_read(client: usize) -> impl Strategy<Value = String> {
    plain_sql(client).prop_filter("a read", |sql| !sql.starts_with("insert"))
}

/// Pieces of work that a replica may have, outside transactions. What no standby does comes first:
/// behind a row it would be its client's error.
fn reads(client: usize) -> impl Strategy<Value = Move> {
    let parts = move || prop::collection::vec(read_part(client), 0..4);
    let draw = "Parse \"\" \"select draw\" | Bind \"\" \"\" | Describe P \"\" | Execute \"\" 0";
    let end = |parts: Vec<String>| parts.into_iter().chain(["Sync".to_owned()]);
    let query = prop_oneof![
        4 => plain_read(client).prop_map(|sql| format!("Query {sql:?}")),
        1 => Just("Query \"select draw\"".to_owned()),
    ];
    prop_oneof![
        4 => prop::collection::vec(query, 1..4).prop_map(|queries| queries.join(" | ")),
        6 => parts().prop_map(move |parts| end(parts).collect::<Vec<_>>().join(" | ")),
        1 => parts().prop_map(move |parts| {
            [draw.to_owned()].into_iter().chain(end(parts)).collect::<Vec<_>>().join(" | ")
        }),
    ]
}

/// What clients say that only read, in turns.
fn reading() -> impl Strategy<Value = Vec<(usize, Move)>> {
    let turn = |client: usize| reads(client).prop_map(move |one| (client, one));
    prop::collection::vec(prop_oneof![turn(0), turn(1)], 1..14)
}

/// Moves that come one after the other.
fn moves(client: usize, with_copy: bool) -> impl Strategy<Value = Vec<Move>> {
    let query = |sql: String| format!("Query {sql:?}");
    let one = |strategy: BoxedStrategy<String>| strategy.prop_map(|one| vec![one]).boxed();
    prop_oneof![
        8 => one(sql(client).prop_map(query).boxed()),
        2 => one(prop::collection::vec(sql(client).prop_map(query), 2..4)
            .prop_map(|queries| queries.join(" | ")).boxed()),
        8 => one(pipeline(client).boxed()),
        3 => one(prop::collection::vec(
            prop_oneof![4 => pipeline(client).boxed(), 1 => sql(client).prop_map(query).boxed()],
            2..4,
        ).prop_map(|pieces| pieces.join(" | ")).boxed()),
        1 => one(Just("Query \"discard all\"".to_owned()).boxed()),
        1 => one(Just("FunctionCall 1".to_owned()).boxed()),
        1 => one(Just("Sync".to_owned()).boxed()),
        1 => (one_sql(client)).prop_map(|sql| vec![
            format!("Parse \"\" {sql:?} | Sync"),
            "Bind \"\" \"\" | Describe P \"\" | Execute \"\" 0 | Sync".to_owned(),
            "Describe S \"\" | Bind \"\" \"\" | Execute \"\" 0 | Sync".to_owned(),
        ]),
        2 => read_only_block(client),
        u32::from(with_copy) => one(copy().boxed()),
    ]
}

/// What both clients say, in turns.
fn conversation(with_copy: bool) -> impl Strategy<Value = Vec<(usize, Move)>> {
    let turn = move |client: usize| {
        moves(client, with_copy)
            .prop_map(move |moves| moves.into_iter().map(|one| (client, one)).collect::<Vec<_>>())
    };
    prop::collection::vec(prop_oneof![turn(0), turn(1)], 1..14)
        .prop_map(|turns| turns.into_iter().flatten().collect())
}

// ---- how it is carried ----

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(most).unwrap()).unwrap()
    }
}

/// How kindly the world treats its clients.
#[derive(Debug, Clone, Copy)]
struct Weather {
    /// Bytes arrive in pieces and things happen in any order.
    is_rough: bool,
    /// One in so many events is the loss of a connection; none if zero.
    losses: usize,
    /// One in so many connections cannot be had; none if zero.
    refusals: usize,
    /// One in so many times a client has said something it leaves; never if zero.
    partings: usize,
    /// Only replicas are lost, before their client has heard anything, and not too often.
    is_merciful: bool,
    /// Transactions read from replicas until they write.
    splits: bool,
}

const FAIR: Weather = Weather {
    is_rough: false,
    losses: 0,
    refusals: 0,
    partings: 0,
    is_merciful: false,
    splits: false,
};

const ROUGH: Weather = Weather { is_rough: true, ..FAIR };

const STORM: Weather = Weather { losses: 60, refusals: 10, partings: 80, ..ROUGH };

/// Replicas die under their reads.
const PLAGUE: Weather = Weather { losses: 6, is_merciful: true, ..ROUGH };

/// A server connection in the pool, or leased.
struct Connection {
    name: String,
    role: Target,
    model: Server,
    /// Here while nobody leases it.
    facts: Option<Box<ServerFacts>>,
}

/// A client's session and the wires to and from it.
struct Seat {
    client: Client,
    connection: Option<usize>,
    to_session: Vec<u8>,
    to_server: Vec<u8>,
    from_server: Vec<u8>,
    heard: Vec<u8>,
    facts: Vec<String>,
    /// Connections lost since it has said something.
    losses: u32,
}

/// What can happen next.
#[derive(Debug, Clone, Copy)]
enum Event {
    ClientBytes(usize),
    Connect(usize, Target),
    ServerHears(usize),
    ServerBytes(usize),
}

struct World {
    seats: Vec<Seat>,
    connections: Vec<Connection>,
    dice: Dice,
    weather: Weather,
    made: i32,
}

impl World {
    fn new(clients: usize, startup: &[(&str, &str)], weather: Weather, seed: u64) -> Self {
        let setup = Setup {
            startup: startup
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            splits: weather.splits,
            ..Setup::default()
        };
        let registry: Arc<StatementRegistry> = Arc::default();
        let seats = (0..clients).map(|id| Seat {
            client: Client::new(
                u32::try_from(id).unwrap(),
                &setup,
                Scripted { splits: weather.splits, ..Scripted::default() },
                registry.clone(),
            ),
            connection: None,
            to_session: Vec::new(),
            to_server: Vec::new(),
            from_server: Vec::new(),
            heard: Vec::new(),
            facts: Vec::new(),
            losses: 0,
        });
        let mut world = Self {
            seats: seats.collect(),
            connections: Vec::new(),
            dice: Dice(seed | 1),
            weather,
            made: 0,
        };
        for role in [Target::Replica, Target::Primary] {
            for _ in 0..CONNECTIONS {
                let fresh = world.connection(role);
                world.connections.push(fresh);
            }
        }
        world
    }

    fn connection(&mut self, role: Target) -> Connection {
        self.made += 1;
        let setup = ServerSetup { holds: Some(HOLDS), ..ServerSetup::default() };
        Connection {
            name: format!("{role:?}{}", self.made),
            role,
            model: Server::new(role, &[]),
            facts: Some(fresh_facts(self.made, &setup)),
        }
    }

    /// Lets a client say something and waits until nothing happens any more.
    fn say(&mut self, seat: usize, words: &str) {
        let bytes = encode(Speaker::Client, words).unwrap();
        self.seats[seat].to_session.extend(bytes);
        self.seats[seat].losses = 0;
        for _ in 0..MOST_EVENTS {
            let events = self.possible();
            if events.is_empty() {
                return self.check_rest(words);
            }
            let at = match self.weather.is_rough {
                true => self.dice.below(events.len()),
                false => 0,
            };
            self.happen(events[at]);
        }
        panic!("no end to {words}");
    }

    fn possible(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for (number, seat) in self.seats.iter().enumerate() {
            let waiting = seat.client.waiting();
            if waiting == Waiting::Ended {
                continue;
            }
            if !seat.to_session.is_empty() {
                events.push(Event::ClientBytes(number));
            }
            if let Waiting::Connection(target) = waiting {
                events.push(Event::Connect(number, target));
            }
            if !seat.to_server.is_empty() {
                events.push(Event::ServerHears(number));
            }
            if !seat.from_server.is_empty() {
                events.push(Event::ServerBytes(number));
            }
        }
        events
    }

    fn check_rest(&self, words: &str) {
        for seat in &self.seats {
            let waiting = seat.client.waiting();
            assert_ne!(waiting, Waiting::Reply, "nobody answers {words}");
            if waiting != Waiting::Ended {
                assert_eq!(seat.client.kept(), 0, "something of {words} is left");
            }
        }
    }

    /// A piece of some bytes.
    fn piece(&mut self, seat: usize, bytes: fn(&mut Seat) -> &mut Vec<u8>) -> Vec<u8> {
        let length = bytes(&mut self.seats[seat]).len();
        let take = match self.weather.is_rough {
            true if self.dice.below(3) > 0 => 1 + self.dice.below(length),
            _ => length,
        };
        bytes(&mut self.seats[seat]).drain(..take).collect()
    }

    fn happen(&mut self, event: Event) {
        let mut outcome = Outcome::default();
        let seat = match event {
            Event::ClientBytes(seat) if self.leaves() => {
                self.part(seat, &mut outcome);
                seat
            }
            Event::ClientBytes(seat) => {
                let piece = self.piece(seat, |seat| &mut seat.to_session);
                self.seats[seat].client.client_says(&piece, &mut outcome);
                seat
            }
            Event::Connect(seat, target) => {
                self.connect(seat, target, &mut outcome);
                seat
            }
            Event::ServerHears(seat) => {
                let piece = self.piece(seat, |seat| &mut seat.to_server);
                let connection = self.seats[seat].connection.unwrap();
                let model = &mut self.connections[connection].model;
                model.hear(&piece);
                let replies = model.take_replies();
                self.seats[seat].from_server.extend(replies);
                seat
            }
            Event::ServerBytes(seat) if self.loses(seat) => {
                let connection = self.seats[seat].connection.take().unwrap();
                self.replace(connection);
                let seat_ = &mut self.seats[seat];
                (seat_.to_server, seat_.from_server) = (Vec::new(), Vec::new());
                seat_.client.lose("it closed the connection", &mut outcome);
                seat
            }
            Event::ServerBytes(seat) => {
                let piece = self.piece(seat, |seat| &mut seat.from_server);
                self.seats[seat].client.server_says(&piece, &mut outcome);
                seat
            }
        };
        self.let_go(seat, &mut outcome);
        let seat = &mut self.seats[seat];
        seat.to_server.extend(outcome.to_server);
        seat.heard.extend(outcome.to_client);
        seat.facts.extend(outcome.facts);
    }

    fn loses(&mut self, seat: usize) -> bool {
        let it = &self.seats[seat];
        let Some(connection) = it.connection.filter(|_| self.weather.losses > 0) else {
            return false;
        };
        let is_borne = self.connections[connection].role == Target::Replica
            && it.heard.is_empty()
            && it.losses < MAX_REPLAYS;
        if self.weather.is_merciful && !is_borne || self.dice.below(self.weather.losses) > 0 {
            return false;
        }
        self.seats[seat].losses += 1;
        true
    }

    fn leaves(&mut self) -> bool {
        self.weather.partings > 0 && self.dice.below(self.weather.partings) == 0
    }

    /// A client leaves wherever it is; its connection serves others only if nothing is under way.
    fn part(&mut self, seat: usize, outcome: &mut Outcome) {
        let seat = &mut self.seats[seat];
        let facts = seat.client.end(outcome);
        let unread = seat.to_server.len() + seat.from_server.len();
        if let Some(at) = seat.connection.take() {
            match facts {
                Some(facts) if unread == 0 => {
                    check_facts(&facts, &self.connections[at].model);
                    self.connections[at].facts = Some(facts);
                }
                _ => self.replace(at),
            }
        }
    }

    fn replace(&mut self, connection: usize) {
        let role = self.connections[connection].role;
        self.connections[connection] = self.connection(role);
    }

    fn connect(&mut self, seat: usize, target: Target, outcome: &mut Outcome) {
        if self.weather.refusals > 0 && self.dice.below(self.weather.refusals) == 0 {
            let code = SqlState::TOO_MANY_CONNECTIONS;
            let report = Report::new(Severity::Error, code, "no connection came free");
            return self.seats[seat].client.refuse(&report, outcome);
        }
        // Reads go to the primary now and then, as they do when no replica will serve.
        let role = match self.dice.below(5) {
            0 => Target::Primary,
            _ => target,
        };
        let free: Vec<usize> = (0..self.connections.len())
            .filter(|&at| self.connections[at].role == role)
            .filter(|&at| self.connections[at].facts.is_some())
            .collect();
        let chosen = free[self.dice.below(free.len())];
        let connection = &mut self.connections[chosen];
        let facts = connection.facts.take().unwrap();
        let name = Some(connection.name.clone());
        self.seats[seat].connection = Some(chosen);
        let client = &mut self.seats[seat].client;
        client.attach(name, facts, Some(role), outcome);
    }

    /// Takes back what the session is through with; nothing may be under way on it.
    fn let_go(&mut self, seat: usize, outcome: &mut Outcome) {
        while let Some(kept) = self.seats[seat].client.let_go(outcome) {
            let at = self.seats[seat].connection.take().unwrap();
            let seat_ = &mut self.seats[seat];
            // Late copy data may still be on its way: it comes before anything of the next client,
            // and is not answered.
            let model = &mut self.connections[at].model;
            model.hear(&std::mem::take(&mut seat_.to_server));
            model.hear(&std::mem::take(&mut outcome.to_server));
            seat_.from_server.extend(model.take_replies());
            let unread = std::mem::take(&mut seat_.from_server);
            assert!(kept.is_none() || unread.is_empty(), "replies are under way");
            match kept {
                Some((_, facts)) => {
                    let connection = &mut self.connections[at];
                    check_facts(&facts, &connection.model);
                    connection.facts = Some(facts);
                }
                None => self.replace(at),
            }
            self.seats[seat].client.go_on(outcome);
        }
        // An ended session has handed back its connection without a word.
        if self.seats[seat].client.waiting() == Waiting::Ended
            && let Some(at) = self.seats[seat].connection.take()
        {
            self.replace(at);
        }
    }
}

/// What is noted of a connection is what its server has.
fn check_facts(facts: &ServerFacts, model: &Server) {
    assert!(model.is_idle(), "given back while busy: {model:?}");
    assert!(!model.has_temp(), "given back with a temporary table");
    let noted: BTreeMap<String, String> =
        facts.in_force.iter().filter_map(|(_, statement)| setting(statement)).collect();
    assert_eq!(noted, model.settings());
    assert_eq!(facts.statements.len(), model.statement_count());
}

fn messages(bytes: &[u8]) -> Vec<String> {
    Listener::new(Speaker::Server).hear(bytes)
}

/// What each move was answered with, by a server of the client's own.
fn directly(conversation: &[(usize, Move)], startup: &[(&str, &str)]) -> Vec<Vec<String>> {
    let mut servers = [(); 2].map(|()| Server::new(Target::Primary, startup));
    conversation
        .iter()
        .map(|(client, words)| {
            servers[*client].hear(&encode(Speaker::Client, words).unwrap());
            messages(&servers[*client].take_replies())
        })
        .collect()
}

fn through_sessions(
    conversation: &[(usize, Move)],
    startup: &[(&str, &str)],
    weather: Weather,
    seed: u64,
) -> Vec<Vec<String>> {
    let mut world = World::new(2, startup, weather, seed);
    conversation
        .iter()
        .map(|(client, words)| {
            world.say(*client, words);
            messages(&std::mem::take(&mut world.seats[*client].heard))
        })
        .collect()
}

fn check_same(
    conversation: &[(usize, Move)],
    startup: &[(&str, &str)],
    weather: Weather,
    seed: u64,
) {
    let expected = directly(conversation, startup);
    let got = through_sessions(conversation, startup, weather, seed);
    for (at, (expected, got)) in expected.iter().zip(&got).enumerate() {
        let said: Vec<String> = conversation[..=at]
            .iter()
            .map(|(client, words)| format!("{client}: {words}"))
            .collect();
        assert_eq!(got, expected, "\nthe last answer to\n{}", said.join("\n"));
    }
}

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    /// Sessions answer as servers do.
    #[test]
    fn a_client_cannot_tell_the_machine_from_a_server_of_its_own(
        conversation in conversation(true),
        seed in any::<u64>(),
    ) {
        check_same(&conversation, &[], FAIR, seed);
    }

    /// … however bytes are cut, and in whatever order they arrive.
    #[test]
    fn no_cut_and_no_order_changes_what_a_client_hears(
        conversation in conversation(true),
        seed in any::<u64>(),
    ) {
        check_same(&conversation, &[], ROUGH, seed);
    }

    /// … with startup parameters, to which RESET returns.
    #[test]
    fn startup_parameters_are_the_clients_defaults_on_every_server(
        conversation in conversation(true),
        seed in any::<u64>(),
    ) {
        check_same(&conversation, &[STARTUP], ROUGH, seed);
    }

    /// … and who only reads does not notice that replicas die, or that they refuse what was taken for
    /// a read.
    #[test]
    fn who_only_reads_does_not_notice_what_becomes_of_replicas(
        conversation in reading(),
        seed in any::<u64>(),
    ) {
        check_same(&conversation, &[], ROUGH, seed);
        check_same(&conversation, &[], PLAGUE, seed);
    }

    /// … and nobody notices that transactions read from replicas until they write.
    #[test]
    fn a_client_cannot_tell_where_its_transaction_runs(
        conversation in conversation(true),
        seed in any::<u64>(),
    ) {
        check_same(&conversation, &[], Weather { splits: true, ..FAIR }, seed);
        check_same(&conversation, &[STARTUP], Weather { splits: true, ..ROUGH }, seed);
    }

    /// … nor what becomes of the replicas meanwhile.
    #[test]
    fn a_split_transaction_goes_on_whatever_becomes_of_its_replica(
        conversation in splitting(),
        seed in any::<u64>(),
    ) {
        check_same(&conversation, &[], Weather { splits: true, ..ROUGH }, seed);
        check_same(&conversation, &[STARTUP], Weather { splits: true, ..PLAGUE }, seed);
    }

    /// Whatever is lost or refused, every question gets its ReadyForQuery, and no client sees
    /// what another has set.
    #[test]
    fn in_a_storm_every_question_is_answered_and_nobody_sees_anothers_settings(
        conversation in prop_oneof![conversation(false), splitting()],
        splits in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut world = World::new(2, &[], Weather { splits, ..STORM }, seed);
        for (client, words) in &conversation {
            if world.seats[*client].client.waiting() == Waiting::Ended {
                continue;
            }
            world.say(*client, words);
            let heard = messages(&std::mem::take(&mut world.seats[*client].heard));
            if world.seats[*client].client.waiting() == Waiting::Ended {
                continue;
            }
            let questions = words
                .split(" | ")
                .filter(|word| ["Query", "Sync", "FunctionCall"].iter().any(|q| word.starts_with(q)))
                .count();
            let ready = heard.iter().filter(|word| word.starts_with("ReadyForQuery")).count();
            prop_assert_eq!(ready, questions, "{} was answered by {:?}", words, heard);
            let other = format!("=v{}", 1 - client);
            for row in heard.iter().filter(|word| word.starts_with("DataRow")) {
                prop_assert!(!row.contains(&other), "client {} sees {}", client, row);
            }
        }
    }
}
