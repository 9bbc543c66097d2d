//! `routing.transactions = "split"`: a transaction reads from a replica until it writes, and its client
//! cannot tell. READ ONLY transactions do so in any case. `routing.affinity`: how long a client keeps its
//! replica.

use std::collections::BTreeSet;
use std::process::Command;
use std::thread;
use std::time::Duration;

use pgweir_sandbox::{Node, Sandbox};

use crate::harness::{Client, Message, SOON, Weir, prepare, run, until};

const SPLIT: &str = "routing.transactions = \"split\"";

/// Takes long enough for its server to be taken away meanwhile.
const LONG_READ: &str = "SELECT count(*), pg_sleep(1.5) FROM item";

const PATIENCE: Duration = Duration::from_secs(120);

fn cluster() -> Sandbox {
    let sandbox = Sandbox::builder().setting("max_standby_streaming_delay", "0").start().unwrap();
    prepare(
        &sandbox,
        "CREATE TABLE item (id int PRIMARY KEY, name text);
         INSERT INTO item VALUES (1, 'one'), (2, 'two');
         CREATE SEQUENCE counter;
         CREATE FUNCTION draws() RETURNS bigint LANGUAGE plpgsql STABLE
             AS $$ BEGIN RETURN nextval('counter'); END $$;
         CREATE FUNCTION sets_tenant(text) RETURNS text LANGUAGE sql
             AS $$ SELECT set_config('app.tenant', $1, true) $$",
    );
    sandbox
}

fn is_primary(sandbox: &Sandbox, node: &str) -> bool {
    node == sandbox.primary().address()
}

#[track_caller]
fn check_replica(sandbox: &Sandbox, client: &mut Client) {
    let node = client.last_node();
    assert!(!is_primary(sandbox, &node), "on {node}");
}

#[track_caller]
fn check_primary(sandbox: &Sandbox, client: &mut Client) {
    assert_eq!(client.last_node(), sandbox.primary().address());
}

fn moved(weir: &Weir, cause: &str) -> f64 {
    weir.metrics().sum("pgweir_transactions_moved_total", &[&format!("cause=\"{cause}\"")])
}

#[test]
fn a_transaction_reads_from_one_replica_until_it_writes() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, SPLIT);
    let mut client = weir.postgres();
    assert_eq!(client.ask("EXPLAIN (ROUTE) BEGIN").lines().nth(2), Some("target|replica"));
    client.ask("BEGIN");
    assert_eq!(client.ask("SELECT name FROM item WHERE id = 1"), "one");
    check_replica(&sandbox, &mut client);
    let node = client.last_node();
    for _ in 0..5 {
        client.ask("SELECT count(*) FROM item");
        assert_eq!(client.last_node(), node);
    }
    client.ask("SAVEPOINT s");
    client.ask("SET LOCAL work_mem = '7MB'");
    assert_eq!(client.ask("EXPLAIN (ROUTE) SELECT 1").lines().nth(2), Some("target|replica"));
    assert_eq!(
        client.ask("EXPLAIN (ROUTE) DECLARE c CURSOR FOR SELECT 1").lines().nth(2),
        Some("target|primary")
    );
    check_replica(&sandbox, &mut client);
    client.ask("UPDATE item SET name = 'changed' WHERE id = 1");
    check_primary(&sandbox, &mut client);
    assert_eq!(client.ask("SELECT name FROM item WHERE id = 1"), "changed");
    check_primary(&sandbox, &mut client);
    assert_eq!(client.ask("SHOW work_mem"), "7MB");
    assert_eq!(client.query("ROLLBACK TO s").status, 'T');
    assert_eq!(client.ask("SHOW work_mem"), "4MB");
    assert_eq!(client.ask("SELECT name FROM item WHERE id = 1"), "one");
    client.ask("INSERT INTO item VALUES (3, 'three')");
    client.ask("COMMIT");
    assert_eq!(client.ask("SELECT count(*) FROM item"), "3");
    assert_eq!(moved(&weir, "statement"), 1.0);
    assert_eq!(weir.metrics().sum("pgweir_transactions_split_total", &[]), 1.0);

    // One that only reads, and one that writes first.
    client.ask("START TRANSACTION");
    client.ask("SELECT 1");
    assert_eq!(client.query("COMMIT").status, 'I');
    client.ask("BEGIN");
    client.ask("INSERT INTO item VALUES (4, 'four')");
    check_primary(&sandbox, &mut client);
    client.ask("COMMIT");
    assert_eq!(moved(&weir, "statement"), 1.0);
}

