//! A client's login, seen from pgweir: what it is asked for, and whether that is right.

use super::scram::ScramVerifier;
use super::{AuthError, ScramKeys, md5};
use crate::cursor::Cursor;
use crate::message::{self, MD5_SALT_LENGTH};

/// The most a message of a SASL exchange can be, in bytes, as PostgreSQL bounds it
/// (`PG_MAX_SASL_MESSAGE_LENGTH`). Together with the bound on frames during login it keeps what a
/// stranger can make pgweir hold small.
pub const MAX_SASL_MESSAGE_LENGTH: usize = 1024;

/// What follows from a message of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientLoginStep {
    /// The client is to answer.
    More,
    /// The client is who it says. AuthenticationOk has not been written: whether it goes out now
    /// or after a server has been asked too is the session's to say.
    Authenticated {
        /// After SCRAM: the keys that open servers which have the same secret.
        keys: Option<ScramKeys>,
    },
}

/// The server's side of one client's login.
#[derive(Debug)]
pub struct ClientLogin {
    state: State,
}

#[derive(Debug)]
enum State {
    /// Let in unasked.
    Trust,
    /// Asked for SCRAM; `mechanism` once the client has chosen one.
    Scram { verifier: Box<ScramVerifier>, progress: Progress },
    /// Asked for md5.
    Md5 { stored: Md5Hash, salt: [u8; MD5_SALT_LENGTH] },
    /// Decided.
    Over,
}

/// How far a SASL exchange is.
#[derive(Debug)]
enum Progress {
    /// The client is to choose a mechanism.
    Choosing,
    /// It has chosen one and sent nothing with it.
    Chosen(String),
    /// Its first message has been answered.
    Answered,
}

/// A stored md5 hash, which is a secret.
struct Md5Hash(String);

impl std::fmt::Debug for Md5Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Md5Hash(***)")
    }
}

impl ClientLogin {
    /// Lets the client in unasked.
    #[must_use]
    pub fn trust() -> Self {
        Self { state: State::Trust }
    }

    /// Asks for a SCRAM proof of the verifier's secret.
    #[must_use]
    pub fn scram(verifier: ScramVerifier) -> Self {
        let verifier = Box::new(verifier);
        Self { state: State::Scram { verifier, progress: Progress::Choosing } }
    }

    /// Asks for an md5 answer with the `stored` hash. `salt` is fresh and random.
    #[must_use]
    pub fn md5(stored: String, salt: [u8; MD5_SALT_LENGTH]) -> Self {
        Self { state: State::Md5 { stored: Md5Hash(stored), salt } }
    }

    /// Begins: appends what the client is asked for, if it is asked for anything.
    pub fn start(&mut self, out: &mut Vec<u8>) -> ClientLoginStep {
        match &self.state {
            State::Trust | State::Over => {
                self.state = State::Over;
                return ClientLoginStep::Authenticated { keys: None };
            }
            State::Scram { verifier, .. } => {
                message::authentication_sasl(verifier.mechanisms(), out);
            }
            State::Md5 { salt, .. } => message::authentication_md5_password(*salt, out),
        }
        ClientLoginStep::More
    }

    /// Takes the body of a message of type `p` and appends the answer, if there is one.
    ///
    /// # Errors
    /// An [`AuthError`] says why the client is not let in. The login is then over.
    pub fn handle(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<ClientLoginStep, AuthError> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Trust | State::Over => Err(AuthError::OutOfTurn),
            State::Md5 { stored, salt } => check_md5(&stored.0, salt, body),
            State::Scram { verifier, progress } => self.scram_step(verifier, progress, body, out),
        }
    }

    fn scram_step(
        &mut self,
        mut verifier: Box<ScramVerifier>,
        progress: Progress,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<ClientLoginStep, AuthError> {
        if body.len() > MAX_SASL_MESSAGE_LENGTH {
            return Err(AuthError::TooLong { length: body.len() });
        }
        let progress = match progress {
            Progress::Choosing => begin(&mut verifier, body, out)?,
            Progress::Chosen(mechanism) => {
                let answer = verifier.first(&mechanism, body)?;
                message::authentication_sasl_continue(&answer, out);
                Progress::Answered
            }
            Progress::Answered => {
                let verified = verifier.last(body)?;
                message::authentication_sasl_final(&verified.server_final, out);
                let (client_key, server_key) = (verified.client_key, verifier.server_key());
                let keys = Some(ScramKeys { client_key, server_key });
                return Ok(ClientLoginStep::Authenticated { keys });
            }
        };
        self.state = State::Scram { verifier, progress };
        Ok(ClientLoginStep::More)
    }
}

