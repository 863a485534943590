//! Encryption, as the URL asks for it.

use std::error::Error as StdError;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::ConnectError;

/// Checks of the server's certificate, as libpq's `sslmode` has them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Trust {
    /// `disable`, `prefer`, `require`: nothing. Whoever listens sees nothing, whoever impersonates the server is not noticed.
    Anyone,
    /// `verify-ca`: that somebody we trust has signed its certificate.
    Authority,
    /// `verify-full`: that, and that it is the host we asked for.
    Host,
}

/// Makes the connector. The roots are those of the file, or of the system if none is given.
pub(crate) fn connector(
    trust: Trust,
    root_file: Option<&str>,
) -> Result<MakeRustlsConnect, ConnectError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    // libpq checks the authority with `require`, too, where it is told a file.
    let trust = match (trust, root_file) {
        (Trust::Anyone, Some(_)) => Trust::Authority,
        (trust, _) => trust,
    };
    let config = if trust == Trust::Host {
        config.with_root_certificates(roots(root_file)?)
    } else {
        let authorities = match trust {
            Trust::Anyone => None,
            Trust::Authority | Trust::Host => {
                let roots = Arc::new(roots(root_file)?);
                let builder =
                    WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider));
                Some(builder.build().map_err(unusable)?)
            }
        };
        config
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyHost {
                authorities,
                provider,
            }))
    };
    Ok(MakeRustlsConnect::new(config.with_no_client_auth()))
}

fn roots(file: Option<&str>) -> Result<RootCertStore, ConnectError> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = file {
        let certificates = CertificateDer::pem_file_iter(file).map_err(unusable)?;
        for certificate in certificates {
            roots
                .add(certificate.map_err(unusable)?)
                .map_err(unusable)?;
        }
    } else {
        // What cannot be read of the system's is left out: the server's certificate is then refused, if it matters.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    Ok(roots)
}

fn unusable(error: impl StdError + Send + Sync + 'static) -> ConnectError {
    ConnectError::Tls(Box::new(error))
}

/// Takes a certificate for any host: from these authorities if there are any, else from anyone.
#[derive(Debug)]
struct AnyHost {
    authorities: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyHost {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(authorities) = &self.authorities else {
            return Ok(ServerCertVerified::assertion());
        };
        match authorities.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        ) {
            // The name is looked at last, when everything else was found to be right.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
