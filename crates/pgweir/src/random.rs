//! Randomness from the operating system.

/// Fresh random bytes.
///
/// Should the system have none to give, which Linux never says once it has started, they are zero:
/// a nonce without surprise, not a crash.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if let Err(error) = getrandom::fill(&mut bytes) {
        tracing::error!(%error, "the system gives no random bytes");
    }
    bytes
}
