//! `[limits]`: what takes too long ends, in PostgreSQL's codes, and what does not is let be.

use std::time::{Duration, Instant};

use crate::harness::{Client, Failure, Message, SOON, Scratch, Weir, shared, until};

#[track_caller]
fn last_word(client: &mut Client) -> Failure {
    let failure = Failure::parse(&client.wire.frame().expect("a last word").body);
    assert_eq!(failure.field('S'), "FATAL", "{failure}");
    assert!(failure.message().starts_with("pgweir: "), "{failure}");
    assert!(client.wire.is_closed());
    failure
}

#[test]
fn a_query_that_takes_too_long_is_cancelled_and_its_client_goes_on() {
    let scratch = Scratch::new("limits_query");
    let weir = Weir::start(shared(), "limits.query_timeout = \"300ms\"");
    let mut client = weir.client("postgres", scratch.name());
    let begun = Instant::now();
    assert_eq!(client.fail("SELECT pg_sleep(60)").code(), "57014");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert_eq!(client.ask("SELECT 1"), "1");
    let extended = client.extended("SELECT pg_sleep(60)", &[]);
    assert_eq!((extended.failure.unwrap().code(), extended.status), ("57014", 'I'));
    // In a transaction as everywhere: the transaction has failed, the client is there.
    client.query("BEGIN");
    client.query("CREATE TABLE begun (id int)");
    assert_eq!(client.fail("SELECT pg_sleep(60)").code(), "57014");
    assert_eq!(client.fail("SELECT 1").code(), "25P02");
    client.query("ROLLBACK");
    // Many that are short may take long together, and waiting for nothing is no query.
    let until = Instant::now() + Duration::from_millis(900);
    client.query("BEGIN");
    while Instant::now() < until {
        assert_eq!(client.ask("SELECT 1 FROM pg_sleep(0.02)"), "1");
    }
    client.query("COMMIT");
    assert_eq!(weir.postgres().ask("SELECT 1"), "1");
}

#[test]
fn who_idles_in_a_transaction_for_too_long_is_ended_and_the_work_undone() {
    let scratch = Scratch::new("limits_transaction");
    let config = "limits.idle_transaction_timeout = \"400ms\"\npool.size = 1";
    let weir = Weir::start(shared(), config);
    let mut client = weir.client("postgres", scratch.name());
    client.query("CREATE TABLE kept (id int)");
    client.query("BEGIN");
    client.query("INSERT INTO kept VALUES (1)");
    let failure = last_word(&mut client);
    assert_eq!(failure.code(), "25P03", "{failure}");
    assert!(failure.field('D').contains("limits.idle_transaction_timeout is 400ms"), "{failure}");
    // Its place in the pool is free, and nothing of it was kept.
    let mut other = weir.client("postgres", scratch.name());
    assert_eq!(other.ask("SELECT count(*) FROM kept"), "0");
    // A failed transaction is one as well; one that is at work is not idle.
    other.query("BEGIN");
    assert_eq!(other.ask("SELECT 1 FROM pg_sleep(1)"), "1");
    other.fail("SELECT 1/0");
    assert_eq!(last_word(&mut other).code(), "25P03");
    // Outside of a transaction one may idle.
    let mut idle = weir.client("postgres", scratch.name());
    idle.ask("SELECT 1");
    assert!(!idle.wire.hears_something(Duration::from_millis(800)));
    assert_eq!(idle.ask("SELECT 1"), "1");
}

#[test]
fn who_idles_for_too_long_is_ended() {
    let weir = Weir::start(shared(), "limits.client_idle_timeout = \"500ms\"");
    let mut working = weir.postgres();
    let mut idle = weir.postgres();
    let mut silent = weir.postgres();
    idle.ask("SELECT 1");
    let until = Instant::now() + Duration::from_millis(1200);
    while Instant::now() < until {
        assert_eq!(working.ask("SELECT 1"), "1");
    }
    for client in [&mut idle, &mut silent] {
        let failure = last_word(client);
        assert_eq!(failure.code(), "57P05", "{failure}");
    }
    // What a query takes is not idleness, nor is a transaction.
    assert_eq!(working.ask("SELECT 1 FROM pg_sleep(1)"), "1");
    working.query("BEGIN");
    assert!(!working.wire.hears_something(Duration::from_millis(900)));
    working.query("COMMIT");
    assert_eq!(last_word(&mut working).code(), "57P05");
}

#[test]
fn a_user_has_so_many_clients_and_others_are_not_concerned() {
    let users = "[[user]]\nname = \"boss\"\nadmin = true\n";
    let weir = Weir::setup(shared())
        .config("auth.method = \"trust\"\nauth.users_file = \"users.toml\"\nlimits.per_user = 2")
        .file("users.toml", users)
        .start();
    let mut first = weir.postgres();
    let second = weir.postgres();
    let enter = || Client::connect(weir.port(), "postgres", "postgres", &[]);
    let refused = enter().unwrap_err();
    assert_eq!((refused.code(), refused.field('S')), ("53300", "FATAL"), "{refused}");
    assert!(refused.field('D').contains("limits.per_user is 2"), "{refused}");
    assert_eq!(first.ask("SELECT 1"), "1");
    // The console is another matter.
    let mut consoles: Vec<Client> = (0..3).map(|_| weir.client("boss", "pgweir")).collect();
    second.leave();
    until("a free place", SOON, || enter().map(drop));
    // Live, as everything.
    assert_eq!(consoles[0].query("SET limits.per_user = 3").failure, None);
    let _more: Vec<Client> = (0..2).map(|_| weir.postgres()).collect();
    assert_eq!(enter().unwrap_err().code(), "53300");
}

#[test]
fn limits_that_are_set_while_it_runs_hold_for_who_is_here() {
    let users = "[[user]]\nname = \"boss\"\nadmin = true\n";
    let weir = Weir::setup(shared())
        .config("auth.method = \"trust\"\nauth.users_file = \"users.toml\"")
        .file("users.toml", users)
        .start();
    let mut boss = weir.client("boss", "pgweir");
    let mut client = weir.postgres();
    let mut idle = weir.postgres();
    assert_eq!(client.ask("SELECT 1"), "1");
    client.wire.send(&Message::new().query("SELECT 1 FROM pg_sleep(1)"));
    assert_eq!(boss.query("SET limits.query_timeout = 200ms").failure, None);
    client.reply();
    assert_eq!(client.fail("SELECT pg_sleep(60)").code(), "57014");
    assert_eq!(boss.query("SET limits.client_idle_timeout = 200ms").failure, None);
    assert_eq!(last_word(&mut idle).code(), "57P05");
}
