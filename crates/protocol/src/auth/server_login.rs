//! pgweir's login to a server, as one of its clients.

use thiserror::Error;

use super::scram::{
    ChannelBinding, NONCE_LENGTH, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramClient, ScramCredential,
    ScramError,
};
use super::{Credentials, DerivedKeys, md5};
use crate::cursor::Cursor;
use crate::error::ProtocolError;
use crate::message;
use crate::report::ServerReport;
use crate::startup::{OLDEST_MINOR, read_negotiation};

/// Codes of the authentication messages (manual, "Message Formats", `AuthenticationXXX`).
const OK: i32 = 0;
const CLEARTEXT_PASSWORD: i32 = 3;
const MD5_PASSWORD: i32 = 5;
const SASL: i32 = 10;
const SASL_CONTINUE: i32 = 11;
const SASL_FINAL: i32 = 12;

/// What follows from a message of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginStep {
    /// The server is to send more.
    More,
    /// The server has let the user in. ParameterStatus, BackendKeyData and ReadyForQuery follow
    /// and are not this machine's.
    Authenticated,
}

/// A way to authenticate, as a server asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// SCRAM-SHA-256, bound to TLS or not.
    Scram,
    /// md5.
    Md5,
    /// The password as it is.
    Cleartext,
    /// One that pgweir does not speak, by the code of its authentication message.
    Other(i32),
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Scram => f.write_str("SCRAM-SHA-256"),
            Self::Md5 => f.write_str("md5"),
            Self::Cleartext => f.write_str("a cleartext password"),
            Self::Other(code) => write!(f, "authentication method {code}"),
        }
    }
}

