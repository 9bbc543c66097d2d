//! Cutting a byte stream into frames: one tag byte, four bytes of length, a body.
//!
//! The length counts itself but not the tag (manual, 55.7 Message Formats). Nothing is allocated
//! here; what a length may be is decided by who reads the frame.

use crate::error::ProtocolError;

/// Bytes of a frame's tag and length, which precede its body.
pub const HEADER_LENGTH: usize = 5;

/// The largest message PostgreSQL takes: `PQ_LARGE_MESSAGE_LIMIT`, one byte short of 1 GiB.
pub const MAX_MESSAGE_LENGTH: usize = 0x3fff_fffe;

/// The largest message of the kinds that carry a name at most: `PQ_SMALL_MESSAGE_LIMIT`.
pub const MAX_SMALL_MESSAGE_LENGTH: usize = 10_000;

/// The first five bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The message's type.
    pub tag: u8,
    /// Bytes of the whole frame, header included.
    pub length: usize,
}

impl Header {
    /// Reads the header at the input's start; none while fewer than five bytes are there.
    ///
    /// # Errors
    /// A length that does not even count itself.
    pub fn read(input: &[u8]) -> Result<Option<Self>, ProtocolError> {
        let Some((&[tag, a, b, c, d], _)) = input.split_first_chunk::<HEADER_LENGTH>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([a, b, c, d]);
        match usize::try_from(length) {
            Ok(length) if (4..=i32::MAX as usize).contains(&length) => {
                Ok(Some(Self { tag, length: length + 1 }))
            }
            _ => Err(ProtocolError::InvalidLength {
                frame: client_message_name(tag),
                length: i64::from(length),
                least: 4,
                most: i32::MAX as usize,
            }),
        }
    }

    /// The frame's body, if the input holds the whole frame.
    #[must_use]
    pub fn body<'a>(&self, input: &'a [u8]) -> Option<&'a [u8]> {
        input.get(HEADER_LENGTH..self.length)
    }
}

/// Splits a null-terminated string off a body's head.
#[must_use]
pub fn split_cstr(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = body.iter().position(|&byte| byte == 0)?;
    Some((body.get(..end)?, body.get(end + 1..)?))
}

/// Appends a frame whose body the closure writes; the length is filled in afterwards.
pub fn put_frame(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    put_length(out, 0, body);
}

/// Appends a length and a body, of which `follows` more bytes are sent from elsewhere.
pub fn put_length(out: &mut Vec<u8>, follows: usize, body: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = u32::try_from(out.len() - at + follows).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

/// The manual's name of a client's message.
#[must_use]
pub fn client_message_name(tag: u8) -> &'static str {
    match tag {
        b'Q' => "Query",
        b'P' => "Parse",
        b'B' => "Bind",
        b'D' => "Describe",
        b'E' => "Execute",
        b'C' => "Close",
        b'S' => "Sync",
        b'H' => "Flush",
        b'F' => "FunctionCall",
        b'd' => "CopyData",
        b'c' => "CopyDone",
        b'f' => "CopyFail",
        b'X' => "Terminate",
        _ => "unknown",
    }
}
