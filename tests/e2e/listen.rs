//! LISTEN and NOTIFY with more listening clients than a pool has connections.

use std::thread;
use std::time::{Duration, Instant};

use pgweir_sandbox::{Sandbox, StopMode};
use tokio_postgres::{AsyncMessage, NoTls};

use crate::harness::{Client, Failure, Message, SOON, Scratch, Weir, shared, until};

/// Clients that listen at the same time, and server connections per pool and node.
const LISTENERS: usize = 200;
const SERVERS: usize = 5;

/// How long a notification may take to all who listen, on a busy machine.
const PROMPT: Duration = Duration::from_secs(5);

/// The state of a client's pools, over all nodes: in use, set apart.
fn pools(weir: &Weir, database: &str) -> (f64, f64) {
    let metrics = weir.metrics();
    let database = format!("database=\"{database}\"");
    let count = |state: &str| {
        metrics.sum("pgweir_pool_connections", &[&database, &format!("state=\"{state}\"")])
    };
    (count("in_use"), count("apart"))
}

#[track_caller]
fn wait_for_pools(weir: &Weir, database: &str, wanted: (f64, f64)) {
    until("connections in use and apart", SOON, || match pools(weir, database) {
        found if found == wanted => Ok(()),
        found => Err(found),
    });
}

/// The next message, which has to be a notification: its payload.
#[track_caller]
fn heard(client: &mut Client) -> String {
    let frame = client.wire.frame().expect("a notification");
    assert_eq!(char::from(frame.tag), 'A');
    let words: Vec<&[u8]> = frame.body[4..].split(|&byte| byte == 0).collect();
    String::from_utf8(words[1].to_vec()).unwrap()
}

#[test]
fn two_hundred_listeners_leave_a_pool_of_five_to_the_others() {
    let scratch = Scratch::new("listen_crowd");
    let weir = Weir::start(shared(), &format!("pool.size = {SERVERS}"));
    let client = || weir.client("postgres", scratch.name());
    let mut listeners: Vec<_> = (0..LISTENERS)
        .map(|number| {
            let mut listener = client();
            listener.ask(&format!("LISTEN everyone; LISTEN only_{number}"));
            listener
        })
        .collect();
    wait_for_pools(&weir, scratch.name(), (0.0, LISTENERS as f64));

    // The others have the pool to themselves, all of it at once.
    thread::scope(|scope| {
        for number in 0..2 * SERVERS {
            scope.spawn(move || {
                let mut worker = client();
                for _ in 0..5 {
                    assert_eq!(worker.ask(&format!("SELECT {number}")), number.to_string());
                    worker.ask("BEGIN; SELECT pg_sleep(0.02); COMMIT");
                }
            });
        }
    });

    // From a client of pgweir's, and past it.
    let mut speaker = client();
    for word in ["here", "there"] {
        let mut speak = |sql: &str| match word {
            "here" => speaker.ask(sql),
            _ => shared().primary().psql_in(scratch.name(), sql).unwrap(),
        };
        let begun = Instant::now();
        speak(&format!("NOTIFY everyone, '{word}'"));
        for listener in &mut listeners {
            assert_eq!(heard(listener), word);
        }
        assert!(begun.elapsed() < PROMPT, "{:?}", begun.elapsed());
        for number in [0, LISTENERS / 2, LISTENERS - 1] {
            let begun = Instant::now();
            speak(&format!("NOTIFY only_{number}, '{word}'"));
            assert_eq!(heard(&mut listeners[number]), word);
            assert!(begun.elapsed() < PROMPT, "{:?}", begun.elapsed());
        }
    }

    // A listener is a client like any other, and those who leave leave nothing.
    assert_eq!(listeners[0].ask("SELECT 1"), "1");
    drop(listeners);
    wait_for_pools(&weir, scratch.name(), (0.0, 0.0));
}

