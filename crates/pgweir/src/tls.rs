//! TLS towards clients: the certificate, read once.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tokio_rustls::TlsAcceptor;

use crate::config::{ListenTls, ListenTlsMode};

/// The certificate towards clients cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read or holds something else.
    #[error("cannot use {}: {error}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        error: io::Error,
    },
    /// Certificate and key do not make a pair, or are of an unknown kind.
    #[error("certificate and key towards clients: {0}")]
    Pair(#[from] rustls::Error),
    /// A mode that needs files, without them.
    #[error("listen.tls needs cert_file and key_file")]
    Missing,
}

/// What accepts TLS from clients; none when the mode is disable.
///
/// # Errors
/// Files that cannot be used.
pub fn acceptor(tls: &ListenTls) -> Result<Option<TlsAcceptor>, TlsError> {
    if tls.mode == ListenTlsMode::Disable {
        return Ok(None);
    }
    let (Some(cert_file), Some(key_file)) = (&tls.cert_file, &tls.key_file) else {
        return Err(TlsError::Missing);
    };
    let unusable = |file: &PathBuf, error: rustls::pki_types::pem::Error| TlsError::File {
        file: file.clone(),
        error: io::Error::other(error.to_string()),
    };
    let chain = CertificateDer::pem_file_iter(cert_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(cert_file, error))?;
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| unusable(key_file, error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}
