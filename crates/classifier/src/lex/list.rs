//! Long lists in the normalised form: rows behind `VALUES` and literals behind `IN` are written once if
//! they look alike, so that inserting ten rows and inserting a thousand are one form. A list of `n` equal
//! items means to the classifier what a list of one of them means.

use std::ops::Range;

/// Which lists are shortened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `VALUES (…), (…)`: rows, whatever they hold.
    Rows,
    /// `IN (…, …)`: literals only; what else may stand there can hold commas of another meaning.
    Literals,
}

/// A list that is being written.
pub(super) struct List {
    pub(super) kind: Kind,
    /// How many parentheses are open where the list's commas stand.
    pub(super) depth: usize,
    /// Where the item that is being written starts in the normalised form.
    item: Option<usize>,
    /// The item before it.
    previous: Option<Range<usize>>,
}

impl List {
    pub(super) fn new(kind: Kind, depth: usize) -> Self {
        Self { kind, depth, item: None, previous: None }
    }

    /// A token is about to be written at this position.
    pub(super) fn token(&mut self, position: usize) {
        self.item.get_or_insert(position);
    }

    /// The next token begins an item.
    pub(super) fn begin_item(&mut self) {
        self.item = None;
    }

    /// The item has ended. Takes it back, with the comma in front of it, if it is equal to the one
    /// before it; returns true then.
    pub(super) fn end_item(&mut self, written: &mut Vec<u8>) -> bool {
        let Some(start) = self.item.take() else { return false };
        let item = start..written.len();
        if let Some(previous) = self.previous.clone() {
            let bytes = written.get(item.clone()).unwrap_or_default();
            let same = written.get(previous.clone()) == Some(bytes);
            if same && (self.kind == Kind::Rows || is_literal(bytes)) {
                written.truncate(previous.end);
                return true;
            }
        }
        self.previous = Some(item);
        false
    }
}

/// True for what stands for a literal, with a sign or without.
fn is_literal(item: &[u8]) -> bool {
    let unsigned = item.strip_prefix(b"-").unwrap_or(item);
    matches!(unsigned, b"'?'" | b"0" | b"0.0" | b"b'?'" | b"x'?'")
}
