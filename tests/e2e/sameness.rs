//! To both, identical from both: whatever is said to pgweir and to the primary itself, every frame
//! of the answers is the same, while other clients use the same server connections in between.

use crate::harness::{Client, Failure, Frame, Message, Scratch, Weir, shared};

const TABLES: &str = "
    CREATE TABLE item (id int PRIMARY KEY, name text);
    INSERT INTO item VALUES (1, 'one')";

/// Says it all to one side, up to a ReadyForQuery each; what was heard.
fn conversation(
    mut client: Client,
    messages: &[Message],
    mut between: impl FnMut(),
) -> Vec<Vec<String>> {
    let mut answers = Vec::new();
    for message in messages {
        answers.push(heard(&mut client, message));
        between();
    }
    answers
}

/// One who comes between, with marks that a client that is not kept apart would find.
fn disturb(other: &mut Client, step: &mut usize) {
    let marks = [
        "SET work_mem = '77kB'; SELECT count(*) FROM pg_class",
        "SELECT pg_is_in_recovery(); SET search_path = nowhere",
        "BEGIN; SET LOCAL work_mem = '78kB'; SELECT pg_backend_pid(); ROLLBACK",
        "RESET ALL",
    ];
    *step += 1;
    other.ask(marks[*step % marks.len()]);
    let parse = Message::new().parse("s", "SELECT 'another'").bind("", "s", &[]).close(b'S', "s");
    other.wire.send(&parse.sync());
    assert_eq!(other.reply().failure, None);
}

/// Has the same conversation with the primary and with pgweir; the first answer that differs.
fn difference(weir: &Weir, database: &str, messages: &[Message]) -> Option<String> {
    let port = shared().primary().port();
    let direct = Client::connect(port, "postgres", database, &[]).unwrap();
    let through = weir.client("postgres", database);
    // What differs between any two connections is not said at all.
    assert_eq!(through.parameters, direct.parameters);
    let want = conversation(direct, messages, || {});
    let (mut other, mut step) = (weir.client("postgres", database), 0);
    let got = conversation(through, messages, || disturb(&mut other, &mut step));
    let step = want.iter().zip(&got).position(|(want, got)| want != got)?;
    let said = messages[step].0.escape_ascii();
    Some(format!("{said}\n    want {:#?}\n    got {:#?}", want[step], got[step]))
}

/// All frames up to ReadyForQuery, errors readable.
fn heard(client: &mut Client, message: &Message) -> Vec<String> {
    client.wire.send(message);
    let mut frames = Vec::new();
    // A connection that is closed, or that falls silent, is an answer too.
    while let Ok(Some(frame)) = client.wire.try_frame() {
        frames.push(frame);
        if frames.last().is_some_and(|frame| frame.tag == b'Z') {
            break;
        }
    }
    let words = |frame: &Frame| match frame.tag {
        b'E' | b'N' => {
            format!("{} {:?}", char::from(frame.tag), Failure::parse(&frame.body).fields())
        }
        // Without the tables' numbers: a table that is made anew has a new one.
        b'T' => format!("T {:?}", columns(&frame.body)),
        tag => format!("{} {}", char::from(tag), frame.body.escape_ascii()),
    };
    frames.iter().map(words).collect()
}

/// Of every column its name, and all of its description but the table.
fn columns(body: &[u8]) -> Vec<(String, &[u8])> {
    let mut rest = &body[2..];
    let mut columns = Vec::new();
    while let Some(end) = rest.iter().position(|&byte| byte == 0) {
        let (name, after) = rest.split_at(end + 1);
        let (description, after) = after.split_at(18);
        columns.push((String::from_utf8_lossy(name).into_owned(), &description[4..]));
        rest = after;
    }
    columns
}

// ---- statements ----

