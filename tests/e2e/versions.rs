//! Protocol 3.2 towards servers, whatever version of PostgreSQL this machine has: a real server behind
//! a front that speaks the newer protocol for it.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use pgweir_sandbox::{Node, PortLease};

use crate::harness::{Client, Dice, Message, SOON, Weir, Wire, shared, until};

const SSL_REQUEST: u32 = 80_877_103;
const CANCEL_REQUEST: u32 = 80_877_102;

/// The longest cancel key that the protocol has, in bytes.
const LONGEST_KEY: usize = 256;

/// What a front does when it is asked for 3.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Speaks it, with keys as long as can be.
    Speaks,
    /// Goes back to 3.0, as PostgreSQL before 18 does.
    GoesBack,
    /// Refuses, as proxies that know no negotiation do.
    Refuses,
}

/// What a front has seen, and the keys it gave out.
#[derive(Debug)]
struct Front {
    manner: Manner,
    server: u16,
    /// `server_version_num` as the server has it, and as it is shown.
    versions: (String, String),
    minors: Mutex<Vec<u32>>,
    /// Of a backend: the key given out, and the server's own.
    keys: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
    cancels: Mutex<Vec<Vec<u8>>>,
}

impl Front {
    /// Stands in front of a server that shows this version; gives its port too.
    fn start(node: &Node, manner: Manner, version: &str) -> (Arc<Self>, PortLease) {
        let own = node.psql("SHOW server_version_num").unwrap();
        assert_eq!(own.len(), version.len());
        let front = Arc::new(Self {
            manner,
            server: node.port(),
            versions: (own, version.to_owned()),
            minors: Mutex::default(),
            keys: Mutex::default(),
            cancels: Mutex::default(),
        });
        let port = PortLease::any().unwrap();
        let listener = TcpListener::bind(("127.0.0.1", port.port())).unwrap();
        let shared = front.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let front = shared.clone();
                thread::spawn(move || front.serve(client));
            }
        });
        (front, port)
    }

    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let mut packet = read_packet(&mut client)?;
        if word(&packet) == SSL_REQUEST {
            client.write_all(b"N")?;
            packet = read_packet(&mut client)?;
        }
        let mut server = TcpStream::connect(("127.0.0.1", self.server))?;
        if word(&packet) == CANCEL_REQUEST {
            self.cancels.lock().unwrap().push(packet[8..].to_vec());
            let key = self.keys.lock().unwrap().get(&packet[4..]).cloned();
            let key = key.unwrap_or_else(|| packet[4..].to_vec());
            let request = [&CANCEL_REQUEST.to_be_bytes()[..], &key].concat();
            server.write_all(&Message::new().packet(&request).0)?;
            server.read_to_end(&mut Vec::new())?;
            return Ok(());
        }
        let minor = word(&packet) & 0xffff;
        self.minors.lock().unwrap().push(minor);
        packet[..4].copy_from_slice(&(3_u32 << 16).to_be_bytes());
        if minor > 0 && self.manner == Manner::Refuses {
            let error = b"SFATAL\0VFATAL\0C08P01\0Munsupported protocol version\0\0";
            return client.write_all(&Message::new().raw(b'E', error).0);
        }
        if minor > 0 && self.manner == Manner::GoesBack {
            client.write_all(&Message::new().raw(b'v', b"\0\x03\0\0\0\0\0\0").0)?;
        }
        server.write_all(&Message::new().packet(&packet).0)?;
        let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            to.shutdown(Shutdown::Write)
        });
        let answered = self.answer(&mut server, &mut client, minor);
        let _ = client.shutdown(Shutdown::Both);
        answered
    }

    /// Passes what the server says, with its version and its keys exchanged.
    fn answer(&self, server: &mut TcpStream, client: &mut TcpStream, minor: u32) -> io::Result<()> {
        let (own, shown) = (self.versions.0.as_bytes(), self.versions.1.as_bytes());
        loop {
            let mut tag = [0];
            server.read_exact(&mut tag)?;
            let mut body = read_packet(server)?;
            if tag == *b"K" && minor > 0 && self.manner == Manner::Speaks {
                let seed = u64::from(word(&body));
                let long = [&body[..4], &Dice::new(seed).bytes(LONGEST_KEY)].concat();
                self.keys.lock().unwrap().insert(long.clone(), body);
                body = long;
            }
            while let Some(at) = body.windows(own.len()).position(|found| found == own) {
                if own == shown {
                    break;
                }
                body[at..at + own.len()].copy_from_slice(shown);
            }
            client.write_all(&Message::new().raw(tag[0], &body).0)?;
        }
    }

    fn minors(&self) -> Vec<u32> {
        let mut minors = self.minors.lock().unwrap().clone();
        minors.sort_unstable();
        minors.dedup();
        minors
    }
}

