//! The pool against servers that are only the other ends of sockets, in virtual time.

use std::collections::VecDeque;
use std::io;

use pgweir_protocol::server::{Drawer, SequenceMemory, ServerFacts};
use tokio::net::UnixStream;
use tokio::time::{advance, timeout};

use super::*;
use crate::admission::STARVATION_PATIENCE;
use crate::dial::Dialer;
use crate::node::NodeId;
use crate::spec::{NodeSpec, RoleHint, TlsSpec};

/// A server that lets everybody in, unless it is told what else to say.
#[derive(Default)]
struct FakeServer {
    refusals: Mutex<VecDeque<ConnectError>>,
    backends: Mutex<Vec<UnixStream>>,
}

impl FakeServer {
    fn refuse_next(&self, error: ConnectError) {
        self.refusals.lock().unwrap().push_back(error);
    }

    fn opened(&self) -> usize {
        self.backends.lock().unwrap().len()
    }

    /// Ends a backend.
    fn terminate(&self, index: usize) {
        self.backends.lock().unwrap().remove(index);
    }
}

struct FakeOpener(Arc<FakeServer>);

impl Opener for FakeOpener {
    fn open(&self, node: &Arc<Node>) -> Opening {
        let (server, node) = (Arc::clone(&self.0), Arc::clone(node));
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            if let Some(error) = server.refusals.lock().unwrap().pop_front() {
                return Err(error);
            }
            let (ours, theirs) = UnixStream::pair()?;
            let pid = {
                let mut backends = server.backends.lock().unwrap();
                backends.push(theirs);
                i32::try_from(backends.len()).unwrap()
            };
            let facts = Box::new(ServerFacts::new(pid, vec![0; 4], Vec::new(), 10));
            let stream = Stream::Unix(ours);
            let opened_at = clock::now();
            let dialer = Dialer::new(&TlsSpec::default()).unwrap();
            Ok(ServerConnection { stream, facts, node, opened_at, derived: None, dialer })
        })
    }
}

struct Scene {
    node: Arc<Node>,
    server: Arc<FakeServer>,
}

fn spec(size: u32) -> PoolSpec {
    PoolSpec {
        size,
        min_idle: 0,
        checkout_timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(5),
        idle_timeout: Duration::ZERO,
        max_lifetime: Duration::ZERO,
        prepared_statements: 10,
    }
}

impl Scene {
    fn new(limit: u32) -> Self {
        let host = "db".to_owned();
        let spec = NodeSpec { host, port: 5432, weight: 1, role: RoleHint::Auto };
        let node = Arc::new(Node::new(NodeId(0), &spec, Arc::new(Notify::new())));
        node.admission.set_limit(limit);
        Self { node, server: Arc::default() }
    }

    fn pool(&self, spec: &PoolSpec) -> Arc<NodePool> {
        let opener = Arc::new(FakeOpener(Arc::clone(&self.server)));
        NodePool::new(Arc::clone(&self.node), opener, Handle::current(), spec, true)
    }
}

/// A connection, sooner or later.
async fn checkout(pool: &Arc<NodePool>) -> Lease {
    match pool.try_checkout(&Fit::any()) {
        Some(lease) => lease,
        None => pool.enqueue(0).unwrap().turn().await.unwrap(),
    }
}

fn pid(lease: &Lease) -> i32 {
    lease.cancel.pid()
}

fn give_back(mut lease: Lease) {
    let facts = lease.take_facts().unwrap();
    lease.give_back(facts);
}

/// Whether it is somebody's turn right away.
async fn is_served(place: &mut Place) -> Option<Lease> {
    timeout(Duration::from_millis(5), place.turn()).await.ok().map(Result::unwrap)
}

