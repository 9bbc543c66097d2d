//! A client that sees every byte: messages are built here and frames are cut here, by the manual's
//! chapter 55 and without any of pgweir's own code.

use std::io::{self, ErrorKind, Read, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::SOON;

/// Protocol 3.0.
pub(crate) const PROTOCOL_3_0: u32 = 3 << 16;

/// One message of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) tag: u8,
    pub(crate) body: Vec<u8>,
}

/// Messages of a client, one after another.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message(pub(crate) Vec<u8>);

impl Message {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Any message.
    pub(crate) fn raw(mut self, tag: u8, body: &[u8]) -> Self {
        self.0.push(tag);
        self.packet(body)
    }

    /// A message without a tag: one of the first packets.
    pub(crate) fn packet(mut self, body: &[u8]) -> Self {
        self.0.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        self.0.extend_from_slice(body);
        self
    }

    pub(crate) fn startup(self, version: u32, parameters: &[(&str, &str)]) -> Self {
        let mut body = version.to_be_bytes().to_vec();
        for (name, value) in parameters {
            body.extend_from_slice(&strings(&[name, value]));
        }
        body.push(0);
        self.packet(&body)
    }

    pub(crate) fn query(self, sql: &str) -> Self {
        self.raw(b'Q', &strings(&[sql]))
    }

    pub(crate) fn parse(self, name: &str, sql: &str) -> Self {
        self.parse_typed(name, sql, &[])
    }

    /// With the types of parameters by their numbers.
    pub(crate) fn parse_typed(self, name: &str, sql: &str, types: &[u32]) -> Self {
        let mut body = strings(&[name, sql]);
        body.extend_from_slice(&u16::try_from(types.len()).unwrap().to_be_bytes());
        body.extend(types.iter().flat_map(|oid| oid.to_be_bytes()));
        self.raw(b'P', &body)
    }

    /// Text parameters, text results.
    pub(crate) fn bind(self, portal: &str, statement: &str, parameters: &[&str]) -> Self {
        let mut body = strings(&[portal, statement]);
        body.extend_from_slice(&0u16.to_be_bytes());
        body.extend_from_slice(&u16::try_from(parameters.len()).unwrap().to_be_bytes());
        for parameter in parameters {
            body.extend_from_slice(&u32::try_from(parameter.len()).unwrap().to_be_bytes());
            body.extend_from_slice(parameter.as_bytes());
        }
        body.extend_from_slice(&0u16.to_be_bytes());
        self.raw(b'B', &body)
    }

    /// `kind` is `S` for a statement, `P` for a portal.
    pub(crate) fn describe(self, kind: u8, name: &str) -> Self {
        self.raw(b'D', &[&[kind], &strings(&[name])[..]].concat())
    }

    pub(crate) fn close(self, kind: u8, name: &str) -> Self {
        self.raw(b'C', &[&[kind], &strings(&[name])[..]].concat())
    }

    pub(crate) fn execute(self, portal: &str, rows: u32) -> Self {
        self.raw(b'E', &[&strings(&[portal])[..], &rows.to_be_bytes()].concat())
    }

    pub(crate) fn sync(self) -> Self {
        self.raw(b'S', &[])
    }

    pub(crate) fn flush(self) -> Self {
        self.raw(b'H', &[])
    }

    pub(crate) fn copy_data(self, data: &[u8]) -> Self {
        self.raw(b'd', data)
    }

    pub(crate) fn terminate(self) -> Self {
        self.raw(b'X', &[])
    }

    /// A statement that runs once: parsed, bound, described and executed, without the Sync.
    pub(crate) fn run(self, sql: &str, parameters: &[&str]) -> Self {
        self.parse("", sql).bind("", "", parameters).describe(b'P', "").execute("", 0)
    }
}

/// Strings with their terminating zeros.
fn strings(strings: &[&str]) -> Vec<u8> {
    strings.iter().flat_map(|string| string.bytes().chain([0])).collect()
}

/// A connection on which anything can be said.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: TcpStream,
    read: Vec<u8>,
    used: usize,
}

