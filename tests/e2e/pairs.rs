//! Pairs of a write and a read, from many clients at once, while replicas stop and lag at random: no read
//! may show less than its client has written, or has been shown, in whatever protocol, transaction or
//! session it comes, and through whichever of two pgweirs.
//!
//! A short run is a case like any other. `make consistency` does a hundred thousand pairs and tells its
//! figures ([docs/consistency.md](../../docs/consistency.md)).

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pgweir_sandbox::Sandbox;

use crate::drivers::{is_full, tell};
use crate::harness::{Client, Dice, Message, SOON, Weir, prepare, until};

/// Clients that write and read.
const WRITERS: usize = 8;
/// Clients that only read.
const READERS: usize = 3;
const SHORT: u64 = 3_000;
const LONG: u64 = 100_000;

/// Pairs of all clients together.
fn pairs() -> u64 {
    if is_full() { LONG } else { SHORT }
}

/// A writer's own counter, and what it takes to raise it.
const TABLES: &str = "
    CREATE TABLE counter (id int PRIMARY KEY, n bigint NOT NULL);
    INSERT INTO counter SELECT id, 0 FROM generate_series(0, 31) AS id;
    CREATE FUNCTION raise(int) RETURNS bigint LANGUAGE sql
        AS 'UPDATE counter SET n = n + 1 WHERE id = $1 RETURNING n';
    CREATE PROCEDURE raise_and_commit(int) LANGUAGE plpgsql
        AS 'BEGIN PERFORM raise($1); COMMIT; END';
    GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC";

fn cluster() -> Sandbox {
    let sandbox = Sandbox::builder()
        .role("other", "LOGIN")
        .setting("max_prepared_transactions", "40")
        // What is asked of a replica must not hold up its replaying, nor be cancelled by it.
        .setting("hot_standby_feedback", "on")
        .setting("max_standby_streaming_delay", "-1")
        .start()
        .unwrap();
    prepare(&sandbox, TABLES);
    sandbox
}

/// What all threads of a run share.
struct Run<'a> {
    weirs: [&'a Weir; 2],
    pairs_left: AtomicU64,
    is_over: AtomicBool,
    wrong: Mutex<Vec<String>>,
}