#[tokio::test(start_paused = true)]
async fn a_client_gets_the_connection_that_remembers_its_sequences_and_others_leave_it() {
    let scene = Scene::new(10);
    let pool = scene.pool(&spec(3));
    let (mine, nobodys) = (checkout(&pool).await, checkout(&pool).await);
    let (my_pid, nobodys_pid) = (pid(&mine), pid(&nobodys));
    let drawer = Drawer::new(1);
    give_back(nobodys);
    let mut mine = mine;
    let mut facts = mine.take_facts().unwrap();
    facts.sequences = SequenceMemory::Of(drawer);
    mine.give_back(facts);
    let fit = |drawer, recalls_sequences| Fit {
        settings_mark: Some(0),
        drawer: Some(drawer),
        recalls_sequences,
        ..Fit::any()
    };
    let of = |fit: Fit| {
        let lease = pool.try_checkout(&fit).unwrap();
        let pid = pid(&lease);
        give_back(lease);
        pid
    };
    for recalls in [false, true] {
        assert_eq!(of(fit(Drawer::new(2), recalls)), nobodys_pid);
        assert_eq!(of(fit(drawer.moved(), recalls)), nobodys_pid);
        assert_eq!(of(fit(drawer, recalls)), my_pid);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_comes_back_to_the_connection_it_had_last() {
    let scene = Scene::new(10);
    let pool = scene.pool(&spec(6));
    let mut leases = Vec::new();
    for _ in 0..6 {
        leases.push(checkout(&pool).await);
    }
    let pids: Vec<i32> = leases.iter().map(pid).collect();
    for (session, mut lease) in (0..).zip(leases) {
        let mut facts = lease.take_facts().unwrap();
        facts.last_session = Some(session);
        lease.give_back(facts);
    }
    for session in [0, 3, 5, 1, 0] {
        let lease = pool.try_checkout(&Fit { session: Some(session), ..Fit::any() }).unwrap();
        assert_eq!(pid(&lease), pids[usize::try_from(session).unwrap()]);
        give_back(lease);
    }
    let stranger = pool.try_checkout(&Fit { session: Some(9), ..Fit::any() }).unwrap();
    assert_eq!(pid(&stranger), pids[0], "the one used last");
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_used_again() {
    let scene = Scene::new(10);
    let pool = scene.pool(&spec(2));
    assert!(pool.try_checkout(&Fit::any()).is_none());
    let lease = checkout(&pool).await;
    assert_eq!((scene.node.in_flight(), scene.node.open_connections()), (1, 1));
    give_back(lease);
    assert_eq!(scene.node.in_flight(), 0);
    for _ in 0..10 {
        give_back(pool.try_checkout(&Fit::any()).unwrap());
    }
    assert_eq!(scene.server.opened(), 1);
    assert_eq!(pool.stats().checkouts, 11);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_dropped_is_closed_and_its_place_is_free() {
    let scene = Scene::new(1);
    let pool = scene.pool(&spec(1));
    drop(checkout(&pool).await);
    assert_eq!((scene.node.in_flight(), scene.node.open_connections()), (0, 0));
    give_back(checkout(&pool).await);
    assert_eq!(scene.server.opened(), 2);
}

#[tokio::test(start_paused = true)]
async fn clients_are_served_in_the_order_in_which_they_came() {
    let scene = Scene::new(10);
    let pool = scene.pool(&spec(1));
    let mut lease = checkout(&pool).await;
    let mut places: Vec<_> = (0..5).map(|_| pool.enqueue(0).unwrap()).collect();
    // One of them leaves.
    drop(places.remove(2));
    assert_eq!(pool.stats().waiting, 4);
    for index in 0..places.len() {
        give_back(lease);
        for later in &mut places[index + 1..] {
            assert!(is_served(later).await.is_none());
        }
        lease = is_served(&mut places[index]).await.unwrap();
        assert!(pool.try_checkout(&Fit::any()).is_none());
    }
    assert_eq!(scene.server.opened(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_came_earlier_goes_ahead_also_if_it_was_in_another_queue_before() {
    let scene = Scene::new(10);
    let pool = scene.pool(&spec(1));
    let mut lease = checkout(&pool).await;
    let mut places: Vec<_> =
        [5, 3, 9, 4].into_iter().map(|ticket| (ticket, pool.enqueue(ticket).unwrap())).collect();
    places.sort_by_key(|(ticket, _)| *ticket);
    for (_, place) in &mut places {
        give_back(lease);
        lease = is_served(place).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn clients_that_leave_do_not_pile_up() {
    let scene = Scene::new(10);
    let pool = scene.pool(&spec(1));
    let lease = checkout(&pool).await;
    let mut patient = pool.enqueue(0).unwrap();
    for _ in 0..1000 {
        drop(pool.enqueue(0).unwrap());
        assert!(pool.inner().waiters.len() <= 3);
    }
    give_back(lease);
    assert!(is_served(&mut patient).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn what_was_handed_to_a_client_that_left_goes_to_the_next() {
    let scene = Scene::new(10);
    let pool = scene.pool(&spec(1));
    let lease = checkout(&pool).await;
    let first = pool.enqueue(0).unwrap();
    let mut second = pool.enqueue(0).unwrap();
    give_back(lease);
    drop(first);
    assert!(is_served(&mut second).await.is_some());
    assert_eq!(scene.server.opened(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_more_connections_are_opened_than_the_size_and_the_clients_call_for() {
    let scene = Scene::new(100);
    let pool = scene.pool(&spec(3));
    let mut places: Vec<_> = (0..10).map(|_| pool.enqueue(0).unwrap()).collect();
    assert_eq!(pool.stats().connecting, 3);
    let mut leases = Vec::new();
    for place in &mut places[..3] {
        leases.push(is_served(place).await.unwrap());
    }
    assert!(is_served(&mut places[3]).await.is_none());
    assert_eq!((scene.server.opened(), pool.stats().in_use), (3, 3));
    drop(places);
    leases.into_iter().for_each(give_back);
    assert_eq!((pool.stats().idle, pool.stats().waiting), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_whose_client_left_is_finished_for_the_next() {
    let scene = Scene::new(10);
    let pool = scene.pool(&spec(1));
    let mut place = pool.enqueue(0).unwrap();
    assert!(timeout(Duration::from_micros(500), place.turn()).await.is_err());
    drop(place);
    timeout(Duration::from_secs(1), async {
        while pool.stats().idle == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(pool.stats().connects, 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_the_server_closed_is_not_handed_out() {
    let scene = Scene::new(10);
    let pool = scene.pool(&spec(2));
    let (first, second) = (checkout(&pool).await, checkout(&pool).await);
    let living = pid(&first);
    give_back(first);
    give_back(second);
    scene.server.terminate(1);
    // Lets the runtime notice.
    tokio::time::sleep(Duration::from_millis(1)).await;
    let lease = pool.try_checkout(&Fit::any()).unwrap();
    assert_eq!(pid(&lease), living);
    assert_eq!(scene.node.open_connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_last_used_comes_first() {
    let scene = Scene::new(10);
    let pool = scene.pool(&spec(3));
    let leases = [checkout(&pool).await, checkout(&pool).await, checkout(&pool).await];
    let pids: Vec<_> = leases.iter().map(pid).collect();
    leases.into_iter().for_each(give_back);
    assert_eq!(pid(&checkout(&pool).await), pids[2]);
}

fn refused(code: &str) -> ConnectError {
    let body = format!("SFATAL\0VFATAL\0C{code}\0Mno\0\0").into_bytes();
    ConnectError::Refused { body }
}

#[tokio::test(start_paused = true)]
async fn a_refused_login_is_told_to_everybody_who_waits_and_tried_again_at_once() {
    let scene = Scene::new(10);
    let pool = scene.pool(&spec(1));
    scene.server.refuse_next(refused("28P01"));
    let mut places = [pool.enqueue(0).unwrap(), pool.enqueue(0).unwrap()];
    for place in &mut places {
        let Err(Unserved::Failed(error)) = place.turn().await else { panic!("served") };
        assert_eq!(error.fault(), Fault::Login);
    }
    assert!(!scene.node.is_suspected());
    assert!(is_served(&mut pool.enqueue(0).unwrap()).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_cannot_be_reached_is_suspected_and_left_alone_for_a_while() {
    let scene = Scene::new(10);
    let pool = scene.pool(&spec(5));
    for _ in 0..2 {
        scene.server.refuse_next(ConnectError::Io(io::ErrorKind::ConnectionRefused.into()));
    }
    for _ in 0..2 {
        let outcome = pool.enqueue(0).unwrap().turn().await;
        assert!(matches!(outcome, Err(Unserved::Failed(_))));
    }
    assert!(scene.node.is_suspected());
    // In trouble there is one attempt at a time, and it does not come at once.
    let mut places: Vec<_> = (0..3).map(|_| pool.enqueue(0).unwrap()).collect();
    assert_eq!(pool.stats().connecting, 1);
    assert!(is_served(&mut places[0]).await.is_none());
    pool.forget_trouble();
    for place in &mut places {
        assert!(is_served(place).await.is_some(), "{:?}", pool.stats());
    }
}

#[tokio::test(start_paused = true)]
async fn a_crowded_server_is_waited_for() {
    let scene = Scene::new(10);
    let pool = scene.pool(&spec(2));
    for _ in 0..3 {
        scene.server.refuse_next(refused("53300"));
    }
    let mut place = pool.enqueue(0).unwrap();
    let lease = timeout(Duration::from_secs(2), place.turn()).await.unwrap().unwrap();
    assert_eq!(pool.stats().connect_failures, 3);
    assert!(!scene.node.is_suspected());
    drop(lease);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_of_another_pool_makes_room() {
    let scene = Scene::new(2);
    let (one, other) = (scene.pool(&spec(2)), scene.pool(&spec(2)));
    let leases = [checkout(&one).await, checkout(&one).await];
    leases.into_iter().for_each(give_back);
    let _lease = checkout(&other).await;
    assert_eq!((one.stats().idle, other.stats().in_use), (1, 1));
    assert_eq!(scene.node.open_connections(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_while_another_pool_starves_makes_room() {
    let scene = Scene::new(1);
    let (one, other) = (scene.pool(&spec(1)), scene.pool(&spec(1)));
    let lease = checkout(&one).await;
    let mut place = other.enqueue(0).unwrap();
    assert!(is_served(&mut place).await.is_none());
    give_back(lease);
    assert!(is_served(&mut place).await.is_some());
}

#[tokio::test]
async fn a_busy_pool_does_not_starve_another_for_ever() {
    let scene = Scene::new(1);
    let (busy, other) = (scene.pool(&spec(1)), scene.pool(&spec(1)));
    let mut lease = checkout(&busy).await;
    let mut place = other.enqueue(0).unwrap();
    let mut rounds = 0;
    let starved = Instant::now();
    let lucky = loop {
        // Somebody always waits in the busy pool.
        let mut next = busy.enqueue(0).unwrap();
        give_back(lease);
        tokio::select! {
            turn = next.turn() => lease = turn.unwrap(),
            turn = place.turn() => break turn.unwrap(),
        }
        rounds += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(starved.elapsed() < STARVATION_PATIENCE * 20, "{rounds} rounds");
    };
    assert!(rounds > 1, "not before patience has run out");
    drop(lucky);
}

#[tokio::test(start_paused = true)]
async fn housekeeping_keeps_the_least_number_ready_and_closes_the_rest_in_time() {
    let scene = Scene::new(10);
    let timeout = Duration::from_secs(60);
    let pool = scene.pool(&PoolSpec { min_idle: 2, idle_timeout: timeout, ..spec(5) });
    pool.tend(clock::now(), true);
    let leases = [checkout(&pool).await, checkout(&pool).await, checkout(&pool).await];
    leases.into_iter().for_each(give_back);
    pool.tend(clock::now(), true);
    assert_eq!(pool.stats().idle, 3);
    pool.tend(clock::now() + timeout, true);
    assert_eq!(pool.stats().idle, 2);
    // One of them dies; it is replaced.
    scene.server.terminate(0);
    scene.server.terminate(0);
    scene.server.terminate(0);
    tokio::time::sleep(Duration::from_millis(1)).await;
    pool.tend(clock::now(), true);
    assert_eq!((pool.stats().idle, pool.stats().connecting), (0, 2));
    advance(Duration::from_millis(10)).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!((pool.stats().idle, pool.stats().connecting), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_too_old_ends_with_its_lease_or_while_idle() {
    let scene = Scene::new(10);
    let lifetime = Duration::from_secs(3600);
    let pool = scene.pool(&PoolSpec { max_lifetime: lifetime, ..spec(5) });
    give_back(checkout(&pool).await);
    pool.tend(clock::now() + lifetime / 2, true);
    assert_eq!(pool.stats().idle, 1);
    pool.tend(clock::now() + lifetime, true);
    assert_eq!(pool.stats().idle, 0);
    let brief = scene.pool(&PoolSpec { max_lifetime: Duration::from_nanos(1), ..spec(5) });
    let lease = checkout(&brief).await;
    advance(Duration::from_millis(1)).await;
    give_back(lease);
    assert_eq!(brief.stats().idle, 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_of_an_earlier_era_is_used_again() {
    let scene = Scene::new(10);
    let pool = scene.pool(&spec(5));
    let (out, idle) = (checkout(&pool).await, checkout(&pool).await);
    give_back(idle);
    pool.renew();
    assert_eq!(pool.stats().idle, 0);
    give_back(out);
    assert_eq!((pool.stats().idle, scene.node.open_connections()), (0, 0));
    give_back(checkout(&pool).await);
    assert_eq!(pool.stats().idle, 1);
}

#[tokio::test(start_paused = true)]
async fn where_a_name_leads_elsewhere_connections_are_made_anew() {
    let scene = Scene::new(10);
    let pool = scene.pool(&spec(5));
    let (out, idle) = (checkout(&pool).await, checkout(&pool).await);
    give_back(idle);
    pool.tend(clock::now(), true);
    assert_eq!(pool.stats().idle, 1);
    scene.node.moved();
    pool.tend(clock::now(), true);
    give_back(out);
    assert_eq!((pool.stats().idle, scene.node.open_connections()), (0, 0));
    give_back(checkout(&pool).await);
    pool.tend(clock::now(), true);
    assert_eq!(pool.stats().idle, 1);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_shrinks_closes_what_comes_back() {
    let scene = Scene::new(10);
    let pool = scene.pool(&spec(2));
    let leases = [checkout(&pool).await, checkout(&pool).await];
    pool.set_spec(&spec(1));
    leases.into_iter().for_each(give_back);
    assert_eq!((pool.stats().idle, scene.node.open_connections()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_closed_refuses_and_closes_what_comes_back() {
    let scene = Scene::new(10);
    let pool = scene.pool(&spec(1));
    let lease = checkout(&pool).await;
    let mut waiting = pool.enqueue(0).unwrap();
    pool.close();
    assert!(matches!(waiting.turn().await, Err(Unserved::Closed)));
    assert!(matches!(pool.enqueue(0).unwrap().turn().await, Err(Unserved::Closed)));
    give_back(lease);
    assert!(pool.is_empty());
    assert_eq!(scene.node.open_connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_set_apart_makes_room_for_whoever_waits() {
    let scene = Scene::new(10);
    let pool = scene.pool(&spec(1));
    let mut kept = checkout(&pool).await;
    let mut waiter = pool.enqueue(0).unwrap();
    assert!(is_served(&mut waiter).await.is_none());
    assert!(kept.set_apart() && kept.set_apart());
    let other = is_served(&mut waiter).await.unwrap();
    let stats = pool.stats();
    assert_eq!((stats.in_use, stats.apart, scene.node.connections_apart()), (1, 1, 1));
    // An idle listener is no work for its node.
    assert_eq!((scene.node.in_flight(), scene.node.open_connections()), (1, 2));
    // There is no room for it when it comes back, and then there is.
    give_back(kept);
    assert_eq!((pool.stats().in_use, pool.stats().idle, pool.stats().apart), (1, 0, 0));
    give_back(other);
    let mut kept = checkout(&pool).await;
    assert!(kept.set_apart());
    let back = pid(&kept);
    give_back(kept);
    assert_eq!((pool.stats().idle, pool.stats().apart), (1, 0));
    assert_eq!(pid(&pool.try_checkout(&Fit::any()).unwrap()), back);
    assert_eq!((scene.node.in_flight(), scene.node.connections_apart()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_set_apart_and_dropped_is_gone() {
    let scene = Scene::new(4);
    let pool = scene.pool(&spec(4));
    let mut leases = Vec::new();
    for _ in 0..3 {
        leases.push(checkout(&pool).await);
    }
    // Two of four may be.
    let apart: Vec<_> = leases.iter_mut().map(Lease::set_apart).collect();
    assert_eq!(apart, [true, true, false]);
    assert_eq!((pool.stats().in_use, pool.stats().apart), (1, 2));
    drop(leases.remove(0));
    assert!(leases[1].set_apart());
    drop(leases);
    assert!(pool.is_empty());
    assert_eq!((scene.node.open_connections(), scene.node.in_flight()), (0, 0));
}
