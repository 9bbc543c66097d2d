//! Listening sockets, and a task per client.
//!
//! What is listened on is a list of [`Place`]s, which a reload may change: the sockets of places that are
//! new are bound before anything else happens, for that can fail; those of places that are gone are
//! closed after everything else, and whoever has come in by them stays.

use std::fmt;
use std::fs::{Permissions, set_permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt as _;
use pgweir_pool::Stream;
use rustix::net::sockopt::set_socket_reuseport;
use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket, UnixListener, lookup_host};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::{Address, Config};
use crate::gateway::{Gateway, Phase};
use crate::http;

use super::login;

/// Connections the kernel keeps for us while we are busy, per socket.
const BACKLOG: u32 = 1024;

/// Everyone who reaches the socket's directory may connect; who they are is asked then. Like
/// PostgreSQL's `unix_socket_permissions`, whatever the umask.
const SOCKET_MODE: u32 = 0o777;

/// How long accepting rests when the system has no descriptor to give.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// The port in the name of a Unix socket where there is no address.
const USUAL_PORT: u16 = 6432;

/// A socket cannot be listened on.
#[derive(Debug, Error)]
#[error("cannot listen on {place}: {error}")]
pub struct ListenError {
    /// Where.
    pub place: Place,
    /// What the system says.
    pub error: io::Error,
}

/// Something that is listened on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// An address for clients.
    Tcp(Address),
    /// A Unix socket for clients.
    Unix(PathBuf),
    /// The address of the HTTP side.
    Http(Address),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Http(address) => write!(f, "{address} for HTTP"),
        }
    }
}

impl Place {
    /// The key of the configuration that says so.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::Tcp(_) => "listen.address",
            Self::Unix(_) => "listen.unix_socket_dir",
            Self::Http(_) => "http.address",
        }
    }

    /// What a configuration wants listened on.
    fn all(config: &Config) -> Vec<Self> {
        let listen = &config.listen;
        let mut places: Vec<Self> = listen.address.iter().cloned().map(Self::Tcp).collect();
        if let Some(directory) = &listen.unix_socket_dir {
            let port = listen.address.first().map_or(USUAL_PORT, |address| address.port);
            places.push(Self::Unix(directory.join(format!(".s.PGSQL.{port}"))));
        }
        places.extend(config.http.address.clone().map(Self::Http));
        places
    }
}

/// A bound socket.
#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A place with its sockets.
#[derive(Debug)]
struct Door {
    place: Place,
    /// Until they are served from.
    bound: Vec<Arc<Socket>>,
    /// They close with their tasks.
    sockets: Vec<Weak<Socket>>,
    /// Dropped, it ends the accepting.
    open: watch::Sender<()>,
    tasks: Vec<JoinHandle<()>>,
}

/// Everything that is listened on.
#[derive(Debug, Default)]
pub struct Listeners {
    doors: Vec<Door>,
}

/// A change of what is listened on, up to which nothing can fail any more.
#[derive(Debug)]
pub(crate) struct Rebuilding {
    places: Vec<Place>,
    new: Vec<Door>,
}

impl Listeners {
    /// Binds every socket of the configuration.
    ///
    /// # Errors
    /// The first that cannot be bound.
    pub async fn bind(config: &Config) -> Result<Self, ListenError> {
        let rebuilding = Self::default().prepare(config).await?;
        Ok(Self { doors: rebuilding.new })
    }