#[test]
fn what_is_another_server_s_affair_stays_as_it_was() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, SPLIT);
    let mut client = weir.postgres();
    for begin in [
        "BEGIN ISOLATION LEVEL REPEATABLE READ",
        "BEGIN ISOLATION LEVEL SERIALIZABLE",
        "/* pgweir: primary */ BEGIN",
        "BEGIN; SELECT 1",
    ] {
        client.ask(begin);
        client.ask("SELECT count(*) FROM item");
        check_primary(&sandbox, &mut client);
        client.ask("COMMIT");
    }
    client.ask("SET default_transaction_isolation = 'repeatable read'");
    client.ask("BEGIN");
    client.ask("SELECT count(*) FROM item");
    check_primary(&sandbox, &mut client);
    assert_eq!(client.ask("SHOW transaction_isolation"), "repeatable read");
    client.ask("COMMIT");
    client.ask("RESET default_transaction_isolation");
    client.ask("SET pgweir.route = 'primary'");
    client.ask("BEGIN");
    client.ask("SELECT count(*) FROM item");
    check_primary(&sandbox, &mut client);
    client.ask("COMMIT");

    // A role's default says nothing to its client; the server is asked.
    prepare(&sandbox, "CREATE ROLE steady LOGIN; GRANT ALL ON item TO steady");
    for level in ["repeatable read", "serializable"] {
        let sql = format!("ALTER ROLE steady SET default_transaction_isolation = '{level}'");
        prepare(&sandbox, &sql);
        // With server connections of its own, which have logged in since.
        let weir = Weir::start(&sandbox, SPLIT);
        let mut steady = weir.client("steady", "postgres");
        steady.ask("BEGIN");
        steady.ask("SELECT count(*) FROM item");
        check_primary(&sandbox, &mut steady);
        assert_eq!(steady.ask("SHOW transaction_isolation"), level);
        steady.ask("COMMIT");
    }
}

#[test]
fn what_a_function_sets_in_its_transaction_is_not_left_behind() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, SPLIT);
    let mut client = weir.postgres();
    for set in [
        "SET LOCAL app.tenant = 'me'",
        "SELECT set_config('app.tenant', 'me', true)",
        "SELECT sets_tenant('me')",
        "SELECT set_config('app.tenant', name, true) FROM (SELECT 'me' AS name) AS of",
    ] {
        client.ask("BEGIN");
        client.ask("SELECT count(*) FROM item");
        client.ask(set);
        client.ask("DELETE FROM item WHERE id = 99");
        check_primary(&sandbox, &mut client);
        assert_eq!(client.ask("SELECT current_setting('app.tenant')"), "me", "{set}");
        client.ask("COMMIT");
    }
    client.ask("BEGIN");
    let sql = "SELECT set_config('app.tenant', $1, true)";
    assert_eq!(client.extended(sql, &["you"]).text(), "you");
    client.ask("DELETE FROM item WHERE id = 99");
    assert_eq!(client.ask("SELECT current_setting('app.tenant')"), "you");
    client.ask("COMMIT");
}

#[test]
fn a_read_in_a_transaction_behind_a_write_sees_it_with_replay_paused() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, SPLIT);
    let mut client = weir.postgres();
    sandbox.replicas().for_each(|replica| replica.pause_replay().unwrap());
    for round in 0..20 {
        let name = format!("round {round}");
        client.ask("BEGIN");
        client.ask("SELECT name FROM item WHERE id = 1");
        client.ask(&format!("UPDATE item SET name = '{name}' WHERE id = 1"));
        client.ask("COMMIT");
        client.ask("BEGIN");
        assert_eq!(client.ask("SELECT name FROM item WHERE id = 1"), name);
        client.ask("COMMIT");
    }
    sandbox.replicas().for_each(|replica| replica.resume_replay().unwrap());
    until("a transaction to read from a replica", SOON, || {
        client.ask("BEGIN");
        assert_eq!(client.ask("SELECT name FROM item WHERE id = 1"), "round 19");
        let node = client.last_node();
        client.ask("COMMIT");
        if is_primary(&sandbox, &node) { Err(node) } else { Ok(()) }
    });
}

