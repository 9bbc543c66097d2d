//! `host:port`, with IPv6 in brackets.

use std::fmt;
use std::net::Ipv6Addr;

use super::value::Complaint;

/// A host name or address with a TCP port. IPv6 addresses are kept without their brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// The port; 0 asks the system for a free one (only where pgweir listens).
    pub port: u16,
}

/// Why a text is no address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AddressError {
    Url,
    AnyHost { port: String },
    Bracket,
    Host,
    Port,
    PortMissing { host: String },
    NoBrackets,
}

impl Address {
    /// Reads `host:port`, `[::1]:port`, and without a port where there is a usual one.
    pub(crate) fn parse(text: &str, usual_port: Option<u16>) -> Result<Self, AddressError> {
        if text.contains("://") {
            return Err(AddressError::Url);
        }
        let (host, port) = split(text)?;
        if host.is_empty() || host == "*" {
            return Err(AddressError::AnyHost { port: port.unwrap_or("6432").to_owned() });
        }
        let port = match (port, usual_port) {
            (Some(port), _) => read_port(port)?,
            (None, Some(usual)) => usual,
            (None, None) => {
                return Err(AddressError::PortMissing { host: bracketed(host) });
            }
        };
        Ok(Self { host: host.to_owned(), port })
    }

    /// Reads a host alone, with or without brackets.
    pub(crate) fn parse_host(text: &str) -> Result<String, AddressError> {
        if is_ipv6(text) {
            return Ok(text.to_owned());
        }
        match split(text)? {
            ("" | "*", _) => Err(AddressError::Host),
            (host, None) => Ok(host.to_owned()),
            (_, Some(_)) => Err(AddressError::Port),
        }
    }
}

/// Splits a text into its host, without brackets, and its port.
fn split(text: &str) -> Result<(&str, Option<&str>), AddressError> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or(AddressError::Bracket)?;
        if !is_ipv6(host) {
            return Err(AddressError::Bracket);
        }
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(AddressError::Bracket),
        };
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    // With several colons nobody can tell the port from the last group of an IPv6 address.
    if port.is_some_and(|port| port.contains(':')) {
        let address = text.rsplit_once(':').map_or(text, |(address, _)| address);
        let is_meant = is_ipv6(text) || is_ipv6(address);
        return Err(if is_meant { AddressError::NoBrackets } else { AddressError::Host });
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.chars().all(is_name) || host == "*" {
        Ok((host, port))
    } else {
        Err(AddressError::Host)
    }
}

/// Whether the text is an IPv6 address, its zone (`%eth0`) aside.
fn is_ipv6(text: &str) -> bool {
    let (address, zone) = text.split_once('%').unwrap_or((text, "0"));
    address.parse::<Ipv6Addr>().is_ok()
        && !zone.is_empty()
        && zone.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

fn read_port(text: &str) -> Result<u16, AddressError> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if is_number { text.parse().map_err(|_| AddressError::Port) } else { Err(AddressError::Port) }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", bracketed(&self.host), self.port)
    }
}

impl AddressError {
    /// In words.
    pub(crate) fn into_complaint(self) -> Complaint {
        match self {
            Self::Url => Complaint::new("is a URL", "write \"host:port\""),
            Self::AnyHost { port } => Complaint::new(
                "names no host",
                format!("for every address write \"0.0.0.0:{port}\", or \"[::]:{port}\""),
            ),
            Self::Bracket => {
                Complaint::new("is not an IPv6 address in brackets", "for example \"[::1]:5432\"")
            }
            Self::Host => Complaint::new("is not a host", "write \"host:port\""),
            Self::Port => Complaint::new("has no valid port", "a port is 1 to 65535"),
            Self::PortMissing { host } => {
                Complaint::new("has no port", format!("write \"{host}:port\""))
            }
            Self::NoBrackets => {
                Complaint::new("is an IPv6 address without brackets", "for example \"[::1]:5432\"")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn addresses() {
        let rows = [
            ("a:5432", Ok("a:5432")),
            ("a", Ok("a:7")),
            ("127.0.0.1:0", Ok("127.0.0.1:0")),
            ("db_1.example-a.com:65535", Ok("db_1.example-a.com:65535")),
            ("[::1]:5432", Ok("[::1]:5432")),
            ("[::1]", Ok("[::1]:7")),
            ("[fe80::1%eth0]:1", Ok("[fe80::1%eth0]:1")),
            ("postgres://a:5432/db", Err(AddressError::Url)),
            ("*:6432", Err(AddressError::AnyHost { port: "6432".into() })),
            (":1", Err(AddressError::AnyHost { port: "1".into() })),
            ("", Err(AddressError::AnyHost { port: "6432".into() })),
            ("[::1", Err(AddressError::Bracket)),
            ("[a]:1", Err(AddressError::Bracket)),
            ("[::1]x", Err(AddressError::Bracket)),
            ("::1", Err(AddressError::NoBrackets)),
            ("::1:5432", Err(AddressError::NoBrackets)),
            ("1:2:3:4:5:6:7:8:5432", Err(AddressError::NoBrackets)),
            ("a:b:c", Err(AddressError::Host)),
            ("a b:1", Err(AddressError::Host)),
            ("user@a:1", Err(AddressError::Host)),
            ("/run/postgresql", Err(AddressError::Host)),
            ("a:", Err(AddressError::Port)),
            ("a:65536", Err(AddressError::Port)),
            ("a:+1", Err(AddressError::Port)),
            ("a:x", Err(AddressError::Port)),
        ];
        for (text, expected) in rows {
            let got = Address::parse(text, Some(7)).map(|address| address.to_string());
            assert_eq!(got, expected.map(str::to_owned), "{text:?}");
        }
        let missing = AddressError::PortMissing { host: "[::1]".into() };
        assert_eq!(Address::parse("[::1]", None), Err(missing));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_reads_again(text in "\\PC{0,40}") {
            if let Ok(address) = Address::parse(&text, Some(5432)) {
                prop_assert_eq!(Address::parse(&address.to_string(), None), Ok(address));
            }
        }
    }
}
