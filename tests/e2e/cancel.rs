//! Cancel requests at random: each reaches the client it was meant for, or nobody.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Client, Dice, Message, Scratch, Weir, Wire, shared};

/// Clients that may be cancelled, as many that nobody means to cancel, and threads that cancel.
const TARGETS: usize = 12;
const CANCELLERS: usize = 4;
/// Server connections per pool and node: every one changes hands all the time.
const SERVERS: usize = 3;
/// Statements after which a target leaves, and another takes its place.
const LIFETIME: usize = 60;

/// Code that changes a setting out of sight.
const HIDDEN: &str = "DO $$BEGIN PERFORM set_config('storm.turn', now()::text, false); END$$";

/// How long it goes on.
const STORM: Duration = Duration::from_secs(5);

/// A storm: until when, over whom, and what came of it.
struct Storm<'a> {
    weir: &'a Weir,
    database: &'a str,
    end: Instant,
    /// The keys of the targets, those that have left for a while too.
    keys: Vec<Mutex<Vec<u8>>>,
    answered: AtomicUsize,
    cancelled: AtomicUsize,
}

impl Storm<'_> {
    fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }

    /// A client whose server connections have to be brought to its settings first.
    fn client(&self, name: &str) -> Client {
        let settings = [("application_name", name)];
        Client::connect(self.weir.port(), "postgres", self.database, &settings).unwrap()
    }

    /// Runs a short statement whose answer tells whose it is; true if it was cancelled.
    fn turn(&self, client: &mut Client, name: &str, dice: &mut Dice, mark: &str) -> bool {
        let hint = ["primary", "replica"][dice.below(2)];
        let millis = dice.below(8);
        let sql = format!(
            "/* pgweir: {hint} */ SELECT '{mark}', current_setting('application_name')
             FROM pg_sleep(0.00{millis})"
        );
        client.wire.send(&match dice.below(6) {
            0 => Message::new().query(&format!("BEGIN; {sql}; COMMIT")),
            1 => Message::new().run(&sql, &[]).sync(),
            // What it does to its session the server is asked about.
            2 => Message::new().query(&format!("{sql}; {HIDDEN}")),
            _ => Message::new().query(&sql),
        });
        let reply = client.reply();
        let Some(failure) = reply.failure else {
            assert_eq!(reply.rows, [[mark, name].map(|cell| Some(cell.to_owned()))]);
            self.answered.fetch_add(1, Ordering::Relaxed);
            return false;
        };
        assert_eq!(failure.code(), "57014", "{mark}: {failure}");
        self.cancelled.fetch_add(1, Ordering::Relaxed);
        // It may be waiting for a connection again, and be cancelled again.
        while reply.status != 'I' && client.query("ROLLBACK").status != 'I' {}
        true
    }

    /// A client whose key is known to those who cancel.
    fn target(&self, number: usize) {
        let mut dice = Dice::new(u64::try_from(number).unwrap());
        let name = format!("target {number}");
        while !self.is_over() {
            let mut client = self.client(&name);
            self.keys[number].lock().unwrap().clone_from(&client.key);
            for turn in 0..LIFETIME {
                self.turn(&mut client, &name, &mut dice, &format!("turn {turn}"));
            }
        }
    }

    /// A client that nobody means.
    fn bystander(&self, number: usize) {
        let mut dice = Dice::new(u64::try_from(1000 + number).unwrap());
        let name = format!("bystander {number}");
        let mut client = self.client(&name);
        let mut turn = 0;
        while !self.is_over() {
            let mark = format!("turn {turn}");
            let is_cancelled = self.turn(&mut client, &name, &mut dice, &mark);
            assert!(!is_cancelled, "{name} was cancelled in {mark}");
            turn += 1;
        }
    }

    /// Cancels now this one, now that one; every third time with a key that is not quite right.
    fn cancel(&self, number: usize) {
        let mut dice = Dice::new(u64::try_from(2000 + number).unwrap());
        while !self.is_over() {
            let mut key = self.keys[dice.below(TARGETS)].lock().unwrap().clone();
            if dice.below(3) == 0
                && let Some(last) = key.last_mut()
            {
                *last ^= 1;
            }
            let mut wire = Wire::open(self.weir.port()).unwrap();
            let request = [&80_877_102_u32.to_be_bytes()[..], &key].concat();
            wire.send(&Message::new().packet(&request));
            // Drivers wait until it is taken, or do not.
            if dice.below(2) == 0 {
                assert!(wire.is_closed());
            }
            thread::sleep(Duration::from_micros(u64::try_from(dice.below(3000)).unwrap()));
        }
    }
}

#[test]
fn a_cancel_request_never_reaches_another_client_however_connections_change_hands() {
    let scratch = Scratch::new("cancel_storm");
    let config = format!("pool.size = {SERVERS}\npool.checkout_timeout = \"30s\"");
    let weir = Weir::start(shared(), &config);
    let storm = Storm {
        weir: &weir,
        database: scratch.name(),
        end: Instant::now() + STORM,
        // Nobody's, until they are there.
        keys: (0..TARGETS).map(|_| Mutex::new(vec![0; 8])).collect(),
        answered: AtomicUsize::new(0),
        cancelled: AtomicUsize::new(0),
    };
    thread::scope(|scope| {
        let storm = &storm;
        for number in 0..TARGETS {
            scope.spawn(move || storm.target(number));
            scope.spawn(move || storm.bystander(number));
        }
        for number in 0..CANCELLERS {
            scope.spawn(move || storm.cancel(number));
        }
    });
    let (answered, cancelled) = (storm.answered.into_inner(), storm.cancelled.into_inner());
    assert!(answered > 200 && cancelled > 50, "{answered} answered, {cancelled} cancelled");
}