const STATEMENTS: &[&str] = &[
    "SELECT 1 AS one, NULL AS nothing, 'x' AS text",
    "",
    " ; ",
    "-- only a comment",
    "SELECT 1; SELECT 2; VALUES (3)",
    "SELECT 1; SELECT 1/0; SELECT 3",
    "SELEC 1",
    "SELECT 'no end",
    "SELECT * FROM no_such_table",
    "SELECT no_such_column FROM item",
    "SELECT no_such_function(1)",
    "SELECT 'x'::int",
    "INSERT INTO item VALUES (1, 'again')",
    "INSERT INTO item VALUES (NULL, 'null')",
    "INSERT INTO item (id) VALUES (1, 2)",
    "SET you = me",
    "SET work_mem = 'much'",
    "SET pgweir.route = 'replica'; RESET pgweir.route",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT outside",
    "BEGIN; SELECT 1/0; SELECT 2",
    "SELECT 1",
    "ROLLBACK",
    "BEGIN",
    "SELECT no_such_thing",
    "SELECT 1",
    "COMMIT",
    "BEGIN READ ONLY",
    "INSERT INTO item VALUES (2, 'refused')",
    "ROLLBACK",
    "DO $$ BEGIN RAISE NOTICE 'heard %', 1 USING DETAIL = 'd', HINT = 'h'; END $$",
    "DO $$ BEGIN RAISE EXCEPTION 'own' USING ERRCODE = 'ZZ001', TABLE = 'item'; END $$",
    "DROP TABLE IF EXISTS never_made",
    "SET TimeZone = 'Asia/Shanghai'",
    "SHOW TimeZone",
    "RESET TimeZone",
    "SET client_encoding = 'LATIN1'",
    "SELECT 'ä'",
    "RESET client_encoding",
    "SET search_path = pg_catalog",
    "SELECT * FROM item",
    "RESET ALL",
    "SELECT relname FROM pg_class WHERE relname = 'item'",
    "EXPLAIN (COSTS off) VALUES (1), (2)",
    "COPY item TO STDOUT",
    "COPY (SELECT 1/0) TO STDOUT",
    "FETCH ALL FROM no_cursor",
    "EXECUTE no_statement",
    "DEALLOCATE no_statement",
    "LISTEN bell",
    "UNLISTEN *",
    "DISCARD ALL",
    "VACUUM item",
    "BEGIN; VACUUM item",
    "ROLLBACK",
    "PREPARE TRANSACTION 'outside'",
    "PREPARE own AS SELECT $1::int + 1",
    "EXECUTE own(2)",
    "DEALLOCATE own",
    "BEGIN; DECLARE c CURSOR FOR SELECT generate_series(1, 3); FETCH 2 FROM c",
    "FETCH 2 FROM c; COMMIT",
    "SELECT U&'\\0441'",
    "SELECT E'\\xff'",
];

fn compare_statements(scratch: &Scratch, message: impl Fn(&str) -> Message) {
    scratch.prepare(TABLES);
    let weir = Weir::start(shared(), "pool.size = 2");
    let messages: Vec<Message> = STATEMENTS.iter().map(|sql| message(sql)).collect();
    let differs = difference(&weir, scratch.name(), &messages);
    assert!(differs.is_none(), "{}", differs.unwrap_or_default());
}

#[test]
fn statements_by_the_simple_protocol() {
    compare_statements(&Scratch::new("same_simple"), |sql| Message::new().query(sql));
}

#[test]
fn statements_by_the_extended_protocol() {
    compare_statements(&Scratch::new("same_extended"), |sql| Message::new().run(sql, &[]).sync());
}

#[test]
fn bytes_that_are_no_text() {
    let scratch = Scratch::new("same_bytes");
    let weir = Weir::start(shared(), "pool.size = 2");
    for bytes in [&b"SELECT '\xff'\0"[..], b"\xc3\x28\0", b"SELECT 'caf\xe9'\0"] {
        let message = Message::new().raw(b'Q', bytes);
        assert_eq!(difference(&weir, scratch.name(), &[message]), None);
    }
}

// ---- conversations ----

