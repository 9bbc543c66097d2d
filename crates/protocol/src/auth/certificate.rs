//! Whom a client certificate names: the common name of its subject (manual, 21.12 "Certificate
//! Authentication").
//!
//! That the certificate is good has been found out by the handshake. What is left to a liar with a
//! careless authority is the name itself, so one that can be read in two ways is none: PostgreSQL takes
//! the first of several common names; here they name nobody.

use thiserror::Error;

use crate::der;

/// 2.5.4.3, `id-at-commonName` (RFC 5280, appendix A).
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// The tag of an explicit version at the head of a certificate's fields.
const VERSION: u8 = 0xA0;

/// Serial number, signature algorithm, issuer, validity: what comes between version and subject.
const BEFORE_SUBJECT: usize = 4;

const UTF8_STRING: u8 = 0x0C;
const PRINTABLE_STRING: u8 = 0x13;
const TELETEX_STRING: u8 = 0x14;
const IA5_STRING: u8 = 0x16;
const BMP_STRING: u8 = 0x1E;

/// Why a certificate names nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Nameless {
    /// Its subject cannot be found in it.
    #[error("the certificate cannot be read")]
    Malformed,
    /// There is no common name, or an empty one.
    #[error("the certificate's subject has no common name")]
    NoName,
    /// There are several.
    #[error("the certificate's subject has more than one common name")]
    SeveralNames,
    /// It is no text, or one with a zero byte, which would be read differently by others.
    #[error("the certificate's common name is not a text without zero bytes")]
    NotText,
}

/// The common name of the subject of a certificate in DER.
///
/// # Errors
/// [`Nameless`].
pub fn common_name(certificate: &[u8]) -> Result<String, Nameless> {
    let mut names = subject(certificate).ok_or(Nameless::Malformed)?;
    let mut found = None;
    while !names.is_empty() {
        let (mut set, rest) = der::element(names, der::SET).ok_or(Nameless::Malformed)?;
        names = rest;
        while !set.is_empty() {
            let (attribute, rest) = der::element(set, der::SEQUENCE).ok_or(Nameless::Malformed)?;
            set = rest;
            let (kind, value) = der::element(attribute, der::OID).ok_or(Nameless::Malformed)?;
            if kind == COMMON_NAME && found.replace(value).is_some() {
                return Err(Nameless::SeveralNames);
            }
        }
    }
    let (tag, content, _) = der::any(found.ok_or(Nameless::NoName)?).ok_or(Nameless::Malformed)?;
    match text(tag, content) {
        Some(name) if name.contains('\0') => Err(Nameless::NotText),
        Some(name) if name.is_empty() => Err(Nameless::NoName),
        name => name.ok_or(Nameless::NotText),
    }
}

/// The names of the subject: `RDNSequence ::= SEQUENCE OF SET OF SEQUENCE { OID, value }`.
fn subject(certificate: &[u8]) -> Option<&[u8]> {
    let (fields, _) = der::element(certificate, der::SEQUENCE)?;
    let (mut fields, _) = der::element(fields, der::SEQUENCE)?;
    if let Some((_, rest)) = der::element(fields, VERSION) {
        fields = rest;
    }
    for _ in 0..BEFORE_SUBJECT {
        (_, _, fields) = der::any(fields)?;
    }
    der::element(fields, der::SEQUENCE).map(|(names, _)| names)
}

fn text(tag: u8, content: &[u8]) -> Option<String> {
    match tag {
        UTF8_STRING => String::from_utf8(content.to_vec()).ok(),
        // What is beyond ASCII in Teletex is read in many ways.
        PRINTABLE_STRING | IA5_STRING | TELETEX_STRING if content.is_ascii() => {
            String::from_utf8(content.to_vec()).ok()
        }
        BMP_STRING if content.len().is_multiple_of(2) => {
            let units = content
                .chunks_exact(2)
                .map(|unit| unit.iter().fold(0, |value: u16, &byte| value << 8 | u16::from(byte)));
            String::from_utf16(&units.collect::<Vec<_>>()).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len();
        let mut out = vec![tag];
        if length < 128 {
            out.push(u8::try_from(length).unwrap());
        } else {
            out.push(0x82);
            out.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        out.extend(content);
        out
    }

    fn attribute(oid: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
        der(der::SET, &der(der::SEQUENCE, &[der(der::OID, oid), der(tag, value)].concat()))
    }

    /// A certificate with nothing in it but what is looked at.
    fn certificate(subject: &[Vec<u8>]) -> Vec<u8> {
        let fields = [
            der(VERSION, &der(0x02, &[2])),
            der(0x02, &[1]),
            der(der::SEQUENCE, &[]),
            der(der::SEQUENCE, &attribute(COMMON_NAME, UTF8_STRING, b"the authority")),
            der(der::SEQUENCE, &[0; 30]),
            der(der::SEQUENCE, &subject.concat()),
            der(der::SEQUENCE, &[0; 200]),
        ];
        der(der::SEQUENCE, &der(der::SEQUENCE, &fields.concat()))
    }

    #[test]
    fn the_common_name_is_found_whatever_its_kind_of_string() {
        let cn = |tag, value: &[u8]| certificate(&[attribute(COMMON_NAME, tag, value)]);
        let organization = attribute(&[0x55, 0x04, 0x0A], UTF8_STRING, b"weir keepers");
        let long = "n".repeat(300);
        let rows: [(Vec<u8>, Result<&str, Nameless>); 15] = [
            (cn(UTF8_STRING, b"app"), Ok("app")),
            (cn(PRINTABLE_STRING, b"app"), Ok("app")),
            (cn(IA5_STRING, b"app@example.com"), Ok("app@example.com")),
            (cn(TELETEX_STRING, b"app"), Ok("app")),
            (cn(TELETEX_STRING, b"\xE4pp"), Err(Nameless::NotText)),
            (cn(BMP_STRING, b"\0a\0p\0p"), Ok("app")),
            (cn(BMP_STRING, b"\0a\0p\0"), Err(Nameless::NotText)),
            (cn(UTF8_STRING, "we\"ird; Ümläut'".as_bytes()), Ok("we\"ird; Ümläut'")),
            (cn(UTF8_STRING, long.as_bytes()), Ok(&long)),
            (cn(UTF8_STRING, b"postgres\0.example.com"), Err(Nameless::NotText)),
            (cn(UTF8_STRING, b"\xFF"), Err(Nameless::NotText)),
            (cn(UTF8_STRING, b""), Err(Nameless::NoName)),
            (certificate(std::slice::from_ref(&organization)), Err(Nameless::NoName)),
            (certificate(&[]), Err(Nameless::NoName)),
            (
                certificate(&[
                    attribute(COMMON_NAME, UTF8_STRING, b"app"),
                    organization,
                    attribute(COMMON_NAME, UTF8_STRING, b"postgres"),
                ]),
                Err(Nameless::SeveralNames),
            ),
        ];
        for (certificate, expected) in rows {
            assert_eq!(common_name(&certificate), expected.map(str::to_owned));
        }
    }

    #[test]
    fn a_certificate_that_ends_anywhere_names_nobody() {
        let whole = certificate(&[attribute(COMMON_NAME, UTF8_STRING, b"app")]);
        for end in 0..whole.len() {
            assert!(common_name(&whole[..end]).is_err(), "{end}");
        }
    }
}
