//! What others have got wrong over shards: every answer is compared with that of one plain PostgreSQL
//! that holds the same rows.

use std::thread;

use super::{SHARED, Sharded, coordinator};
use crate::harness::{Client, Scratch, Weir, shared};

const TABLES: &str = "
    CREATE TABLE orders (id int PRIMARY KEY, user_id int, amount numeric, at date);
    CREATE TABLE users (user_id int PRIMARY KEY, name text, city int, status text);
    CREATE TABLE visits (visit int, user_id int, page text, PRIMARY KEY (user_id, visit));
    CREATE TABLE city (id int PRIMARY KEY, name text);
    CREATE TABLE ticket (id bigserial PRIMARY KEY, what text)";

const SHARDS: &str = "
    SELECT create_reference_table('city');
    SELECT create_distributed_table('orders', 'id');
    SELECT create_distributed_table('users', 'user_id');
    SELECT create_distributed_table('visits', 'user_id', colocate_with => 'users');
    SELECT create_distributed_table('ticket', 'id')";

const ROWS: &str = "
    INSERT INTO city SELECT n, 'city ' || n FROM generate_series(1, 5) n;
    INSERT INTO orders SELECT n, n % 40, n * 1.5, date '2024-01-01' + n % 300 FROM generate_series(1, 500) n;
    INSERT INTO users SELECT n, 'name ' || n % 30, n % 5 + 1, CASE n % 3 WHEN 0 THEN 'new' ELSE 'old' END FROM generate_series(0, 99) n;
    INSERT INTO visits SELECT n, n % 60, 'page ' || n % 7 FROM generate_series(1, 300) n";

/// MyCat's bugs as DBLE's authors list them, and what radon refuses.
const QUERIES: &[&str] = &[
    "SELECT id, amount FROM orders WHERE id BETWEEN 100 AND 200 ORDER BY amount DESC, id LIMIT 50 OFFSET 10",
    "SELECT id FROM orders WHERE at > '2024-05-01' ORDER BY at, id",
    "SELECT round(variance(amount), 6), round(stddev(amount), 6), round(var_pop(amount), 6) FROM orders",
    "SELECT abs(count(*)) FROM orders",
    "SELECT count(*), sum(amount), min(at), max(at), round(avg(amount), 4) FROM orders",
    "SELECT user_id FROM users UNION SELECT user_id FROM orders ORDER BY 1",
    "SELECT user_id FROM users UNION ALL SELECT user_id FROM orders ORDER BY 1",
    "SELECT count(*) FROM (SELECT user_id FROM users UNION ALL SELECT id FROM orders) AS u",
    "SELECT name FROM users WHERE user_id IN (SELECT user_id FROM orders WHERE amount > 700) ORDER BY 1",
    "SELECT c.name, count(DISTINCT u.name) FROM users u JOIN city c ON c.id = u.city GROUP BY c.name ORDER BY 1",
    "SELECT status, count(DISTINCT name) FROM users GROUP BY status ORDER BY 1",
    "SELECT status FROM users WHERE status = 'new' ORDER BY user_id LIMIT 3",
    "SELECT u.user_id, count(*) FROM users u JOIN visits v ON v.user_id = u.user_id GROUP BY 1 ORDER BY 1",
    "SELECT o.id, u.name FROM orders o JOIN users u ON u.user_id = o.id WHERE o.id < 20 ORDER BY 1",
    "SELECT city, name, rank() OVER (PARTITION BY city ORDER BY user_id) FROM users ORDER BY user_id LIMIT 20",
    "WITH big AS (SELECT user_id, sum(amount) AS s FROM orders GROUP BY 1) SELECT count(*), round(max(s), 2) FROM big WHERE s > 100",
    "SELECT DISTINCT status FROM users ORDER BY 1",
    "SELECT page, count(*) FROM visits GROUP BY page HAVING count(*) > 42 ORDER BY 1",
];

