//! What goes out on one side: pieces of the input as they came, and bytes of our own between them.
//!
//! A proxy that copies every byte pays for it on large results. [`Outgoing`] only notes ranges of
//! the input that pass untouched; bytes of our own live in a side buffer. The driver hands both to
//! one vectored write. Ranges of the input are valid for the call they came from.

use std::ops::Range;

/// A piece of what goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A range of the input this call was given.
    Input(Range<usize>),
    /// A range of the side buffer.
    Own(Range<usize>),
}

impl Part {
    fn range(&self) -> &Range<usize> {
        match self {
            Self::Input(range) | Self::Own(range) => range,
        }
    }

    fn range_mut(&mut self) -> &mut Range<usize> {
        match self {
            Self::Input(range) | Self::Own(range) => range,
        }
    }
}

/// The pieces that go out on one side, in order.
#[derive(Debug, Default)]
pub struct Outgoing {
    own: Vec<u8>,
    parts: Vec<Part>,
}

/// A place in what goes out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    parts: usize,
    /// Where the last of these parts ends; it may grow.
    end: usize,
    own: usize,
}

impl Outgoing {
    /// The place that has been reached.
    #[must_use]
    pub fn mark(&self) -> Mark {
        let end = self.parts.last().map_or(0, |part| part.range().end);
        Mark { parts: self.parts.len(), end, own: self.own.len() }
    }

    /// Takes back what has come since.
    pub fn cut(&mut self, mark: Mark) {
        self.parts.truncate(mark.parts);
        if let Some(last) = self.parts.last_mut() {
            last.range_mut().end = mark.end;
        }
        self.own.truncate(mark.own);
    }

    /// Takes back what has come since, and copies it.
    pub fn take_since(&mut self, mark: Mark, input: &[u8], to: &mut Vec<u8>) {
        if self.mark() == mark {
            return;
        }
        for (at, part) in self.parts.iter().enumerate().skip(mark.parts.saturating_sub(1)) {
            let mut range = part.range().clone();
            if at < mark.parts {
                range.start = mark.end;
            }
            let of = match part {
                Part::Input(_) => input,
                Part::Own(_) => &*self.own,
            };
            to.extend_from_slice(of.get(range).unwrap_or_default());
        }
        self.cut(mark);
    }

    /// Passes a range of the input.
    pub fn pass(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        match self.parts.last_mut() {
            Some(Part::Input(last)) if last.end == range.start => last.end = range.end,
            _ => self.parts.push(Part::Input(range)),
        }
    }

    /// Adds bytes of our own, written by the closure.
    pub fn own(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.own.len();
        write(&mut self.own);
        let end = self.own.len();
        match self.parts.last_mut() {
            _ if start == end => {}
            Some(Part::Own(last)) if last.end == start => last.end = end,
            _ => self.parts.push(Part::Own(start..end)),
        }
    }

    /// Whether nothing goes out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The pieces as slices, given the input they were noted for.
    pub fn slices<'a>(&'a self, input: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.parts.iter().map(move |part| match part {
            Part::Input(range) => input.get(range.clone()).unwrap_or_default(),
            Part::Own(range) => self.own.get(range.clone()).unwrap_or_default(),
        })
    }

    /// How many pieces there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.parts.len()
    }

    /// Forgets everything; buffers are kept for the next call.
    pub fn clear(&mut self) {
        self.own.clear();
        self.parts.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INPUT: &[u8] = b"0123456789";

    /// Input bytes that pass next, or bytes of our own.
    fn add(out: &mut Outgoing, at: &mut usize, pieces: &[Option<u8>]) {
        for piece in pieces {
            match piece {
                None => {
                    out.pass(*at..*at + 1);
                    *at += 1;
                }
                Some(byte) => out.own(|own| own.push(*byte)),
            }
        }
    }

    fn bytes(out: &Outgoing) -> Vec<u8> {
        out.slices(INPUT).flatten().copied().collect()
    }

    proptest! {
        #[test]
        fn what_is_taken_back_is_what_came_since_the_mark(
            before in prop::collection::vec(any::<Option<u8>>(), 0..5),
            since in prop::collection::vec(any::<Option<u8>>(), 0..5),
            is_copied: bool,
        ) {
            let (mut out, mut at) = (Outgoing::default(), 0);
            add(&mut out, &mut at, &before);
            let (kept, mark) = (bytes(&out), out.mark());
            add(&mut out, &mut at, &since);
            let all = bytes(&out);
            let mut taken = Vec::new();
            if is_copied {
                out.take_since(mark, INPUT, &mut taken);
                prop_assert_eq!([&*kept, &*taken].concat(), all);
            } else {
                out.cut(mark);
            }
            prop_assert_eq!(bytes(&out), kept);
            prop_assert_eq!(out.mark(), mark);
        }
    }
}
