//! The data plane in virtual time: whatever happens to roles, servers, bounds and the list of nodes while
//! clients come and go, nobody who waits is forgotten, no place is lost, and nobody who wants the
//! primary gets another server.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pgweir_protocol::server::ServerFacts;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Handle};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{Dice, histories};
use crate::board::Board;
use crate::clock;
use crate::dial::{ConnectError, Dialer, ServerConnection};
use crate::error::PoolError;
use crate::lease::Lease;
use crate::node::Node;
use crate::node_pool::{Opener, Opening};
use crate::pool_set::{Checkout, Origin, PoolSet};
use crate::roster::{Change, Roster};
use crate::select::{Access, Want};
use crate::spec::{
    Balance, ClusterSpec, MonitorSpec, NodeSpec, PoolSpec, ReadPolicy, Reads, RoleHint, TlsSpec,
};
use crate::stream::Stream;
use crate::topology::{FULL_SHARE, Health, NodeView, Role, Standing, Topology};

const NODES: usize = 3;
/// What happens, in one history.
const EVENTS: usize = 150;
const HOLD: Duration = Duration::from_secs(3);
const CHECKOUT_TIMEOUT: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Beyond this nobody waits who has been served in time: in line, in a queue, and in another.
const LONGEST_WAIT: Duration = Duration::from_secs(3 + 2);

/// What a server does to whoever connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Welcoming,
    Refusing,
    Crowded,
    Hostile,
    Silent,
}

/// Servers that are only the other ends of sockets.
struct Servers {
    moods: Mutex<[Mood; NODES + 1]>,
    backends: Mutex<Vec<UnixStream>>,
    dialer: Dialer,
}

impl Servers {
    fn mood(&self, node: &Node) -> Mood {
        self.moods.lock().unwrap()[usize::from(node.port()) % (NODES + 1)]
    }
}

struct FakeOpener(Arc<Servers>);

fn refused(code: &str) -> ConnectError {
    let body = format!("SFATAL\0VFATAL\0C{code}\0Mno\0\0").into_bytes();
    ConnectError::Refused { body }
}

impl Opener for FakeOpener {
    fn open(&self, node: &Arc<Node>) -> Opening {
        let (servers, node) = (Arc::clone(&self.0), Arc::clone(node));
        Box::pin(async move {
            sleep(Duration::from_millis(3)).await;
            match servers.mood(&node) {
                Mood::Welcoming => {}
                Mood::Refusing => {
                    return Err(io::Error::from(io::ErrorKind::ConnectionRefused).into());
                }
                Mood::Crowded => return Err(refused("53300")),
                Mood::Hostile => return Err(refused("28000")),
                Mood::Silent => {
                    sleep(CONNECT_TIMEOUT).await;
                    return Err(ConnectError::Timeout(CONNECT_TIMEOUT));
                }
            }
            let (ours, theirs) = UnixStream::pair()?;
            servers.backends.lock().unwrap().push(theirs);
            let facts = Box::new(ServerFacts::new(1, vec![0; 4], Vec::new(), 10));
            let (stream, opened_at) = (Stream::Unix(ours), clock::now());
            let dialer = servers.dialer.clone();
            Ok(ServerConnection { stream, facts, node, opened_at, derived: None, dialer })
        })
    }
}

fn spec(size: u32) -> PoolSpec {
    PoolSpec {
        size,
        min_idle: 0,
        checkout_timeout: CHECKOUT_TIMEOUT,
        connect_timeout: CONNECT_TIMEOUT,
        idle_timeout: Duration::from_secs(20),
        max_lifetime: Duration::from_secs(60),
        prepared_statements: 10,
    }
}