/// The node that runs the long read.
fn reader(sandbox: &Sandbox) -> &Node {
    let sql = "SELECT count(*) FROM pg_stat_activity
               WHERE state = 'active' AND query LIKE '%pg_sleep(1.5)%' AND pid <> pg_backend_pid()";
    until("the long read to run", SOON, || {
        let mut nodes = sandbox.nodes().iter().filter(|node| node.is_running());
        nodes.find(|node| node.psql(sql).is_ok_and(|count| count == "1")).ok_or("it does not")
    })
}

#[test]
fn a_replica_killed_under_a_transaction_is_not_missed() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, SPLIT);
    let mut client = weir.postgres();
    client.ask("BEGIN");
    client.ask("SET LOCAL work_mem = '7MB'");
    client.ask("SELECT count(*) FROM item");
    client.ask("SAVEPOINT s");
    let (reply, killed) = thread::scope(|scope| {
        let reading = scope.spawn(|| client.query(LONG_READ));
        let killed = reader(&sandbox);
        assert!(!is_primary(&sandbox, &killed.address()));
        killed.kill().unwrap();
        (reading.join().unwrap(), killed)
    });
    assert_eq!((reply.failure, reply.status), (None, 'T'));
    client.ask("INSERT INTO item VALUES (9, 'nine')");
    client.ask("ROLLBACK TO s");
    assert_eq!(client.ask("SHOW work_mem"), "7MB");
    assert_eq!(client.ask("SELECT count(*) FROM item"), "2");
    client.ask("COMMIT");
    assert_eq!(moved(&weir, "lost"), 1.0);
    killed.start().unwrap();
    weir.wait_for_replicas(2);

    // Between its statements, too; by a pipeline that begins it.
    let begin = Message::new().run("BEGIN", &[]).run("SELECT count(*) FROM item", &[]).sync();
    client.wire.send(&begin);
    let reply = client.reply();
    assert_eq!((reply.failure, reply.status), (None, 'T'));
    let node = client.last_node();
    let killed = sandbox.replicas().find(|replica| replica.address() == node).unwrap();
    killed.kill().unwrap();
    assert_eq!(client.ask("SELECT count(*) FROM item"), "2");
    assert_eq!(client.query("COMMIT").status, 'I');
    killed.start().unwrap();
}

#[test]
fn what_a_standby_refuses_in_a_transaction_runs_on_the_primary() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, &format!("{SPLIT}\nrouting.read_functions = [\"draws\"]"));
    let mut client = weir.postgres();
    client.ask("BEGIN");
    client.ask("SET LOCAL work_mem = '7MB'");
    client.ask("SELECT count(*) FROM item");
    check_replica(&sandbox, &mut client);
    assert_eq!(client.ask("SELECT draws()"), "1");
    check_primary(&sandbox, &mut client);
    assert_eq!(client.ask("SHOW work_mem"), "7MB");
    client.ask("COMMIT");
    assert_eq!(moved(&weir, "refused"), 1.0);
    assert_eq!(weir.metrics().sum("pgweir_self_heals_total", &[]), 1.0);
    // From now on it is known.
    client.ask("BEGIN");
    client.ask("SELECT count(*) FROM item");
    assert_eq!(client.ask("SELECT draws()"), "2");
    client.ask("COMMIT");
    assert_eq!(moved(&weir, "refused"), 1.0);
}

/// Those that moved for what they asked.
fn read_only_moved(weir: &Weir) -> f64 {
    let labels = ["access=\"read_only\"", "cause=\"statement\""];
    weir.metrics().sum("pgweir_transactions_moved_total", &labels)
}

#[test]
fn a_read_only_transaction_goes_on_on_the_primary_with_what_a_replica_may_not_have() {
    let sandbox = cluster();
    prepare(&sandbox, "CREATE UNLOGGED TABLE fleeting AS SELECT generate_series(1, 3)");
    let weir = Weir::start(&sandbox, "");
    let mut client = weir.postgres();
    client.ask("BEGIN READ ONLY");
    assert_eq!(client.ask("SELECT count(*) FROM item"), "2");
    check_replica(&sandbox, &mut client);
    client.ask("SET LOCAL work_mem = '7MB'");
    assert_eq!(client.ask("SELECT count(*) FROM fleeting"), "3");
    check_primary(&sandbox, &mut client);
    assert_eq!(client.ask("SHOW work_mem"), "7MB");
    client.ask("COMMIT");
    assert_eq!(read_only_moved(&weir), 1.0);
    // One that only reads stays to its end; one that begins with what is the primary's begins there.
    client.ask("BEGIN READ ONLY");
    client.ask("SELECT count(*) FROM item");
    client.ask("COMMIT");
    check_replica(&sandbox, &mut client);
    client.ask("BEGIN READ ONLY");
    assert_eq!(client.ask("SELECT pg_is_in_recovery()"), "f");
    assert_eq!(client.fail("INSERT INTO item VALUES (3, 'three')").code(), "25006");
    client.ask("ROLLBACK");
    assert_eq!(read_only_moved(&weir), 1.0);
    assert_eq!(
        weir.metrics().sum("pgweir_transactions_split_total", &["access=\"read_only\""]),
        2.0
    );
}

