//! Hostile peers: whatever either side sends, the session neither panics nor keeps without bound.

use pgweir_protocol::session::{MAX_PORTALS, MAX_REPLAYED, MAX_WITHHELD};
use pgweir_protocol::settings::{MAX_SAVEPOINTS, MAX_SETTINGS};
use pgweir_protocol::verdict::Target;
use proptest::prelude::*;
use proptest::sample::select;

use crate::notation::{Speaker, encode};
use crate::rig::{Client, Waiting, fresh_facts};
use crate::router::Scripted;
use crate::script::{Outcome, ServerSetup, Setup};

/// The largest client message in these tests, in bytes.
const MAX_MESSAGE: usize = 3_000_000;

/// Something happens to a session, in any order.
#[derive(Debug, Clone)]
enum Act {
    Client(Vec<u8>),
    Server(Vec<u8>),
    Attach(Target),
    Lose,
}

/// Bytes that are messages, or nearly, or not at all.
fn bytes(speaker: Speaker, lines: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let tags: Vec<u8> = lines.iter().map(|line| encode(speaker, line).unwrap()[0]).collect();
    let whole = select(lines).prop_map(move |line| encode(speaker, line).unwrap());
    let cut = (whole.clone(), any::<prop::sample::Index>()).prop_map(|(mut bytes, at)| {
        bytes.truncate(at.index(bytes.len()));
        bytes
    });
    let claims = select(vec![0_u32, 3, 4, 5, 9, 10_000, 70_000, 2_000_000, 0x3fff_ffff, u32::MAX]);
    let filling = prop::collection::vec(select(vec![0_u8, b'S', b'a', 0xff]), 0..40);
    let forged = (select(tags), claims, filling).prop_map(|(tag, length, filling)| {
        let mut bytes = vec![tag];
        bytes.extend(length.to_be_bytes());
        bytes.extend(filling);
        bytes
    });
    prop_oneof![
        10 => whole,
        1 => cut,
        3 => forged,
        1 => prop::collection::vec(any::<u8>(), 0..30),
        1 => (0..100_000_usize).prop_map(|length| vec![b' '; length]),
    ]
}

const FROM_CLIENTS: &[&str] = &[
    "Query \"select 1\"",
    "Query \"begin\"",
    "Query \"set transaction read only\"",
    "Query \"set a to 1; insert; rollback\"",
    "Query \"discard all\"",
    "Parse s1 \"select 1\" 23",
    "Parse s2 \"deallocate all\"",
    "Parse \"\" \"insert\"",
    "Bind \"\" s1 \"1\"",
    "Bind p \"\"",
    "Describe S s1",
    "Describe P p",
    "Execute \"\" 0",
    "Execute p 1",
    "Close S s1",
    "Close P p",
    "Flush",
    "Sync",
    "FunctionCall 1",
    "CopyData \"1\"",
    "CopyDone",
    "CopyFail \"no\"",
    "Terminate",
];

const FROM_SERVERS: &[&str] = &[
    "ReadyForQuery I",
    "ReadyForQuery T",
    "ReadyForQuery E",
    "ReadyForQuery X",
    "CommandComplete \"SELECT 1\"",
    "CommandComplete \"ROLLBACK\"",
    "EmptyQueryResponse",
    "PortalSuspended",
    "RowDescription i:int4",
    "ParameterDescription 23",
    "NoData",
    "DataRow \"1\"",
    "ParseComplete",
    "BindComplete",
    "CloseComplete",
    "CopyInResponse",
    "CopyOutResponse",
    "CopyData \"1\"",
    "CopyDone",
    "FunctionCallResponse \"1\"",
    "ErrorResponse ERROR 26000 \"prepared statement \\\"pgweir_0\\\" does not exist\"",
    "ErrorResponse FATAL 57P01 \"terminating connection\"",
    "NoticeResponse NOTICE 00000 \"so\"",
    "NotificationResponse 1 ch \"x\"",
    "ParameterStatus TimeZone=UTC",
    "ParameterStatus client_encoding=SJIS",
];

fn act() -> impl Strategy<Value = Act> {
    let role = select(vec![Target::Replica, Target::Primary]);
    prop_oneof![
        8 => bytes(Speaker::Client, FROM_CLIENTS).prop_map(Act::Client),
        8 => bytes(Speaker::Server, FROM_SERVERS).prop_map(Act::Server),
        3 => role.prop_map(Act::Attach),
        1 => Just(Act::Lose),
    ]
}

fn client() -> Client {
    let setup = Setup { max_message: MAX_MESSAGE, ..Setup::default() };
    Client::new(1, &setup, Scripted::default(), std::sync::Arc::default())
}

fn attach(client: &mut Client, role: Target) {
    let setup = ServerSetup { holds: Some(2), ..ServerSetup::default() };
    client.attach(None, fresh_facts(1, &setup), Some(role), &mut Outcome::default());
}

