//! Certificates that TLS connections to endpoints trust.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, RootCertStore};

use crate::transport::TlsFault;

/// Why a transport could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportSetupError {
    /// TLS could not be configured, as by an extra root that is no certificate.
    #[error("TLS could not be configured")]
    Tls(#[from] Error),
    /// The environment names other roots than the system's, and none can be read there.
    #[error("SSL_CERT_FILE and SSL_CERT_DIR name no certificates that can be read")]
    NoRoots,
}

/// A client's settings: TLS 1.2 and 1.3 by *ring*, named explicitly: the process default depends on what else is linked.
/// Trusts the system's roots, or Mozilla's where the system has none (a container made from
/// scratch), and `extra_roots`. `SSL_CERT_FILE` and `SSL_CERT_DIR` name others than the system's. Reads files.
///
/// # Errors
/// These name no certificates, or an extra root is none.
pub fn client_config(
    extra_roots: &[CertificateDer<'static>],
) -> Result<ClientConfig, TransportSetupError> {
    let mut roots = RootCertStore::empty();
    // One unreadable certificate of the system is no reason to distrust the others.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        if are_roots_named() {
            return Err(TransportSetupError::NoRoots);
        }
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    for root in extra_roots {
        roots.add(root.clone())?;
    }
    Ok(
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth(),
    )
}

fn are_roots_named() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|path| !path.is_empty());
    is_set("SSL_CERT_FILE") || is_set("SSL_CERT_DIR")
}

/// Finds the fault of a failed handshake.
pub(crate) fn fault(error: &(dyn StdError + 'static)) -> TlsFault {
    let mut ended = None;
    for error in causes(error) {
        if let Some(error) = error.downcast_ref::<Error>() {
            return fault_of(error);
        }
        if let Some(error) = error.downcast_ref::<io::Error>()
            && is_end(error.kind())
        {
            ended = Some(TlsFault::Closed);
        }
    }
    ended.unwrap_or(TlsFault::Other)
}

/// Finds the refusal that ended a connection, which with TLS 1.3 comes after the handshake.
pub(crate) fn refusal(error: &(dyn StdError + 'static)) -> Option<TlsFault> {
    let errors = causes(error).filter_map(|error| error.downcast_ref::<Error>());
    let mut refusals = errors.filter(|error| matches!(error, Error::AlertReceived(_)));
    refusals.next().map(fault_of)
}

/// The error and its causes, with what errors of I/O wrap.
fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| cause(*error))
}

fn cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match error.downcast_ref::<io::Error>() {
        // Not its source, which leaves out the error that it wraps.
        Some(error) => error
            .get_ref()
            .map(|inner| inner as &(dyn StdError + 'static)),
        None => error.source(),
    }
}

fn is_end(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}

fn fault_of(error: &Error) -> TlsFault {
    match error {
        Error::InvalidCertificate(error) => fault_of_certificate(error),
        Error::NoCertificatesPresented => TlsFault::BadCertificate,
        Error::PeerIncompatible(_)
        | Error::AlertReceived(
            AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity,
        ) => TlsFault::Incompatible,
        // Ours, of which there is none.
        Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::NoCertificate
            | AlertDescription::BadCertificate,
        ) => TlsFault::ClientCertificate,
        // With TLS 1.2, OpenSSL says so where a certificate is missing, too.
        Error::AlertReceived(AlertDescription::HandshakeFailure) => TlsFault::NoAgreement,
        Error::AlertReceived(_) => TlsFault::Refused,
        Error::InvalidMessage(_) => TlsFault::NotTls,
        _ => TlsFault::Other,
    }
}

fn fault_of_certificate(error: &CertificateError) -> TlsFault {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsFault::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            TlsFault::NotYetValid
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            TlsFault::WrongName
        }
        // A signature that does not fit is by another authority of the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            TlsFault::UnknownAuthority
        }
        CertificateError::Revoked => TlsFault::Revoked,
        // Almost always one that was made by hand and has signed itself.
        CertificateError::Other(error) if error.to_string().contains("CaUsedAsEndEntity") => {
            TlsFault::UnknownAuthority
        }
        _ => TlsFault::BadCertificate,
    }
}