impl<'a> Run<'a> {
    fn new(weirs: [&'a Weir; 2], pairs: u64) -> Self {
        let (is_over, wrong) = (AtomicBool::new(false), Mutex::default());
        Self { weirs, pairs_left: AtomicU64::new(pairs), is_over, wrong }
    }

    /// Takes one pair of those that are left.
    fn goes_on(&self) -> bool {
        let take = |left: u64| left.checked_sub(1);
        self.pairs_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// Holds what was read against what it must show at least.
    fn check(&self, what: &str, got: u64, least: u64) {
        if got < least {
            self.wrong.lock().unwrap().push(format!("{what}: {got} after {least}"));
        }
    }

    #[track_caller]
    fn expect_nothing_wrong(&self) {
        let wrong = self.wrong.lock().unwrap();
        assert!(
            wrong.is_empty(),
            "{} stale reads: {:#?}",
            wrong.len(),
            &wrong[..wrong.len().min(20)]
        );
    }
}

fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

/// Raises a writer's counter, in one of many shapes.
fn write(client: &mut Client, id: usize, dice: &mut Dice) -> &'static str {
    let update = format!("UPDATE counter SET n = n + 1 WHERE id = {id}");
    match dice.below(10) {
        0 | 1 => {
            client.ask(&update);
            "a simple query"
        }
        2 | 3 => {
            let sql = "UPDATE counter SET n = n + 1 WHERE id = $1::int";
            assert_eq!(client.extended(sql, &[&id.to_string()]).failure, None);
            "an extended query"
        }
        4 => {
            client.ask("BEGIN");
            client.ask(&update);
            client.ask("COMMIT");
            "a transaction"
        }
        5 => {
            client.ask(&format!("BEGIN; SET LOCAL synchronous_commit = off; {update}; COMMIT"));
            "an asynchronous commit"
        }
        6 => {
            client.ask(&format!("SELECT raise({id})"));
            "a function"
        }
        7 => {
            client.ask(&format!("CALL raise_and_commit({id})"));
            "a procedure that commits"
        }
        8 => {
            assert_eq!(
                client.fail(&format!("BEGIN; {update}; COMMIT; SELECT 1/0")).code(),
                "22012"
            );
            "a commit before an error"
        }
        _ => {
            client.ask(&format!("BEGIN; {update}; PREPARE TRANSACTION 'of {id}'"));
            client.ask(&format!("COMMIT PREPARED 'of {id}'"));
            "two phases"
        }
    }
}

/// Reads a number, in one of several shapes.
fn read(client: &mut Client, sql: &str, dice: &mut Dice) -> (&'static str, u64) {
    match dice.below(5) {
        0 | 1 => ("a simple query", number(&client.ask(sql))),
        2 => ("an extended query", number(&client.extended(sql, &[]).text())),
        3 => {
            client.wire.send(&Message::new().parse("", sql).flush());
            client.wire.send(&Message::new().bind("", "", &[]).execute("", 0).sync());
            ("a pipeline with a Flush", number(&client.reply().text()))
        }
        _ => {
            client.ask("BEGIN READ ONLY");
            let got = number(&client.ask(sql));
            client.ask("COMMIT");
            ("a transaction", got)
        }
    }
}

/// Writes and reads until no pairs are left.
fn pair_up(run: &Run<'_>, id: usize, thinks: Duration) {
    let mut dice = Dice::new(0x70_61_69_72 + id as u64);
    let mut home = dice.below(2);
    let mut client = run.weirs[home].postgres();
    let mut elsewhere = [0, 1].map(|weir| run.weirs[weir].client("other", "postgres"));
    let mine = format!("SELECT n FROM counter WHERE id = {id}");
    let mut written = 0;
    while run.goes_on() {
        let shape = write(&mut client, id, &mut dice);
        written += 1;
        pause(thinks, &mut dice);
        let by = match dice.below(12) {
            0 => {
                // Another session of the same user's; now and then at the other pgweir's, which
                // knows nothing of this one but what the token says.
                let token = client.ask("SHOW pgweir.token");
                let before = home;
                home = dice.below(2);
                client.leave();
                client = run.weirs[home].postgres();
                if home != before {
                    client.ask(&format!("SET pgweir.token = '{token}'"));
                }
                "a new session"
            }
            1 => {
                let token = client.ask("SHOW pgweir.token");
                let other = &mut elsewhere[dice.below(2)];
                assert_eq!(
                    other.extended(&format!("SET pgweir.token = '{token}'"), &[]).failure,
                    None
                );
                let (way, got) = read(other, &mine, &mut dice);
                run.check(&format!("{shape}, read by token in {way}"), got, written);
                "the same session"
            }
            2 => {
                let other = &mut elsewhere[home];
                other.ask("SET pgweir.consistency = 'global'");
                let (way, got) = read(other, &mine, &mut dice);
                run.check(&format!("{shape}, read at global in {way}"), got, written);
                other.ask("RESET pgweir.consistency");
                "the same session"
            }
            _ => "the same session",
        };
        for _ in 0..=dice.below(3) {
            let (way, got) = read(&mut client, &mine, &mut dice);
            run.check(&format!("{shape}, read by {by} in {way}"), got, written);
        }
    }
}

/// What people do between two statements.
fn pause(most: Duration, dice: &mut Dice) {
    let micros = usize::try_from(most.as_micros()).unwrap();
    // A quarter does not think.
    if micros > 0 && dice.below(4) > 0 {
        thread::sleep(Duration::from_micros(dice.below(micros) as u64));
    }
}

/// Reads everybody's counters until the run is over: their sum never falls.
fn watch(run: &Run<'_>, id: usize) {
    const SUM: &str = "SELECT sum(n)::bigint FROM counter";
    let mut dice = Dice::new(0x7761_7463 + id as u64);
    let mut client = run.weirs[id % 2].client("other", "postgres");
    let (mut last, mut before) = (0, "nothing");
    while !run.is_over.load(Ordering::Relaxed) {
        let (way, got) = match dice.below(20) {
            0 => ("the primary", number(&client.ask(&format!("/* pgweir: primary */ {SUM}")))),
            _ => read(&mut client, SUM, &mut dice),
        };
        run.check(&format!("{way} behind {before}"), got, last);
        (last, before) = (got, way);
        if dice.below(8) == 0 {
            pause(Duration::from_millis(20), &mut dice);
        }
    }
}

/// Stops replicas, slows them down and lets them go again, until the run is over.
fn disturb(run: &Run<'_>, sandbox: &Sandbox) {
    let mut dice = Dice::new(0x6469_7374);
    while !run.is_over.load(Ordering::Relaxed) {
        let replica = sandbox.replica(dice.below(2));
        match dice.below(4) {
            0 => replica.delay_replay(Duration::from_millis(dice.below(60) as u64)).unwrap(),
            1 => replica.delay_replay(Duration::ZERO).unwrap(),
            _ => {
                replica.pause_replay().unwrap();
                pause(Duration::from_millis(150), &mut dice);
                replica.resume_replay().unwrap();
            }
        }
        pause(Duration::from_millis(100), &mut dice);
    }
    for replica in sandbox.replicas() {
        replica.resume_replay().unwrap();
        replica.delay_replay(Duration::ZERO).unwrap();
    }
}

/// Lets writers pair up, and others watch and disturb meanwhile.
fn play(run: &Run<'_>, sandbox: &Sandbox, thinks: Duration) {
    thread::scope(|scope| {
        let writers: Vec<_> =
            (0..WRITERS).map(|id| scope.spawn(move || pair_up(run, id, thinks))).collect();
        for id in 0..READERS {
            scope.spawn(move || watch(run, id));
        }
        scope.spawn(|| disturb(run, sandbox));
        let ends: Vec<_> = writers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        run.is_over.store(true, Ordering::Relaxed);
        assert!(ends.iter().all(Result::is_ok), "a writer has failed");
    });
}

/// The share of the statements taken for reads that replicas have served, since `before`.
fn replica_share(weir: &Weir, sandbox: &Sandbox, before: &[f64]) -> f64 {
    let grown: Vec<f64> = weir
        .queries(sandbox, "read")
        .iter()
        .zip(before)
        .map(|(now, before)| now - before)
        .collect();
    let primary = grown[sandbox.primary().index()];
    1.0 - primary / grown.iter().sum::<f64>()
}

const STALE: &str = "consistency.max_staleness = \"1h\"";

#[test]
fn no_read_is_stale_while_replicas_stop_and_lag_at_random() {
    let sandbox = cluster();
    let weirs = [Weir::start(&sandbox, STALE), Weir::start(&sandbox, STALE)];
    let run = Run::new([&weirs[0], &weirs[1]], pairs());
    let begun = Instant::now();
    let before = weirs.each_ref().map(|weir| weir.queries(&sandbox, "read"));
    play(&run, &sandbox, Duration::from_millis(5));
    run.expect_nothing_wrong();
    let share = [0, 1].map(|weir| replica_share(&weirs[weir], &sandbox, &before[weir]));
    if is_full() {
        tell(&format!(
            "{} pairs among replicas that stop and lag: 0 stale, {:.0} % and {:.0} % of the reads on \
             replicas, {:.0?}",
            pairs(),
            share[0] * 100.0,
            share[1] * 100.0,
            begun.elapsed()
        ));
    }
    // It has been about replicas at all.
    assert!(share.iter().all(|share| *share > 0.01), "{share:?}");
}

/// Reads that follow a write which the replicas are seen to have replayed.
const READS_BEHIND: usize = 40;

#[test]
fn replicas_that_have_caught_up_serve_most_reads_of_those_who_write() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, "");
    let run = Run::new([&weir, &weir], pairs() / 40);
    thread::scope(|scope| {
        for id in 0..WRITERS / 2 {
            let (run, sandbox) = (&run, &sandbox);
            scope.spawn(move || pair_up_behind_replicas(run, sandbox, id));
        }
    });
    run.expect_nothing_wrong();
    let share = replica_share(&weir, &sandbox, &[0.0; 3]);
    if is_full() {
        tell(&format!("replicas that have caught up serve {:.0} % of the reads", share * 100.0));
    }
    assert!(share > 0.5, "{share}");
}