/// What is said in turn, up to a ReadyForQuery each.
type Conversation = (&'static str, fn() -> Vec<Message>);

fn say() -> Message {
    Message::new()
}

const CONVERSATIONS: &[Conversation] = &[
    ("SQL's DEALLOCATE of a statement that the protocol prepared", || {
        vec![
            say().parse("s", "SELECT $1::int").sync(),
            say().bind("", "s", &["1"]).execute("", 0).sync(),
            say().query("DEALLOCATE s"),
            say().bind("", "s", &["1"]).execute("", 0).sync(),
            say().parse("s", "SELECT 'anew'").bind("", "s", &[]).execute("", 0).sync(),
            say().query("DEALLOCATE PREPARE s"),
            say().query("DEALLOCATE s"),
        ]
    }),
    ("the protocol's Bind to a statement that SQL prepared", || {
        vec![
            say().query("PREPARE s AS SELECT $1::int + 1"),
            say().describe(b'S', "s").bind("", "s", &["41"]).execute("", 0).sync(),
            say().close(b'S', "s").sync(),
            say().query("EXECUTE s(41)"),
        ]
    }),
    ("a name that is taken", || {
        vec![
            say().parse("s", "SELECT 1").sync(),
            say().parse("s", "SELECT 2").sync(),
            say().bind("", "s", &[]).execute("", 0).sync(),
            say().query("PREPARE t AS SELECT 4"),
            say().query("PREPARE t AS SELECT 5"),
            say().query("EXECUTE t"),
        ]
    }),
    ("DISCARD ALL and DEALLOCATE ALL forget what was prepared", || {
        vec![
            say().parse("s", "SELECT 1").sync(),
            say().query("DISCARD ALL"),
            say().bind("", "s", &[]).execute("", 0).sync(),
            say().parse("s", "SELECT 2").sync(),
            say().run("DEALLOCATE ALL", &[]).sync(),
            say().bind("", "s", &[]).execute("", 0).sync(),
            say().parse("s", "SELECT 3").bind("", "s", &[]).execute("", 0).sync(),
        ]
    }),
    ("the unnamed statement lives up to the next Parse or Query", || {
        vec![
            say().parse("", "SELECT $1::int").sync(),
            say().bind("", "", &["1"]).execute("", 0).sync(),
            say().bind("", "", &["2"]).execute("", 0).sync(),
            say().describe(b'S', "").sync(),
            say().query("SELECT 3"),
            say().bind("", "", &["4"]).execute("", 0).sync(),
            say().parse("", "SELECT no_such_column").sync(),
            say().bind("", "", &[]).execute("", 0).sync(),
        ]
    }),
    ("a Parse that fails leaves its name free", || {
        vec![
            say().parse("s", "SELEC 1").sync(),
            say().bind("", "s", &[]).execute("", 0).sync(),
            say().parse("s", "SELECT 1").bind("", "s", &[]).execute("", 0).sync(),
            say()
                .parse("skipped", "SELECT 1")
                .parse("s", "SELECT 2")
                .parse("later", "SELECT 3")
                .sync(),
            say().bind("", "later", &[]).sync(),
            say().bind("", "skipped", &[]).execute("", 0).sync(),
        ]
    }),
    ("statements prepared in a transaction that is rolled back stay", || {
        vec![
            say().run("BEGIN", &[]).sync(),
            say().parse("s", "SELECT 1").sync(),
            say().run("SELECT 1/0", &[]).sync(),
            say().bind("", "s", &[]).execute("", 0).sync(),
            say().parse("t", "SELECT 2").sync(),
            say().run("ROLLBACK", &[]).sync(),
            say().bind("", "s", &[]).execute("", 0).sync(),
            say().bind("", "t", &[]).execute("", 0).sync(),
        ]
    }),
    ("Bind with too few, too many and wrong parameters", || {
        vec![
            say().parse("s", "SELECT $1::int, $2::int").sync(),
            say().bind("", "s", &["1"]).execute("", 0).sync(),
            say().bind("", "s", &["1", "2", "3"]).execute("", 0).sync(),
            say().bind("", "s", &["1", "two"]).execute("", 0).sync(),
            say().bind("", "s", &["1", "2"]).execute("", 0).sync(),
        ]
    }),
    ("portals by name, over Syncs and in transactions", || {
        vec![
            say()
                .parse("", "SELECT generate_series(1, 4)")
                .bind("p", "", &[])
                .execute("p", 1)
                .sync(),
            say().execute("p", 1).sync(),
            say().query("BEGIN"),
            say()
                .parse("", "SELECT generate_series(1, 4)")
                .bind("p", "", &[])
                .execute("p", 1)
                .sync(),
            say().describe(b'P', "p").execute("p", 1).sync(),
            say().query("SELECT 'between'"),
            say().execute("p", 0).sync(),
            say().bind("p", "", &[]).sync(),
            say().query("FETCH 1 FROM p"),
            say().query("COMMIT"),
            say().close(b'P', "p").close(b'S', "no such").sync(),
        ]
    }),
    ("a cursor of SQL's read by the protocol", || {
        vec![
            say().query("BEGIN; DECLARE c CURSOR FOR SELECT generate_series(1, 4)"),
            say().describe(b'P', "c").execute("c", 2).sync(),
            say().query("FETCH 1 FROM c"),
            say().query("COMMIT"),
        ]
    }),
    ("a Query in the middle of a pipeline", || {
        vec![
            say().run("SELECT 1", &[]).query("SELECT 2"),
            say().run("SELECT 3", &[]).sync(),
            say().run("SELECT 1/0", &[]).sync(),
            say().run("INSERT INTO item VALUES (50, 'x')", &[]).query("SELECT count(*) FROM item"),
            say().query("DELETE FROM item WHERE id = 50"),
        ]
    }),
    ("empty statements in a pipeline", || {
        vec![
            say().run("", &[]).run(" ", &[]).run("-- nothing", &[]).sync(),
            say().sync(),
            say().flush().sync(),
        ]
    }),
    ("transactions by the extended protocol, with savepoints and errors", || {
        vec![
            say().run("BEGIN", &[]).run("INSERT INTO item VALUES (60, 'x')", &[]).sync(),
            say().run("SAVEPOINT a", &[]).sync(),
            say().run("INSERT INTO item VALUES (60, 'x')", &[]).run("SELECT 'skipped'", &[]).sync(),
            say().run("SELECT 1", &[]).sync(),
            say().run("ROLLBACK TO a", &[]).sync(),
            say().run("SELECT count(*) FROM item", &[]).sync(),
            say().run("SET work_mem = '5MB'", &[]).run("SHOW work_mem", &[]).sync(),
            say().run("COMMIT", &[]).sync(),
            say().run("SHOW work_mem", &[]).run("RESET work_mem", &[]).sync(),
            say().run("DELETE FROM item WHERE id = 60", &[]).sync(),
        ]
    }),
    ("an implicit transaction of several statements", || {
        vec![
            say().query("INSERT INTO item VALUES (70, 'x'); SELECT 1/0"),
            say().query("SELECT count(*) FROM item"),
            say().query("BEGIN; INSERT INTO item VALUES (71, 'x'); COMMIT; SELECT 1/0"),
            say().query("SELECT count(*) FROM item"),
            say().query("DELETE FROM item WHERE id = 71; SELECT count(*) FROM item"),
            say().query("COMMIT AND CHAIN"),
            say().query("BEGIN; SELECT 1; COMMIT AND CHAIN"),
            say().query("SELECT 2"),
            say().query("ROLLBACK AND NO CHAIN"),
        ]
    }),
    ("what drivers say to clean a connection up", || {
        vec![
            say().query("SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;"),
            say().query("SET SESSION AUTHORIZATION DEFAULT"),
            say().query("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"),
            say().query("INSERT INTO item VALUES (80, 'x')"),
            say().query("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE"),
            say().query("SHOW TRANSACTION ISOLATION LEVEL"),
            say().query("SHOW transaction_read_only"),
            say().query("SELECT current_schema(), current_user, session_user"),
            say().query("DISCARD ALL"),
        ]
    }),
    ("two-phase commit", || {
        vec![
            say().query("BEGIN; INSERT INTO item VALUES (90, 'x')"),
            say().query("PREPARE TRANSACTION 'sameness two'"),
            say().query("SELECT count(*) FROM item"),
            say().query("COMMIT PREPARED 'sameness two'"),
            say().query("DELETE FROM item WHERE id = 90"),
        ]
    }),
];

#[test]
fn conversations_by_the_extended_protocol() {
    let scratch = Scratch::new("same_conversations");
    scratch.prepare(TABLES);
    let weir = Weir::start(shared(), "pool.size = 2");
    let compare = |(name, messages): &Conversation| {
        let differs = difference(&weir, scratch.name(), &messages())?;
        Some(format!("{name}: {differs}"))
    };
    let wrong: Vec<String> = CONVERSATIONS.iter().filter_map(compare).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