fn roster_spec(ports: &[u16]) -> ClusterSpec {
    let node =
        |&port: &u16| NodeSpec { host: "db".to_owned(), port, weight: 1, role: RoleHint::Auto };
    ClusterSpec {
        name: "main".to_owned(),
        kind: crate::spec::ClusterKind::Streaming,
        nodes: ports.iter().map(node).collect(),
        tls: TlsSpec::default(),
        monitor: MonitorSpec {
            user: "postgres".to_owned(),
            database: "postgres".to_owned(),
            password: None,
            interval: Duration::from_millis(100),
            timeout: Duration::from_secs(1),
        },
        max_connections: 0,
    }
}

fn policy(reads: Reads) -> ReadPolicy {
    let (balance, max_staleness) = (Balance::LeastBusy, Duration::from_secs(10));
    ReadPolicy { reads, balance, max_staleness, hold: HOLD }
}

struct Scene {
    set: Arc<PoolSet>,
    board: Arc<Board>,
    roster: Roster,
    servers: Arc<Servers>,
    generation: u64,
    clients: JoinSet<()>,
    dice: Dice,
}

/// What a client is about to do.
#[derive(Debug, Clone, Copy)]
struct Visit {
    access: Access,
    reads: Reads,
    patience: Duration,
    work: Duration,
    ending: usize,
}

impl Scene {
    fn new(dice: Dice) -> Self {
        let board = Arc::new(Board::new(Topology::default()));
        let change = Change::new(roster_spec(&[4, 5, 6])).ok().unwrap();
        let roster = Roster::first(change);
        let servers = Arc::new(Servers {
            moods: Mutex::new([Mood::Welcoming; NODES + 1]),
            backends: Mutex::default(),
            dialer: Dialer::new(&TlsSpec::default()).unwrap(),
        });
        let origin = Origin {
            database: "app",
            user: "app",
            spec: &spec(3),
            roster: &roster,
            board: &board,
            runtime: &Handle::current(),
        };
        let set = PoolSet::opened_by(&origin, Arc::new(FakeOpener(Arc::clone(&servers))));
        let clients = JoinSet::new();
        let mut scene = Self { set, board, roster, servers, generation: 0, clients, dice };
        scene.publish(Some(0), &[Health::Up; NODES]);
        scene
    }

    /// The monitor says who is what.
    fn publish(&mut self, primary: Option<usize>, health: &[Health]) {
        self.generation += 1;
        let now = clock::now();
        let primary = primary.filter(|&index| index < self.roster.members.len());
        let view = |(index, node): (usize, &Arc<Node>)| {
            node.admission.set_limit(10);
            NodeView {
                node: Arc::clone(node),
                role: if primary == Some(index) { Role::Primary } else { Role::Replica },
                health: health.get(index).copied().unwrap_or(Health::Up),
                timeline: Some(1),
                fresh_as_of: Some(now + Duration::from_secs(3600)),
                replay_lsn: None,
                covers: None,
                announced_as_of: None,
                is_ahead: false,
                share: FULL_SHARE,
                standing: Standing::Good,
                latency: None,
                slowness: None,
                server_version: None,
                shard: None,
                why: None,
            }
        };
        let nodes = self.roster.nodes().enumerate().map(view).collect();
        let generation = self.generation;
        for node in self.roster.nodes() {
            node.settle_suspicions(node.suspicions());
        }
        self.board.publish(Topology {
            nodes,
            primary,
            generation,
            known: true,
            ..Topology::default()
        });
        // As the cluster does at every change.
        let topology = self.board.snapshot();
        self.set.leave(&self.roster, &topology);
        self.set.encourage(&topology);
        self.set.tend(&topology, now);
    }

    fn visit(&mut self) -> Visit {
        let dice = &mut self.dice;
        Visit {
            access: if dice.one_in(2) { Access::Primary } else { Access::Replica },
            reads: [Reads::Replicas, Reads::ReplicasOnly, Reads::Any][dice.below(3)],
            patience: if dice.one_in(4) { dice.ms(500) } else { Duration::MAX },
            work: dice.ms(300),
            ending: dice.below(10),
        }
    }