/// Writes, waits until every replica shows it, and reads.
fn pair_up_behind_replicas(run: &Run<'_>, sandbox: &Sandbox, id: usize) {
    let mut dice = Dice::new(0x6265_6869 + id as u64);
    let mut client = run.weirs[0].postgres();
    let direct = |node: &pgweir_sandbox::Node| {
        Client::connect(node.port(), "postgres", "postgres", &[]).unwrap()
    };
    let mut replicas: Vec<Client> = sandbox.replicas().map(direct).collect();
    let mine = format!("SELECT n FROM counter WHERE id = {id}");
    let mut written = 0;
    while run.goes_on() {
        let shape = write(&mut client, id, &mut dice);
        written += 1;
        for replica in &mut replicas {
            until("the write to be replayed", SOON, || match number(&replica.ask(&mine)) {
                n if n >= written => Ok(()),
                n => Err(n),
            });
        }
        for _ in 0..READS_BEHIND {
            let (way, got) = read(&mut client, &mine, &mut dice);
            run.check(&format!("{shape}, read in {way}"), got, written);
            pause(Duration::from_millis(4), &mut dice);
        }
    }
}

#[test]
fn who_only_reads_is_served_by_all_replicas_and_hardly_by_the_primary() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, "");
    let mut client = weir.postgres();
    let before = weir.queries(&sandbox, "read");
    for _ in 0..2000 {
        client.ask("SELECT n FROM counter WHERE id = 1");
    }
    let after = weir.queries(&sandbox, "read");
    let grown: Vec<f64> = after.iter().zip(before).map(|(now, before)| now - before).collect();
    assert!(replica_share(&weir, &sandbox, &[0.0; 3]) > 0.99, "{grown:?}");
    let replicas = sandbox.replicas().map(|replica| grown[replica.index()]);
    assert!(replicas.into_iter().all(|reads| reads > 400.0), "{grown:?}");
}

