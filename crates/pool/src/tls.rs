//! TLS towards servers, as libpq does it (manual: 34.19 "SSL Support").
//!
//! Without a `ca_file` nothing about the server's certificate is checked, only that the server holds
//! its key: encryption against listeners, not against impostors. With one, the certificate must lead
//! to it, and with `verify-full` it must carry the node's name as well.

use std::io;
use std::path::Path;
use std::sync::Arc;

use pgweir_protocol::der;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256, Sha384, Sha512};
use tokio_rustls::TlsConnector;

use crate::spec::{SslMode, TlsSpec};

/// PostgreSQL's name in TLS's application protocol negotiation (manual: 55.2.12).
const ALPN: &[u8] = b"postgresql";

/// Why a cluster's TLS settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificates could not be read.
    #[error("ca_file {path}: {reason}")]
    CaFile {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Verification was asked for without saying against what.
    #[error("tls mode {mode} needs a ca_file to verify the servers' certificates against")]
    NothingToVerifyAgainst {
        /// The mode, in libpq's words.
        mode: &'static str,
    },
    /// The library refuses the settings.
    #[error("TLS: {0}")]
    Library(#[from] rustls::Error),
}

/// How much of a server's certificate is checked.
#[derive(Debug)]
enum Check {
    /// Nothing but that the server holds the certificate's key.
    Nothing,
    /// That it leads to one of these.
    Chain(Trusted),
    /// Likewise, and that it carries the server's name.
    ChainAndName(Trusted),
}

/// The certificates of a `ca_file`.
#[derive(Debug)]
struct Trusted {
    roots: RootCertStore,
    /// The same, as they are in the file: a server's own self-signed certificate may be listed
    /// there, which OpenSSL accepts and the chain check here does not (an authority is no server).
    exact: Vec<CertificateDer<'static>>,
}

/// Decides whether a server's certificate will do.
#[derive(Debug)]
struct Verifier {
    check: Check,
    provider: Arc<CryptoProvider>,
}

/// Reads the certificates of a specification, if it uses any.
///
/// # Errors
/// [`TlsError::CaFile`].
pub(crate) fn read_authorities(spec: &TlsSpec) -> Result<Option<Vec<u8>>, TlsError> {
    let Some(path) = spec.ca_file.as_ref().filter(|_| spec.mode != SslMode::Disable) else {
        return Ok(None);
    };
    let wrong = |error: io::Error| TlsError::CaFile {
        path: path.display().to_string(),
        reason: error.to_string(),
    };
    std::fs::read(path).map(Some).map_err(wrong)
}

/// Looks whether a file holds certificates that servers' can be verified against.
///
/// # Errors
/// [`TlsError::CaFile`], when it does not.
pub fn read_ca_file(path: &Path) -> Result<(), TlsError> {
    let wrong = |error: io::Error| TlsError::CaFile {
        path: path.display().to_string(),
        reason: error.to_string(),
    };
    let pem = std::fs::read(path).map_err(wrong)?;
    Trusted::parse(path, &pem).map(drop)
}

/// Makes the TLS side of connections to a cluster's servers; `None` with [`SslMode::Disable`].
///
/// # Errors
/// [`TlsError`], when the certificates are missing or something else.
pub(crate) fn connector(
    spec: &TlsSpec,
    authorities: Option<&[u8]>,
) -> Result<Option<TlsConnector>, TlsError> {
    let trusted = match (&spec.ca_file, authorities) {
        (Some(path), Some(pem)) => Some(Trusted::parse(path, pem)?),
        _ => None,
    };
    let check = match (spec.mode, trusted) {
        (SslMode::Disable, _) => return Ok(None),
        (SslMode::Allow | SslMode::Prefer | SslMode::Require, None) => Check::Nothing,
        (SslMode::VerifyCa, None) => {
            return Err(TlsError::NothingToVerifyAgainst { mode: "verify-ca" });
        }
        (SslMode::VerifyFull, None) => {
            return Err(TlsError::NothingToVerifyAgainst { mode: "verify-full" });
        }
        (SslMode::VerifyFull, Some(trusted)) => Check::ChainAndName(trusted),
        (_, Some(trusted)) => Check::Chain(trusted),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(Verifier { check, provider: Arc::clone(&provider) });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Some(TlsConnector::from(Arc::new(config))))
}

/// The name that a certificate of `host` must carry.
///
/// # Errors
/// A sentence, when no certificate could carry such a name.
pub(crate) fn server_name(host: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(host.to_owned())
        .map_err(|_| format!("\"{host}\" is not a name that a certificate can carry"))
}

impl Trusted {
    fn parse(path: &Path, pem: &[u8]) -> Result<Self, TlsError> {
        let wrong = |reason: String| TlsError::CaFile { path: path.display().to_string(), reason };
        let exact = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| wrong(error.to_string()))?;
        if exact.is_empty() {
            return Err(wrong("holds no certificate".to_owned()));
        }
        let mut roots = RootCertStore::empty();
        for certificate in &exact {
            roots.add(certificate.clone()).map_err(|error| wrong(error.to_string()))?;
        }
        Ok(Self { roots, exact })
    }
}

impl Verifier {
    fn chain(
        &self,
        trusted: &Trusted,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        if trusted.exact.iter().any(|exact| exact == certificate) {
            return Ok(());
        }
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(certificate)?,
            &trusted.roots,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.check {
            Check::Nothing => {}
            Check::Chain(trusted) => self.chain(trusted, certificate, intermediates, now)?,
            Check::ChainAndName(trusted) => {
                self.chain(trusted, certificate, intermediates, now)?;
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The `tls-server-end-point` channel binding of a certificate in DER (RFC 5929, 4.1): its hash by
/// the function that its own signature uses, SHA-256 instead of anything weaker. `None` for
/// signatures that name no hash function (Ed25519) or hide it in parameters (RSASSA-PSS).
#[must_use]
pub fn tls_server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    // Certificate ::= SEQUENCE { tbsCertificate SEQUENCE, signatureAlgorithm SEQUENCE { OID, .. }, .. }
    let (fields, _) = der::element(certificate, der::SEQUENCE)?;
    let (_, rest) = der::element(fields, der::SEQUENCE)?;
    let (algorithm, _) = der::element(rest, der::SEQUENCE)?;
    let (oid, _) = der::element(algorithm, der::OID)?;
    match (oid.strip_prefix(OID_RSA), oid.strip_prefix(OID_ECDSA)) {
        // With MD5, SHA-1, SHA-256.
        (Some([4 | 5 | 11]), _) | (_, Some([1] | [3, 2])) => {
            Some(Sha256::digest(certificate).to_vec())
        }
        (Some([12]), _) | (_, Some([3, 3])) => Some(Sha384::digest(certificate).to_vec()),
        (Some([13]), _) | (_, Some([3, 4])) => Some(Sha512::digest(certificate).to_vec()),
        _ => None,
    }
}

/// 1.2.840.113549.1.1, of RSA signatures.
const OID_RSA: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01];
/// 1.2.840.10045.4, of ECDSA signatures.
const OID_ECDSA: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04];
