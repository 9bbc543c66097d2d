//! SCRAM-SHA-256: a proof of knowing a password that shows it to nobody (RFC 5802, RFC 7677).
//!
//! From a password, a salt and a number of iterations come two keys. The server stores a hash of
//! the client key (the *stored key*) and the server key. The client's proof is its client key
//! XORed with a signature by the stored key over the whole exchange: whoever has the stored key
//! can take the client key out of a right proof, and with it log in elsewhere. pgweir does
//! ([`Verified::client_key`]), towards servers that have the same secret. The server proves
//! itself in turn with a signature by the server key.
//!
//! [`ScramVerifier`] is the server's side, [`ScramClient`] the client's. Both read messages that
//! anybody may have written; what is not the grammar is an error, never a panic.

mod attributes;
mod client;
mod verifier;

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use thiserror::Error;

pub use attributes::Malformed;
pub use client::{ChannelBinding, MAX_ITERATIONS, ScramClient, ScramCredential, ScramError};
pub use verifier::{ScramVerifier, Verified};

/// The mechanism's name.
pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";

/// The name of the mechanism that is bound to the TLS connection it runs in.
pub const SCRAM_SHA_256_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// Length of a key, which is one of SHA-256's hashes, in bytes.
pub const KEY_LENGTH: usize = 32;

/// Random bytes in a nonce, as many as PostgreSQL takes. On the wire they are base64.
pub const NONCE_LENGTH: usize = 18;

/// Length of a salt made here, in bytes, as PostgreSQL makes them.
pub const SALT_LENGTH: usize = 16;

/// Iterations of a secret made here: PostgreSQL's default of `scram_iterations`.
pub const DEFAULT_ITERATIONS: u32 = 4096;

/// The kind of channel binding that is spoken: a hash of the server's certificate (RFC 5929).
const TLS_SERVER_END_POINT: &str = "tls-server-end-point";

/// HMAC's block with SHA-256, in bytes.
const HMAC_BLOCK_LENGTH: usize = 64;

/// One of SCRAM's keys or signatures.
type Key = [u8; KEY_LENGTH];

/// What a client needs to prove itself and to check the server: as secret as the password, good
/// for servers with the same salt and iterations only.
#[derive(Clone)]
pub struct ScramKeys {
    /// Proves the client.
    pub client_key: [u8; KEY_LENGTH],
    /// Proves the server.
    pub server_key: [u8; KEY_LENGTH],
}

impl ScramKeys {
    /// Derives the keys from a password. This is the expensive step, made so on purpose: a
    /// millisecond for some thousand `iterations`; keep the result.
    #[must_use]
    pub fn derive(password: &str, salt: &[u8], iterations: u32) -> Self {
        let mut salted = [0; KEY_LENGTH];
        let password = normalize(password);
        pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), salt, iterations, &mut salted);
        Self {
            client_key: sign(&salted, &[b"Client Key"]),
            server_key: sign(&salted, &[b"Server Key"]),
        }
    }

    /// The hash of the client key that a server stores.
    fn stored_key(&self) -> Key {
        Sha256::digest(self.client_key).into()
    }
}

impl PartialEq for ScramKeys {
    fn eq(&self, other: &Self) -> bool {
        let same =
            self.client_key.ct_eq(&other.client_key) & self.server_key.ct_eq(&other.server_key);
        same.into()
    }
}

impl Eq for ScramKeys {}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramKeys(***)")
    }
}

/// Keys with what they were derived with: whoever has the password keeps them, so that the next
/// login to a server with the same secret costs nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DerivedKeys {
    /// The salt.
    pub salt: Vec<u8>,
    /// How often it was hashed.
    pub iterations: u32,
    /// What came out.
    pub keys: ScramKeys,
}

/// What a server stores for a role with a SCRAM password (`pg_authid.rolpassword`).
#[derive(Clone, PartialEq, Eq)]
pub struct ScramSecret {
    /// How often the password is hashed.
    pub iterations: u32,
    /// What it is hashed with.
    pub salt: Vec<u8>,
    /// Checks the client's proof.
    pub stored_key: [u8; KEY_LENGTH],
    /// Signs the server's proof.
    pub server_key: [u8; KEY_LENGTH],
}

/// A text that is no SCRAM secret. It is not repeated: a secret with a typing error in it is
/// still one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "not a SCRAM secret: expected \"SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>\""
)]
pub struct InvalidSecret;

impl ScramSecret {
    /// Makes a secret of a password, as `CREATE ROLE … PASSWORD` does. As expensive as
    /// [`ScramKeys::derive`].
    #[must_use]
    pub fn from_password(password: &str, salt: &[u8], iterations: u32) -> Self {
        Self::from_keys(&ScramKeys::derive(password, salt, iterations), salt, iterations)
    }