/// What changes rows, each with the answer that is looked at behind it.
const CHANGES: &[(&str, &str)] = &[
    ("INSERT INTO city VALUES (6, 'without a list of columns')", "SELECT * FROM city ORDER BY id"),
    (
        "INSERT INTO users VALUES (1001, 'a', 1, 'new'), (1002, 'b', 2, 'old'), (1034, 'c', 1, 'new'), (1065, 'd', 3, 'old')",
        "SELECT count(*) FROM users",
    ),
    (
        "UPDATE users SET status = 'seen' WHERE name = 'name 7'",
        "SELECT user_id FROM users WHERE status = 'seen' ORDER BY 1",
    ),
    ("DELETE FROM users WHERE user_id IN (1, 2, 34, 65)", "SELECT count(*) FROM users"),
    (
        "INSERT INTO ticket (what) VALUES ('x'), ('y') RETURNING what",
        "SELECT count(DISTINCT id), count(*) FROM ticket",
    ),
];

struct Both {
    database: Sharded,
    plain: Scratch,
}

impl Both {
    fn new(name: &'static str, plain: &'static str) -> Option<Self> {
        let database = Sharded::new(name, &format!("{TABLES};{SHARDS};{ROWS}"))?;
        let plain = Scratch::new(plain);
        plain.prepare(&format!("{TABLES};{ROWS}"));
        Some(Self { database, plain })
    }

    fn clients(&self, weir: &Weir) -> (Client, Client) {
        let plain = shared().primary().port();
        let plain = Client::connect(plain, "postgres", self.plain.name(), &[]).unwrap();
        (weir.client("postgres", self.database.name), plain)
    }
}

#[test]
fn answers_over_shards_are_those_of_one_postgresql() {
    let Some(both) = Both::new("citus_answers", "citus_answers_plain") else { return };
    let weir = both.database.weir("");
    let (mut client, mut plain) = both.clients(&weir);
    for sql in QUERIES {
        let expected = plain.ask(sql);
        // Simple and extended, on one worker and another.
        for _ in 0..2 {
            let answer = client.query(sql);
            assert_eq!(answer.failure, None, "{sql}");
            assert_eq!(answer.text(), expected, "{sql}");
            assert_ne!(client.last_node(), coordinator(), "{sql}");
            assert_eq!(client.extended(sql, &[]).text(), expected, "{sql}");
        }
    }
    for (change, look) in CHANGES {
        let (done, expected) = (client.query(change), plain.query(change));
        assert_eq!(done.failure, None, "{change}");
        assert_eq!(
            (done.commands.clone(), done.text()),
            (expected.commands.clone(), expected.text()),
            "{change}"
        );
        assert_eq!(client.last_node(), coordinator());
        assert_eq!(client.ask(look), plain.ask(look), "{change}");
    }
}

#[test]
fn what_postgresql_or_citus_refuses_is_refused_in_their_words() {
    let Some(both) = Both::new("citus_refusals", "citus_refusals_plain") else { return };
    let weir = both.database.weir("");
    let (mut client, mut plain) = both.clients(&weir);
    for sql in [
        "INSRET INTO users VALUES (1)",
        "SET you = me",
        "SELECT no_column FROM users",
        "SELECT 1 / 0",
    ] {
        let (got, expected) = (client.fail(sql), plain.fail(sql));
        assert_eq!((got.code(), got.message()), (expected.code(), expected.message()), "{sql}");
    }
    client.ask("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY");
    assert_eq!(client.fail("INSERT INTO users VALUES (5000, 'a', 1, 'x')").code(), "25006");
    client.ask("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE");
    // Where Citus refuses, as it does on a connection of one's own.
    let mut direct = {
        let port = SHARED.coordinator().primary().port();
        Client::connect(port, "postgres", both.database.name, &[]).unwrap()
    };
    for sql in [
        "UPDATE users SET user_id = 7 WHERE user_id = 8",
        "SELECT count(*) FROM orders o JOIN users u ON u.user_id = o.id + 1",
        "SELECT * FROM users u, LATERAL (SELECT * FROM orders o WHERE o.user_id = u.city LIMIT 1) l",
        "SELECT count(*) FROM orders o FULL JOIN users u ON o.user_id > u.user_id",
    ] {
        let (got, expected) = (client.fail(sql), direct.fail(sql));
        assert_eq!(got, expected, "{sql}");
    }
    let refused = Client::connect(weir.port(), "nobody_special", "pgweir", &[]);
    assert!(refused.is_err(), "administration is for administrators");
}

