//! Where a server's messages end, in bytes that pass unread.
//!
//! What a server sends on a replication connection is for the client alone, and passes as it is.
//! But a connection that ends may still be given a last word, and that only between two messages:
//! so the headers are looked at, and of what they say nothing but the lengths, and whether a command
//! is under way (manual, 55.4 "Streaming Replication Protocol").

use crate::frame::HEADER_LENGTH;

/// What the server is about, as far as it can be told from the messages' types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Work {
    /// ReadyForQuery was the last of it.
    #[default]
    Rests,
    /// A command, which has an end of its own: a base backup, a query.
    Commands,
    /// CopyBoth: WAL, until either side has enough of it.
    Streams,
}

/// How far a server's messages have passed.
#[derive(Debug, Clone, Default)]
pub struct Course {
    header: [u8; HEADER_LENGTH],
    /// Bytes of the header that have passed; all of them while the body does.
    have: usize,
    /// Bytes of the body that have not.
    left: usize,
    work: Work,
}

impl Course {
    /// A course that begins after the login, with nothing asked.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes bytes that have passed.
    pub fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let step = self.step(bytes);
            bytes = bytes.get(step..).unwrap_or_default();
        }
    }

    /// How many of these bytes, which come next, belong to the message under way; or to the first
    /// of them, when none is.
    #[must_use]
    pub fn within_message(&self, bytes: &[u8]) -> usize {
        let mut ahead = self.clone();
        let mut taken = 0;
        while taken < bytes.len() {
            taken += ahead.step(bytes.get(taken..).unwrap_or_default());
            if ahead.is_between_messages() {
                break;
            }
        }
        taken
    }

    /// Whether the last message that began has passed whole.
    #[must_use]
    pub fn is_between_messages(&self) -> bool {
        self.have == 0
    }

    /// Whether the connection can end here and leave nothing half done: between two messages, with
    /// no command under way that would end by itself.
    #[must_use]
    pub fn may_end(&self) -> bool {
        self.is_between_messages() && self.work != Work::Commands
    }

    /// The client has sent something: whatever it is, a command may have begun.
    pub fn asked(&mut self) {
        if self.work == Work::Rests {
            self.work = Work::Commands;
        }
    }

    /// Takes bytes up to the end of a header or of a message; says how many.
    fn step(&mut self, bytes: &[u8]) -> usize {
        let taken = if self.have < HEADER_LENGTH {
            let free = self.header.get_mut(self.have..).unwrap_or_default();
            let taken = free.len().min(bytes.len());
            free.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
            self.have += taken;
            if self.have == HEADER_LENGTH {
                self.begin_body();
            }
            taken
        } else {
            let taken = self.left.min(bytes.len());
            self.left -= taken;
            taken
        };
        if self.have == HEADER_LENGTH && self.left == 0 {
            self.have = 0;
        }
        taken
    }

    fn begin_body(&mut self) {
        let [tag, length @ ..] = self.header;
        // The length counts itself; one that does not is no message, and passes as a header.
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        self.left = length.saturating_sub(HEADER_LENGTH - 1);
        self.work = match tag {
            b'Z' => Work::Rests,
            b'W' => Work::Streams,
            // ParameterStatus, notices and notifications may come at any time (manual, 55.2.6).
            b'S' | b'N' | b'A' => self.work,
            // While it streams, copy data and keepalives are nothing new; CopyDone ends that.
            b'd' => self.work,
            _ => Work::Commands,
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::put_frame;

    fn frame(tag: u8, length: usize) -> Vec<u8> {
        let mut out = Vec::new();
        put_frame(&mut out, tag, |body| body.resize(body.len() + length, 7));
        out
    }

    /// Each row: the types of what has passed, and whether the connection may end then.
    #[test]
    fn a_connection_ends_at_rest_or_while_wal_streams() {
        let rows = [
            ("", true),
            ("TDCZ", true),
            ("T", false),
            ("Hd", false),
            ("HdddcCZ", true),
            ("W", true),
            ("Wddd", true),
            ("WdN", true),
            ("Wdc", false),
            ("WdcCZ", true),
            ("EZ", true),
        ];
        for (passed, may_end) in rows {
            let mut course = Course::new();
            for tag in passed.bytes() {
                course.pass(&frame(tag, 3));
            }
            assert_eq!(course.may_end(), may_end, "{passed}");
        }
    }

    #[test]
    fn what_the_client_asks_for_is_not_cut_short() {
        let mut course = Course::new();
        course.asked();
        assert!(!course.may_end());
        course.pass(&frame(b'W', 3));
        course.asked();
        assert!(course.may_end());
    }

    proptest! {
        #[test]
        fn ends_of_messages_are_found_however_the_bytes_are_cut(
            lengths in proptest::collection::vec(0_usize..40, 1..8),
            cuts in proptest::collection::vec(1_usize..30, 1..60),
        ) {
            let frames: Vec<_> = lengths.iter().map(|&length| frame(b'd', length)).collect();
            let ends: Vec<_> = frames
                .iter()
                .scan(0, |end, frame| {
                    *end += frame.len();
                    Some(*end)
                })
                .collect();
            let bytes = frames.concat();
            let (mut course, mut at) = (Course::new(), 0);
            for cut in cuts {
                let end = (at + cut).min(bytes.len());
                let next = ends.iter().find(|&&end| end > at).map_or(0, |next| next - at);
                prop_assert_eq!(course.within_message(&bytes[at..end]), next.min(end - at));
                course.pass(&bytes[at..end]);
                at = end;
                prop_assert_eq!(course.is_between_messages(), at == 0 || ends.contains(&at));
            }
        }

        #[test]
        fn any_bytes_pass_without_a_panic(bytes: Vec<u8>) {
            let mut course = Course::new();
            let _ = course.within_message(&bytes);
            course.pass(&bytes);
        }
    }
}