    fn strike(&mut self) {
        let index = self.dice.below(NODES + 1);
        match self.dice.below(14) {
            0..=2 => {
                let primary = Some(self.dice.below(NODES)).filter(|_| !self.dice.one_in(3));
                let healths = [Health::Up, Health::Up, Health::Suspect, Health::Down];
                let health: Vec<_> = (0..NODES).map(|_| healths[self.dice.below(4)]).collect();
                self.publish(primary, &health);
            }
            3 | 4 => {
                let moods = [Mood::Refusing, Mood::Crowded, Mood::Hostile, Mood::Silent];
                self.servers.moods.lock().unwrap()[index] = moods[self.dice.below(4)];
            }
            5 | 6 => self.servers.moods.lock().unwrap()[index] = Mood::Welcoming,
            7 => {
                let mut backends = self.servers.backends.lock().unwrap();
                let dice = &mut self.dice;
                backends.retain(|_| !dice.one_in(3));
            }
            8 => self.set.set_spec(&spec(u32::try_from(1 + self.dice.below(4)).unwrap())),
            9 => self.set.pause(),
            10 => self.set.resume(),
            11 => self.set.reconnect(),
            12 => {
                let limit = u32::try_from(self.dice.below(4)).unwrap();
                self.roster.nodes().for_each(|node| node.admission.set_limit(limit));
            }
            _ => self.reload(),
        }
    }

    /// Another list of nodes: some of the same, in another order.
    fn reload(&mut self) {
        let mut ports = vec![4, 5, 6, 7];
        ports.rotate_left(self.dice.below(4));
        ports.truncate(1 + self.dice.below(4));
        self.roster = self.roster.changed(Change::new(roster_spec(&ports)).ok().unwrap());
        self.set.follow(&self.roster);
        let primary = Some(self.dice.below(ports.len()));
        self.publish(primary, &[Health::Up; NODES]);
    }

    /// Everything is well again: whoever waits is served.
    async fn recover(&mut self) {
        *self.servers.moods.lock().unwrap() = [Mood::Welcoming; NODES + 1];
        self.set.resume();
        self.set.set_spec(&spec(3));
        self.publish(Some(0), &[Health::Up; NODES]);
        let over =
            async { while self.clients.join_next().await.is_some_and(|done| done.is_ok()) {} };
        timeout(LONGEST_WAIT * 4, over).await.expect("somebody is forgotten");
        assert!(self.clients.is_empty(), "a client has failed");
        // Attempts to connect that nobody waits for any more end by themselves.
        sleep(Duration::from_secs(30)).await;
        assert!(self.set.line.is_empty());
        for stats in self.set.stats() {
            let is_idle =
                (stats.in_use, stats.connecting, stats.waiting, stats.apart) == (0, 0, 0, 0);
            assert!(is_idle, "{stats:?}");
            assert_eq!(stats.node.open_connections(), stats.idle, "{stats:?}");
            assert_eq!((stats.node.in_flight(), stats.node.connections_apart()), (0, 0));
        }
        self.set.close();
        for node in self.roster.nodes() {
            assert_eq!(node.open_connections(), 0);
        }
    }
}

/// Whether a server may be given to a client, as far as is known at this moment.
fn check_home(board: &Board, lease: &Lease, access: Access) {
    let topology = board.topology();
    if access == Access::Primary {
        assert!(topology.is_primary(lease.node_id()), "not the primary: {lease:?}");
    }
}