/// Why a server does not let pgweir in.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LoginError {
    /// The server asks for something that the credentials cannot answer.
    #[error("the server asks for {0}, and there is nothing to answer it with")]
    Asked(Method),
    /// The server asks for the password as it is, on a connection that others can read.
    #[error("the server asks for a cleartext password on a connection without TLS")]
    ClearTextRefused,
    /// The server refused: the body of its ErrorResponse.
    #[error("the server refused the login: {}", shown(.0))]
    Refused(Vec<u8>),
    /// The server failed to prove itself, or is not speaking SCRAM.
    #[error(transparent)]
    Scram(#[from] ScramError),
    /// The server sent what is not the protocol.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

fn shown(body: &[u8]) -> String {
    match ServerReport::parse(body) {
        Some(report) => report.to_string(),
        None => "a malformed ErrorResponse".to_owned(),
    }
}

/// The client's side of one login to a server, from after the startup packet to the server's yes.
#[derive(Debug)]
pub struct ServerLogin {
    user: String,
    credentials: Credentials,
    nonce: [u8; NONCE_LENGTH],
    encrypted: bool,
    certificate_hash: Option<Vec<u8>>,
    known: Option<DerivedKeys>,
    /// The minor version of the protocol that is spoken, as far as is known.
    minor: u16,
    state: State,
}

/// Where the login is.
#[derive(Debug)]
enum State {
    /// Nothing has been asked for yet.
    Start,
    /// SCRAM: the first message is out.
    ScramBegun(Box<ScramClient>),
    /// SCRAM: the proof is out, the server's has to follow.
    ScramProven(Box<ScramClient>),
    /// Everything asked for has been given.
    Answered,
    /// Over, one way or the other.
    Over,
}

impl ServerLogin {
    /// A login as `user`. `nonce` is fresh and random. `encrypted` says that nobody can read along:
    /// TLS, or a Unix-domain socket.
    #[must_use]
    pub fn new(
        user: impl Into<String>,
        credentials: Credentials,
        nonce: [u8; NONCE_LENGTH],
        encrypted: bool,
    ) -> Self {
        Self {
            user: user.into(),
            credentials,
            nonce,
            encrypted,
            certificate_hash: None,
            known: None,
            minor: OLDEST_MINOR,
            state: State::Start,
        }
    }

    /// The same over TLS with the hash of the server's certificate (`tls-server-end-point`,
    /// RFC 5929): SCRAM is bound to it if the server offers that.
    #[must_use]
    pub fn with_certificate_hash(mut self, hash: Option<Vec<u8>>) -> Self {
        self.certificate_hash = hash;
        self
    }

    /// The same with keys that an earlier login derived from the same password.
    #[must_use]
    pub fn with_known(mut self, known: Option<DerivedKeys>) -> Self {
        self.known = known;
        self
    }

    /// The same after a startup packet of protocol 3.`minor`, which the server may answer with an
    /// older one (manual, 55.2.1 "Start-up").
    #[must_use]
    pub fn with_minor(mut self, minor: u16) -> Self {
        self.minor = minor;
        self
    }

    /// The minor version of the protocol that is spoken.
    #[must_use]
    pub fn minor(&self) -> u16 {
        self.minor
    }

    /// The keys that came of the password, to be kept for the next login. There after a SCRAM
    /// login with [`Credentials::Password`].
    #[must_use]
    pub fn derived(&self) -> Option<&DerivedKeys> {
        self.known.as_ref()
    }

    /// Takes one message of the server, `tag` its type byte and `body` what follows the length;
    /// appends the answer, if there is one.
    ///
    /// # Errors
    /// A [`LoginError`] says why this login fails. It is then over.
    pub fn handle(
        &mut self,
        tag: u8,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<LoginStep, LoginError> {
        match tag {
            b'R' => return self.authentication(body, out),
            b'N' => return Ok(LoginStep::More),
            b'v' if matches!(self.state, State::Start) => {
                self.minor = read_negotiation(body, self.minor)?;
                return Ok(LoginStep::More);
            }
            _ => self.state = State::Over,
        }
        Err(match tag {
            b'E' => LoginError::Refused(body.to_vec()),
            tag => unexpected(tag, "an authentication message"),
        })
    }

    fn authentication(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<LoginStep, LoginError> {
        let state = std::mem::replace(&mut self.state, State::Over);
        let mut cursor = Cursor::new("Authentication", body);
        let code = cursor.i32()?;
        let next = match (state, code) {
            // A server that has not been asked to prove itself may let in whom it likes; one
            // that is in the middle of proving itself may not skip that.
            (State::Start | State::Answered, OK) => {
                cursor.finish()?;
                return Ok(LoginStep::Authenticated);
            }
            (State::Start, CLEARTEXT_PASSWORD) => {
                cursor.finish()?;
                self.cleartext(out)?
            }
            (State::Start, MD5_PASSWORD) => {
                let salt = cursor.array()?;
                cursor.finish()?;
                self.md5(salt, out)?
            }
            (State::Start, SASL) => self.sasl(cursor, out)?,
            (State::ScramBegun(mut scram), SASL_CONTINUE) => {
                let proof = scram.respond(cursor.rest())?;
                message::sasl_response(&proof, out);
                State::ScramProven(scram)
            }
            (State::ScramProven(mut scram), SASL_FINAL) => {
                scram.finish(cursor.rest())?;
                self.known = scram.derived().cloned();
                State::Answered
            }
            (State::Start, other) => return Err(LoginError::Asked(Method::Other(other))),
            (_, code) => {
                return Err(LoginError::Protocol(ProtocolError::InvalidValue {
                    frame: "Authentication",
                    field: "code",
                    found: code.to_string(),
                    expected: "the next step of the login",
                }));
            }
        };
        self.state = next;
        Ok(LoginStep::More)
    }

    fn cleartext(&self, out: &mut Vec<u8>) -> Result<State, LoginError> {
        let Credentials::Password(password) = &self.credentials else {
            return Err(LoginError::Asked(Method::Cleartext));
        };
        if !self.encrypted {
            return Err(LoginError::ClearTextRefused);
        }
        message::password(password, out);
        Ok(State::Answered)
    }

    fn md5(
        &self,
        salt: [u8; message::MD5_SALT_LENGTH],
        out: &mut Vec<u8>,
    ) -> Result<State, LoginError> {
        let answer = match &self.credentials {
            Credentials::Password(password) => {
                md5::md5_response(&md5::md5_password(&self.user, password), salt)
            }
            Credentials::Md5(stored) => md5::md5_response(stored, salt),
            Credentials::None | Credentials::Scram(_) => None,
        };
        message::password(&answer.ok_or(LoginError::Asked(Method::Md5))?, out);
        Ok(State::Answered)
    }

    fn sasl(&self, cursor: Cursor<'_>, out: &mut Vec<u8>) -> Result<State, LoginError> {
        let offered = read_mechanisms(cursor)?;
        let offers = |mechanism: &str| offered.contains(&mechanism.as_bytes());
        let channel_binding = match &self.certificate_hash {
            Some(hash) if offers(SCRAM_SHA_256_PLUS) => {
                ChannelBinding::TlsServerEndPoint(hash.clone())
            }
            _ if !offers(SCRAM_SHA_256) => return Err(LoginError::Asked(Method::Other(SASL))),
            Some(_) => ChannelBinding::NotOffered,
            None => ChannelBinding::Unsupported,
        };
        let credential = match &self.credentials {
            Credentials::Password(password) => ScramCredential::Password(password.clone()),
            Credentials::Scram(keys) => ScramCredential::Keys(keys.clone()),
            Credentials::None | Credentials::Md5(_) => {
                return Err(LoginError::Asked(Method::Scram));
            }
        };
        let scram = ScramClient::new(credential, self.nonce, channel_binding)
            .with_known(self.known.clone());
        message::sasl_initial_response(scram.mechanism(), &scram.first(), out);
        Ok(State::ScramBegun(Box::new(scram)))
    }
}

/// The list of an AuthenticationSASL, which an empty name ends.
fn read_mechanisms(mut cursor: Cursor<'_>) -> Result<Vec<&[u8]>, ProtocolError> {
    let mut mechanisms = Vec::new();
    loop {
        let name = cursor.cstr()?;
        if name.is_empty() {
            cursor.finish()?;
            return Ok(mechanisms);
        }
        mechanisms.push(name);
    }
}

fn unexpected(tag: u8, expected: &'static str) -> LoginError {
    LoginError::Protocol(ProtocolError::UnexpectedMessage { tag, expected })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::auth::scram::{ScramKeys, ScramSecret, ScramVerifier};
    use crate::auth::{ClientLogin, ClientLoginStep};

    const NONCE: [u8; NONCE_LENGTH] = [5; NONCE_LENGTH];

    fn credentials() -> [Credentials; 4] {
        [
            Credentials::None,
            Credentials::Password("pw".to_owned()),
            Credentials::Scram(ScramKeys::derive("pw", b"salt", 2)),
            Credentials::Md5(md5::md5_password("alice", "pw")),
        ]
    }

    fn login(credentials: &Credentials) -> ServerLogin {
        ServerLogin::new("alice", credentials.clone(), NONCE, true)
    }

    fn asked(code: i32, rest: &[u8]) -> Vec<u8> {
        [&code.to_be_bytes()[..], rest].concat()
    }

    /// Splits what a side has written into type bytes and bodies.
    fn frames(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut frames = Vec::new();
        let mut rest = bytes;
        while let [tag, a, b, c, d, tail @ ..] = rest {
            let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize - 4;
            frames.push((*tag, tail[..length].to_vec()));
            rest = &tail[length..];
        }
        frames
    }

    /// Logs in to a server that asks as `server` does; gives pgweir's side back.
    fn run(mut server: ClientLogin, mut login: ServerLogin) -> Result<ServerLogin, LoginError> {
        let mut to_client = Vec::new();
        let mut step = server.start(&mut to_client);
        loop {
            if let ClientLoginStep::Authenticated { .. } = step {
                message::authentication_ok(&mut to_client);
            }
            let mut to_server = Vec::new();
            for (tag, body) in frames(&std::mem::take(&mut to_client)) {
                if login.handle(tag, &body, &mut to_server)? == LoginStep::Authenticated {
                    return Ok(login);
                }
            }
            for (tag, body) in frames(&to_server) {
                assert_eq!(tag, b'p');
                step = match server.handle(&body, &mut to_client) {
                    Ok(step) => step,
                    Err(error) => {
                        error.report("alice").encode_error(&mut to_client);
                        ClientLoginStep::More
                    }
                };
            }
        }
    }

    fn scram_server(password: &str, hash: Option<Vec<u8>>) -> ClientLogin {
        let secret = ScramSecret::from_password(password, b"salt", 2);
        ClientLogin::scram(ScramVerifier::new(secret, [1; NONCE_LENGTH], hash))
    }

    fn md5_server() -> ClientLogin {
        ClientLogin::md5(md5::md5_password("alice", "pw"), [1, 2, 3, 4])
    }

    /// Which credentials answer which method: none, password, SCRAM keys, md5 hash.
    #[test]
    fn methods_and_credentials() {
        let ask = |method| Err(LoginError::Asked(method));
        let rows = [
            ("trust", [Ok(()), Ok(()), Ok(()), Ok(())]),
            ("scram", [ask(Method::Scram), Ok(()), Ok(()), ask(Method::Scram)]),
            ("md5", [ask(Method::Md5), Ok(()), ask(Method::Md5), Ok(())]),
        ];
        for (method, expected) in rows {
            for (credentials, expected) in credentials().iter().zip(expected) {
                let server = match method {
                    "scram" => scram_server("pw", None),
                    "md5" => md5_server(),
                    _ => ClientLogin::trust(),
                };
                let got = run(server, login(credentials)).map(|_| ());
                assert_eq!(got, expected, "{method} {credentials:?}");
            }
        }
    }

    #[test]
    fn scram_is_bound_to_tls_when_both_sides_can() {
        let [_, password, ..] = credentials();
        let hash = || Some(b"hash".to_vec());
        let rows = [
            (None, None, Ok(())),
            (None, hash(), Ok(())),
            (hash(), None, Ok(())),
            (hash(), hash(), Ok(())),
        ];
        for (offered, known, expected) in rows {
            let login = login(&password).with_certificate_hash(known.clone());
            let got = run(scram_server("pw", offered.clone()), login).map(|_| ());
            assert_eq!(got, expected, "{offered:?} {known:?}");
        }
        let forged = login(&password).with_certificate_hash(Some(b"forged".to_vec()));
        let error = run(scram_server("pw", hash()), forged).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the server refused the login: FATAL:  28000: SCRAM channel binding check failed"
        );
    }

    #[test]
    fn keys_that_came_of_a_password_are_kept_and_serve_again() {
        let [_, password, ..] = credentials();
        let done = run(scram_server("pw", None), login(&password)).unwrap();
        let known = done.derived().unwrap().clone();
        assert_eq!((&known.salt[..], known.iterations), (&b"salt"[..], 2));
        // With a wrong password only the known keys can be right.
        let wrong = Credentials::Password("wrong".to_owned());
        assert!(run(scram_server("pw", None), login(&wrong)).is_err());
        assert!(run(scram_server("pw", None), login(&wrong).with_known(Some(known))).is_ok());
    }

    #[test]
    fn a_refusal_is_handed_on_as_it_came() {
        let wrong = Credentials::Password("wrong".to_owned());
        let error = run(scram_server("pw", None), login(&wrong)).unwrap_err();
        let LoginError::Refused(body) = error else { panic!("{error:?}") };
        let report = ServerReport::parse(&body).unwrap();
        assert_eq!(report.code, crate::sqlstate::SqlState::INVALID_PASSWORD);
    }

    #[test]
    fn a_cleartext_password_goes_only_where_nobody_reads_along() {
        let [none, password, keys, hash] = credentials();
        let body = asked(CLEARTEXT_PASSWORD, b"");
        let mut out = Vec::new();
        let got = login(&password).handle(b'R', &body, &mut out);
        assert_eq!((got, &out[..]), (Ok(LoginStep::More), &b"p\0\0\0\x07pw\0"[..]));
        out.clear();
        let mut open = ServerLogin::new("alice", password, NONCE, false);
        assert_eq!(open.handle(b'R', &body, &mut out), Err(LoginError::ClearTextRefused));
        for credentials in [none, keys, hash] {
            let got = login(&credentials).handle(b'R', &body, &mut out);
            assert_eq!(got, Err(LoginError::Asked(Method::Cleartext)), "{credentials:?}");
        }
        assert_eq!(out, b"");
    }

    /// Each row: the authentication messages of a server, and the error that the last one gives.
    #[test]
    fn servers_that_do_not_speak_the_protocol() {
        let offer = |mechanisms| asked(SASL, mechanisms);
        let sasl = offer(b"SCRAM-SHA-256\0\0");
        let sasl = || sasl.clone();
        let cleartext = asked(CLEARTEXT_PASSWORD, b"");
        let md5 = asked(MD5_PASSWORD, b"salt");
        let ok = asked(OK, b"");
        let replayed = asked(SASL_CONTINUE, b"r=x,s=AA==,i=1");
        let other = |code| {
            format!(
                "the server asks for authentication method {code}, and there is nothing to answer it with"
            )
        };
        let step = "pgweir: invalid code in Authentication message".to_owned();
        let short = "pgweir: Authentication message ends too early".to_owned();
        let nonce = "the server's SCRAM nonce does not continue the client's".to_owned();
        let rows = [
            (vec![offer(b"OAUTHBEARER\0\0")], other(10)),
            (vec![offer(b"SCRAM-SHA-256-PLUS\0\0")], other(10)),
            (vec![offer(b"\0")], other(10)),
            (vec![asked(7, b"")], other(7)),
            (vec![asked(-1, b"")], other(-1)),
            (vec![b"".to_vec()], short.clone()),
            (vec![asked(MD5_PASSWORD, b"abc")], short),
            // A server in the middle of SCRAM has to prove itself before it may say yes.
            (vec![sasl(), ok], step.clone()),
            (vec![sasl(), cleartext], step.clone()),
            (vec![sasl(), asked(SASL_FINAL, b"v=")], step.clone()),
            (vec![sasl(), sasl()], step.clone()),
            (vec![sasl(), replayed], nonce),
            (vec![md5.clone(), md5], step),
        ];
        for (messages, expected) in rows {
            check_refused(&messages, &expected);
        }
    }

    fn check_refused(messages: &[Vec<u8>], expected: &str) {
        let [_, password, ..] = credentials();
        let (mut login, mut out) = (login(&password), Vec::new());
        let (last, before) = messages.split_last().unwrap();
        for body in before {
            assert_eq!(login.handle(b'R', body, &mut out), Ok(LoginStep::More));
        }
        let error = login.handle(b'R', last, &mut out).unwrap_err();
        assert_eq!(error.to_string(), expected, "{messages:?}");
        let late = login.handle(b'R', &asked(OK, b""), &mut out);
        assert!(late.is_err(), "{messages:?}: it is over");
    }

    #[test]
    fn notices_are_passed_over_and_other_messages_are_none_of_a_login() {
        let mut login = login(&Credentials::None);
        let mut out = Vec::new();
        assert_eq!(login.handle(b'N', b"", &mut out), Ok(LoginStep::More));
        let error = login.handle(b'Z', b"I", &mut out).unwrap_err();
        assert_eq!(error, unexpected(b'Z', "an authentication message"));
        assert!(login.handle(b'R', &asked(OK, b""), &mut out).is_err());
    }

    #[test]
    fn a_server_may_go_back_to_an_older_version_before_it_asks_for_anything() {
        let older = b"\0\x03\0\0\0\0\0\0";
        let mut out = Vec::new();
        let mut new = login(&Credentials::None).with_minor(2);
        assert_eq!(new.handle(b'v', older, &mut out), Ok(LoginStep::More));
        assert_eq!(new.minor(), 0);
        // Once, and not further back than there is.
        assert!(new.handle(b'v', older, &mut out).is_err());
        assert!(login(&Credentials::None).handle(b'v', older, &mut out).is_err());
        // Not in the middle of it.
        let [_, password, ..] = credentials();
        let mut late = login(&password).with_minor(2);
        let sasl = asked(SASL, b"SCRAM-SHA-256\0\0");
        assert_eq!(late.handle(b'R', &sasl, &mut out), Ok(LoginStep::More));
        assert!(late.handle(b'v', older, &mut out).is_err());
    }

    #[test]
    fn nothing_secret_is_shown() {
        let [none, password, keys, hash] = credentials();
        let shown = format!("{none:?} {password:?} {keys:?} {hash:?}");
        assert_eq!(shown, "None Password(***) Scram(***) Md5(***)");
        let shown = format!("{:?}", login(&password));
        assert!(shown.contains("Password(***)") && !shown.contains("pw"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_messages_are_read_without_a_panic(
            messages in proptest::collection::vec((any::<u8>(), any::<Vec<u8>>()), 0..4),
            codes in proptest::collection::vec((0_i32..14, any::<Vec<u8>>()), 0..4),
        ) {
            for credentials in credentials() {
                let mut login = login(&credentials);
                let mut out = Vec::new();
                for (tag, body) in &messages {
                    let _ = login.handle(*tag, body, &mut out);
                }
                let mut login = self::login(&credentials);
                let _ = login.handle(b'R', &asked(SASL, b"SCRAM-SHA-256\0\0"), &mut out);
                for (code, rest) in &codes {
                    let _ = login.handle(b'R', &asked(*code, rest), &mut out);
                }
            }
        }
    }
}