    /// Makes a secret of keys derived with `salt` and `iterations`.
    #[must_use]
    pub fn from_keys(keys: &ScramKeys, salt: &[u8], iterations: u32) -> Self {
        Self {
            iterations,
            salt: salt.to_vec(),
            stored_key: keys.stored_key(),
            server_key: keys.server_key,
        }
    }

    /// Reads a secret as PostgreSQL stores it:
    /// `SCRAM-SHA-256$4096:<salt>$<stored key>:<server key>`, the last three in base64.
    ///
    /// # Errors
    /// [`InvalidSecret`] for anything else.
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        Self::read(text).ok_or(InvalidSecret)
    }

    fn read(text: &str) -> Option<Self> {
        let (mechanism, rest) = text.split_once('$')?;
        let (parameters, keys) = rest.split_once('$')?;
        let (iterations, salt) = parameters.split_once(':')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        if mechanism != SCRAM_SHA_256 {
            return None;
        }
        Some(Self {
            iterations: read_iterations(iterations)?,
            salt: BASE64.decode(salt).ok()?,
            stored_key: decode_key(stored_key)?,
            server_key: decode_key(server_key)?,
        })
    }

    /// A secret for a user that does not exist: it is always the same for the same name, and no
    /// password has it, so that the exchange fails at its end, as with a wrong password, and not
    /// before. `process_secret` is random and never leaves the process.
    #[must_use]
    pub fn mock(process_secret: &[u8; KEY_LENGTH], user: &str) -> Self {
        let derive = |purpose: &[u8]| sign(process_secret, &[purpose, user.as_bytes()]);
        let salt: [u8; KEY_LENGTH] = derive(b"salt:");
        Self {
            iterations: DEFAULT_ITERATIONS,
            salt: salt.into_iter().take(SALT_LENGTH).collect(),
            stored_key: derive(b"stored key:"),
            server_key: derive(b"server key:"),
        }
    }
}

/// The text that PostgreSQL stores, and takes as a password already hashed.
impl fmt::Display for ScramSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { iterations, salt, stored_key, server_key } = self;
        let [salt, stored_key, server_key] =
            [&salt[..], stored_key, server_key].map(|bytes| BASE64.encode(bytes));
        write!(f, "{SCRAM_SHA_256}${iterations}:{salt}${stored_key}:{server_key}")
    }
}

impl fmt::Debug for ScramSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScramSecret({} iterations, ***)", self.iterations)
    }
}

/// A password as it is hashed: prepared by SASLprep (RFC 4013) so that the same characters typed
/// in different ways are the same password, or as it is when SASLprep does not take it, for
/// PostgreSQL takes every password.
fn normalize(password: &str) -> Cow<'_, str> {
    match stringprep::saslprep(password) {
        // Nothing may be left over of characters that are mapped to nothing; PostgreSQL then
        // takes the password as it is.
        Ok(prepared) if prepared.is_empty() => Cow::Borrowed(password),
        Ok(prepared) => prepared,
        Err(_) => Cow::Borrowed(password),
    }
}

/// A number of iterations: digits only, at least 1.
fn read_iterations(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|iterations| digits && *iterations > 0)
}

fn decode_key(text: &str) -> Option<Key> {
    BASE64.decode(text).ok()?.try_into().ok()
}

/// HMAC-SHA-256 of `parts` one after the other. HMAC fills a key shorter than its block with
/// zeros; doing so here makes this total.
fn sign(key: &Key, parts: &[&[u8]]) -> Key {
    let mut block = [0; HMAC_BLOCK_LENGTH];
    if let Some(start) = block.first_chunk_mut() {
        *start = *key;
    }
    let mut mac = <Hmac<Sha256> as Mac>::new(&block.into());
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// The signature under the whole exchange: `client-first-message-bare "," server-first-message ","
/// client-final-message-without-proof`.
fn sign_exchange(key: &Key, bare: &str, server_first: &str, without_proof: &str) -> Key {
    let parts = [bare, ",", server_first, ",", without_proof];
    sign(key, &parts.map(str::as_bytes))
}

fn xor(left: &Key, right: &Key) -> Key {
    let mut out = *left;
    for (byte, other) in out.iter_mut().zip(right) {
        *byte ^= other;
    }
    out
}

/// What the attribute `c` has to be: the header of the client's first message, and behind it what
/// the exchange is bound to.
fn channel_binding_input(header: &str, binding: &[u8]) -> String {
    BASE64.encode([header.as_bytes(), binding].concat())
}

#[cfg(test)]
mod tests;
