//! What is wrong with a configuration, and where.

use std::fmt;
use std::path::{Path, PathBuf};

/// One thing wrong with a file. Displayed as `file:line:column: key: message (suggestion)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file: the configuration itself, or the users file it names.
    pub file: PathBuf,
    /// Line, from 1; 0 when the file could not be read at all.
    pub line: usize,
    /// Column in characters, from 1; 0 when the file could not be read at all.
    pub column: usize,
    /// The key's full path, such as `databases.app.pool.size`; empty when none is meant.
    pub key: String,
    /// What is wrong. A value that was not understood is repeated as the file has it, not as `${…}`
    /// turned out: that may be secret. A password is never repeated.
    pub message: String,
    /// What to write instead, where that can be told.
    pub suggestion: Option<String>,
}

impl Problem {
    /// Something wrong with the file rather than with a key of it; line and column 0 mean all of it.
    pub(crate) fn at(
        (line, column): (usize, usize),
        file: &Path,
        message: impl Into<String>,
    ) -> Self {
        Self {
            file: file.to_owned(),
            line,
            column,
            key: String::new(),
            message: message.into(),
            suggestion: None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, " ({suggestion})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}

/// The text of a file and where its lines begin.
pub(crate) struct Source<'a> {
    file: &'a Path,
    text: &'a str,
    /// Byte offsets, ascending; the first is 0.
    lines: Vec<usize>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(file: &'a Path, text: &'a str) -> Self {
        let after_newline = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { file, text, lines: std::iter::once(0).chain(after_newline).collect() }
    }

    pub(crate) fn file(&self) -> &'a Path {
        self.file
    }

    /// Line and column, both from 1, of a byte offset; past the end counts as the end.
    pub(crate) fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start <= offset).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or(0);
        let before = self.text.get(start..).unwrap_or("").char_indices();
        let column = before
            .take_while(|(at, _)| start + at < offset)
            .filter(|(_, character)| *character != BYTE_ORDER_MARK)
            .count();
        (line, column + 1)
    }
}

/// Editors do not show it, so it is not a column.
const BYTE_ORDER_MARK: char = '\u{feff}';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let rows = [
            ("", 0, (1, 1)),
            ("a", 0, (1, 1)),
            ("ab", 1, (1, 2)),
            ("ab", 2, (1, 3)),
            ("ab", 9, (1, 3)),
            ("a\nb", 1, (1, 2)),
            ("a\nb", 2, (2, 1)),
            ("a\n", 2, (2, 1)),
            ("a\r\nbc", 4, (2, 2)),
            ("é = ü", 5, (1, 5)),
            ("\u{feff}a", 3, (1, 1)),
        ];
        for (text, offset, expected) in rows {
            let got = Source::new(Path::new("f"), text).position(offset);
            assert_eq!(got, expected, "offset {offset} of {text:?}");
        }
    }
}
