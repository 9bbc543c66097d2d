//! Statement pooling: what shares a server connection with everybody else, statement by statement.

use std::process::Command;

use crate::harness::{Message, SOON, Scratch, Weir, Wire, run, shared, until};

const STATEMENT: &str = "pool.mode = \"statement\"";

fn login(weir: &Weir, database: &str) -> Wire {
    let mut wire = Wire::open(weir.port()).unwrap();
    let who = [("user", "postgres"), ("database", database)];
    wire.send(&Message::new().startup(3 << 16, &who));
    wire.frames_until(b'Z');
    wire
}

#[test]
fn statements_of_many_clients_share_one_server_connection() {
    let database = Scratch::new("statement_pool");
    database.prepare("CREATE TABLE item (id int)");
    let weir = Weir::start(shared(), &format!("{STATEMENT}\npool.size = 1"));
    let mut clients: Vec<_> = (0..5).map(|_| weir.client("postgres", database.name())).collect();
    let insert = "INSERT INTO item VALUES (1)";
    for round in 1..=3 {
        for client in &mut clients {
            client.ask(insert);
            // What a client has set follows it here, too.
            client.ask(&format!("SET work_mem = '{round}MB'"));
        }
        for client in &mut clients {
            assert_eq!(client.ask("SHOW work_mem"), format!("{round}MB"));
        }
    }
    let count = "SELECT count(*) FROM item";
    assert_eq!(clients[0].ask(count), "15");
    // Several statements in one message are one, with and without words of their own for it.
    let both = format!("{insert}; {insert}");
    clients[1].ask(&both);
    clients[2].ask(&format!("BEGIN; {both}; COMMIT"));
    let failing = format!("{insert}; SELECT 1 / 0");
    assert_eq!(clients[3].fail(&failing).code(), "22012");
    assert_eq!(clients[4].extended(insert, &[]).failure, None);
    assert_eq!(clients[0].ask(count), "20");
    assert_eq!(clients[0].where_ran("SELECT 1"), clients[0].last_node());
}

#[test]
fn a_transaction_of_several_messages_ends_the_connection_and_is_undone() {
    let database = Scratch::new("statement_block");
    database.prepare("CREATE TABLE item (id int)");
    let weir = Weir::start(shared(), &format!("{STATEMENT}\nrouting.transactions = \"split\""));
    let insert = "INSERT INTO item VALUES (1)";
    let rows = [
        Message::new().query("BEGIN"),
        Message::new().query("START TRANSACTION READ ONLY"),
        Message::new().query(&format!("BEGIN; {insert}")),
        Message::new().query(&format!("{insert}; COMMIT; BEGIN")),
        Message::new().run("BEGIN", &[]).sync(),
        Message::new().run("BEGIN", &[]).run(insert, &[]).sync(),
        // Whoever sends on without reading is stopped all the same.
        Message::new().query("BEGIN").query(insert).query("COMMIT"),
    ];
    for (case, message) in rows.iter().enumerate() {
        let mut wire = login(&weir, database.name());
        wire.send(message);
        let refused = wire.frames_until(b'E').pop().unwrap();
        let refused = crate::harness::Failure::parse(&refused.body);
        assert_eq!((refused.code(), refused.field('S')), ("0A000", "FATAL"), "{case}: {refused}");
        assert!(refused.message().starts_with("pgweir: transaction blocks"), "{refused}");
        assert!(refused.field('H').contains("pool.mode"), "{refused}");
        assert!(wire.is_closed(), "{case}");
    }
    // Only what was committed before the block began is there, once the servers know of the others' end.
    let count = "SELECT count(*) FROM item";
    until("blocks to be undone", SOON, || {
        match weir.client("postgres", database.name()).ask(count).as_str() {
            "1" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
    let errors = weir.metrics().sum("pgweir_errors_total", &["sqlstate=\"0A000\""]);
    assert!((errors - 7.0).abs() < 0.5, "{errors}");
}

/// Whether a client may begin a transaction.
fn begins(weir: &Weir) -> bool {
    let mut wire = login(weir, "postgres");
    wire.send(&Message::new().query("BEGIN"));
    wire.frame().is_some_and(|frame| frame.tag == b'C')
}

#[test]
fn a_reload_takes_transactions_away_and_gives_them_back() {
    let weir = Weir::start(shared(), "");
    let text = std::fs::read_to_string(weir.config_file()).unwrap();
    let mut client = weir.postgres();
    client.ask("BEGIN");
    std::fs::write(weir.config_file(), format!("{text}\n{STATEMENT}\n")).unwrap();
    until("the other mode", SOON, || if begins(&weir) { Err("a transaction") } else { Ok(()) });
    // One that was open goes on to its end.
    assert_eq!(client.ask("SELECT 1"), "1");
    client.ask("COMMIT");
    std::fs::write(weir.config_file(), text).unwrap();
    until("transactions again", SOON, || if begins(&weir) { Ok(()) } else { Err("none") });
    client.ask("BEGIN");
    client.ask("COMMIT");
}

#[test]
fn what_is_made_for_a_session_still_binds_its_client() {
    let weir = Weir::start(shared(), &format!("{STATEMENT}\npool.size = 3"));
    let (mut one, mut other) = (weir.postgres(), weir.postgres());
    one.ask("CREATE TEMP TABLE statement_mine (id int)");
    other.ask("SELECT 1");
    one.ask("INSERT INTO statement_mine VALUES (1)");
    assert_eq!(one.ask("SELECT count(*) FROM statement_mine"), "1");
    assert_eq!(other.fail("SELECT count(*) FROM statement_mine").code(), "42P01");
    one.ask("DROP TABLE statement_mine");
}

const AUTOCOMMIT: &str = r#"
import sys, psycopg2
connection = psycopg2.connect(sys.argv[1])
connection.autocommit = True
cursor = connection.cursor()
for number in range(20):
    cursor.execute("SELECT %s::int", (number,))
    assert cursor.fetchone() == (number,)
connection.autocommit = False
try:
    cursor.execute("SELECT 1")
except psycopg2.Error as error:
    print(connection.closed != 0, str(error).splitlines()[0])
"#;

#[test]
fn a_driver_works_in_autocommit_and_is_told_otherwise() {
    let python = Command::new("python3").args(["-c", "import psycopg2"]).output();
    if !python.is_ok_and(|probe| probe.status.success()) {
        return eprintln!("SKIPPED psycopg2: install python3-psycopg2");
    }
    let weir = Weir::start(shared(), STATEMENT);
    let mut python = Command::new("python3");
    python.args(["-c", AUTOCOMMIT, &weir.conninfo("postgres", "postgres")]);
    let told = run(&mut python, "", SOON).expect_success();
    let message = "pgweir: transaction blocks are not allowed in statement pooling mode";
    assert_eq!(told.trim_end(), format!("True {message}"));
}
