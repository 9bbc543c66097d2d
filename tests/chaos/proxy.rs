//! A network that fails: a byte proxy in front of one server.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use pgweir_sandbox::PortLease;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, tcp};
use tokio::runtime::Builder;
use tokio::sync::watch;

/// What becomes of bytes on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Open,
    /// Each piece takes so long.
    Slow(Duration),
    /// They are taken and never delivered, nor is the end of a connection.
    BlackHole,
}

/// The state of a proxy: the way, and how often connections have been cut.
type State = (Way, u64);

/// A proxy; ends with its process.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: PortLease,
    state: watch::Sender<State>,
}

impl Proxy {
    /// Starts one in front of a port of this machine.
    pub(crate) fn start(target: u16) -> Self {
        let port = PortLease::any().unwrap();
        let (state, observed) = watch::channel((Way::Open, 0));
        let address = SocketAddr::from(([127, 0, 0, 1], port.port()));
        let target = SocketAddr::from(([127, 0, 0, 1], target));
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(accept(address, target, observed));
        });
        Self { port, state }
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port.port())
    }

    pub(crate) fn set(&self, way: Way) {
        self.state.send_modify(|state| state.0 = way);
    }

    /// Cuts all connections that there are.
    pub(crate) fn cut(&self) {
        self.state.send_modify(|state| state.1 += 1);
    }
}

async fn accept(address: SocketAddr, target: SocketAddr, state: watch::Receiver<State>) {
    let listener = TcpListener::bind(address).await.unwrap();
    // Until the proxy is dropped.
    while state.has_changed().is_ok() {
        if let Ok((client, _)) = listener.accept().await {
            tokio::spawn(carry(client, target, state.clone()));
        }
    }
}

/// Carries one connection until an end of it, or a cut.
async fn carry(client: TcpStream, target: SocketAddr, mut state: watch::Receiver<State>) {
    let cuts = state.borrow().1;
    let passed = {
        let state = state.clone();
        async move {
            open(&mut state.clone()).await;
            // A server that refuses is one whose connections end at once.
            let Ok(server) = TcpStream::connect(target).await else { return };
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::join!(
                pass(from_client, to_server, state.clone()),
                pass(from_server, to_client, state),
            );
        }
    };
    tokio::select! {
        () = passed => {}
        _ = state.wait_for(|state| state.1 != cuts) => {}
    }
}

/// Waits while nothing is delivered.
async fn open(state: &mut watch::Receiver<State>) {
    let _ = state.wait_for(|state| state.0 != Way::BlackHole).await;
}

async fn pass(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    mut state: watch::Receiver<State>,
) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        open(&mut state).await;
        let way = state.borrow().0;
        if let Way::Slow(delay) = way {
            tokio::time::sleep(delay).await;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
    open(&mut state).await;
    let _ = to.shutdown().await;
}
