//! TLS of the listener, by a certificate that is replaced while serving.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use std::{fmt, io};

use nahook_http::{Handshake, Secured, Securing};
use nahook_supervision::{Exit, Loop, Supervisor};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use crate::ServerError;

/// Interval at which the files are read: a renewed certificate is served so much later at most, twice that if it was read while
/// it was being written.
const INTERVAL: Duration = Duration::from_secs(5);

/// Files of a certificate chain and its private key, both in PEM.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsFiles {
    /// The certificate chain, the server's own first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Handshakes of a listener.
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    files: TlsFiles,
    served: Arc<Served>,
}

impl Tls {
    /// Reads the files.
    pub(crate) async fn read(files: TlsFiles) -> Result<Arc<Self>, ServerError> {
        let (cert, key) = (files.cert.clone(), files.key.clone());
        let unusable = |path: PathBuf, reason: String| ServerError::File { path, reason };
        let found = read(files.clone()).await;
        let found = found.map_err(|error| unusable(cert.clone(), error.to_string()))?;
        let pair = found.pair().map_err(|reason| unusable(key, reason))?;
        let served = Arc::new(Served(RwLock::new(Arc::new(pair))));
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| unusable(cert, error.to_string()))?;
        let resolver = Arc::clone(&served);
        let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            files,
            served,
        }))
    }

    /// Serves the files' newest pair, for as long as the server runs.
    pub(crate) fn keep_up(
        self: &Arc<Self>,
        supervisor: &Supervisor,
        stop: impl Fn() -> Stop + Send + 'static,
    ) {
        let tls = Arc::clone(self);
        supervisor.spawn(Loop::TlsReload, move || {
            let (tls, stop) = (Arc::clone(&tls), stop());
            async move {
                let mut reload = Reload::default();
                let mut stop = stop;
                loop {
                    tokio::select! {
                        () = &mut stop => return Exit::Stopped,
                        () = sleep(INTERVAL) => {}
                    }
                    let found = read(tls.files.clone()).await;
                    reload.look(&tls.served, found);
                }
            }
        });
    }
}

/// Resolves when the server stops.
pub(crate) type Stop = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

impl Handshake for Tls {
    fn secure(&self, stream: TcpStream) -> Securing {
        let accepting = self.acceptor.accept(stream);
        Box::pin(async move {
            let stream: Box<dyn Secured> = Box::new(accepting.await?);
            Ok(stream)
        })
    }
}

/// The pair that handshakes are made with.
struct Served(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let pair = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&pair))
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served").finish_non_exhaustive()
    }
}

/// Contents of the files.
#[derive(Eq, PartialEq)]
struct Found {
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl Found {
    /// The pair, if it is one. The error is for the operator.
    fn pair(&self) -> Result<CertifiedKey, String> {
        let chain = CertificateDer::pem_slice_iter(&self.cert).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| format!("the certificate: {error}"))?;
        if chain.is_empty() {
            return Err("there is no certificate".to_owned());
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key);
        let key = key.map_err(|error| format!("the key: {error}"))?;
        CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map_err(|error| format!("certificate and key do not make a pair: {error}"))
    }
}

async fn read(files: TlsFiles) -> io::Result<Found> {
    let reading = spawn_blocking(move || {
        let read = |path: &Path| std::fs::read(path);
        Ok(Found {
            cert: read(&files.cert)?,
            key: read(&files.key)?,
        })
    });
    reading.await.unwrap_or_else(|error| Err(error.into()))
}

/// Memory of what the files held before.
#[derive(Default)]
struct Reload {
    latest: Option<Found>,
    /// What is wrong with the files, and how often in a row it was found.
    fault: Option<(String, u32)>,
}

impl Reload {
    /// Serves what was found, if it is new and can be used. A pair that cannot be is logged once it has been found twice: the
    /// files are not written at the same instant.
    fn look(&mut self, served: &Served, found: io::Result<Found>) {
        let fault = match found {
            Ok(found) if self.latest.as_ref() == Some(&found) => None,
            Ok(found) => match found.pair() {
                Ok(pair) => {
                    let mut served = served.0.write().unwrap_or_else(PoisonError::into_inner);
                    if served.cert != pair.cert {
                        tracing::info!("a new certificate is served");
                    }
                    *served = Arc::new(pair);
                    self.latest = Some(found);
                    None
                }
                Err(reason) => Some(reason),
            },
            Err(error) => Some(error.to_string()),
        };
        self.fault = fault.map(|fault| match self.fault.take() {
            Some((earlier, times)) if earlier == fault => (earlier, times.saturating_add(1)),
            _ => (fault, 1),
        });
        if let Some((reason, 2)) = &self.fault {
            tracing::warn!(
                reason,
                "the new certificate cannot be used; the earlier one is served on"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey as Made, generate_simple_self_signed};

    use super::*;

    fn made() -> Found {
        let Made { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Found {
            cert: cert.pem().into(),
            key: signing_key.serialize_pem().into(),
        }
    }

    fn served(served: &Served) -> CertificateDer<'static> {
        served.0.read().unwrap().cert[0].clone()
    }

    #[test]
    fn good_pair_replaces_the_earlier_one_and_a_bad_one_does_not() {
        let (first, second) = (made(), made());
        let now = Served(RwLock::new(Arc::new(first.pair().unwrap())));
        let mut reload = Reload::default();
        let of_first = served(&now);
        let half_written = Found {
            cert: second.cert.clone(),
            key: first.key.clone(),
        };
        let of_second = second.pair().unwrap().cert[0].clone();
        for bad in [
            Ok(half_written),
            Ok(Found {
                cert: Vec::new(),
                key: first.key.clone(),
            }),
            Ok(Found {
                cert: b"no certificate".to_vec(),
                key: b"no key".to_vec(),
            }),
            Err(io::ErrorKind::NotFound.into()),
        ] {
            reload.look(&now, bad);
            assert_eq!(served(&now), of_first);
            assert!(reload.fault.is_some());
        }
        reload.look(&now, Ok(second));
        assert_eq!(served(&now), of_second);
        assert!(reload.fault.is_none());
    }
}