/// kingshard: "transaction in multi node".
#[test]
fn a_drivers_transaction_spans_the_workers_and_the_log_names_the_node() {
    let Some(both) = Both::new("citus_multi_node", "citus_multi_node_plain") else { return };
    let weir = both.database.weir("log.queries = true");
    let (mut client, mut plain) = both.clients(&weir);
    for (sql, tag) in [
        ("BEGIN", "BEGIN"),
        (
            "INSERT INTO users VALUES (2001, 'a', 1, 'x'), (2002, 'b', 1, 'x'), (2034, 'c', 1, 'x'), (2065, 'd', 1, 'x')",
            "INSERT 0 4",
        ),
        ("SELECT count(*) FROM users", "SELECT 1"),
        ("DELETE FROM users WHERE user_id IN (2001, 2002, 2034, 2065)", "DELETE 4"),
        ("COMMIT", "COMMIT"),
    ] {
        let (got, expected) = (client.query(sql), plain.query(sql));
        assert_eq!(got.commands, [tag], "{sql} {:?}", got.failure);
        assert_eq!(
            (got.commands.clone(), got.text()),
            (expected.commands.clone(), expected.text()),
            "{sql}"
        );
    }
    client.ask("SELECT max(user_id) FROM users");
    let node = client.last_node();
    let log = weir.log();
    let line =
        |words: &str| log.lines().find(|line| line.contains(words)).unwrap_or_default().to_owned();
    assert!(line("insert into users values").contains(&coordinator()), "{log}");
    assert!(line("select max").contains(&node), "{log}");
}

/// MyCat: a subquery deadlocks a fixed pool of threads.
#[test]
fn a_hundred_subqueries_at_once_get_through_a_pool_of_one() {
    let Some(both) = Both::new("citus_hundred", "citus_hundred_plain") else { return };
    let weir = both.database.weir("pool.size = 1\npool.checkout_timeout = \"60s\"");
    let sql = "SELECT count(*) FROM users WHERE user_id IN (SELECT user_id FROM orders WHERE amount > 300)";
    let expected = both.clients(&weir).1.ask(sql);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..100)
            .map(|_| scope.spawn(|| weir.client("postgres", both.database.name).ask(sql)))
            .collect();
        for client in clients {
            assert_eq!(client.join().unwrap(), expected);
        }
    });
}

/// radon: a failed backend makes the whole proxy refuse reads and writes until somebody edits a file.
#[test]
fn settings_and_privileges_are_postgresqls_own() {
    let Some(both) = Both::new("citus_radon", "citus_radon_plain") else { return };
    let weir = both.database.weir("");
    let (mut client, _) = both.clients(&weir);
    client.ask("DROP ROLE IF EXISTS citus_app; CREATE ROLE citus_app LOGIN; GRANT SELECT ON city TO citus_app");
    let mut app = weir.client("citus_app", both.database.name);
    assert_eq!(app.ask("SELECT count(*) FROM city"), "5");
    assert_ne!(app.last_node(), coordinator());
    for sql in ["SELECT * FROM users", "INSERT INTO city VALUES (9, 'x')", "CREATE DATABASE x"] {
        assert_eq!(app.fail(sql).code(), "42501", "{sql}");
    }
    drop(app);
    client.ask("DROP OWNED BY citus_app");
}
