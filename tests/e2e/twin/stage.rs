//! Where cases are played: a database, PostgreSQL's primary itself, and a pgweir in front of it and
//! its replicas.

use std::thread;

use super::known::OWN;
use super::play::{self, Answers, Cut};
use super::script::Case;
use crate::harness::{Client, SOON, Scratch, Weir, shared, until};

/// Who plays.
const USER: &str = "postgres";

/// What every case finds.
const TABLES: &str = "
    CREATE TABLE item (id int PRIMARY KEY, name text);
    INSERT INTO item VALUES (1, 'one'), (2, 'two'), (3, 'three');
    CREATE SEQUENCE counter;
    CREATE TYPE mood AS ENUM ('glad', 'sad');
    CREATE FUNCTION add(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + $2';
    CREATE FUNCTION warn(text) RETURNS text LANGUAGE plpgsql AS
        $$ BEGIN RAISE NOTICE 'heard %', $1; RETURN $1; END $$;
    CREATE PROCEDURE commits() LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO item VALUES (900, 'kept'); COMMIT; INSERT INTO item VALUES (901, 'lost');
           ROLLBACK; END $$;
    CREATE TABLE deferred (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);
    CREATE TABLE mine_0 (a int, b text);
    GRANT ALL ON mine_0, counter TO app";

/// Brings back what every case finds, where the case before changed it.
const RESET: &str = "
    DO $$
    DECLARE made record;
    BEGIN
        FOR made IN SELECT oid::regclass AS name FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind = 'v'
        LOOP EXECUTE format('DROP VIEW %s CASCADE', made.name); END LOOP;
        FOR made IN SELECT oid::regclass AS name FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
            AND relname NOT IN ('item', 'deferred', 'mine_0')
        LOOP EXECUTE format('DROP TABLE %s CASCADE', made.name); END LOOP;
        FOR made IN SELECT oid FROM pg_largeobject_metadata
        LOOP PERFORM lo_unlink(made.oid); END LOOP;
        IF (SELECT array_agg(item ORDER BY id)::text FROM item)
            IS DISTINCT FROM '{\"(1,one)\",\"(2,two)\",\"(3,three)\"}' THEN
            TRUNCATE item;
            INSERT INTO item VALUES (1, 'one'), (2, 'two'), (3, 'three');
        END IF;
        IF EXISTS (SELECT FROM deferred) THEN
            TRUNCATE deferred;
        END IF;
        IF EXISTS (SELECT FROM mine_0) THEN
            TRUNCATE mine_0;
        END IF;
        IF (SELECT is_called FROM counter) THEN
            ALTER SEQUENCE counter RESTART;
        END IF;
    END $$";

/// What one who comes between leaves behind, for those to find who are not kept apart.
const MARKS: [&str; 6] = [
    "/* pgweir: primary */ SET work_mem = '77kB'; SELECT count(*) FROM pg_class",
    "SET search_path = nowhere; SET TimeZone = 'Asia/Tokyo'; SELECT 1",
    "BEGIN; SET LOCAL work_mem = '78kB'; SELECT nextval('counter_of_others'); ROLLBACK",
    "/* pgweir: primary */ SET ROLE app; SET DateStyle = 'SQL, DMY'; SELECT 1",
    "SET work_mem = '79kB'; SELECT pg_is_in_recovery()",
    "RESET ALL; RESET ROLE",
];

/// A place to play at.
pub(crate) struct Stage {
    scratch: Scratch,
    weir: Weir,
    /// Straight at the primary, for the time between plays.
    keeper: Client,
    /// Straight at the replicas.
    watchers: Vec<Client>,
    /// Comes between the turns of others.
    other: Client,
    /// The WAL position that every replica is known to have replayed.
    replayed: String,
}

impl Stage {
    pub(crate) fn new(database: &'static str, config: &str) -> Self {
        let scratch = Scratch::new(database);
        scratch.prepare(&format!("{TABLES}; CREATE SEQUENCE counter_of_others"));
        let weir = Weir::start(shared(), config);
        let direct = |port| Client::connect(port, USER, database, &[]).unwrap();
        let keeper = direct(shared().primary().port());
        let watchers = shared().replicas().map(|node| direct(node.port())).collect();
        let other = weir.client(USER, database);
        Self { scratch, weir, keeper, watchers, other, replayed: String::new() }
    }

    /// Puts everything back to where every case begins, on the replicas too.
    fn reset(&mut self) {
        let prepared = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()";
        for gid in self.keeper.ask(prepared).lines() {
            self.keeper.ask(&format!("ROLLBACK PREPARED '{gid}'"));
        }
        self.keeper.ask(RESET);
        let written = self.keeper.ask("SELECT pg_current_wal_flush_lsn()");
        if written == self.replayed {
            return;
        }
        let sql = format!("SELECT pg_last_wal_replay_lsn() >= '{written}'::pg_lsn");
        for watcher in &mut self.watchers {
            until("the replicas to follow", SOON, || match watcher.ask(&sql) {
                yes if yes == "t" => Ok(()),
                no => Err(no),
            });
        }
        self.replayed = written;
    }

    /// What PostgreSQL says.
    ///
    /// # Errors
    /// When the case waits for what PostgreSQL does not say.
    pub(crate) fn direct(&mut self, case: &Case) -> Result<Answers, String> {
        self.reset();
        let port = shared().primary().port();
        play::to_postgres(case, port, USER, self.scratch.name())
    }

    /// How pgweir's answers differ.
    pub(crate) fn compare(&mut self, case: &Case, want: &Answers, way: Way) -> Option<String> {
        self.reset();
        let at = (self.weir.port(), USER, self.scratch.name());
        let (other, mut marks) = (&mut self.other, 0);
        let got = play::to_pgweir(case, at, want, way.cut, || {
            if way.is_disturbed {
                other.query(MARKS[marks % MARKS.len()]);
                marks += 1;
            }
        });
        let difference = if OWN.iter().any(|(name, _)| *name == case.name) {
            let [want, got] = [want, &got].map(play::up_to_the_error);
            play::difference(case, &want, &got)
        } else {
            play::difference(case, want, &got)
        }?;
        Some(format!("{}\n  sent {way:?}\n{difference}", case.name))
    }

    /// Plays a case in all of these ways; the first difference.
    pub(crate) fn play(&mut self, case: &Case, ways: &[Way]) -> Option<String> {
        match self.direct(case) {
            Ok(want) => ways.iter().find_map(|way| self.compare(case, &want, *way)),
            Err(why) => Some(why),
        }
    }
}

/// A way to play a case to pgweir.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    pub(crate) cut: Cut,
    /// Another client uses the same server connections after every turn.
    pub(crate) is_disturbed: bool,
}

impl Way {
    pub(crate) fn alone(cut: Cut) -> Self {
        Self { cut, is_disturbed: false }
    }

    pub(crate) fn disturbed(cut: Cut) -> Self {
        Self { cut, is_disturbed: true }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the database was {}", self.scratch.name());
        }
    }
}
