//! Authentication, both sides.
//!
//! Towards a client pgweir is the server: [`ClientLogin`] asks for a proof and checks it against a
//! secret ([`ScramVerifier`](scram::ScramVerifier), md5). Towards a server it is the client:
//! [`ServerLogin`] answers whatever the server asks for, from [`Credentials`]. The two meet in
//! passthrough: a right SCRAM proof reveals the client key, and with it ([`ScramKeys`]) pgweir logs
//! in to the servers as that user, without ever having seen the password.
//!
//! Nonces and salts are arguments, for this crate has no dice. Secrets are compared in constant
//! time and never shown by `Debug`. PostgreSQL manual, "SASL Authentication"; RFC 5802, RFC 7677.

pub mod certificate;
mod client_login;
pub mod md5;
pub mod scram;
mod server_login;

use std::fmt;

use thiserror::Error;

use crate::error::ProtocolError;
use crate::report::{Report, Severity};
use crate::sqlstate::SqlState;

pub use client_login::{ClientLogin, ClientLoginStep, MAX_SASL_MESSAGE_LENGTH};
pub use scram::{DerivedKeys, ScramKeys, ScramSecret};
pub use server_login::{LoginError, LoginStep, Method, ServerLogin};

/// What pgweir has to open a server connection with.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing: for servers that let the user in unasked.
    None,
    /// The password itself: answers every method.
    Password(String),
    /// The keys that a client's proof revealed: answer SCRAM, as long as the role's secret stays.
    Scram(ScramKeys),
    /// The stored hash, `md5` and 32 hexadecimal digits: answers md5.
    Md5(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Password(_) => "Password(***)",
            Self::Scram(_) => "Scram(***)",
            Self::Md5(_) => "Md5(***)",
        })
    }
}

/// Why a client is not let in. The culprit is the client; the words are PostgreSQL's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AuthError {
    /// The proof is not one of the secret: a wrong password, or a user that does not exist.
    #[error("password authentication failed")]
    Failed,
    /// An empty password, which no role has.
    #[error("empty password returned by client")]
    EmptyPassword,
    /// A mechanism that was not offered.
    #[error("client selected an invalid SASL authentication mechanism")]
    Mechanism,
    /// A message that is not SCRAM's grammar.
    #[error("malformed SCRAM message")]
    Malformed {
        /// Where it departs from the grammar.
        detail: String,
    },
    /// A nonce with characters that a nonce cannot have.
    #[error("non-printable characters in SCRAM nonce")]
    NonceNotPrintable,
    /// The client's second message repeats another nonce than it was given: a replay.
    #[error("invalid SCRAM response")]
    NonceMismatch,
    /// The client wants to act as another user than it authenticates as.
    #[error("client uses authorization identity, but it is not supported")]
    AuthorizationIdentity,
    /// The client insists on an extension of SCRAM; there are none.
    #[error("client requires an unsupported SCRAM extension")]
    MandatoryExtension,
    /// The client would have bound the exchange to TLS, had it seen the offer that was made:
    /// someone between took the offer away.
    #[error("SCRAM channel binding negotiation error")]
    ChannelBindingNegotiation,
    /// The client binds to something else than `tls-server-end-point`.
    #[error("unsupported SCRAM channel-binding type \"{kind}\"")]
    ChannelBindingType {
        /// What it binds to.
        kind: String,
    },
    /// The client sees another certificate than pgweir shows: someone is between.
    #[error("SCRAM channel binding check failed")]
    ChannelBindingCheck,
    /// The client repeats other channel-binding flags than it began with.
    #[error("unexpected SCRAM channel-binding attribute in client-final-message")]
    ChannelBindingAttribute,
    /// A message longer than any of SCRAM's.
    #[error("pgweir: SASL message of {length} bytes is too long")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// A password message after the exchange was over.
    #[error("pgweir: unexpected password message")]
    OutOfTurn,
    /// A message that is not the protocol.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

impl AuthError {
    /// The report for the client that wanted to be `user`. Whatever it is, the connection ends.
    #[must_use]
    pub fn report(&self, user: &str) -> Report {
        let code = match self {
            Self::Protocol(error) => return Report::from(error),
            Self::Failed => {
                let message = format!("password authentication failed for user \"{user}\"");
                return Report::new(Severity::Fatal, SqlState::INVALID_PASSWORD, message);
            }
            Self::EmptyPassword => SqlState::INVALID_PASSWORD,
            Self::Mechanism
            | Self::Malformed { .. }
            | Self::NonceNotPrintable
            | Self::NonceMismatch
            | Self::ChannelBindingType { .. }
            | Self::ChannelBindingAttribute
            | Self::TooLong { .. }
            | Self::OutOfTurn => SqlState::PROTOCOL_VIOLATION,
            Self::AuthorizationIdentity | Self::MandatoryExtension => {
                SqlState::FEATURE_NOT_SUPPORTED
            }
            Self::ChannelBindingNegotiation | Self::ChannelBindingCheck => {
                SqlState::INVALID_AUTHORIZATION_SPECIFICATION
            }
        };
        let mut report = Report::new(Severity::Fatal, code, self.to_string());
        report.detail = self.detail();
        report
    }

    /// The facts behind the message.
    fn detail(&self) -> Option<String> {
        match self {
            Self::Malformed { detail } => Some(detail.clone()),
            Self::NonceMismatch => Some("Nonce does not match.".to_owned()),
            Self::ChannelBindingNegotiation => Some(
                "The client supports SCRAM channel binding but thinks the server does not.  \
                 However, this server does support channel binding."
                    .to_owned(),
            ),
            Self::TooLong { .. } => {
                Some(format!("At most {MAX_SASL_MESSAGE_LENGTH} bytes are taken."))
            }
            _ => None,
        }
    }
}

impl From<scram::Malformed> for AuthError {
    fn from(malformed: scram::Malformed) -> Self {
        Self::Malformed { detail: malformed.detail }
    }
}