#[test]
fn a_connection_joins_its_pool_again_when_its_client_listens_no_more() {
    let scratch = Scratch::new("listen_no_more");
    let weir = Weir::start(shared(), "pool.size = 1");
    let mut listener = weir.client("postgres", scratch.name());
    let backend = "/* pgweir: primary */ SELECT pg_backend_pid()";
    for end in ["UNLISTEN *", "DISCARD ALL", "UNLISTEN something"] {
        listener.ask("LISTEN something");
        wait_for_pools(&weir, scratch.name(), (0.0, 1.0));
        let own = listener.ask(backend);
        listener.ask(end);
        wait_for_pools(&weir, scratch.name(), (0.0, 0.0));
        let mut other = weir.client("postgres", scratch.name());
        assert_eq!(other.ask(backend), own, "{end}");
        // Now the pool has none to spare, and no room for another.
        listener.ask("LISTEN something");
        let own = listener.ask(backend);
        assert_ne!(other.ask(backend), own);
        listener.ask(end);
        wait_for_pools(&weir, scratch.name(), (0.0, 0.0));
        assert_ne!(listener.ask(backend), own, "{end}");
    }
}

#[test]
fn who_notifies_itself_is_told_of_the_process_id_it_knows() {
    let scratch = Scratch::new("listen_self");
    let weir = Weir::start(shared(), "pool.size = 2");
    let mut listener = weir.client("postgres", scratch.name());
    let mut other = weir.client("postgres", scratch.name());
    listener.ask("LISTEN something");
    let own = listener.key[..4].to_vec();
    let theirs: i32 = other.ask("NOTIFY something; SELECT pg_backend_pid()").parse().unwrap();
    assert_eq!(sender(&mut listener), theirs.to_be_bytes());
    // It comes with the answer or behind it.
    listener.wire.send(&Message::new().query("NOTIFY something"));
    let frames = (0..3).map(|_| listener.wire.frame().expect("an answer and a notification"));
    let notified: Vec<_> = frames.filter(|frame| frame.tag == b'A').collect();
    assert_eq!(notified.iter().map(|frame| frame.body[..4].to_vec()).collect::<Vec<_>>(), [own]);
}

/// The process id in the next message, which has to be a notification.
#[track_caller]
fn sender(client: &mut Client) -> [u8; 4] {
    let frame = client.wire.frame().expect("a notification");
    assert_eq!(char::from(frame.tag), 'A');
    frame.body[..4].try_into().unwrap()
}

#[test]
fn a_transaction_that_listens_keeps_its_place_until_it_has_committed() {
    let scratch = Scratch::new("listen_transaction");
    let weir = Weir::start(shared(), "pool.size = 2");
    let mut listener = weir.client("postgres", scratch.name());
    let mut speaker = weir.client("postgres", scratch.name());
    listener.ask("BEGIN");
    listener.ask("LISTEN something");
    wait_for_pools(&weir, scratch.name(), (1.0, 0.0));
    listener.ask("ROLLBACK");
    wait_for_pools(&weir, scratch.name(), (0.0, 0.0));

    listener.ask("BEGIN");
    listener.ask("LISTEN something");
    listener.ask("COMMIT");
    wait_for_pools(&weir, scratch.name(), (0.0, 1.0));
    // What comes during a transaction is told at its end.
    listener.ask("BEGIN");
    listener.ask("UNLISTEN *");
    speaker.ask("NOTIFY something, 'one'");
    let reply = listener.query("ROLLBACK");
    let told = [("something".to_owned(), "one".to_owned())];
    let before = reply.notifications == told;
    assert!(before || heard(&mut listener) == "one", "{reply:?}");
    wait_for_pools(&weir, scratch.name(), (0.0, 1.0));
    // Nothing is told of a transaction that is undone.
    for sql in ["BEGIN", "NOTIFY something, 'undone'", "ROLLBACK", "NOTIFY something, 'two'"] {
        speaker.ask(sql);
    }
    assert_eq!(heard(&mut listener), "two");
}

