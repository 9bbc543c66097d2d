//! What no client should send: an error or a closed socket for the sender, nothing for anyone else.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    Client, Dice, Failure, Message, SOON, Scratch, Weir, Wire, resident, shared, until,
};

/// Broken connections of each kind.
const ATTACKS: u64 = 150;

/// What pgweir may have grown by afterwards, in bytes.
const ROOM: u64 = 16 << 20;

const USUAL: [(&str, &str); 2] = [("user", "postgres"), ("database", "postgres")];

/// Lets `attack` loose while a client works, which must not notice; pgweir must be as it was then.
fn undisturbed(name: &'static str, attack: impl Fn(&Weir, &mut Dice)) {
    let scratch = Scratch::new(name);
    scratch.prepare("CREATE TABLE item (id int); INSERT INTO item VALUES (0)");
    let weir = Weir::start(shared(), "limits.client_login_timeout = \"2s\"");
    let mut client = weir.client("postgres", scratch.name());
    let (before, _) = resident(weir.pid());
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let mut rounds = 0;
            while !is_over.load(Ordering::Relaxed) {
                client.ask("UPDATE item SET id = id + 1");
                rounds += 1;
                assert_eq!(client.ask("SELECT id FROM item"), rounds.to_string());
                assert_eq!(client.extended("SELECT id FROM item", &[]).text(), rounds.to_string());
            }
            rounds
        });
        let mut dice = Dice::new(0x7067_7765);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            (0..ATTACKS).for_each(|_| attack(&weir, &mut dice));
        }));
        is_over.store(true, Ordering::Relaxed);
        assert!(worker.join().unwrap() > 0);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
    until("the attackers to be gone", SOON, || match weir.metrics().sum("pgweir_clients", &[]) {
        1.0 => Ok(()),
        count => Err(count),
    });
    let (after, most) = resident(weir.pid());
    assert!(most < before + ROOM, "{before} bytes before, {after} after, {most} at most");
    let log = weir.log();
    assert!(!log.contains("panicked"), "{log}");
}

/// Whatever is answered: whole frames, then the end.
fn expect_an_end(wire: &mut Wire, what: &dyn Fn() -> String) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match wire.try_frame() {
            Ok(Some(frame)) => assert!(frame.tag.is_ascii_alphanumeric(), "{}: {frame:?}", what()),
            Ok(None) => return,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("neither an error nor an end: {}", what());
            }
            Err(_) => return,
        }
        assert!(Instant::now() < end, "no end: {}", what());
    }
}

/// Sends bytes whose fate does not matter, and then nothing more.
fn throw(wire: &mut Wire, bytes: &[u8]) {
    // The socket may be closed before all of it is sent.
    let _ = wire.send_bytes(bytes);
    wire.shut_down_writing();
}

#[test]
fn random_bytes_instead_of_a_startup_packet() {
    undisturbed("hostile_random", |weir, dice| {
        let length = dice.below(300);
        let bytes = dice.bytes(length);
        let mut wire = Wire::open(weir.port()).unwrap();
        throw(&mut wire, &bytes);
        // What is no protocol gets no protocol's answer necessarily; an end it gets.
        assert!(wire.is_closed(), "{bytes:?}");
    });
}

#[test]
fn random_bytes_behind_a_login() {
    undisturbed("hostile_logged_in", |weir, dice| {
        let length = 1 + dice.below(300);
        let bytes = dice.bytes(length);
        let mut client = weir.postgres();
        throw(&mut client.wire, &bytes);
        expect_an_end(&mut client.wire, &|| format!("{bytes:?}"));
    });
}

#[test]
fn a_login_cut_off_anywhere() {
    undisturbed("hostile_cut_login", |weir, dice| {
        let whole = Message::new().startup(3 << 16, &USUAL).0;
        let cut = dice.below(whole.len());
        let mut wire = Wire::open(weir.port()).unwrap();
        throw(&mut wire, &whole[..cut]);
        expect_an_end(&mut wire, &|| format!("cut at {cut}"));
    });
}

