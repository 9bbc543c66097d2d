//! TLS towards clients: the certificate, and whose certificates are taken, read once.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
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
    /// The file of authorities holds none that can be used.
    #[error("authorities of client certificates: {0}")]
    Authorities(String),
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
    let chain = certificates(cert_file)?;
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| unusable(key_file, &error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?;
    let builder = match &tls.client_ca_file {
        Some(file) => builder.with_client_cert_verifier(verifier(file, provider)?),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key)?;
    if tls.client_ca_file.is_some() {
        // A session that is resumed would vouch for a certificate that may have expired since.
        // PostgreSQL resumes none either.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

/// Looks whether a client's certificate leads to one of the authorities in the file, is of use for
/// clients, and is valid now. A client may show none: it is told what it lacks in PostgreSQL's protocol,
/// as it would be by PostgreSQL.
fn verifier(
    file: &Path,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| TlsError::Authorities(error.to_string()))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .allow_unauthenticated()
        .build()
        .map_err(|error| TlsError::Authorities(error.to_string()))
}

/// The certificates of a file, at least one.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(file, &error))?;
    if read.is_empty() {
        return Err(unusable(file, &"it holds no certificate"));
    }
    Ok(read)
}

fn unusable(file: &Path, error: &dyn Display) -> TlsError {
    TlsError::File { file: file.to_owned(), error: io::Error::other(error.to_string()) }
}
