//! Durations and sizes as the file writes them: `"250ms"`, `"16KiB"`.

use std::fmt;
use std::time::Duration;

/// The longest duration, ten years: adding it to an instant never overflows.
pub(crate) const MAX_DURATION: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

/// What [`parse_duration`] reads, as a regular expression.
pub(crate) const DURATION_PATTERN: &str = "^[0-9]+(us|ms|s|m|h|d)$|^0$";

/// What [`parse_size`] reads, as a regular expression.
pub(crate) const SIZE_PATTERN: &str = "^[0-9]+ ?(B|[kK]B|MB|GB|TB|KiB|MiB|GiB|TiB)?$";

const MICROS_PER: [(&str, u64); 6] = [
    ("d", 24 * 60 * 60 * 1_000_000),
    ("h", 60 * 60 * 1_000_000),
    ("m", 60 * 1_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// Binary units first: of two exact ways to write a size the earlier is taken.
const BYTES_PER: [(&str, u64); 10] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Splits `"250ms"` into 250 and `"ms"`.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, unit))
}

fn factor(units: &[(&str, u64)], unit: &str) -> Option<u64> {
    units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor)
}

/// Reads a whole number with a unit: `us`, `ms`, `s`, `m`, `h`, `d`; zero needs none.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let factor = if number == 0 && unit.is_empty() { 1 } else { factor(&MICROS_PER, unit)? };
    let duration = Duration::from_micros(number.checked_mul(factor)?);
    (duration <= MAX_DURATION).then_some(duration)
}

/// Writes a duration in the largest unit that divides it.
pub(crate) fn duration_text(duration: Duration) -> String {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    if micros == 0 {
        return "0s".to_owned();
    }
    largest(&MICROS_PER, micros)
}

fn largest(units: &[(&str, u64)], amount: u64) -> String {
    let unit = units.iter().find(|(_, factor)| amount.is_multiple_of(*factor));
    let (name, factor) = unit.copied().unwrap_or(("", 1));
    format!("{}{name}", amount / factor)
}

/// Reads a whole number with a unit: powers of 1024 (`KiB`) or of 1000 (`kB`); bytes need none.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let factor = if unit.is_empty() { 1 } else { factor(&BYTES_PER, unit)? };
    number.checked_mul(factor)
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

impl Size {
    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0B");
        }
        f.write_str(&largest(&BYTES_PER, self.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn durations() {
        let rows = [
            ("250ms", Some(Duration::from_millis(250))),
            ("5s", Some(Duration::from_secs(5))),
            ("10m", Some(Duration::from_secs(600))),
            ("1h", Some(Duration::from_secs(3600))),
            ("1d", Some(Duration::from_secs(86_400))),
            ("7us", Some(Duration::from_micros(7))),
            ("0s", Some(Duration::ZERO)),
            ("0", Some(Duration::ZERO)),
            ("3650d", Some(MAX_DURATION)),
            ("3651d", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
            ("5", None),
            ("", None),
            ("s", None),
            ("5 s", None),
            ("-5s", None),
            ("1.5s", None),
            ("5S", None),
            ("5sec", None),
            ("٥s", None),
        ];
        for (text, expected) in rows {
            assert_eq!(parse_duration(text), expected, "{text:?}");
        }
    }

    #[test]
    fn sizes() {
        let rows = [
            ("16KiB", Some(16 * 1024)),
            ("1GiB", Some(1 << 30)),
            ("8MB", Some(8_000_000)),
            ("8 MB", Some(8_000_000)),
            ("1kB", Some(1000)),
            ("1KB", Some(1000)),
            ("512", Some(512)),
            ("512B", Some(512)),
            ("0", Some(0)),
            ("16777216TiB", None),
            ("16kib", None),
            ("16K", None),
            ("", None),
            ("-1", None),
            ("KiB", None),
        ];
        for (text, expected) in rows {
            assert_eq!(parse_size(text), expected, "{text:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn what_is_written_reads_as_the_same(micros in 0..=3650_u64 * 86_400_000_000, bytes in any::<u64>()) {
            let duration = Duration::from_micros(micros);
            prop_assert_eq!(parse_duration(&duration_text(duration)), Some(duration));
            prop_assert_eq!(parse_size(&Size(bytes).to_string()), Some(bytes));
        }
    }
}
