//! One side's socket with what could not be written yet and what could not be used yet.
//!
//! Reads go into scratch space on the stack and writes straight from it: a client that is idle, or
//! whose messages arrive whole, holds no buffer. Only what the socket did not take, and frames cut
//! by the end of a read, are kept.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use pgweir_pool::Stream;
use pgweir_protocol::outgoing::Outgoing;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

/// Bytes that one read takes at most.
pub(super) const SCRATCH: usize = 64 << 10;

/// Slices that one write hands to the kernel at most.
const MAX_SLICES: usize = 16;

/// The most bytes kept that go into the scratch space again, ahead of those that continue them.
const MAX_COPIED: usize = 8 << 10;

/// The least room for a read that continues a frame, in bytes.
const MIN_READ: usize = 16 << 10;

/// The most room for one, in bytes: a frame that announces much is believed as it arrives.
const MAX_READ: usize = 256 << 10;

/// Scratch space for one read, on the stack of whoever reads.
pub(super) type Scratch = [MaybeUninit<u8>; SCRATCH];

/// Fresh scratch space; it costs nothing but its place.
pub(super) fn scratch() -> Scratch {
    [const { MaybeUninit::uninit() }; SCRATCH]
}

/// What one read has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// Bytes in the scratch space.
    Scratch,
    /// Bytes that continue what was kept.
    Kept,
    /// The peer has closed its side.
    End,
}

/// Bytes kept in both directions.
#[derive(Debug, Default)]
pub(super) struct Wire {
    /// Read, and not used yet.
    pub(super) kept: BytesMut,
    /// Bytes to have in `kept` before it is worth another look.
    pub(super) need: usize,
    /// To be written before anything else.
    unsent: BytesMut,
}

impl Wire {
    /// Whether everything that was to be written has been taken by the socket.
    pub(super) fn is_flushed(&self) -> bool {
        self.unsent.is_empty()
    }

    /// Reads once: into the scratch space, or behind what is kept.
    pub(super) fn poll_read(
        &mut self,
        stream: &mut Stream,
        scratch: &mut ReadBuf<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Read>> {
        if self.kept.len() <= MAX_COPIED && self.need <= SCRATCH {
            scratch.put_slice(&self.kept);
            ready!(Pin::new(stream).poll_read(cx, scratch))?;
            let end = scratch.filled().len() == self.kept.len();
            if !end {
                self.kept.clear();
            }
            return Poll::Ready(Ok(if end { Read::End } else { Read::Scratch }));
        }
        let missing = self.need.saturating_sub(self.kept.len());
        self.kept.reserve(missing.clamp(MIN_READ, MAX_READ));
        let count = ready!(tokio_util::io::poll_read_buf(Pin::new(stream), cx, &mut self.kept))?;
        Poll::Ready(Ok(if count == 0 { Read::End } else { Read::Kept }))
    }

    /// Keeps what was not used of a read.
    pub(super) fn keep(&mut self, rest: &[u8], need: usize) {
        self.kept.extend_from_slice(rest);
        self.need = need;
    }

    /// Writes what goes out, as far as the socket takes it; the rest is kept.
    ///
    /// # Errors
    /// The socket's.
    pub(super) fn write(
        &mut self,
        stream: &mut Stream,
        out: &Outgoing,
        input: &[u8],
        cx: &mut Context<'_>,
    ) -> io::Result<()> {
        if out.is_empty() {
            return Ok(());
        }
        let mut written = 0;
        if self.unsent.is_empty() {
            written = match write_once(stream, out, input, cx) {
                Poll::Ready(count) => count?,
                Poll::Pending => 0,
            };
        }
        for slice in out.slices(input) {
            let skip = written.min(slice.len());
            written -= skip;
            self.unsent.extend_from_slice(slice.get(skip..).unwrap_or_default());
        }
        if self.unsent.is_empty() && stream.is_encrypted() {
            // TLS records may wait inside the stream: a flush sends them, or asks to be woken.
            let _ = Pin::new(stream).poll_flush(cx)?;
            return Ok(());
        }
        self.flush(stream, cx)
    }

    /// Writes what is left over from earlier.
    ///
    /// # Errors
    /// The socket's.
    pub(super) fn flush(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match Pin::new(&mut *stream).poll_write(cx, &self.unsent)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => self.unsent.advance(count),
                Poll::Pending => return Ok(()),
            }
        }
        if self.unsent.capacity() > MAX_READ {
            self.unsent = BytesMut::new();
        }
        if stream.is_encrypted() {
            let _ = Pin::new(stream).poll_flush(cx)?;
        }
        Ok(())
    }

    /// Gives buffers back that a large message has left behind.
    pub(super) fn shrink(&mut self) {
        if self.kept.is_empty() && self.kept.capacity() > 0 {
            self.kept = BytesMut::new();
        }
    }
}

fn write_once(
    stream: &mut Stream,
    out: &Outgoing,
    input: &[u8],
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
    let mut used = 0;
    for (place, slice) in slices.iter_mut().zip(out.slices(input)) {
        *place = IoSlice::new(slice);
        used += 1;
    }
    match slices.get(..used) {
        Some([only]) => Pin::new(stream).poll_write(cx, only),
        Some(several) => Pin::new(stream).poll_write_vectored(cx, several),
        None => Poll::Ready(Ok(0)),
    }
}
