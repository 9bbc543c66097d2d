//! The server's side of SCRAM, towards a client.

use base64::Engine as _;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::attributes::{Attributes, Malformed, is_printable, message, shown};
use super::{
    BASE64, NONCE_LENGTH, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSecret, TLS_SERVER_END_POINT,
    channel_binding_input, decode_key, sign_exchange, xor,
};
use crate::auth::AuthError;

/// Checks one client's proof against a secret: two messages from the client, two to it.
pub struct ScramVerifier {
    secret: ScramSecret,
    nonce: String,
    channel_binding: Option<Vec<u8>>,
    state: State,
}

/// Where the exchange is.
enum State {
    AwaitingFirst,
    AwaitingFinal(Exchange),
    Over,
}

/// What the signatures of the exchange are made over, and what the client has to repeat.
struct Exchange {
    /// The client's first message without its header.
    bare: String,
    /// The answer to it.
    server_first: String,
    /// The client's nonce and the verifier's, one behind the other.
    nonce: String,
    /// The header of the client's first message.
    header: &'static str,
}

/// A client that has proven itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Verified {
    /// The last message, which proves the server to the client.
    pub server_final: Vec<u8>,
    /// The client key that was in the proof: with the secret's server key it opens servers.
    pub client_key: [u8; super::KEY_LENGTH],
}

impl std::fmt::Debug for Verified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verified(***)")
    }
}

impl std::fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScramVerifier(***)")
    }
}

/// The client's word on channel binding at the start of its first message (RFC 5802, section 6).
#[derive(Clone, Copy, PartialEq, Eq)]
enum BindingFlag {
    /// `n`: it cannot.
    Unsupported,
    /// `y`: it can, and believes that the server cannot.
    NotOffered,
    /// `p=tls-server-end-point`: it does.
    Bound,
}

impl ScramVerifier {
    /// A verifier for one exchange. `nonce` is fresh and random. `channel_binding` is the hash of
    /// pgweir's certificate that clients in TLS bind to (`tls-server-end-point`); with it
    /// SCRAM-SHA-256-PLUS is offered.
    #[must_use]
    pub fn new(
        secret: ScramSecret,
        nonce: [u8; NONCE_LENGTH],
        channel_binding: Option<Vec<u8>>,
    ) -> Self {
        Self::with_nonce(secret, BASE64.encode(nonce), channel_binding)
    }

    pub(super) fn with_nonce(
        secret: ScramSecret,
        nonce: String,
        channel_binding: Option<Vec<u8>>,
    ) -> Self {
        Self { secret, nonce, channel_binding, state: State::AwaitingFirst }
    }

    /// The mechanisms to offer, the preferred one first.
    #[must_use]
    pub fn mechanisms(&self) -> &'static [&'static str] {
        if self.channel_binding.is_some() {
            &[SCRAM_SHA_256_PLUS, SCRAM_SHA_256]
        } else {
            &[SCRAM_SHA_256]
        }
    }

    /// The server key of the secret, which a proven client's keys are completed with.
    #[must_use]
    pub fn server_key(&self) -> [u8; super::KEY_LENGTH] {
        self.secret.server_key
    }

    /// Takes the mechanism that the client chose and its first message; gives the answer.
    ///
    /// # Errors
    /// An [`AuthError`] for a mechanism that was not offered, a malformed message, or channel
    /// binding that does not fit. The exchange is then over.
    pub fn first(&mut self, mechanism: &str, client_first: &[u8]) -> Result<Vec<u8>, AuthError> {
        let State::AwaitingFirst = std::mem::replace(&mut self.state, State::Over) else {
            return Err(AuthError::OutOfTurn);
        };
        let plus = mechanism == SCRAM_SHA_256_PLUS;
        if !self.mechanisms().contains(&mechanism) {
            return Err(AuthError::Mechanism);
        }
        let mut input = Attributes::new(message(client_first)?);
        let flag = read_binding_flag(&mut input)?;
        self.check_binding(flag, plus)?;
        read_authorization_identity(&mut input)?;
        let bare = input.rest();
        let client_nonce = read_bare(input)?;

        let nonce = format!("{client_nonce}{}", self.nonce);
        let salt = BASE64.encode(&self.secret.salt);
        let server_first = format!("r={nonce},s={salt},i={}", self.secret.iterations);
        let answer = server_first.clone().into_bytes();
        let header = flag.header();
        self.state =
            State::AwaitingFinal(Exchange { bare: bare.to_owned(), server_first, nonce, header });
        Ok(answer)
    }

    /// Takes the client's last message, checks its proof and gives the server's.
    ///
    /// # Errors
    /// [`AuthError::Failed`] for a proof that is not one of the secret; others for a malformed
    /// message, another nonce or another channel. The exchange is then over.
    pub fn last(&mut self, client_final: &[u8]) -> Result<Verified, AuthError> {
        let State::AwaitingFinal(exchange) = std::mem::replace(&mut self.state, State::Over) else {
            return Err(AuthError::OutOfTurn);
        };
        let Exchange { bare, server_first, nonce, header } = exchange;
        let client_final = ClientFinal::read(message(client_final)?)?;
        self.check_binding_input(header, client_final.channel_binding)?;
        if client_final.nonce != nonce {
            return Err(AuthError::NonceMismatch);
        }
        let sign = |key| sign_exchange(key, &bare, &server_first, client_final.without_proof);
        let client_key = xor(&client_final.proof, &sign(&self.secret.stored_key));
        let stored_key: super::Key = Sha256::digest(client_key).into();
        if !bool::from(stored_key.ct_eq(&self.secret.stored_key)) {
            return Err(AuthError::Failed);
        }
        let signature = BASE64.encode(sign(&self.secret.server_key));
        Ok(Verified { server_final: format!("v={signature}").into_bytes(), client_key })
    }

    /// Whether the client's word on channel binding fits the mechanism that it chose and what it
    /// was offered.
    fn check_binding(&self, flag: BindingFlag, plus: bool) -> Result<(), AuthError> {
        match (flag, plus) {
            (BindingFlag::Bound, true) | (BindingFlag::Unsupported, false) => Ok(()),
            (BindingFlag::NotOffered, false) if self.channel_binding.is_none() => Ok(()),
            (BindingFlag::NotOffered, false) => Err(AuthError::ChannelBindingNegotiation),
            (BindingFlag::Bound, false) => Err(Malformed::new(
                "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message \
                 includes channel binding data.",
            )
            .into()),
            (_, true) => Err(Malformed::new(
                "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include \
                 channel binding data.",
            )
            .into()),
        }
    }

    /// Whether the client's last message is bound to what its first one said, and to pgweir's
    /// certificate.
    fn check_binding_input(&self, header: &str, found: &str) -> Result<(), AuthError> {
        let bound = header == BindingFlag::Bound.header();
        let certificate = match &self.channel_binding {
            Some(hash) if bound => hash.as_slice(),
            _ => &[],
        };
        if found == channel_binding_input(header, certificate) {
            return Ok(());
        }
        Err(if bound { AuthError::ChannelBindingCheck } else { AuthError::ChannelBindingAttribute })
    }
}

