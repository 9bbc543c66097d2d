//! The client's side of SCRAM, towards a server.

use base64::Engine as _;
use subtle::ConstantTimeEq as _;
use thiserror::Error;

use super::attributes::{Attributes, Malformed, message};
use super::{
    BASE64, DerivedKeys, Key, NONCE_LENGTH, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramKeys,
    channel_binding_input, decode_key, read_iterations, sign_exchange, xor,
};

/// The most iterations that a server may ask for: what takes a fraction of a second. A server
/// chooses how often a password is hashed before it has proven to be one; without a bound it
/// could stop pgweir with a number.
pub const MAX_ITERATIONS: u32 = 1_000_000;

/// What proves the user to a server.
#[derive(Clone)]
pub enum ScramCredential {
    /// The password; the keys are derived from it once the server has sent its salt.
    Password(String),
    /// The keys themselves.
    Keys(ScramKeys),
}

impl std::fmt::Debug for ScramCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password(***)",
            Self::Keys(_) => "Keys(***)",
        })
    }
}

/// How the exchange relates to the TLS connection it runs in (RFC 5802, section 6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelBinding {
    /// Not at all: there is no TLS, or no hash of the server's certificate.
    Unsupported,
    /// It could be bound, and the server did not offer it. A server that did offer it learns so
    /// that someone between took the offer away.
    NotOffered,
    /// Bound to the server's certificate by its hash (`tls-server-end-point`, RFC 5929).
    TlsServerEndPoint(Vec<u8>),
}

/// Why an exchange with a server failed. The culprit is the server, or who pretends to be it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ScramError {
    /// A message that is not SCRAM's grammar.
    #[error("malformed SCRAM message from the server: {}", .0.detail)]
    Malformed(#[from] Malformed),
    /// The server's nonce does not begin with the client's: a replay.
    #[error("the server's SCRAM nonce does not continue the client's")]
    Nonce,
    /// The server asks for an extension of SCRAM; there are none.
    #[error("the server requires an unsupported SCRAM extension")]
    MandatoryExtension,
    /// More iterations than are taken.
    #[error("the server asks for {iterations} SCRAM iterations, at most {MAX_ITERATIONS} are done")]
    Iterations {
        /// How many it asks for.
        iterations: u32,
    },
    /// The server refused the proof within SCRAM.
    #[error("the server ended the SCRAM exchange: {0}")]
    Refused(String),
    /// The server does not know the role's secret: it is not the server.
    #[error("the server's SCRAM signature is wrong")]
    Signature,
    /// A message that may not come now.
    #[error("SCRAM message from the server out of turn")]
    OutOfTurn,
}

/// Proves a user to one server and the server to pgweir: two messages each way.
pub struct ScramClient {
    credential: ScramCredential,
    channel_binding: ChannelBinding,
    known: Option<DerivedKeys>,
    nonce: String,
    bare: String,
    state: State,
}

/// Where the exchange is.
enum State {
    AwaitingServerFirst,
    AwaitingServerFinal { signature: Key },
    Over,
}

impl std::fmt::Debug for ScramClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ScramClient({})", self.mechanism())
    }
}

impl ScramClient {
    /// A client for one exchange. `nonce` is fresh and random.
    #[must_use]
    pub fn new(
        credential: ScramCredential,
        nonce: [u8; NONCE_LENGTH],
        channel_binding: ChannelBinding,
    ) -> Self {
        // Like libpq, no name: the startup packet has named the user.
        Self::with_name(credential, "", BASE64.encode(nonce), channel_binding)
    }

    pub(super) fn with_name(
        credential: ScramCredential,
        name: &str,
        nonce: String,
        channel_binding: ChannelBinding,
    ) -> Self {
        let bare = format!("n={name},r={nonce}");
        let state = State::AwaitingServerFirst;
        Self { credential, channel_binding, known: None, nonce, bare, state }
    }

    /// The same with keys that an earlier login derived from the same password. They are used
    /// when the server has the salt and the iterations that they were derived with.
    #[must_use]
    pub fn with_known(mut self, known: Option<DerivedKeys>) -> Self {
        self.known = known;
        self
    }