fn let_go(client: &mut Client) {
    while client.let_go(&mut Outcome::default()).is_some() {
        client.go_on(&mut Outcome::default());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// No bytes from either side make it panic, ask for what it has, or ask for too much.
    #[test]
    fn no_bytes_from_either_side_break_a_session(acts in prop::collection::vec(act(), 1..60)) {
        let mut client = client();
        for act in acts {
            let mut outcome = Outcome::default();
            match act {
                _ if client.waiting() == Waiting::Ended => return Ok(()),
                Act::Client(bytes) => client.client_says(&bytes, &mut outcome),
                Act::Server(bytes) => client.server_says(&bytes, &mut outcome),
                Act::Attach(role) => {
                    if let Waiting::Connection(_) = client.waiting() {
                        attach(&mut client, role);
                    }
                }
                Act::Lose => client.lose("it closed the connection", &mut outcome),
            }
            let_go(&mut client);
        }
    }
}

/// A client in a transaction on the primary, and what a server would answer to it.
fn in_transaction() -> Client {
    let mut client = client();
    say(&mut client, "Query \"begin\"");
    attach(&mut client, Target::Primary);
    answer(&mut client, "CommandComplete \"BEGIN\" | ReadyForQuery T");
    client
}

fn say(client: &mut Client, words: &str) {
    let bytes = encode(Speaker::Client, words).unwrap();
    client.client_says(&bytes, &mut Outcome::default());
}

fn answer(client: &mut Client, words: &str) {
    let bytes = encode(Speaker::Server, words).unwrap();
    client.server_says(&bytes, &mut Outcome::default());
}

#[test]
fn a_client_with_more_portals_than_are_kept_is_bound_to_its_server() {
    let mut client = in_transaction();
    say(&mut client, "Parse s1 \"select 1\" | Sync");
    answer(&mut client, "ParseComplete | ReadyForQuery T");
    for portal in 0..=MAX_PORTALS {
        assert_eq!(client.pins(), Vec::<&str>::new(), "with {portal} portals");
        say(&mut client, &format!("Bind p{portal} s1 | Sync"));
        answer(&mut client, "BindComplete | ReadyForQuery T");
    }
    assert_eq!(client.pins(), ["uninspected_statement"]);
}

#[test]
fn a_client_with_more_settings_than_are_carried_is_bound_to_its_server() {
    let mut client = in_transaction();
    for setting in 0..=MAX_SETTINGS {
        assert_eq!(client.pins(), Vec::<&str>::new(), "with {setting} settings");
        say(&mut client, &format!("Query \"set my.s{setting} to 1\""));
        answer(&mut client, "CommandComplete \"SET\" | ReadyForQuery T");
    }
    assert_eq!(client.pins(), ["untrackable_setting"]);
    // Rolled back, they are gone, and the reason with them.
    say(&mut client, "Query \"rollback\"");
    answer(&mut client, "CommandComplete \"ROLLBACK\" | ReadyForQuery I");
    assert_eq!(client.pins(), Vec::<&str>::new());
}

#[test]
fn a_client_with_more_savepoints_than_are_followed_is_bound_to_its_server() {
    let mut client = in_transaction();
    for savepoint in 0..=MAX_SAVEPOINTS {
        assert_eq!(client.pins(), Vec::<&str>::new(), "with {savepoint} savepoints");
        say(&mut client, &format!("Query \"savepoint s{savepoint}\""));
        answer(&mut client, "CommandComplete \"SAVEPOINT\" | ReadyForQuery T");
    }
    assert_eq!(client.pins(), ["untrackable_setting"]);
}

/// Plays a read of this text on a replica that says this and is lost; returns what came of it.
fn lost_after(sql: &str, words: &str) -> Outcome {
    let mut client = client();
    let mut outcome = Outcome::default();
    client.client_says(&encode(Speaker::Client, &format!("Query {sql:?}")).unwrap(), &mut outcome);
    let facts = fresh_facts(1, &ServerSetup::default());
    client.attach(None, facts, Some(Target::Replica), &mut outcome);
    if !words.is_empty() {
        client.server_says(&encode(Speaker::Server, words).unwrap(), &mut outcome);
    }
    let mut after = Outcome::default();
    client.lose("it closed the connection", &mut after);
    after
}

#[test]
fn a_read_runs_again_up_to_a_length() {
    // The message's tag and length, and the end of its text.
    let longest = MAX_REPLAYED - 6;
    let text = |length: usize| format!("select {}", "1".repeat(length - "select ".len()));
    assert_eq!(lost_after(&text(longest), "").facts, ["attach replica"]);
    let refused = lost_after(&text(longest + 1), "");
    assert!(refused.facts.is_empty() && !refused.to_client.is_empty(), "{refused:?}");
}

#[test]
fn the_head_of_an_answer_is_withheld_up_to_a_length() {
    let head = |length: usize| {
        let column = |_| "c:int4".to_owned();
        let columns: Vec<String> = (0..length.div_ceil(20)).map(column).collect();
        format!("RowDescription {}", columns.join(" "))
    };
    let whole = lost_after("select 1", &head(MAX_WITHHELD / 2));
    assert_eq!((whole.facts, whole.to_client), (vec!["attach replica".to_owned()], Vec::new()));
    let longer = lost_after("select 1", &head(2 * MAX_WITHHELD));
    assert!(longer.facts.is_empty() && !longer.to_client.is_empty());
}