/// How long a client that writes once reads on the primary, while others write or nobody does.
#[test]
fn a_client_that_has_written_is_back_on_replicas_within_milliseconds() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, "");
    let is_over = AtomicBool::new(false);
    let mut calm = Vec::new();
    let mut busy = Vec::new();
    thread::scope(|scope| {
        let mut client = weir.postgres();
        (0..40).for_each(|_| calm.push(time_to_return(&sandbox, &mut client)));
        scope.spawn(|| {
            let mut writer = weir.client("other", "postgres");
            while !is_over.load(Ordering::Relaxed) {
                writer.ask("UPDATE counter SET n = n + 1 WHERE id = 9");
            }
        });
        (0..40).for_each(|_| busy.push(time_to_return(&sandbox, &mut client)));
        is_over.store(true, Ordering::Relaxed);
    });
    let [calm, busy] = [calm, busy].map(|mut times| {
        times.sort_unstable();
        (times[times.len() / 2], times[times.len() * 9 / 10])
    });
    if is_full() {
        tell(&format!(
            "back on a replica: {calm:.1?} alone, {busy:.1?} while others write (median, 90 %)"
        ));
    }
    // Milliseconds, with room for a machine that does other things.
    assert!(calm.0 < Duration::from_millis(100), "{calm:?}");
    assert!(busy.0 < Duration::from_millis(300), "{busy:?}");
}

/// Writes, and reads without a pause until a replica serves.
fn time_to_return(sandbox: &Sandbox, client: &mut Client) -> Duration {
    client.ask("UPDATE counter SET n = n + 1 WHERE id = 1");
    let written = Instant::now();
    loop {
        client.ask("SELECT n FROM counter WHERE id = 1");
        let elapsed = written.elapsed();
        if client.last_node() != sandbox.primary().address() {
            return elapsed;
        }
        assert!(elapsed < Duration::from_secs(30), "still on the primary");
    }
}