    /// The mechanism to choose.
    #[must_use]
    pub fn mechanism(&self) -> &'static str {
        match self.channel_binding {
            ChannelBinding::TlsServerEndPoint(_) => SCRAM_SHA_256_PLUS,
            ChannelBinding::Unsupported | ChannelBinding::NotOffered => SCRAM_SHA_256,
        }
    }

    /// The keys that came of the password, to be kept for the next login: there once
    /// [`respond`](Self::respond) has seen the salt, good once [`finish`](Self::finish) has been
    /// right.
    #[must_use]
    pub fn derived(&self) -> Option<&DerivedKeys> {
        self.known.as_ref()
    }

    /// The first message.
    #[must_use]
    pub fn first(&self) -> Vec<u8> {
        format!("{}{}", self.header(), self.bare).into_bytes()
    }

    /// Takes the server's first message; gives the message with the proof.
    ///
    /// # Errors
    /// A [`ScramError`] for a message that is malformed, replayed or asks for too much. The
    /// exchange is then over.
    pub fn respond(&mut self, server_first: &[u8]) -> Result<Vec<u8>, ScramError> {
        let State::AwaitingServerFirst = std::mem::replace(&mut self.state, State::Over) else {
            return Err(ScramError::OutOfTurn);
        };
        let server_first = message(server_first)?;
        let ServerFirst { nonce, salt, iterations } = ServerFirst::read(server_first)?;
        // A server that adds nothing to the nonce could play back an old exchange.
        match nonce.strip_prefix(&self.nonce) {
            Some(added) if !added.is_empty() => {}
            _ => return Err(ScramError::Nonce),
        }
        let keys = self.keys(&salt, iterations)?;
        let binding = match &self.channel_binding {
            ChannelBinding::TlsServerEndPoint(hash) => hash.as_slice(),
            ChannelBinding::Unsupported | ChannelBinding::NotOffered => &[],
        };
        let binding = channel_binding_input(self.header(), binding);
        let without_proof = format!("c={binding},r={nonce}");

        let sign = |key: &Key| sign_exchange(key, &self.bare, server_first, &without_proof);
        let proof = BASE64.encode(xor(&keys.client_key, &sign(&keys.stored_key())));
        let signature = sign(&keys.server_key);
        self.state = State::AwaitingServerFinal { signature };
        Ok(format!("{without_proof},p={proof}").into_bytes())
    }

    /// Takes the server's last message and checks that it knows the role's secret.
    ///
    /// # Errors
    /// [`ScramError::Signature`] when it does not, others for a malformed message.
    pub fn finish(&mut self, server_final: &[u8]) -> Result<(), ScramError> {
        let State::AwaitingServerFinal { signature } =
            std::mem::replace(&mut self.state, State::Over)
        else {
            return Err(ScramError::OutOfTurn);
        };
        let mut input = Attributes::new(message(server_final)?);
        if input.rest().starts_with('e') {
            return Err(ScramError::Refused(input.value('e')?.to_owned()));
        }
        let Some(found) = decode_key(input.value('v')?) else {
            return Err(Malformed::new("Malformed signature in server-final-message.").into());
        };
        while !input.rest().is_empty() {
            input.any()?;
        }
        if bool::from(found.ct_eq(&signature)) { Ok(()) } else { Err(ScramError::Signature) }
    }

    /// The header of the first message.
    fn header(&self) -> &'static str {
        match self.channel_binding {
            ChannelBinding::Unsupported => "n,,",
            ChannelBinding::NotOffered => "y,,",
            ChannelBinding::TlsServerEndPoint(_) => "p=tls-server-end-point,,",
        }
    }

    /// The keys for this salt, derived if they are not known.
    fn keys(&mut self, salt: &[u8], iterations: u32) -> Result<ScramKeys, ScramError> {
        let password = match &self.credential {
            ScramCredential::Keys(keys) => return Ok(keys.clone()),
            ScramCredential::Password(password) => password,
        };
        if let Some(known) = &self.known
            && known.salt == salt
            && known.iterations == iterations
        {
            return Ok(known.keys.clone());
        }
        if iterations > MAX_ITERATIONS {
            return Err(ScramError::Iterations { iterations });
        }
        let keys = ScramKeys::derive(password, salt, iterations);
        self.known = Some(DerivedKeys { salt: salt.to_vec(), iterations, keys: keys.clone() });
        Ok(keys)
    }
}

/// `server-first-message`
struct ServerFirst<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: u32,
}

impl<'a> ServerFirst<'a> {
    fn read(text: &'a str) -> Result<Self, ScramError> {
        let mut input = Attributes::new(text);
        if text.starts_with('m') {
            return Err(ScramError::MandatoryExtension);
        }
        let nonce = input.value('r')?;
        let Ok(salt) = BASE64.decode(input.value('s')?) else {
            return Err(Malformed::new("Malformed salt in server-first-message.").into());
        };
        let Some(iterations) = read_iterations(input.value('i')?) else {
            return Err(Malformed::new("Malformed iteration count in server-first-message.").into());
        };
        while !input.rest().is_empty() {
            input.any()?;
        }
        Ok(Self { nonce, salt, iterations })
    }
}
