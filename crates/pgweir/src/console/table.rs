//! What a command answers with: columns with types, and rows.

use std::borrow::Cow;

use pgweir_protocol::message::{self, ColumnType, Format};

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) kind: ColumnType,
}

/// A column of text.
pub(super) const fn text(name: &'static str) -> Column {
    Column { name, kind: ColumnType::Text }
}

/// A column of small numbers.
pub(super) const fn int4(name: &'static str) -> Column {
    Column { name, kind: ColumnType::Int4 }
}

/// A column of numbers.
pub(super) const fn int8(name: &'static str) -> Column {
    Column { name, kind: ColumnType::Int8 }
}

/// A column of numbers where PgBouncer has `numeric`.
pub(super) const fn numeric(name: &'static str) -> Column {
    Column { name, kind: ColumnType::Numeric }
}

/// A column of yes and no.
pub(super) const fn boolean(name: &'static str) -> Column {
    Column { name, kind: ColumnType::Bool }
}

/// One value. Its column says as which type it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Text(Cow<'static, str>),
    Number(i64),
    Truth(bool),
}

pub(super) type Row = Vec<Value>;

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<bool> for Value {
    fn from(is_so: bool) -> Self {
        Self::Truth(is_so)
    }
}

macro_rules! numbers {
    ($($type:ty),+) => {$(
        impl From<$type> for Value {
            fn from(number: $type) -> Self {
                Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
            }
        }
    )+};
}

numbers!(i32, i64, u16, u32, u64, usize);

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl Value {
    /// The value as bytes of this type and format; none for NULL.
    fn encode(&self, kind: ColumnType, format: Format) -> Option<Cow<'_, [u8]>> {
        let number = |number: i64| match (format, kind) {
            (Format::Text, _) => number.to_string().into_bytes(),
            (Format::Binary, ColumnType::Int4) => {
                let most = if number < 0 { i32::MIN } else { i32::MAX };
                i32::try_from(number).unwrap_or(most).to_be_bytes().to_vec()
            }
            (Format::Binary, ColumnType::Numeric) => numeric_bytes(number),
            (Format::Binary, _) => number.to_be_bytes().to_vec(),
        };
        Some(match self {
            Self::Null => return None,
            Self::Text(text) => Cow::Borrowed(text.as_bytes()),
            Self::Number(value) => Cow::Owned(number(*value)),
            Self::Truth(is_so) if format == Format::Binary => {
                Cow::Borrowed(if *is_so { &[1] } else { &[0] })
            }
            Self::Truth(is_so) => Cow::Borrowed(if *is_so { b"t" } else { b"f" }),
        })
    }
}

/// An integer in the binary form of `numeric` (`numeric_send`): the number of digits to the base of
/// 10000, the first one's weight, the sign, the decimals to show, the digits.
fn numeric_bytes(number: i64) -> Vec<u8> {
    const BASE: u64 = 10_000;
    const NEGATIVE: u16 = 0x4000;
    let mut digits = Vec::new();
    let mut rest = number.unsigned_abs();
    while rest > 0 {
        digits.push(u16::try_from(rest % BASE).unwrap_or_default());
        rest /= BASE;
    }
    let count = u16::try_from(digits.len()).unwrap_or_default();
    let sign = if number < 0 { NEGATIVE } else { 0 };
    let head = [count, count.saturating_sub(1), sign, 0];
    head.into_iter().chain(digits.into_iter().rev()).flat_map(u16::to_be_bytes).collect()
}

/// The format of each column, as a Bind asks for it: none, one for all, or one each.
pub(super) fn format_of(formats: &[Format], column: usize) -> Format {
    let all = formats.first().filter(|_| formats.len() == 1);
    all.or_else(|| formats.get(column)).copied().unwrap_or_default()
}

/// Appends the columns as a RowDescription.
pub(super) fn describe(columns: &[Column], formats: &[Format], out: &mut Vec<u8>) {
    let columns: Vec<_> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| (column.name, column.kind, format_of(formats, at)))
        .collect();
    message::row_description(&columns, out);
}

/// Appends a row as a DataRow.
pub(super) fn put_row(columns: &[Column], row: &[Value], formats: &[Format], out: &mut Vec<u8>) {
    debug_assert_eq!(columns.len(), row.len(), "a value for every column");
    let values: Vec<_> = columns
        .iter()
        .zip(row)
        .enumerate()
        .map(|(at, (column, value))| value.encode(column.kind, format_of(formats, at)))
        .collect();
    message::data_row(&values, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_both_formats() {
        let rows: [(Value, ColumnType, &[u8], &[u8]); 9] = [
            ("ab".into(), ColumnType::Text, b"ab", b"ab"),
            (7_i64.into(), ColumnType::Int4, b"7", &[0, 0, 0, 7]),
            (i64::MAX.into(), ColumnType::Int4, b"9223372036854775807", &[0x7f, 255, 255, 255]),
            ((-2_i64).into(), ColumnType::Int8, b"-2", &[255, 255, 255, 255, 255, 255, 255, 254]),
            (true.into(), ColumnType::Bool, b"t", &[1]),
            (false.into(), ColumnType::Bool, b"f", &[0]),
            (0_i64.into(), ColumnType::Numeric, b"0", &[0, 0, 0, 0, 0, 0, 0, 0]),
            (
                12_345_i64.into(),
                ColumnType::Numeric,
                b"12345",
                &[0, 2, 0, 1, 0, 0, 0, 0, 0, 1, 0x09, 0x29],
            ),
            ((-1_i64).into(), ColumnType::Numeric, b"-1", &[0, 1, 0, 0, 0x40, 0, 0, 0, 0, 1]),
        ];
        for (value, kind, text, binary) in rows {
            assert_eq!(value.encode(kind, Format::Text).as_deref(), Some(text), "{value:?}");
            assert_eq!(value.encode(kind, Format::Binary).as_deref(), Some(binary), "{value:?}");
        }
        assert_eq!(Value::from(None::<i64>).encode(ColumnType::Int8, Format::Binary), None);
    }

    #[test]
    fn formats_are_none_one_for_all_or_one_each() {
        use Format::{Binary, Text};
        let rows: [(&[Format], [Format; 2]); 4] = [
            (&[], [Text, Text]),
            (&[Binary], [Binary, Binary]),
            (&[Binary, Text], [Binary, Text]),
            (&[Text, Binary], [Text, Binary]),
        ];
        for (formats, want) in rows {
            assert_eq!([format_of(formats, 0), format_of(formats, 1)], want, "{formats:?}");
        }
    }
}