/// A length and what it counts, without the length.
fn read_packet(from: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut packet = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap() - 4];
    from.read_exact(&mut packet)?;
    Ok(packet)
}

fn word(packet: &[u8]) -> u32 {
    u32::from_be_bytes(packet[..4].try_into().unwrap())
}

/// A pgweir in front of a front.
fn behind(port: &PortLease) -> Weir {
    Weir::setup(shared())
        .config(&format!("clusters.main.nodes = [\"127.0.0.1:{}\"]", port.port()))
        .without_waiting_for_nodes()
        .start()
}

/// Runs something for long, and cancels it with this client's key.
#[track_caller]
fn cancels(weir: &Weir, client: &mut Client, mark: &str) {
    client.wire.send(&Message::new().query(&format!("SELECT pg_sleep(600) /* {mark} */")));
    let running = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%/* {mark} %'
         AND state = 'active' AND pid <> pg_backend_pid()"
    );
    until("it to run", SOON, || match shared().primary().psql(&running).unwrap().as_str() {
        "1" => Ok(()),
        other => Err(other.to_owned()),
    });
    let mut wire = Wire::open(weir.port()).unwrap();
    let body = [&CANCEL_REQUEST.to_be_bytes()[..], &client.key].concat();
    wire.send(&Message::new().packet(&body));
    assert!(wire.is_closed());
    assert_eq!(client.reply().failure.unwrap().code(), "57014", "{mark}");
}

#[test]
fn a_server_of_the_newest_protocol_gives_long_keys_and_takes_them_back() {
    let (front, port) = Front::start(shared().primary(), Manner::Speaks, "180000");
    let weir = behind(&port);
    let parameters = [("user", "postgres"), ("database", "postgres")];
    for minor in [0, 2] {
        let mut wire = Wire::open(weir.port()).unwrap();
        wire.send(&Message::new().startup((3 << 16) | minor, &parameters));
        let mut client = Client::finish_login(wire).unwrap();
        cancels(&weir, &mut client, &format!("versions_speaks_{minor}"));
        assert_eq!(client.ask("SELECT 1"), "1");
    }
    // The monitor's own connections ask for 3.0.
    assert_eq!(front.minors(), [0, 2]);
    let given = front.keys.lock().unwrap().clone();
    let taken = front.cancels.lock().unwrap().clone();
    assert_eq!(taken.len(), 2);
    for key in taken {
        assert_eq!(key.len(), LONGEST_KEY);
        assert!(given.keys().any(|given| given[4..] == key), "a key that was not given");
    }
}

#[test]
fn what_does_not_speak_the_newest_protocol_is_spoken_to_in_the_oldest() {
    let rows = [
        ("versions_goes_back", Manner::GoesBack, "180000", vec![0, 2]),
        ("versions_refuses", Manner::Refuses, "180000", vec![0, 2]),
        // Who is known to be older is not asked.
        ("versions_older", Manner::Refuses, "170009", vec![0]),
    ];
    for (mark, manner, version, minors) in rows {
        let (front, port) = Front::start(shared().primary(), manner, version);
        let weir = behind(&port);
        let mut client = weir.postgres();
        assert_eq!(client.ask("SELECT 1"), "1", "{mark}");
        cancels(&weir, &mut client, mark);
        assert_eq!(front.minors(), minors, "{mark}");
        assert!(front.cancels.lock().unwrap().iter().all(|key| key.len() == 4), "{mark}");
    }
}
