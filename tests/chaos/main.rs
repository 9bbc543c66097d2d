//! Everything that a cluster may suffer, under load: servers killed, stopped and promoted, connections cut,
//! networks that are slow or dead, restarts of everything in turn. Every server is reached through a byte
//! proxy ([`proxy`]); clients write, read and run transactions all the while, and keep a [`load::Ledger`] of
//! what they were told. What has to hold is in [`Chaos::judge`].
//!
//! The short form plays each act once; `PGWEIR_CHAOS_SECONDS=300` goes on with acts drawn by lot for so
//! long, in an order that `PGWEIR_CHAOS_SEED` repeats.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[allow(dead_code, unused_imports, reason = "the end-to-end tests use the rest of it")]
#[path = "../e2e/harness/mod.rs"]
mod harness;
mod load;
mod pgbench;
mod proxy;
mod scaling;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use pgweir_sandbox::{Node, Sandbox, StopMode};

use harness::{Dice, SOON, Weir, until};
use load::{Fate, Load};
use proxy::{Proxy, Way};

/// What a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_millis(700);
/// `monitor.interval`.
const INTERVAL: Duration = Duration::from_millis(100);
/// Beyond what a bound says, for a machine that has other things to do.
const GRACE: Duration = Duration::from_secs(4);
const WRITERS: usize = 3;
const READERS: usize = 6;