impl Wire {
    pub(crate) fn open(port: u16) -> io::Result<Self> {
        let socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(SOON))?;
        socket.set_write_timeout(Some(SOON))?;
        Ok(Self { socket, read: Vec::new(), used: 0 })
    }

    pub(crate) fn send(&mut self, message: &Message) {
        self.send_bytes(&message.0).unwrap();
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    /// The next byte alone, as answered to requests for encryption.
    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.take(1).unwrap().map(|bytes| bytes[0])
    }

    /// The next frame; none when the connection was closed.
    #[track_caller]
    pub(crate) fn frame(&mut self) -> Option<Frame> {
        self.try_frame().unwrap_or_else(|error| panic!("reading a frame: {error}"))
    }

    /// The same, for a peer that may also reset the connection.
    pub(crate) fn try_frame(&mut self) -> io::Result<Option<Frame>> {
        let Some(head) = self.take(5)? else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(head[1..].try_into().unwrap());
        let length = usize::try_from(length).unwrap() - 4;
        let Some(body) = self.take(length)? else {
            return Ok(None);
        };
        Ok(Some(Frame { tag: head[0], body }))
    }

    /// The next frame if it is complete within this time, counted from the last byte that arrived:
    /// an error of kind `TimedOut` if not, none when the connection was closed.
    pub(crate) fn frame_within(&mut self, patience: Duration) -> io::Result<Option<Frame>> {
        self.socket.set_read_timeout(Some(patience))?;
        let frame = self.try_frame();
        self.socket.set_read_timeout(Some(SOON))?;
        match frame {
            Err(error) if is_timeout(&error) => Err(ErrorKind::TimedOut.into()),
            frame => frame,
        }
    }

    /// Frames up to and with the first of this tag.
    #[track_caller]
    pub(crate) fn frames_until(&mut self, tag: u8) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            let Some(frame) = self.frame() else {
                panic!("closed before {:?}; got {frames:?}", char::from(tag));
            };
            frames.push(frame);
            if frames.last().unwrap().tag == tag {
                return frames;
            }
        }
    }

    /// Whether something arrives within this time.
    pub(crate) fn hears_something(&mut self, within: Duration) -> bool {
        if self.used < self.read.len() {
            return true;
        }
        self.socket.set_read_timeout(Some(within)).unwrap();
        let heard = self.fill();
        self.socket.set_read_timeout(Some(SOON)).unwrap();
        match heard {
            Ok(count) => count > 0,
            Err(error) if is_timeout(&error) => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// Whether the peer has closed, after whatever it still said.
    pub(crate) fn is_closed(&mut self) -> bool {
        loop {
            match self.try_frame() {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(error) if is_timeout(&error) => return false,
                Err(_) => return true,
            }
        }
    }

    /// Takes this many bytes off what arrives, without keeping them.
    pub(crate) fn skip(&mut self, mut count: usize) {
        while count > 0 {
            let at_hand = (self.read.len() - self.used).min(count);
            self.used += at_hand;
            count -= at_hand;
            if count > 0 {
                assert!(self.fill().unwrap() > 0, "closed with {count} bytes to come");
            }
        }
    }

    /// The tag and the body's length of the next frame, whose body is still to come.
    pub(crate) fn head(&mut self) -> (u8, usize) {
        let head = self.take(5).unwrap().expect("a frame");
        let length = u32::from_be_bytes(head[1..].try_into().unwrap());
        (head[0], usize::try_from(length).unwrap() - 4)
    }

    /// Says that nothing more will come.
    pub(crate) fn shut_down_writing(&self) {
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    fn take(&mut self, count: usize) -> io::Result<Option<Vec<u8>>> {
        while self.read.len() - self.used < count {
            if self.fill()? == 0 {
                return Ok(None);
            }
        }
        let taken = self.read[self.used..self.used + count].to_vec();
        self.used += count;
        Ok(Some(taken))
    }

    fn fill(&mut self) -> io::Result<usize> {
        self.read.drain(..self.used);
        self.used = 0;
        let mut chunk = [0; 64 * 1024];
        let count = self.socket.read(&mut chunk)?;
        self.read.extend_from_slice(&chunk[..count]);
        Ok(count)
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