    /// The TCP addresses bound for clients.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.doors.iter().flat_map(Door::addresses).collect()
    }

    /// Lets clients in until pgweir drains.
    pub fn serve(&mut self, gateway: &Arc<Gateway>) {
        self.doors.iter_mut().for_each(|door| door.serve(gateway));
    }

    /// Binds what a configuration wants listened on and is not yet.
    ///
    /// # Errors
    /// The first that cannot be bound; nothing has changed then.
    pub(crate) async fn prepare(&self, config: &Config) -> Result<Rebuilding, ListenError> {
        let places = Place::all(config);
        let mut known: Vec<&Place> = self.doors.iter().map(|door| &door.place).collect();
        let mut new = Vec::new();
        for place in &places {
            if let Some(index) = known.iter().position(|known| *known == place) {
                known.swap_remove(index);
            } else {
                new.push(place);
            }
        }
        // What is left is to go; it may be in the way of what comes.
        let going: Vec<&Door> =
            self.doors.iter().filter(|door| known.contains(&&door.place)).collect();
        let mut doors = Vec::new();
        for place in new {
            let bound = bind(place, &going).await;
            let sockets = bound.map_err(|error| ListenError { place: place.clone(), error })?;
            doors.push(Door::new(place.clone(), sockets));
        }
        Ok(Rebuilding { places, new: doors })
    }

    /// Opens the doors that are new and closes those that are gone.
    pub(crate) async fn rebuild(&mut self, rebuilding: Rebuilding, gateway: &Arc<Gateway>) {
        let Rebuilding { places, mut new } = rebuilding;
        new.iter_mut().for_each(|door| door.serve(gateway));
        let mut known = std::mem::take(&mut self.doors);
        for place in places {
            let doors =
                if new.iter().any(|door| door.place == place) { &mut new } else { &mut known };
            if let Some(index) = doors.iter().position(|door| door.place == place) {
                self.doors.push(doors.remove(index));
            }
        }
        for door in known {
            tracing::info!(address = %door.place, "no longer listening");
            door.close().await;
        }
    }
}

impl Door {
    fn new(place: Place, sockets: Vec<Socket>) -> Self {
        let bound: Vec<_> = sockets.into_iter().map(Arc::new).collect();
        let sockets = bound.iter().map(Arc::downgrade).collect();
        Self { place, bound, sockets, open: watch::Sender::new(()), tasks: Vec::new() }
    }

    /// Returns when its sockets are closed.
    async fn close(self) {
        let Self { place, open, tasks, .. } = self;
        drop(open);
        for task in tasks {
            // It ends, and never panics.
            let _ = task.await;
        }
        if let Place::Unix(path) = place {
            let _ = std::fs::remove_file(path);
        }
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        let address = |socket: Arc<Socket>| match &*socket {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix(_) => None,
        };
        let is_for_clients = matches!(self.place, Place::Tcp(_));
        let sockets = self.sockets.iter().filter_map(Weak::upgrade);
        sockets.filter_map(address).filter(|_| is_for_clients).collect()
    }

    fn serve(&mut self, gateway: &Arc<Gateway>) {
        for socket in std::mem::take(&mut self.bound) {
            let open = self.open.subscribe();
            let gateway = gateway.clone();
            self.tasks.push(match &self.place {
                Place::Http(_) => tokio::spawn(http::serve(AcceptHttp { socket, open }, gateway)),
                Place::Unix(path) => tokio::spawn(accept_unix(socket, path.clone(), open, gateway)),
                Place::Tcp(_) => tokio::spawn(accept(socket, open, gateway)),
            });
        }
        for address in self.addresses() {
            tracing::info!(%address, "listening");
        }
    }

    /// Lets its sockets share their ports with others for a moment.
    fn share_ports(&self, is_shared: bool) -> io::Result<()> {
        for socket in self.sockets.iter().filter_map(Weak::upgrade) {
            if let Socket::Tcp(listener) = &*socket {
                set_socket_reuseport(listener, is_shared)?;
            }
        }
        Ok(())
    }
}

async fn bind(place: &Place, going: &[&Door]) -> io::Result<Vec<Socket>> {
    let address = match place {
        Place::Tcp(address) | Place::Http(address) => address,
        Place::Unix(path) => return bind_unix(path).map(|socket| vec![socket]),
    };
    let mut sockets = Vec::new();
    for resolved in lookup_host((address.host.as_str(), address.port)).await? {
        let bound = match bind_tcp(resolved, false) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => bind_beside(resolved, going),
            bound => bound,
        };
        sockets.push(Socket::Tcp(bound?));
    }
    Ok(sockets)
}