#[test]
fn a_conversation_cut_off_anywhere() {
    undisturbed("hostile_cut", |weir, dice| {
        let whole = Message::new()
            .query("BEGIN")
            .run("SELECT $1::text", &["parameter"])
            .sync()
            .query("COPY (SELECT 1) TO STDOUT")
            .query("COMMIT")
            .terminate()
            .0;
        let cut = dice.below(whole.len());
        let mut client = weir.postgres();
        throw(&mut client.wire, &whole[..cut]);
        expect_an_end(&mut client.wire, &|| format!("cut at {cut}"));
    });
}

#[test]
fn lengths_that_are_lies() {
    undisturbed("hostile_lengths", |weir, dice| {
        let lies = [0_u32, 1, 3, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x4000_0001, 5];
        let lie = lies[dice.below(lies.len())].to_be_bytes();
        let tags = b"QPBDECSHFXdcfpZ\0\xff";
        let tag = tags[dice.below(tags.len())];
        let mut bytes = [&[tag][..], &lie].concat();
        let rest = dice.below(100);
        bytes.extend(dice.bytes(rest));
        let mut client = weir.postgres();
        throw(&mut client.wire, &bytes);
        expect_an_end(&mut client.wire, &|| format!("{bytes:?}"));
        // The same instead of a startup packet.
        let mut wire = Wire::open(weir.port()).unwrap();
        throw(&mut wire, &bytes[1..]);
        assert!(wire.is_closed(), "{bytes:?}");
    });
}

#[test]
fn messages_in_an_order_that_makes_no_sense() {
    undisturbed("hostile_order", |weir, dice| {
        let mut message = Message::new();
        for _ in 0..=dice.below(8) {
            message = match dice.below(14) {
                0 => message.query("SELECT 1"),
                1 => message.parse("s", "SELECT $1::int"),
                2 => message.bind("p", "s", &["1"]),
                3 => message.bind("p", "never", &[]),
                4 => message.execute("p", 1),
                5 => message.describe(b'S', "s"),
                6 => message.describe(b'?', "s"),
                7 => message.sync(),
                8 => message.flush(),
                9 => message.copy_data(b"1\n"),
                10 => message.raw(b'c', &[]),
                11 => message.raw(b'p', b"password\0"),
                12 => message.query("COPY (SELECT 1) TO STDOUT"),
                _ => message.close(b'P', "p"),
            };
        }
        let mut client = weir.postgres();
        throw(&mut client.wire, &message.0);
        expect_an_end(&mut client.wire, &|| format!("{message:?}"));
    });
}

#[test]
fn bodies_that_are_not_what_their_tags_say() {
    undisturbed("hostile_bodies", |weir, dice| {
        let tags = b"QPBDECFf";
        let mut message = Message::new();
        for _ in 0..3 {
            let tag = tags[dice.below(tags.len())];
            let length = dice.below(40);
            message = message.raw(tag, &dice.bytes(length));
        }
        let mut client = weir.postgres();
        throw(&mut client.wire, &message.sync().0);
        expect_an_end(&mut client.wire, &|| "a broken body".to_owned());
    });
}

#[test]
fn a_login_that_takes_too_long_is_ended() {
    let weir = Weir::start(shared(), "limits.client_login_timeout = \"500ms\"");
    let mut silent = Wire::open(weir.port()).unwrap();
    let mut slow = Wire::open(weir.port()).unwrap();
    slow.send_bytes(&Message::new().startup(3 << 16, &USUAL).0[..10]).unwrap();
    for wire in [&mut silent, &mut slow] {
        let started = Instant::now();
        assert!(wire.is_closed());
        assert!(started.elapsed() < Duration::from_secs(10));
    }
    // A machine that is busy may take as long for anybody.
    let client = || Client::connect(weir.port(), "postgres", "postgres", &[]);
    assert_eq!(until("a client", SOON, client).ask("SELECT 1"), "1");
}

#[test]
fn a_broken_message_is_a_protocol_violation_in_pgweirs_own_words() {
    let weir = Weir::start(shared(), "");
    for bytes in [&b"Q\0\0\0\x01"[..], b"\xff\0\0\0\x04", b"Z\0\0\0\x05I"] {
        let mut client: Client = weir.postgres();
        client.wire.send_bytes(bytes).unwrap();
        let failure = client.wire.frame().map(|frame| Failure::parse(&frame.body)).unwrap();
        assert_eq!((failure.code(), failure.field('S')), ("08P01", "FATAL"), "{bytes:?} {failure}");
        assert!(client.wire.is_closed());
    }
}
