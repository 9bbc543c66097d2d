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

/// The pieces that go out on one side, in order.
#[derive(Debug, Default)]
pub struct Outgoing {
    own: Vec<u8>,
    parts: Vec<Part>,
}

impl Outgoing {
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