/// Binds an address that a socket of ours is in the way of which is to go: 127.0.0.1:6432, when
/// 0.0.0.0:6432 is to take its place. Until the old one closes, both share the port (socket(7),
/// `SO_REUSEPORT`), so that neither clients nor a reload that fails lose anything.
fn bind_beside(address: SocketAddr, going: &[&Door]) -> io::Result<TcpListener> {
    for door in going {
        door.share_ports(true)?;
    }
    let bound = bind_tcp(address, true);
    for door in going {
        door.share_ports(false)?;
    }
    let listener = bound?;
    set_socket_reuseport(&listener, false)?;
    Ok(listener)
}

fn bind_tcp(address: SocketAddr, shares_port: bool) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(shares_port)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn bind_unix(path: &Path) -> io::Result<Socket> {
    // A socket file that nobody listens on any more is in the way of its successor.
    if std::os::unix::net::UnixStream::connect(path).is_err() {
        let _ = std::fs::remove_file(path);
    }
    let listener = UnixListener::bind(path)?;
    set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
    Ok(Socket::Unix(listener))
}

/// Accepts clients until pgweir drains, or the door closes: then those that are in line already, too.
async fn accept(socket: Arc<Socket>, mut open: watch::Receiver<()>, gateway: Arc<Gateway>) {
    let mut phase = gateway.phase();
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = phase.wait_for(|phase| *phase != Phase::Serving) => return,
            _ = open.changed() => break,
        };
        match accepted {
            Ok(client) => let_in(client, &gateway),
            Err(error) => rest(&error).await,
        }
    }
    while let Some(Ok(client)) = socket.accept().now_or_never() {
        let_in(client, &gateway);
    }
}

async fn accept_unix(
    socket: Arc<Socket>,
    path: PathBuf,
    open: watch::Receiver<()>,
    gateway: Arc<Gateway>,
) {
    accept(socket, open, gateway).await;
    let _ = std::fs::remove_file(path);
}

fn let_in(client: Option<(Stream, login::Peer)>, gateway: &Arc<Gateway>) {
    if let Some((stream, peer)) = client {
        login::spawn(stream, peer, gateway);
    }
}

impl Socket {
    /// The next client; none if it has left already.
    async fn accept(&self) -> io::Result<Option<(Stream, login::Peer)>> {
        match self {
            Self::Tcp(listener) => {
                let (socket, peer) = listener.accept().await?;
                let stream = Stream::from_tcp(socket).ok();
                Ok(stream.map(|stream| (stream, login::Peer::Tcp(peer.ip()))))
            }
            Self::Unix(listener) => {
                let (socket, _) = listener.accept().await?;
                Ok(Some((Stream::Unix(socket), login::Peer::Unix)))
            }
        }
    }
}

/// Where the HTTP side's connections come from.
#[derive(Debug)]
pub(crate) struct AcceptHttp {
    socket: Arc<Socket>,
    open: watch::Receiver<()>,
}

impl AcceptHttp {
    /// The next connection; none when its door has closed.
    pub(crate) async fn next(&mut self) -> Option<io::Result<tokio::net::TcpStream>> {
        let Socket::Tcp(listener) = &*self.socket else { return None };
        tokio::select! {
            accepted = listener.accept() => Some(accepted.map(|(socket, _)| socket)),
            _ = self.open.changed() => None,
        }
    }
}

/// A client that left before it was accepted is nothing; no descriptors left is worth a rest.
async fn rest(error: &io::Error) {
    tracing::warn!(%error, "a client could not be accepted");
    tokio::time::sleep(ACCEPT_REST).await;
}
