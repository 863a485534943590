//! Certificate of a server, replaced while it serves.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use nahook_server::tls::TlsFiles;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Address that it is made for.
const ADDRESS: &str = "127.0.0.1";

/// A self-signed certificate and its key, in files.
pub(crate) struct Certificate {
    files: TlsFiles,
    newest: Mutex<CertificateDer<'static>>,
}

impl Certificate {
    /// Makes one with its files in the folder.
    pub(crate) fn make_in(dir: &Path) -> Self {
        let files = TlsFiles {
            cert: dir.join("cert.pem"),
            key: dir.join("key.pem"),
        };
        let newest = Mutex::new(write(&files));
        Self { files, newest }
    }

    pub(crate) fn files(&self) -> TlsFiles {
        self.files.clone()
    }

    /// Replaces it by another, from now on the only one that clients trust.
    pub(crate) fn replace(&self) {
        *self.newest.lock().unwrap() = write(&self.files);
    }

    /// Settings of a client that trusts the newest one alone.
    pub(crate) fn trusting(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.newest.lock().unwrap().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        builder.with_root_certificates(roots).with_no_client_auth()
    }

    /// Returns true if the server shows the newest one.
    pub(crate) async fn is_served(&self, address: SocketAddr) -> bool {
        let stream = TcpStream::connect(address).await.unwrap();
        let connector = TlsConnector::from(Arc::new(self.trusting()));
        let name = ServerName::try_from(ADDRESS).unwrap();
        connector.connect(name, stream).await.is_ok()
    }
}

fn write(files: &TlsFiles) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([ADDRESS.to_owned()]).unwrap();
    fs::write(&files.cert, cert.pem()).unwrap();
    fs::write(&files.key, signing_key.serialize_pem()).unwrap();
    cert.der().clone()
}
