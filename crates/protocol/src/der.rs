//! As much of DER (X.690) as it takes to find something in a certificate that has been verified.

/// The tag of a SEQUENCE.
pub const SEQUENCE: u8 = 0x30;

/// The tag of a SET.
pub const SET: u8 = 0x31;

/// The tag of an OBJECT IDENTIFIER.
pub const OID: u8 = 0x06;

/// A length byte with this bit says how many bytes of length follow.
const LONG_LENGTH: u8 = 0x80;

/// The content of the element at the input's head, if it has this tag, and what follows it.
#[must_use]
pub fn element(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = any(input)?;
    (found == tag).then_some((content, rest))
}

/// The element at the input's head: its tag and content, and what follows it.
#[must_use]
pub fn any(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = input.split_first_chunk::<2>()?;
    let (length, rest) = if first & LONG_LENGTH == 0 {
        (usize::from(first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(first & !LONG_LENGTH))?;
        if bytes.len() > size_of::<u32>() {
            return None;
        }
        (bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}