/// What is measured here is measured with the machine to itself: these tests run one after the other.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Something that happens.
type Act = (&'static str, fn(&mut Chaos));

const ACTS: [Act; 12] = [
    ("kill -9 of a replica", |chaos| chaos.kill_a_replica()),
    ("kill -9 of the other", |chaos| chaos.kill_a_replica()),
    ("a replica hangs (SIGSTOP)", |chaos| chaos.freeze_a_replica()),
    ("connections cut everywhere", |chaos| chaos.cut()),
    ("a dead network to a replica", |chaos| chaos.lose_a_replica()),
    ("a slow network", |chaos| chaos.slow_down()),
    ("replay pauses", |chaos| chaos.pause_replay()),
    ("a dead network to the primary", |chaos| chaos.lose_the_primary()),
    ("the primary hangs (SIGSTOP)", |chaos| chaos.freeze_the_primary()),
    ("promotion, the primary killed", |chaos| chaos.promote()),
    ("all replicas down, and up again", |chaos| chaos.lose_all_replicas()),
    ("restarts of everything in turn", |chaos| chaos.restart_all()),
];

/// What an act has cost.
#[derive(Debug, Default)]
struct Cost {
    times: u32,
    slowest_read: Duration,
    longest_without_write: Duration,
}

struct Chaos {
    sandbox: Sandbox,
    proxies: Vec<Proxy>,
    weir: Weir,
    dice: Dice,
    costs: BTreeMap<usize, Cost>,
    /// From the promotion to the first write that was acknowledged.
    resumed: Vec<Duration>,
    /// Rows that an old primary got after it had come back.
    strays: i64,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let sandbox = Sandbox::builder()
            .synchronous("ANY 1 (node0, node1, node2)")
            // A standby that has lost its connection asks for another one soon.
            .setting("wal_retrieve_retry_interval", "200ms")
            .start()
            .unwrap();
        harness::prepare(&sandbox, "CREATE TABLE ledger (writer int, number bigint)");
        harness::prepare(&sandbox, "CREATE INDEX ON ledger (writer, number)");
        let proxies: Vec<_> =
            sandbox.nodes().iter().map(|node| Proxy::start(node.port())).collect();
        let addresses: Vec<_> =
            proxies.iter().map(|proxy| format!("{:?}", proxy.address())).collect();
        let weir = Weir::setup(&sandbox)
            .config(&format!("clusters.main.nodes = [{}]", addresses.join(", ")))
            .config("clusters.main.monitor.timeout = \"700ms\"")
            .config("failover.hold = \"20s\"")
            .config("pool.size = 6")
            .start();
        let (costs, resumed) = (BTreeMap::new(), Vec::new());
        Self { sandbox, proxies, weir, dice: Dice::new(seed), costs, resumed, strays: 0 }
    }

    fn primary(&self) -> &Node {
        self.sandbox.primary()
    }

    /// One of the replicas, by lot.
    fn replica(&mut self) -> usize {
        let replicas: Vec<_> = self.sandbox.replicas().map(Node::index).collect();
        replicas[self.dice.below(replicas.len())]
    }

    fn node(&self, index: usize) -> &Node {
        self.sandbox.node(index)
    }

    /// Lets the clients work for a while.
    fn work(&self, milliseconds: u64) {
        thread::sleep(Duration::from_millis(milliseconds));
    }

    fn wait_until_all_serve(&self) {
        self.weir.wait_for_replicas(2);
    }

    // ---- the acts ----

    fn kill_a_replica(&mut self) {
        let victim = self.replica();
        self.node(victim).kill().unwrap();
        self.work(500);
        self.node(victim).start().unwrap();
    }

    fn freeze_a_replica(&mut self) {
        let victim = self.replica();
        self.node(victim).freeze().unwrap();
        self.work(2000);
        self.node(victim).thaw().unwrap();
    }

    fn cut(&mut self) {
        for _ in 0..3 {
            self.proxies.iter().for_each(Proxy::cut);
            self.work(200);
        }
    }

    fn lose_a_replica(&mut self) {
        let victim = self.replica();
        self.proxies[victim].set(Way::BlackHole);
        self.work(2000);
        self.proxies[victim].set(Way::Open);
    }

    fn slow_down(&mut self) {
        self.proxies.iter().for_each(|proxy| proxy.set(Way::Slow(Duration::from_millis(20))));
        self.work(1500);
        self.proxies.iter().for_each(|proxy| proxy.set(Way::Open));
    }

    fn pause_replay(&mut self) {
        let victim = self.replica();
        self.node(victim).pause_replay().unwrap();
        self.work(1500);
        self.node(victim).resume_replay().unwrap();
    }

    fn lose_the_primary(&mut self) {
        let primary = self.primary().index();
        self.proxies[primary].set(Way::BlackHole);
        self.work(3500);
        self.proxies[primary].set(Way::Open);
    }

    fn freeze_the_primary(&mut self) {
        self.primary().freeze().unwrap();
        self.work(3500);
        self.primary().thaw().unwrap();
    }

    /// The primary dies, the standby that has most is promoted, and the old primary comes back as it was.
    fn promote(&mut self) {
        self.sandbox.wait_all_caught_up(SOON).unwrap();
        let old = self.primary().index();
        self.node(old).kill().unwrap();
        self.work(500);
        let received = |node: &&Node| {
            let sql = "SELECT pg_wal_lsn_diff(pg_last_wal_receive_lsn(), '0/0')::bigint";
            node.psql(sql).unwrap().parse::<i64>().unwrap()
        };
        let new = self.sandbox.replicas().max_by_key(received).unwrap().index();
        self.node(new).promote().unwrap();
        let promoted = Instant::now();
        // Without a standby nothing is acknowledged: what counts is the first write that gets there.
        let rows = "SELECT count(*) FROM ledger";
        let before = self.node(new).psql(rows).unwrap();
        let follow = |chaos: &Self| chaos.sandbox.follow(chaos.node(new)).unwrap();
        until("writes on the new primary", SOON, || {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%INSERT%'
                       AND pid <> pg_backend_pid() AND application_name <> 'pgweir'";
            let waits = self.node(new).psql(sql).unwrap();
            let came = waits != "0" || self.node(new).psql(rows).unwrap() != before;
            if came { Ok(()) } else { Err(waits) }
        });
        self.resumed.push(promoted.elapsed());
        follow(self);
        // It believes that it is the primary still.
        self.node(old).start().unwrap();
        let rows = |chaos: &Self| chaos.node(old).psql(rows).unwrap().parse::<i64>().unwrap();
        let before = rows(self);
        self.work(1000);
        self.strays += rows(self) - before;
        self.sandbox.rejoin(self.node(old)).unwrap();
    }

    fn lose_all_replicas(&mut self) {
        let replicas: Vec<_> = self.sandbox.replicas().map(Node::index).collect();
        replicas.iter().for_each(|&replica| self.node(replica).kill().unwrap());
        self.work(1000);
        replicas.iter().for_each(|&replica| self.node(replica).start().unwrap());
    }

    fn restart_all(&mut self) {
        for index in 0..self.proxies.len() {
            if index != self.primary().index() {
                self.restart(index);
            }
        }
        self.restart(self.primary().index());
    }

    fn restart(&self, index: usize) {
        self.node(index).stop(StopMode::Fast).unwrap();
        self.node(index).start().unwrap();
        self.wait_until_all_serve();
    }

    // ---- the play ----

    fn play(&mut self, index: usize, load: &Load) {
        let (name, act) = ACTS[index];
        load.ledger.take_slowest_read();
        let begun = Instant::now();
        act(self);
        self.wait_until_all_serve();
        // Writes have gone on, or go on now.
        let last_write = || *load.ledger.last_write.lock().unwrap();
        until(&format!("writes after: {name}"), SOON, || {
            last_write().filter(|at| *at > begun).ok_or("none")
        });
        self.work(300);
        let slowest = load.ledger.take_slowest_read();
        let cost = self.costs.entry(index).or_default();
        cost.times += 1;
        cost.slowest_read = cost.slowest_read.max(slowest);
        let gap = load.ledger.take_longest_without_write();
        cost.longest_without_write = cost.longest_without_write.max(gap);
        let failed = load.ledger.failed_reads.lock().unwrap();
        assert!(failed.is_empty(), "{name}: {failed:?}");
    }

    /// What has to hold, whatever has happened.
    fn judge(&self, load: Load) {
        let ledger = load.end();
        self.sandbox.wait_all_caught_up(SOON).unwrap();
        let listed = self.primary().psql("SELECT writer, number FROM ledger").unwrap();
        let mut rows: BTreeMap<(usize, u64), u32> = BTreeMap::new();
        for line in listed.lines() {
            let (writer, number) = line.split_once('|').unwrap();
            *rows.entry((writer.parse().unwrap(), number.parse().unwrap())).or_default() += 1;
        }
        let fates = ledger.fates.lock().unwrap();
        for (row, fate) in &*fates {
            let copies = rows.remove(row).unwrap_or(0);
            let is_right = match fate {
                Fate::Acknowledged => copies == 1,
                Fate::Unknown => copies <= 1,
                Fate::Failed(_) => copies == 0,
            };
            assert!(is_right, "{copies} copies of {row:?}, of which was told: {fate:?}");
        }
        assert!(rows.is_empty(), "nobody wrote these: {rows:?}");
        drop(fates);
        let stale = ledger.stale_reads.lock().unwrap();
        assert!(stale.is_empty(), "{stale:?}");
        assert_eq!(self.strays, 0, "rows on an old primary");
        self.report(&ledger);
        for (index, cost) in &self.costs {
            let bound = PROBE_TIMEOUT + INTERVAL * 2 + GRACE;
            assert!(cost.slowest_read < bound, "{}: {:?}", ACTS[*index].0, cost.slowest_read);
        }
        for resumed in &self.resumed {
            assert!(*resumed < INTERVAL * 2 + GRACE, "writes resumed after {resumed:?}");
        }
    }

    fn report(&self, ledger: &load::Ledger) {
        eprintln!("| act | times | slowest read | longest without a write |");
        eprintln!("|---|--:|--:|--:|");
        for (index, cost) in &self.costs {
            let Cost { times, slowest_read, longest_without_write } = cost;
            let ms = |duration: &Duration| format!("{} ms", duration.as_millis());
            let (read, write) = (ms(slowest_read), ms(longest_without_write));
            eprintln!("| {} | {times} | {read} | {write} |", ACTS[*index].0);
        }
        let fates = ledger.fates.lock().unwrap();
        let told = |is_so: fn(&Fate) -> bool| {
            // Those that are no part of a transaction.
            fates.iter().filter(|((writer, _), fate)| *writer < WRITERS && is_so(fate)).count()
        };
        eprintln!(
            "{} reads, 0 failed, 0 stale; {} writes acknowledged and found once, {} of unknown fate (08007), \
             {} refused; {} of {} transactions told to be tried again, of which nothing was found; writes \
             resumed after a promotion within {:?}",
            ledger.reads.load(std::sync::atomic::Ordering::Relaxed),
            told(|fate| *fate == Fate::Acknowledged),
            told(|fate| *fate == Fate::Unknown),
            told(|fate| matches!(fate, Fate::Failed(_))),
            ledger.lost_transactions.load(std::sync::atomic::Ordering::Relaxed),
            ledger.transactions.load(std::sync::atomic::Ordering::Relaxed),
            self.resumed.iter().max().copied().unwrap_or_default(),
        );
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

/// How long the long form goes on.
fn seconds() -> Option<u64> {
    number("PGWEIR_CHAOS_SECONDS")
}

#[test]
fn whatever_happens_to_servers_and_networks_clients_are_told_the_truth() {
    let _turn = turn();
    let seed = number("PGWEIR_CHAOS_SEED").unwrap_or(u64::from(std::process::id()));
    println!("PGWEIR_CHAOS_SEED={seed}");
    let mut chaos = Chaos::new(seed);
    let load = Load::start(&chaos.weir, WRITERS, READERS);
    let begun = Instant::now();
    for index in 0..ACTS.len() {
        chaos.play(index, &load);
    }
    let length = Duration::from_secs(seconds().unwrap_or(0));
    while begun.elapsed() < length {
        let index = chaos.dice.below(ACTS.len());
        chaos.play(index, &load);
    }
    chaos.judge(load);
}
