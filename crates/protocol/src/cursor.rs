//! A checked cursor over the body of one exact frame.
//!
//! A frame is cut to its exact length first; its body is then read with a [`Cursor`], which never
//! reads past the end, never trusts a length it has not compared with what is left, and at the end
//! refuses bytes nobody asked for ([`Cursor::finish`]). Every read borrows from the body. An error
//! names the frame, so that a report can say which message was wrong.

use crate::error::ProtocolError;

/// Reads the body of one frame from front to back.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    frame: &'static str,
    length: usize,
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// A cursor at the start of `body`. `frame` is the message's name in the manual's section
    /// "Message Formats" (`Parse`, `SASLInitialResponse`), for errors.
    #[must_use]
    pub fn new(frame: &'static str, body: &'a [u8]) -> Self {
        Self { frame, length: body.len(), rest: body }
    }

    /// What has not been read yet.
    #[must_use]
    pub fn remaining(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything has been read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// [`ProtocolError::Truncated`] when fewer are left.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], ProtocolError> {
        let Some((head, tail)) = self.rest.split_at_checked(count) else {
            return Err(ProtocolError::Truncated {
                frame: self.frame,
                length: self.length,
                needed: count,
                left: self.rest.len(),
            });
        };
        self.rest = tail;
        Ok(head)
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// [`ProtocolError::Truncated`] when fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtocolError> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    /// The next byte (`Byte1`, `Int8`).
    ///
    /// # Errors
    /// [`ProtocolError::Truncated`] at the end.
    pub fn u8(&mut self) -> Result<u8, ProtocolError> {
        self.array().map(u8::from_be_bytes)
    }

    /// The next two bytes as an `Int16`.
    ///
    /// # Errors
    /// [`ProtocolError::Truncated`] when fewer are left.
    pub fn i16(&mut self) -> Result<i16, ProtocolError> {
        self.array().map(i16::from_be_bytes)
    }

    /// The next two bytes as a count, which the protocol's larger messages read as unsigned.
    ///
    /// # Errors
    /// [`ProtocolError::Truncated`] when fewer are left.
    pub fn u16(&mut self) -> Result<u16, ProtocolError> {
        self.array().map(u16::from_be_bytes)
    }

    /// The next four bytes as an `Int32`.
    ///
    /// # Errors
    /// [`ProtocolError::Truncated`] when fewer are left.
    pub fn i32(&mut self) -> Result<i32, ProtocolError> {
        self.array().map(i32::from_be_bytes)
    }

    /// The next four bytes as an object identifier or a packed version.
    ///
    /// # Errors
    /// [`ProtocolError::Truncated`] when fewer are left.
    pub fn u32(&mut self) -> Result<u32, ProtocolError> {
        self.array().map(u32::from_be_bytes)
    }

    /// The bytes of a `String` of the protocol, without its terminating zero byte.
    ///
    /// # Errors
    /// [`ProtocolError::Unterminated`] when no zero byte follows.
    pub fn cstr(&mut self) -> Result<&'a [u8], ProtocolError> {
        let Some(end) = self.rest.iter().position(|byte| *byte == 0) else {
            return Err(ProtocolError::Unterminated {
                frame: self.frame,
                length: self.length,
                left: self.rest.len(),
            });
        };
        let text = self.bytes(end)?;
        self.u8()?;
        Ok(text)
    }

    /// A `String` of the protocol that has to be UTF-8.
    ///
    /// # Errors
    /// [`ProtocolError::Unterminated`] as [`cstr`](Self::cstr), [`ProtocolError::NotUtf8`] for
    /// other bytes.
    pub fn text(&mut self) -> Result<&'a str, ProtocolError> {
        let bytes = self.cstr()?;
        std::str::from_utf8(bytes)
            .map_err(|error| ProtocolError::not_utf8(self.frame, bytes, error))
    }

    /// A value with an `Int32` length in front, −1 meaning that there is none.
    ///
    /// # Errors
    /// [`ProtocolError::InvalidLength`] for other negative lengths, [`ProtocolError::Truncated`]
    /// when fewer bytes are left than the length says.
    pub fn value(&mut self) -> Result<Option<&'a [u8]>, ProtocolError> {
        match self.i32()? {
            -1 => Ok(None),
            length => match usize::try_from(length) {
                Ok(count) => self.bytes(count).map(Some),
                Err(_) => Err(ProtocolError::InvalidLength {
                    frame: self.frame,
                    length: i64::from(length),
                    least: 0,
                    most: self.rest.len(),
                }),
            },
        }
    }

    /// Everything that is left (`Byten` at the end of a message).
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`ProtocolError::Trailing`] when bytes are left over: a message that is longer than its
    /// contents was made by someone who reads it differently.
    pub fn finish(self) -> Result<(), ProtocolError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(ProtocolError::Trailing {
            frame: self.frame,
            length: self.length,
            left: self.rest.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_body_is_read_field_by_field_and_drained() {
        let body =
            b"\x01\xff\xfe\x00\x02\xff\xff\xff\xfdabc\0\x00\x00\x00\x02xy\xff\xff\xff\xfftail";
        let mut cursor = Cursor::new("Test", body);
        assert_eq!(cursor.u8(), Ok(1));
        assert_eq!(cursor.i16(), Ok(-2));
        assert_eq!(cursor.u16(), Ok(2));
        assert_eq!(cursor.i32(), Ok(-3));
        assert_eq!(cursor.text(), Ok("abc"));
        assert_eq!(cursor.value(), Ok(Some(&b"xy"[..])));
        assert_eq!(cursor.value(), Ok(None));
        assert_eq!(cursor.rest(), b"tail");
        assert_eq!(cursor.finish(), Ok(()));
    }

    #[test]
    fn what_is_short_unterminated_or_left_over_is_an_error_that_says_so() {
        let error = Cursor::new("Test", b"\x00").i32().unwrap_err();
        assert_eq!(
            error,
            ProtocolError::Truncated { frame: "Test", length: 1, needed: 4, left: 1 }
        );
        let error = Cursor::new("Test", b"abc").cstr().unwrap_err();
        assert_eq!(error, ProtocolError::Unterminated { frame: "Test", length: 3, left: 3 });
        let error = Cursor::new("Test", b"ab").finish().unwrap_err();
        assert_eq!(error, ProtocolError::Trailing { frame: "Test", length: 2, left: 2 });
        let error = Cursor::new("Test", b"\xff\xff\xff\xfe").value().unwrap_err();
        assert_eq!(
            error,
            ProtocolError::InvalidLength { frame: "Test", length: -2, least: 0, most: 0 }
        );
        let error = Cursor::new("Test", b"a\xffb\0").text().unwrap_err();
        assert_eq!(error, ProtocolError::NotUtf8 { what: "Test", bytes: vec![0xff] });
    }

    proptest! {
        #[test]
        fn a_failed_read_moves_nothing(body: Vec<u8>, count in 0_usize..64) {
            let mut cursor = Cursor::new("Test", &body);
            if cursor.bytes(count).is_err() {
                prop_assert_eq!(cursor.remaining(), &body[..]);
            } else {
                prop_assert_eq!(cursor.remaining(), &body[count..]);
            }
        }
    }
}