async fn come_and_go(set: Arc<PoolSet>, board: Arc<Board>, visit: Visit) {
    let Visit { access, reads, patience, work, ending } = visit;
    let want = Want { access, ..Want::replica() };
    let begun = clock::now();
    let outcome = match set.checkout(&policy(reads), &want, begun) {
        Checkout::Ready(lease) => Ok(lease),
        Checkout::Refused(error) => Err(error),
        Checkout::Wait(waiting) => match timeout(patience.min(LONGEST_WAIT * 2), waiting).await {
            Ok(outcome) => outcome,
            Err(_) => {
                assert!(patience < LONGEST_WAIT, "it waits for ever");
                return;
            }
        },
    };
    let waited = clock::now() - begun;
    assert!(waited <= LONGEST_WAIT, "{waited:?}");
    let mut lease = match outcome {
        Ok(lease) => lease,
        Err(PoolError::ShuttingDown | PoolError::TooManyPools { .. }) => {
            panic!("nobody shuts down")
        }
        Err(_) => return,
    };
    check_home(&board, &lease, access);
    if ending == 9 {
        lease.set_apart();
    }
    sleep(work).await;
    match ending {
        0 => drop(lease),
        1 => {
            let _ = timeout(Duration::from_secs(1), lease.wind_down()).await;
        }
        _ => lease.hand_back(),
    }
}

async fn live(dice: Dice) -> u64 {
    let mut scene = Scene::new(dice);
    for _ in 0..EVENTS {
        for _ in 0..scene.dice.below(8) {
            let visit = scene.visit();
            scene.clients.spawn(come_and_go(
                Arc::clone(&scene.set),
                Arc::clone(&scene.board),
                visit,
            ));
        }
        let pause = scene.dice.ms(200);
        sleep(pause).await;
        for stats in scene.set.stats() {
            // One pool has the node to itself; what is over a new bound ends with its lease.
            assert!(stats.in_use + stats.idle + stats.connecting <= 2 * 4, "{stats:?}");
        }
        scene.strike();
        while scene.clients.try_join_next().is_some_and(|done| {
            done.expect("a client has failed");
            true
        }) {}
    }
    scene.recover().await;
    scene.generation
}

fn paused<T>(future: impl Future<Output = T>) -> T {
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(future)
}

#[test]
fn nobody_who_waits_is_forgotten_and_no_place_is_lost() {
    histories("lending", |dice| paused(live(dice)));
}

#[test]
fn writes_wait_for_a_primary_in_the_order_in_which_they_came() {
    const WRITERS: u32 = 50;
    let served = Arc::new(Mutex::new(Vec::new()));
    paused(async {
        let mut scene = Scene::new(Dice(1));
        scene.set.set_spec(&spec(1));
        let occupied = occupy(&scene.set).await;
        let mut writers = JoinSet::new();
        for number in 0..WRITERS {
            // The first ones wait in the old primary's queue when it goes.
            if number == WRITERS / 5 {
                scene.publish(None, &[Health::Down, Health::Up, Health::Up]);
            }
            let Checkout::Wait(waiting) =
                scene.set.checkout(&policy(Reads::Replicas), &Want::primary(), clock::now())
            else {
                panic!("there is none to be had")
            };
            let served = Arc::clone(&served);
            writers.spawn(async move {
                let lease = waiting.await.unwrap();
                served.lock().unwrap().push(number);
                sleep(Duration::from_millis(1)).await;
                lease.hand_back();
            });
            sleep(Duration::from_millis(1)).await;
        }
        scene.publish(Some(1), &[Health::Down, Health::Up, Health::Up]);
        // Whoever comes now does not get ahead.
        let late = scene.set.checkout(&policy(Reads::Replicas), &Want::primary(), clock::now());
        assert!(matches!(late, Checkout::Wait(_)));
        drop(late);
        while let Some(done) = writers.join_next().await {
            done.unwrap();
        }
        drop(occupied);
    });
    assert_eq!(*served.lock().unwrap(), (0..WRITERS).collect::<Vec<_>>());
}

/// Takes the primary's only connection.
async fn occupy(set: &Arc<PoolSet>) -> Lease {
    let until: Instant = clock::now();
    match set.checkout(&policy(Reads::Replicas), &Want::primary(), until) {
        Checkout::Ready(lease) => lease,
        Checkout::Wait(waiting) => waiting.await.unwrap(),
        Checkout::Refused(error) => panic!("{error}"),
    }
}
