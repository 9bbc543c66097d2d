//! The way to a node: its name is looked up each time, and its addresses are tried in turn.
//!
//! Nothing is remembered, for names are moved to other servers; and whether the address that was reached
//! is still one of the name's is asked from time to time ([`Lookup::has_moved`]). An address that is refused makes room
//! for the next at once; one that says nothing has a head start only ("Happy Eyeballs", RFC 8305), for
//! a dead one must not use up the time for all. A lookup that hangs occupies a thread: there is one per
//! node at most, which everybody waits for who wants to know the same.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long an address has before the next one is tried beside it.
const HEAD_START: Duration = Duration::from_millis(250);
/// Addresses of one name that are tried, at most.
const MAX_ADDRESSES: usize = 16;

/// The addresses of a name, or why there are none.
type Found = Result<Arc<[IpAddr]>, Arc<io::Error>>;

/// The lookup of one node's name that is under way, if one is.
#[derive(Debug, Default)]
pub(crate) struct Lookup {
    running: Mutex<Option<watch::Receiver<Option<Found>>>>,
    /// The address that the last connection was made to.
    reached: Mutex<Option<IpAddr>>,
}

impl Lookup {
    /// Connects to whichever of the addresses of a name answers.
    ///
    /// # Errors
    /// The system's: of the lookup, or of the last address.
    pub(crate) async fn connect(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return TcpStream::connect((address, port)).await;
        }
        let addresses = self.addresses(host).await.map_err(|error| again(&error))?;
        let whole = |address: &IpAddr| SocketAddr::new(*address, port);
        let addresses: Vec<_> = addresses.iter().map(whole).collect();
        let stream = connect_any(&addresses).await?;
        self.note_reached(Some(stream.peer_addr()?.ip()));
        Ok(stream)
    }

    fn note_reached(&self, address: Option<IpAddr>) {
        *self.reached.lock().unwrap_or_else(PoisonError::into_inner) = address;
    }

    /// Whether the name leads elsewhere than connections were made to. Said once.
    pub(crate) async fn has_moved(&self, host: &str) -> bool {
        let reached = *self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(reached) = reached else { return false };
        let Ok(found) = self.addresses(host).await else { return false };
        let has_moved = !found.is_empty() && !found.contains(&reached);
        if has_moved {
            self.note_reached(None);
        }
        has_moved
    }

    async fn addresses(&self, host: &str) -> Found {
        let mut answer = self.join_or_begin(host);
        let found = answer.wait_for(Option::is_some).await;
        let lost = || Arc::new(io::Error::other("the lookup of its name was given up"));
        found.map_err(|_| lost())?.clone().unwrap_or_else(|| Err(lost()))
    }

    /// Where the answer will be.
    fn join_or_begin(&self, host: &str) -> watch::Receiver<Option<Found>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever is through with a lookup has dropped the other end.
        if let Some(answer) = running.as_ref().filter(|answer| answer.has_changed().is_ok()) {
            return answer.clone();
        }
        let (sender, answer) = watch::channel(None);
        let host = host.to_owned();
        // Apart from whoever asks: it goes on in its thread in any case.
        tokio::spawn(async move {
            let found = lookup_host((host, 0)).await;
            let found = found.map(|all| all.take(MAX_ADDRESSES).map(|one| one.ip()).collect());
            let found = found.map_err(Arc::new);
            sender.send_replace(Some(found));
        });
        *running = Some(answer.clone());
        answer
    }
}

/// The same error once more: the system's cannot be cloned.
fn again(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

/// Connects to the first of these addresses that answers.
async fn connect_any(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let nowhere = || io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    let mut attempts = JoinSet::new();
    let mut failure = None;
    for &address in addresses {
        attempts.spawn(TcpStream::connect(address));
        if let Ok(Some(Ok(outcome))) = timeout(HEAD_START, attempts.join_next()).await {
            match outcome {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = Some(error),
            }
        }
    }
    while let Some(outcome) = attempts.join_next().await {
        match outcome {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = Some(error),
            Err(_) => {}
        }
    }
    Err(failure.unwrap_or_else(nowhere))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use socket2::{Domain, Socket, Type};
    use tokio::net::TcpListener;

    use super::*;

    /// Takes no connection and refuses none: those that it has not accepted fill its queue.
    struct BlackHole {
        address: SocketAddr,
        _listener: Socket,
        _filling: Vec<Socket>,
    }

    impl BlackHole {
        fn new() -> Self {
            let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
            listener.bind(&any.into()).unwrap();
            listener.listen(0).unwrap();
            let address = listener.local_addr().unwrap().as_socket().unwrap();
            let fill = || {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                socket.set_nonblocking(true).unwrap();
                let _ = socket.connect(&address.into());
                socket
            };
            Self { address, _filling: (0..4).map(|_| fill()).collect(), _listener: listener }
        }
    }

    async fn refused() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
    }

    #[tokio::test]
    async fn addresses_are_tried_in_turn_and_a_dead_one_has_a_head_start_only() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (hole, living) = (BlackHole::new(), listener.local_addr().unwrap());
        let begun = Instant::now();
        let stream = connect_any(&[hole.address, refused().await, living]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), living);
        assert!(begun.elapsed() >= HEAD_START, "{:?}", begun.elapsed());
        let error = connect_any(&[refused().await, refused().await]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(connect_any(&[]).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn a_name_is_looked_up_each_time_and_once_for_all_who_ask_meanwhile() {
        let lookup = Lookup::default();
        let first = lookup.join_or_begin("localhost");
        let second = lookup.join_or_begin("localhost");
        assert!(first.same_channel(&second));
        let mut answer = first.clone();
        answer.wait_for(Option::is_some).await.unwrap();
        while first.has_changed().is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(!lookup.join_or_begin("localhost").same_channel(&first));
        let listener = TcpListener::bind("localhost:0").await.unwrap();
        lookup.connect("localhost", listener.local_addr().unwrap().port()).await.unwrap();
        assert!(lookup.connect("no.such.name.invalid", 1).await.is_err());
        assert!(!lookup.has_moved("localhost").await);
        assert!(!lookup.has_moved("no.such.name.invalid").await, "nobody knows");
        lookup.note_reached(Some("203.0.113.1".parse().unwrap()));
        assert!(lookup.has_moved("localhost").await);
        assert!(!lookup.has_moved("localhost").await, "said already");
    }
}
