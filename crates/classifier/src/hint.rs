//! Routing comments: `/* pgweir: primary */` or `-- pgweir: replica` in front of the first statement.

/// Where a comment asks for a text to be run. A write never goes to a replica, whatever is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hint {
    /// On the primary.
    Primary,
    /// On a replica.
    Replica,
}

/// What a hint starts with, after white space.
const PREFIX: &str = "pgweir:";

impl Hint {
    /// Reads the inside of a comment. Letter case and surrounding space do not matter; a comment that
    /// says anything else is an ordinary comment.
    #[must_use]
    pub fn parse(comment: &[u8]) -> Option<Self> {
        let comment = comment.trim_ascii();
        let (prefix, word) = comment.split_at_checked(PREFIX.len())?;
        if !prefix.eq_ignore_ascii_case(PREFIX.as_bytes()) {
            return None;
        }
        let word = word.trim_ascii();
        if word.eq_ignore_ascii_case(b"primary") {
            Some(Self::Primary)
        } else if word.eq_ignore_ascii_case(b"replica") {
            Some(Self::Replica)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_read_in_any_case_and_spacing() {
        let rows: &[(&str, Option<Hint>)] = &[
            (" pgweir: primary ", Some(Hint::Primary)),
            ("pgweir:replica", Some(Hint::Replica)),
            ("\tPGWEIR:   Replica\n", Some(Hint::Replica)),
            (" pgweir: standby ", None),
            (" pgweir primary ", None),
            ("pgweir:", None),
            ("pgweir: primary please", None),
            ("", None),
        ];
        for (comment, expected) in rows {
            assert_eq!(Hint::parse(comment.as_bytes()), *expected, "{comment:?}");
        }
    }
}