#[test]
fn a_snapshot_stays_where_it_was_shown() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, "");
    let (mut client, mut writer) = (weir.postgres(), weir.postgres());
    client.ask("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY");
    assert_eq!(client.ask("SELECT count(*) FROM item"), "2");
    check_replica(&sandbox, &mut client);
    writer.ask("INSERT INTO item VALUES (3, 'three')");
    // The replica's, for the snapshot is there.
    assert_eq!(client.ask("SELECT pg_is_in_recovery()"), "t");
    assert_eq!(client.ask("SELECT count(*) FROM item"), "2");
    client.ask("COMMIT");
    assert_eq!(read_only_moved(&weir), 0.0);
    // Before anything was read, a level can still be set, and the primary still be chosen.
    client.ask("BEGIN READ ONLY");
    client.ask("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ");
    check_replica(&sandbox, &mut client);
    assert_eq!(client.ask("SELECT pg_is_in_recovery()"), "f");
    check_primary(&sandbox, &mut client);
    assert_eq!(client.ask("SELECT count(*) FROM item"), "3");
    client.ask("COMMIT");
    assert_eq!(read_only_moved(&weir), 1.0);
}

#[test]
fn a_cursor_stays_on_its_replica_and_holds_its_transaction_until_it_is_closed() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, "");
    let mut client = weir.postgres();
    client.ask("BEGIN READ ONLY");
    client.ask("DECLARE c CURSOR FOR SELECT name FROM item ORDER BY id");
    assert_eq!(client.ask("FETCH c"), "one");
    check_replica(&sandbox, &mut client);
    assert_eq!(client.ask("SELECT pg_is_in_recovery()"), "t");
    assert_eq!(client.ask("FETCH c"), "two");
    client.ask("CLOSE c");
    assert_eq!(client.ask("SELECT pg_is_in_recovery()"), "f");
    check_primary(&sandbox, &mut client);
    client.ask("COMMIT");
    assert_eq!(read_only_moved(&weir), 1.0);
}

#[test]
fn a_replica_lost_in_a_read_only_transaction_is_not_missed() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, "");
    let mut client = weir.postgres();
    client.ask("BEGIN READ ONLY");
    client.ask("SAVEPOINT s");
    assert_eq!(client.ask("SELECT count(*) FROM item"), "2");
    let node = client.last_node();
    let replica = sandbox.replicas().find(|replica| replica.address() == node).unwrap();
    replica.kill().unwrap();
    assert_eq!(client.ask("SELECT count(*) FROM item WHERE id < 9"), "2");
    assert_eq!(client.query("ROLLBACK TO s").status, 'T');
    assert_eq!(client.fail("INSERT INTO item VALUES (3, 'three')").code(), "25006");
    client.ask("ROLLBACK");
    replica.start().unwrap();
}

#[test]
fn pg_dump_dumps_unlogged_tables_where_it_is_told_to_go() {
    let sandbox = cluster();
    prepare(&sandbox, "CREATE UNLOGGED TABLE fleeting AS SELECT 4711 AS number");
    let weir = Weir::start(&sandbox, "");
    let mut dump = sandbox.program("pg_dump");
    dump.args(["-h", "127.0.0.1", "-p", &weir.port().to_string(), "-U", "postgres", "postgres"]);
    dump.env("PGOPTIONS", "-c pgweir.route=primary");
    let dumped = run(&mut dump, "", PATIENCE).expect_success();
    assert!(dumped.contains("4711") && dumped.contains("two"), "{dumped}");
}