impl BindingFlag {
    /// The header that a first message with this flag has; none has an authorization identity.
    fn header(self) -> &'static str {
        match self {
            Self::Unsupported => "n,,",
            Self::NotOffered => "y,,",
            Self::Bound => "p=tls-server-end-point,,",
        }
    }
}

/// `gs2-cbind-flag ","`
fn read_binding_flag(input: &mut Attributes<'_>) -> Result<BindingFlag, AuthError> {
    let rest = input.rest();
    let flag = match rest.bytes().next() {
        Some(b'n') => BindingFlag::Unsupported,
        Some(b'y') => BindingFlag::NotOffered,
        Some(b'p') => {
            let kind = input.value('p')?;
            if kind != TLS_SERVER_END_POINT {
                return Err(AuthError::ChannelBindingType { kind: kind.to_owned() });
            }
            return Ok(BindingFlag::Bound);
        }
        _ => {
            let detail = format!("Unexpected channel-binding flag \"{}\".", shown(rest));
            return Err(Malformed::new(detail).into());
        }
    };
    *input = Attributes::new(rest.get(1..).unwrap_or_default());
    input.comma()?;
    Ok(flag)
}

/// `[ authzid ] ","`, which has to be without one.
fn read_authorization_identity(input: &mut Attributes<'_>) -> Result<(), AuthError> {
    match input.rest().bytes().next() {
        Some(b',') => Ok(input.comma()?),
        Some(b'a') => Err(AuthError::AuthorizationIdentity),
        _ => {
            let found = shown(input.rest());
            let detail = format!("Unexpected attribute \"{found}\" in client-first-message.");
            Err(Malformed::new(detail).into())
        }
    }
}

/// `client-first-message-bare`; gives the client's nonce. The user's name in it does not count:
/// the startup packet has named the user.
fn read_bare(mut input: Attributes<'_>) -> Result<&str, AuthError> {
    if input.rest().starts_with('m') {
        return Err(AuthError::MandatoryExtension);
    }
    input.value('n')?;
    let nonce = input.value('r')?;
    if !is_printable(nonce) {
        return Err(AuthError::NonceNotPrintable);
    }
    while !input.rest().is_empty() {
        input.any()?;
    }
    Ok(nonce)
}

/// `client-final-message`
struct ClientFinal<'a> {
    channel_binding: &'a str,
    nonce: &'a str,
    proof: super::Key,
    without_proof: &'a str,
}

impl<'a> ClientFinal<'a> {
    fn read(text: &'a str) -> Result<Self, Malformed> {
        let mut input = Attributes::new(text);
        let channel_binding = input.value('c')?;
        let nonce = input.value('r')?;
        let (before_proof, proof) = loop {
            let before = input.rest();
            if let ('p', proof) = input.any()? {
                break (before, proof);
            }
        };
        let Some(proof) = decode_key(proof) else {
            return Err(Malformed::new("Malformed proof in client-final-message."));
        };
        if !input.rest().is_empty() {
            return Err(Malformed::new("Garbage found at the end of client-final-message."));
        }
        // Without the proof, and without the comma in front of it.
        let end = text.len() - before_proof.len() - 1;
        let without_proof = text.get(..end).unwrap_or_default();
        Ok(Self { channel_binding, nonce, proof, without_proof })
    }
}
