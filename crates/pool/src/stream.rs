//! A connected socket, whichever kind: both sides of the pooler read and write through it.
//!
//! An enum rather than a trait object: reading is the hottest thing the pooler does, and the match
//! costs nothing beside a system call.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

/// Silence on a TCP connection before the kernel asks whether the other side still lives.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// Time between two of those questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Questions without an answer after which the connection counts as lost.
const KEEPALIVE_RETRIES: u32 = 3;

/// A connected socket.
#[derive(Debug)]
pub enum Stream {
    /// TCP, in the clear.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// TLS over TCP, from either side.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Wraps a TCP connection: without Nagle's delay, and with keepalive probes.
    ///
    /// # Errors
    /// The system's, when the socket does not take the options.
    pub fn from_tcp(tcp: TcpStream) -> io::Result<Self> {
        tune(&tcp)?;
        Ok(Self::Tcp(tcp))
    }

    /// Whether bytes cross it encrypted.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// This side's address; a Unix socket has none.
    #[must_use]
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.tcp()?.local_addr().ok()
    }

    /// The other side's address; a Unix socket has none.
    #[must_use]
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.tcp()?.peer_addr().ok()
    }

    /// The process at the other end of a Unix socket.
    #[must_use]
    pub fn peer_process(&self) -> Option<i32> {
        match self {
            Self::Unix(socket) => socket.peer_cred().ok()?.pid(),
            Self::Tcp(_) | Self::Tls(_) => None,
        }
    }

    /// Protocol and cipher of its TLS, as `TLSv1.3/TLS_AES_256_GCM_SHA384`; none in the clear.
    #[must_use]
    pub fn encryption(&self) -> Option<String> {
        let Self::Tls(tls) = self else {
            return None;
        };
        let (_, state) = tls.get_ref();
        let version = state.protocol_version().and_then(|version| version.as_str());
        let cipher = state.negotiated_cipher_suite();
        let cipher = cipher.and_then(|cipher| cipher.suite().as_str()).unwrap_or_default();
        // rustls writes TLSv1_3 and TLS13_AES_…; the registry's and OpenSSL's names are these.
        let version = version.unwrap_or_default().replace('_', ".");
        Some(format!("{version}/{}", cipher.replacen("TLS13_", "TLS_", 1)))
    }

    /// The certificate in DER that the other side has shown, and that has been verified as this side's
    /// settings have it.
    #[must_use]
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        let Self::Tls(tls) = self else {
            return None;
        };
        let (_, state) = tls.get_ref();
        state.peer_certificates()?.first().map(|certificate| certificate.as_ref())
    }

    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(tcp) => Some(tcp),
            Self::Tls(tls) => Some(tls.get_ref().0),
            Self::Unix(_) => None,
        }
    }

    /// Reads what is there without waiting: `Pending` when nothing is. While nothing has arrived
    /// this costs no system call, so a pool can ask it of every idle connection it hands out.
    pub fn read_now(&mut self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        let mut context = Context::from_waker(Waker::noop());
        Pin::new(self).poll_read(&mut context, &mut buffer).map_ok(|()| buffer.filled().len())
    }

    /// Writes what the socket takes at once, and reports nothing: for a last word on a connection
    /// that is about to be closed.
    pub fn write_now(&mut self, bytes: &[u8]) {
        let mut context = Context::from_waker(Waker::noop());
        let mut this = Pin::new(self);
        if this.as_mut().poll_write(&mut context, bytes).is_ready() {
            let _ = this.poll_flush(&mut context);
        }
    }
}

/// Sets the options that every TCP connection of the pooler has.
///
/// # Errors
/// The system's.
pub(crate) fn tune(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES);
    SockRef::from(tcp).set_tcp_keepalive(&keepalive)
}

/// Calls one method on whichever socket it is.
macro_rules! on_socket {
    ($stream:expr, $method:ident $(, $argument:expr)*) => {
        match $stream.get_mut() {
            Stream::Tcp(socket) => Pin::new(socket).$method($($argument),*),
            Stream::Unix(socket) => Pin::new(socket).$method($($argument),*),
            Stream::Tls(socket) => Pin::new(socket.as_mut()).$method($($argument),*),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on_socket!(self, poll_read, context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        on_socket!(self, poll_write, context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_socket!(self, poll_write_vectored, context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(socket) => socket.is_write_vectored(),
            Self::Unix(socket) => socket.is_write_vectored(),
            Self::Tls(socket) => socket.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_socket!(self, poll_flush, context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_socket!(self, poll_shutdown, context)
    }
}
