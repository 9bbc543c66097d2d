//! Listening sockets, and a task per client.

use std::fs::{Permissions, set_permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pgweir_pool::Stream;
use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket, UnixListener, lookup_host};
use tokio::task::JoinHandle;

use crate::config::{Address, Listen};
use crate::gateway::{Gateway, Phase};

use super::login;

/// Connections the kernel keeps for us while we are busy, per socket.
const BACKLOG: u32 = 1024;

/// Everyone who reaches the socket's directory may connect; who they are is asked then. Like
/// PostgreSQL's `unix_socket_permissions`, whatever the umask.
const SOCKET_MODE: u32 = 0o777;

/// How long accepting rests when the system has no descriptor to give.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// A socket cannot be listened on.
#[derive(Debug, Error)]
pub enum ListenError {
    /// The address, and what the system says.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// As configured.
        address: String,
        /// What the system says.
        error: io::Error,
    },
}

/// The sockets that clients connect to.
#[derive(Debug, Default)]
pub struct Listeners {
    tcp: Vec<TcpListener>,
    unix: Option<(UnixListener, PathBuf)>,
}

impl Listeners {
    /// Binds every socket of the configuration.
    ///
    /// # Errors
    /// The first that cannot be bound.
    pub async fn bind(listen: &Listen) -> Result<Self, ListenError> {
        let mut listeners = Self::default();
        for address in &listen.address {
            let failed = |error| ListenError::Bind { address: address.to_string(), error };
            let resolved =
                lookup_host((address.host.as_str(), address.port)).await.map_err(failed)?;
            for resolved in resolved {
                listeners.tcp.push(bind_tcp(resolved).map_err(failed)?);
            }
        }
        if let Some(directory) = &listen.unix_socket_dir {
            let port = listen.address.first().map_or(6432, |address: &Address| address.port);
            let path = directory.join(format!(".s.PGSQL.{port}"));
            let failed = |error| ListenError::Bind { address: path.display().to_string(), error };
            // A socket file that nobody listens on any more is in the way of its successor.
            if std::os::unix::net::UnixStream::connect(&path).is_err() {
                let _ = std::fs::remove_file(&path);
            }
            let listener = UnixListener::bind(&path).map_err(failed)?;
            set_permissions(&path, Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
            listeners.unix = Some((listener, path));
        }
        Ok(listeners)
    }

    /// The TCP addresses bound.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.tcp.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Accepts clients until pgweir drains.
    pub fn serve(self, gateway: &Arc<Gateway>) -> Vec<JoinHandle<()>> {
        let mut tasks = Vec::new();
        for listener in self.tcp {
            tasks.push(tokio::spawn(accept_tcp(listener, gateway.clone())));
        }
        if let Some((listener, path)) = self.unix {
            tasks.push(tokio::spawn(accept_unix(listener, path, gateway.clone())));
        }
        tasks
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept_tcp(listener: TcpListener, gateway: Arc<Gateway>) {
    let mut phase = gateway.phase();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = phase.wait_for(|phase| *phase != Phase::Serving) => return,
        };
        match accepted {
            Ok((socket, peer)) => {
                if let Ok(stream) = Stream::from_tcp(socket) {
                    login::spawn(stream, login::Peer::Tcp(peer.ip()), &gateway);
                }
            }
            Err(error) => rest(&error).await,
        }
    }
}

async fn accept_unix(listener: UnixListener, path: PathBuf, gateway: Arc<Gateway>) {
    let mut phase = gateway.phase();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = phase.wait_for(|phase| *phase != Phase::Serving) => break,
        };
        match accepted {
            Ok((socket, _)) => login::spawn(Stream::Unix(socket), login::Peer::Unix, &gateway),
            Err(error) => rest(&error).await,
        }
    }
    let _ = std::fs::remove_file(path);
}

/// A client that left before it was accepted is nothing; no descriptors left is worth a rest.
async fn rest(error: &io::Error) {
    tracing::warn!(%error, "a client could not be accepted");
    tokio::time::sleep(ACCEPT_REST).await;
}