#[test]
fn a_transaction_counts_once_wherever_it_ran() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, SPLIT);
    let mut client = weir.postgres();
    let served = |class: &str| weir.queries(&sandbox, class).iter().sum::<f64>();
    let before = (served("read"), served("write"));
    client.ask("BEGIN");
    client.ask("SELECT count(*) FROM item");
    client.ask("SELECT count(*) FROM item");
    client.ask("INSERT INTO item VALUES (7, 'seven')");
    client.ask("COMMIT");
    let reads = served("read") - before.0;
    let writes = served("write") - before.1;
    // BEGIN, two reads and COMMIT; what was said again is pgweir's own.
    assert_eq!((reads, writes), (4.0, 1.0));
}

#[test]
fn a_client_keeps_its_replica_as_long_as_it_is_told() {
    let sandbox = cluster();
    let nodes = |client: &mut Client| -> BTreeSet<String> {
        (0..40).map(|_| client.where_ran("SELECT count(*) FROM item")).collect()
    };
    let random = "routing.balance = \"random\"";
    let changing = Weir::start(&sandbox, random);
    assert_eq!(nodes(&mut changing.postgres()).len(), 2);

    let config = format!("{random}\nrouting.affinity = \"session\"");
    let weir = Weir::start(&sandbox, &config);
    let mut clients: Vec<Client> = (0..8).map(|_| weir.postgres()).collect();
    let kept: Vec<BTreeSet<String>> = clients.iter_mut().map(nodes).collect();
    assert!(kept.iter().all(|nodes| nodes.len() == 1), "{kept:?}");
    let all: BTreeSet<String> = kept.iter().flatten().cloned().collect();
    assert_eq!(all.len(), 2, "they keep different ones");

    // One that is gone is replaced, and its successor kept.
    let client = &mut clients[0];
    let first = kept[0].first().unwrap().clone();
    let replica = sandbox.replicas().find(|replica| replica.address() == first).unwrap();
    replica.kill().unwrap();
    until("another replica", SOON, || {
        let node = client.where_ran("SELECT count(*) FROM item");
        if node == first || is_primary(&sandbox, &node) { Err(node) } else { Ok(()) }
    });
    replica.start().unwrap();
    weir.wait_for_replicas(2);
    let kept = nodes(client);
    assert_eq!((kept.len(), kept.contains(&first)), (1, false));
}

/// The login handler of an application, as it was written for one database: it commits, and then reads
/// what it has written in a new transaction that begins by itself.
const LOGIN_HANDLER: &str = "
import sys
from sqlalchemy import Column, Integer, String, create_engine, text
from sqlalchemy.orm import Session, declarative_base

Base = declarative_base()

class User(Base):
    __tablename__ = 'login_user'
    id = Column(Integer, primary_key=True)
    name = Column(String, unique=True)
    logins = Column(Integer, default=0)

engine = create_engine(sys.argv[1], pool_size=2, future=True)
Base.metadata.create_all(engine)

def login(name):
    with Session(engine, future=True) as session:
        user = session.query(User).filter_by(name=name).one_or_none()
        if user is None:
            user = User(name=name, logins=0)
            session.add(user)
        user.logins += 1
        session.commit()
        # Expired by the commit: read again.
        return user.id, user.logins

wrong = 0
for turn in range(60):
    name = 'user %d' % (turn % 20)
    wrong += login(name) != (turn % 20 + 1, turn // 20 + 1)
print('wrong', wrong)
";

#[test]
fn an_orm_s_login_handler_is_right_every_time_while_replicas_lag() {
    let sandbox = Sandbox::builder().setting("recovery_min_apply_delay", "300ms").start().unwrap();
    let weir = Weir::start(&sandbox, SPLIT);
    let python = "/usr/bin/python3";
    let imports = Command::new(python).args(["-c", "import sqlalchemy, psycopg2"]).output();
    if !imports.is_ok_and(|done| done.status.success()) {
        return eprintln!("SKIPPED sqlalchemy: install python3-sqlalchemy python3-psycopg2");
    }
    let url = format!("postgresql+psycopg2://postgres@127.0.0.1:{}/postgres", weir.port());
    let mut command = Command::new(python);
    command.args(["-c", LOGIN_HANDLER, &url]);
    assert_eq!(run(&mut command, "", PATIENCE).expect_success(), "wrong 0\n");
    // And with replay stopped altogether.
    sandbox.replicas().for_each(|replica| replica.pause_replay().unwrap());
    sandbox.primary().psql("DROP TABLE login_user").unwrap();
    let mut command = Command::new(python);
    command.args(["-c", LOGIN_HANDLER, &url]);
    assert_eq!(run(&mut command, "", PATIENCE).expect_success(), "wrong 0\n");
}
