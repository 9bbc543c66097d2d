//! Positions in the write-ahead log, and what page headers do to them.

use std::fmt;
use std::str::FromStr;

/// A position in the write-ahead log (manual: 8.20 "`pg_lsn` Type").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

/// A text that is no `pg_lsn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a position in the write-ahead log: expected two hexadecimal numbers, as in 16/B374D848"
)]
pub struct NotAnLsn;

/// Digits on either side of a `pg_lsn`'s slash, at most.
const LSN_PART_DIGITS: usize = 8;

impl fmt::Display for Lsn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:X}/{:X}", self.0 >> 32, self.0 & u64::from(u32::MAX))
    }
}

impl FromStr for Lsn {
    type Err = NotAnLsn;

    fn from_str(text: &str) -> Result<Self, NotAnLsn> {
        let part = |digits: &str| {
            let plain = (1..=LSN_PART_DIGITS).contains(&digits.len())
                && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            if plain {
                u64::from_str_radix(digits, 16).map_err(|_| NotAnLsn)
            } else {
                Err(NotAnLsn)
            }
        };
        let (high, low) = text.split_once('/').ok_or(NotAnLsn)?;
        Ok(Self((part(high)? << 32) | part(low)?))
    }
}

/// How a server lays its write-ahead log out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WalLayout {
    /// `wal_block_size`, in bytes.
    pub(crate) page: u64,
    /// `wal_segment_size`, in bytes.
    pub(crate) segment: u64,
}

impl Default for WalLayout {
    fn default() -> Self {
        Self { page: 8 * 1024, segment: 16 * 1024 * 1024 }
    }
}

/// Size of the header of a page (`SizeOfXLogShortPHD`), in bytes.
const PAGE_HEADER: u64 = 24;
/// Size of the header of a segment's first page (`SizeOfXLogLongPHD`), in bytes.
const SEGMENT_HEADER: u64 = 40;

impl WalLayout {
    /// The end of the last record before `insert`, as a replaying standby reports it.
    ///
    /// The insert position says where the *next* record begins. When the last record fills its page
    /// to the brim, that is behind the next page's header, while replay stops in front of it: taken
    /// at its word, a primary that falls silent there would look ahead of its standbys until it
    /// writes again. Nothing but a header fits between the two, so stepping back over it is exact.
    #[must_use]
    pub(crate) const fn end_of_last_record(self, insert: Lsn) -> Lsn {
        if self.page == 0 || self.segment == 0 {
            return insert;
        }
        let in_segment = insert.0 % self.segment;
        if in_segment == SEGMENT_HEADER {
            Lsn(insert.0 - SEGMENT_HEADER)
        } else if in_segment > self.page && insert.0 % self.page == PAGE_HEADER {
            Lsn(insert.0 - PAGE_HEADER)
        } else {
            insert
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_read_and_print_as_postgresql_does() {
        for (text, value) in [
            ("0/0", 0),
            ("0/16B3748", 0x16B_3748),
            ("16/B374D848", 0x16_B374_D848),
            ("FFFFFFFF/FFFFFFFF", u64::MAX),
        ] {
            assert_eq!(text.parse(), Ok(Lsn(value)), "{text}");
            assert_eq!(Lsn(value).to_string(), text);
        }
        for text in
            ["", "/", "0", "1/", "/1", "0/0/0", "x/1", "+1/1", "0/123456789", "-1/0", " 0/1"]
        {
            assert_eq!(text.parse::<Lsn>(), Err(NotAnLsn), "{text}");
        }
    }

    #[test]
    fn an_insert_position_behind_a_header_counts_as_the_boundary() {
        let layout = WalLayout::default();
        for (what, insert, expected) in [
            ("inside a page", 0x300_1234, 0x300_1234),
            ("behind a page's header", 0x300_2018, 0x300_2000),
            ("at a page's very begin", 0x300_2000, 0x300_2000),
            ("one record into a page", 0x300_2020, 0x300_2020),
            ("behind a segment's header", 0x300_0028, 0x300_0000),
            ("24 bytes into a segment is inside its header", 0x300_0018, 0x300_0018),
            ("40 bytes into a page is a record's end", 0x300_2028, 0x300_2028),
        ] {
            assert_eq!(layout.end_of_last_record(Lsn(insert)), Lsn(expected), "{what}");
        }
        let unknown = WalLayout { page: 0, segment: 0 };
        assert_eq!(unknown.end_of_last_record(Lsn(0x300_2018)), Lsn(0x300_2018));
    }
}