#[test]
fn listeners_beyond_what_may_be_set_apart_keep_their_places() {
    let scratch = Scratch::new("listen_bound");
    let weir = Weir::start(shared(), "pool.size = 2\nclusters.main.max_connections = 6");
    let mut listeners: Vec<_> = (0..4)
        .map(|_| {
            let mut listener = weir.client("postgres", scratch.name());
            listener.ask("LISTEN something");
            listener
        })
        .collect();
    wait_for_pools(&weir, scratch.name(), (1.0, 3.0));
    let mut speaker = weir.client("postgres", scratch.name());
    speaker.ask("NOTIFY something, 'one'");
    for listener in &mut listeners {
        assert_eq!(heard(listener), "one");
    }
    // There is room again: the fourth leaves the pool at the next thing it hears.
    drop(listeners.remove(0));
    wait_for_pools(&weir, scratch.name(), (1.0, 2.0));
    speaker.ask("NOTIFY something, 'two'");
    for listener in &mut listeners {
        assert_eq!(heard(listener), "two");
    }
    wait_for_pools(&weir, scratch.name(), (0.0, 3.0));
}

#[test]
fn in_session_mode_a_listener_is_one_of_the_pools_clients() {
    let scratch = Scratch::new("listen_session");
    let weir = Weir::start(shared(), "pool.mode = \"session\"\npool.size = 2");
    let mut listener = weir.client("postgres", scratch.name());
    listener.ask("LISTEN something");
    shared().primary().psql_in(scratch.name(), "NOTIFY something, 'one'").unwrap();
    assert_eq!(heard(&mut listener), "one");
    assert_eq!(pools(&weir, scratch.name()), (1.0, 0.0));
}

#[tokio::test]
async fn a_driver_that_waits_for_notifications_hears_them() {
    let scratch = Scratch::new("listen_driver");
    let weir = Weir::start(shared(), "pool.size = 1");
    let conninfo = weir.conninfo("postgres", scratch.name());
    let (client, mut connection) = tokio_postgres::connect(&conninfo, NoTls).await.unwrap();
    let (sender, mut notifications) = tokio::sync::mpsc::channel(16);
    tokio::spawn(async move {
        while let Some(message) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notification(notification) = message.unwrap() {
                let _ = sender.send(notification.payload().to_owned()).await;
            }
        }
    });
    // The extended protocol, as drivers that prepare everything do it.
    client.execute("LISTEN \"Some Thing\"", &[]).await.unwrap();
    for turn in 0..3 {
        let sql = format!("SELECT pg_notify('Some Thing', '{turn}')");
        shared().primary().psql_in(scratch.name(), &sql).unwrap();
        let heard = tokio::time::timeout(PROMPT, notifications.recv()).await.unwrap();
        assert_eq!(heard, Some(turn.to_string()));
        // Its own come too, and it goes on as any client does.
        client.execute("SELECT pg_notify('Some Thing', $1)", &[&"own"]).await.unwrap();
        let heard = tokio::time::timeout(PROMPT, notifications.recv()).await.unwrap();
        assert_eq!(heard.as_deref(), Some("own"));
        assert_eq!(client.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
    }
}

#[test]
fn a_listener_hears_of_its_servers_end_as_on_a_direct_connection() {
    let sandbox = Sandbox::builder().replicas(1).start().unwrap();
    let weir = Weir::start(&sandbox, "");
    let listen = |port| {
        let mut client = Client::connect(port, "postgres", "postgres", &[]).unwrap();
        client.ask("LISTEN something");
        client
    };
    let goodbye = |client: &mut Client| {
        let frame = client.wire.frame().expect("a goodbye");
        assert_eq!(char::from(frame.tag), 'E');
        Failure::parse(&frame.body)
    };
    let (mut through, mut direct) = (listen(weir.port()), listen(sandbox.primary().port()));
    sandbox.primary().stop(StopMode::Fast).unwrap();
    assert_eq!(goodbye(&mut through).fields(), goodbye(&mut direct).fields());
    assert!(through.wire.is_closed());
    sandbox.replica(0).promote().unwrap();
    let mut next = until("the next primary", SOON, || {
        let mut client = Client::connect(weir.port(), "postgres", "postgres", &[])?;
        client.query("LISTEN something").failure.map_or(Ok(client), Err)
    });
    sandbox.primary().psql("NOTIFY something, 'again'").unwrap();
    assert_eq!(heard(&mut next), "again");
    // A server that is killed says nothing; pgweir does.
    sandbox.primary().kill().unwrap();
    let lost = goodbye(&mut next);
    assert_eq!((lost.code(), lost.field('S')), ("08006", "FATAL"), "{lost}");
    assert!(next.wire.is_closed());
}
