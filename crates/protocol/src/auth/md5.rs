//! The md5 method: two hashes, the outer one salted per connection.
//!
//! PostgreSQL stores `md5` + md5(password + user); a login sends `md5` + md5(that hash's digits +
//! salt). Who knows the stored hash can log in, so it is as secret as a password. Kept because
//! servers still have such roles; PostgreSQL 18 calls it deprecated. PostgreSQL manual, "Password
//! Authentication" and "Message Flow".

use std::fmt::Write as _;

use md5::{Digest, Md5};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::message::MD5_SALT_LENGTH;

/// What every hash begins with.
const PREFIX: &str = "md5";

/// Hexadecimal digits of an md5 hash.
const DIGITS: usize = 32;

/// The hash that PostgreSQL stores for `user` with `password`.
#[must_use]
pub fn md5_password(user: &str, password: &str) -> String {
    hash(&[password.as_bytes(), user.as_bytes()])
}

/// The answer to a challenge with `salt` by who knows the `stored` hash. `None` when `stored` is
/// no such hash.
#[must_use]
pub fn md5_response(stored: &str, salt: [u8; MD5_SALT_LENGTH]) -> Option<String> {
    Some(hash(&[digits(stored)?.as_bytes(), &salt]))
}

/// Whether `stored` is a hash as PostgreSQL stores it: `md5` and 32 lower-case hexadecimal digits.
#[must_use]
pub fn is_md5_hash(stored: &str) -> bool {
    digits(stored).is_some()
}

/// Whether `answer` is the right one to the challenge with `salt`. Takes as long for a wrong one.
#[must_use]
pub fn verify(stored: &str, salt: [u8; MD5_SALT_LENGTH], answer: &[u8]) -> bool {
    md5_response(stored, salt).is_some_and(|right| right.as_bytes().ct_eq(answer).into())
}

/// A hash for a user that does not exist, so that it is asked for a password like the others. No
/// password is known to have it. `process_secret` is random and never leaves the process.
#[must_use]
pub fn mock_hash(process_secret: &[u8; 32], user: &str) -> String {
    let digest = Sha256::new()
        .chain_update(process_secret)
        .chain_update(b"md5")
        .chain_update(user.as_bytes())
        .finalize();
    hash(&[&digest])
}

fn digits(stored: &str) -> Option<&str> {
    let digits = stored.strip_prefix(PREFIX)?;
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (digits.len() == DIGITS && digits.bytes().all(is_digit)).then_some(digits)
}

fn hash(parts: &[&[u8]]) -> String {
    let mut hasher = Md5::new();
    for part in parts {
        hasher.update(part);
    }
    let mut text = PREFIX.to_owned();
    for byte in hasher.finalize() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_hash_is_postgresqls() {
        // As PostgreSQL 15 stored it for CREATE ROLE with password_encryption = 'md5'.
        let stored = "md5ad16ab8cb9f9946be08171afa599199d";
        assert_eq!(md5_password("md5u", "secret"), stored);
    }

    #[test]
    fn the_answer_is_the_one_that_postgres_protocol_computes() {
        let salt = [0x2a, 0x3d, 0x8f, 0xe0];
        let stored = md5_password("md5_user", "password");
        let answer = md5_response(&stored, salt).unwrap();
        assert_eq!(
            answer,
            postgres_protocol::authentication::md5_hash(b"md5_user", b"password", salt)
        );
        assert!(verify(&stored, salt, answer.as_bytes()));
        assert!(!verify(&stored, [0; 4], answer.as_bytes()));
        assert!(!verify(&stored, salt, b"md5"));
    }

    #[test]
    fn what_is_no_hash_has_no_answer() {
        let hash = "md50123456789abcdef0123456789abcdef";
        assert!(is_md5_hash(hash));
        for wrong in [
            "",
            "md5",
            &hash[1..],
            &hash[..34],
            &hash.to_uppercase(),
            "md5é123456789abcdef0123456789abcde",
        ] {
            assert_eq!(md5_response(wrong, [0; 4]), None, "{wrong}");
            assert!(!verify(wrong, [0; 4], b""), "{wrong}");
        }
    }

    #[test]
    fn a_user_that_does_not_exist_has_a_hash_of_its_own() {
        assert!(is_md5_hash(&mock_hash(&[1; 32], "a")));
        assert_ne!(mock_hash(&[1; 32], "a"), mock_hash(&[1; 32], "b"));
        assert_ne!(mock_hash(&[1; 32], "a"), mock_hash(&[2; 32], "a"));
    }
}