/// Takes a SASLInitialResponse: the mechanism, and mostly its first message.
fn begin(
    verifier: &mut ScramVerifier,
    body: &[u8],
    out: &mut Vec<u8>,
) -> Result<Progress, AuthError> {
    let mut cursor = Cursor::new("SASLInitialResponse", body);
    let mechanism = cursor.cstr()?;
    let Some(mechanism) = std::str::from_utf8(mechanism)
        .ok()
        .filter(|mechanism| verifier.mechanisms().contains(mechanism))
    else {
        return Err(AuthError::Mechanism);
    };
    let first = cursor.value()?;
    cursor.finish()?;
    match first {
        Some(first) => {
            let answer = verifier.first(mechanism, first)?;
            message::authentication_sasl_continue(&answer, out);
            Ok(Progress::Answered)
        }
        // The first message comes after an empty challenge (RFC 4422, section 5).
        None => {
            message::authentication_sasl_continue(&[], out);
            Ok(Progress::Chosen(mechanism.to_owned()))
        }
    }
}

fn check_md5(
    stored: &str,
    salt: [u8; MD5_SALT_LENGTH],
    body: &[u8],
) -> Result<ClientLoginStep, AuthError> {
    let mut cursor = Cursor::new("PasswordMessage", body);
    let answer = cursor.cstr()?;
    cursor.finish()?;
    if answer.is_empty() {
        return Err(AuthError::EmptyPassword);
    }
    if !md5::verify(stored, salt, answer) {
        return Err(AuthError::Failed);
    }
    Ok(ClientLoginStep::Authenticated { keys: None })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::auth::md5::{md5_password, md5_response};
    use crate::auth::scram::{
        ChannelBinding, NONCE_LENGTH, SCRAM_SHA_256, ScramClient, ScramCredential, ScramSecret,
    };
    use crate::error::ProtocolError;

    const SALT: [u8; MD5_SALT_LENGTH] = [1, 2, 3, 4];

    fn scram_login() -> ClientLogin {
        let secret = ScramSecret::from_password("pw", b"salt", 2);
        ClientLogin::scram(ScramVerifier::new(secret, [1; NONCE_LENGTH], None))
    }

    fn scram_client(password: &str) -> ScramClient {
        let password = ScramCredential::Password(password.to_owned());
        ScramClient::new(password, [2; NONCE_LENGTH], ChannelBinding::Unsupported)
    }

    /// The body of the only frame in `out`, without the authentication code.
    fn challenge(out: &mut Vec<u8>) -> Vec<u8> {
        let frame = std::mem::take(out);
        assert_eq!(frame[0], b'R');
        let length = u32::from_be_bytes(frame[1..5].try_into().unwrap());
        assert_eq!(length as usize, frame.len() - 1);
        frame[9..].to_vec()
    }

    fn initial_response(mechanism: &str, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        message::sasl_initial_response(mechanism, data, &mut out);
        out[5..].to_vec()
    }

    #[test]
    fn trust_asks_for_nothing() {
        let mut out = Vec::new();
        let mut login = ClientLogin::trust();
        assert_eq!(login.start(&mut out), ClientLoginStep::Authenticated { keys: None });
        assert_eq!(out, b"");
        assert_eq!(login.handle(b"pw\0", &mut out), Err(AuthError::OutOfTurn));
    }

    #[test]
    fn scram_lets_in_who_has_the_password_and_keeps_the_keys() {
        let (mut login, mut client, mut out) = (scram_login(), scram_client("pw"), Vec::new());
        assert_eq!(login.start(&mut out), ClientLoginStep::More);
        assert_eq!(out, b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0");
        out.clear();
        let body = initial_response(client.mechanism(), &client.first());
        assert_eq!(login.handle(&body, &mut out), Ok(ClientLoginStep::More));
        let proof = client.respond(&challenge(&mut out)).unwrap();
        let keys = Some(ScramKeys::derive("pw", b"salt", 2));
        assert_eq!(login.handle(&proof, &mut out), Ok(ClientLoginStep::Authenticated { keys }));
        assert_eq!(client.finish(&challenge(&mut out)), Ok(()));
        assert_eq!(login.handle(&proof, &mut out), Err(AuthError::OutOfTurn));
    }

    #[test]
    fn a_first_message_may_come_after_an_empty_challenge() {
        let (mut login, mut client, mut out) = (scram_login(), scram_client("pw"), Vec::new());
        login.start(&mut out);
        out.clear();
        let body = [SCRAM_SHA_256.as_bytes(), b"\0\xff\xff\xff\xff"].concat();
        assert_eq!(login.handle(&body, &mut out), Ok(ClientLoginStep::More));
        assert_eq!(challenge(&mut out), b"");
        assert_eq!(login.handle(&client.first(), &mut out), Ok(ClientLoginStep::More));
        let proof = client.respond(&challenge(&mut out)).unwrap();
        assert!(login.handle(&proof, &mut out).is_ok());
    }

    #[test]
    fn a_wrong_password_fails_in_postgresqls_words() {
        let (mut login, mut client, mut out) = (scram_login(), scram_client("wrong"), Vec::new());
        let body = initial_response(client.mechanism(), &client.first());
        login.handle(&body, &mut out).unwrap();
        let proof = client.respond(&challenge(&mut out)).unwrap();
        let error = login.handle(&proof, &mut out).unwrap_err();
        assert_eq!(error, AuthError::Failed);
        let report = error.report("ali\"ce");
        assert_eq!(report.code.as_str(), "28P01");
        assert_eq!(report.severity, crate::report::Severity::Fatal);
        assert_eq!(report.message, "password authentication failed for user \"ali\"ce\"");
        assert_eq!(out, b"");
    }

    /// Each row: the body of a first message of type `p`, and what is wrong with it. What is not
    /// PostgreSQL's wording is about the frame SASLInitialResponse.
    #[test]
    fn first_bodies_that_are_wrong() {
        let invalid = "client selected an invalid SASL authentication mechanism";
        let unended = "pgweir: SASLInitialResponse message holds a string without an end";
        let short = "pgweir: SASLInitialResponse message ends too early";
        let negative = "pgweir: invalid length -2 of SASLInitialResponse message";
        let trailing = "pgweir: SASLInitialResponse message is longer than what it holds";
        let long = initial_response(SCRAM_SHA_256, &[b'x'; MAX_SASL_MESSAGE_LENGTH]);
        let rows: &[(&[u8], &str)] = &[
            (b"", unended),
            (b"pw\0", invalid),
            (b"SCRAM-SHA-256", unended),
            (b"SCRAM-SHA-256\0", short),
            (b"SCRAM-SHA-256\0\0\0\0\x09n,,", short),
            (b"SCRAM-SHA-256\0\x7f\xff\xff\xff", short),
            (b"SCRAM-SHA-256\0\xff\xff\xff\xfe", negative),
            (b"SCRAM-SHA-256\0\0\0\0\0x", trailing),
            (b"SCRAM-SHA-256\0\0\0\0\0", "malformed SCRAM message"),
            (b"SCRAM-SHA-256-PLUS\0\0\0\0\0", invalid),
            (b"\xff\0\0\0\0\0", invalid),
            (&long, "pgweir: SASL message of 1042 bytes is too long"),
        ];
        for (body, expected) in rows {
            let (mut login, mut out) = (scram_login(), Vec::new());
            let error = login.handle(body, &mut out).expect_err(expected);
            let report = error.report("x");
            assert_eq!(report.message, *expected, "{body:?}");
            assert_eq!(report.code.as_str(), "08P01", "{body:?}");
            let again = login.handle(body, &mut out);
            assert_eq!(again, Err(AuthError::OutOfTurn), "{body:?}");
        }
    }

    #[test]
    fn md5_lets_in_who_has_the_password() {
        let stored = md5_password("alice", "pw");
        let answer = |password: &str| {
            let hash = md5_password("alice", password);
            let mut answer = md5_response(&hash, SALT).unwrap().into_bytes();
            answer.push(0);
            answer
        };
        let rows = [
            (answer("pw"), Ok(ClientLoginStep::Authenticated { keys: None })),
            (answer("wrong"), Err(AuthError::Failed)),
            (b"pw\0".to_vec(), Err(AuthError::Failed)),
            (b"\0".to_vec(), Err(AuthError::EmptyPassword)),
            (
                b"pw".to_vec(),
                Err(AuthError::Protocol(ProtocolError::Unterminated {
                    frame: "PasswordMessage",
                    length: 2,
                    left: 2,
                })),
            ),
        ];
        for (body, expected) in rows {
            let mut out = Vec::new();
            let mut login = ClientLogin::md5(stored.clone(), SALT);
            assert_eq!(login.start(&mut out), ClientLoginStep::More);
            assert_eq!(out, b"R\0\0\0\x0c\0\0\0\x05\x01\x02\x03\x04");
            assert_eq!(login.handle(&body, &mut out), expected);
            assert_eq!(login.handle(&body, &mut out), Err(AuthError::OutOfTurn));
        }
        let shown = format!("{:?}", ClientLogin::md5(stored, SALT));
        assert_eq!(
            shown,
            "ClientLogin { state: Md5 { stored: Md5Hash(***), salt: [1, 2, 3, 4] } }"
        );
    }

    proptest! {
        #[test]
        fn any_bodies_are_read_without_a_panic(bodies: [Vec<u8>; 3], data: Vec<u8>) {
            let mut out = Vec::new();
            for mut login in [scram_login(), ClientLogin::md5(String::new(), SALT)] {
                login.start(&mut out);
                let _ = login.handle(&initial_response(SCRAM_SHA_256, &data), &mut out);
                for body in &bodies {
                    let _ = login.handle(body, &mut out);
                }
            }
            prop_assert!(scram_login().handle(&bodies[0], &mut out).is_err());
        }
    }
}
