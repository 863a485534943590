//! Encryption and what is checked of the server, by `sslmode`.

use std::fs;

use nahook_control::Catalog;
use nahook_postgres::{ConnectError, PostgresSettings, PostgresStore};
use nahook_testserver::PostgresServer;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

/// A server whose certificate is for `localhost`, and files with the authority that signed it and with another.
struct Staged {
    server: PostgresServer,
    folder: TempDir,
}

impl Staged {
    fn new() -> Self {
        let (authority, other) = (authority(), authority());
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = certificate.signed_by(&key, &authority).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("right.pem"), authority.pem()).unwrap();
        fs::write(folder.path().join("wrong.pem"), other.pem()).unwrap();
        let settings = "ssl = on\nssl_cert_file = 'tls.crt'\nssl_key_file = 'tls.key'";
        let files = [
            ("tls.crt", certificate.pem()),
            ("tls.key", key.serialize_pem()),
        ];
        let files: Vec<_> = files
            .iter()
            .map(|(name, pem)| (*name, pem.as_str()))
            .collect();
        Self {
            server: PostgresServer::start_with(settings, &files),
            folder,
        }
    }

    async fn connect(&self, host: &str, parameters: &str) -> Result<PostgresStore, ConnectError> {
        let url = self.server.url("postgres");
        let (address, _) = url.split_once('?').unwrap();
        let folder = self.folder.path().to_str().unwrap();
        let parameters = parameters.replace("{folder}", folder);
        let url = format!("{}?{parameters}", address.replace("127.0.0.1", host));
        PostgresStore::connect(&url, PostgresSettings::default()).await
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_mode_says_what_is_checked() {
    let staged = Staged::new();
    for (host, parameters) in [
        ("localhost", "sslmode=require"),
        (
            "127.0.0.1",
            "sslmode=require&sslrootcert={folder}/right.pem",
        ),
        (
            "127.0.0.1",
            "sslmode=verify-ca&sslrootcert={folder}/right.pem",
        ),
        (
            "localhost",
            "sslmode=verify-full&sslrootcert={folder}/right.pem",
        ),
    ] {
        let store = staged.connect(host, parameters).await.unwrap();
        assert_eq!(store.workspaces().await.unwrap(), []);
        // Every connection of the store's, and no other.
        let rows = "SELECT 1 / min(ssl::int) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
            WHERE application_name = 'nahook'";
        staged.server.execute("postgres", rows);
        store.close().await.unwrap();
    }
    for (host, parameters) in [
        (
            "localhost",
            "sslmode=require&sslrootcert={folder}/wrong.pem",
        ),
        (
            "localhost",
            "sslmode=verify-ca&sslrootcert={folder}/wrong.pem",
        ),
        (
            "127.0.0.1",
            "sslmode=verify-full&sslrootcert={folder}/right.pem",
        ),
        // The system trusts nobody of ours.
        ("localhost", "sslmode=verify-full"),
    ] {
        let refused = staged.connect(host, parameters).await;
        assert!(
            matches!(refused, Err(ConnectError::Unreachable(_))),
            "{host} {parameters}: {refused:?}"
        );
    }
    let unreadable = staged
        .connect("localhost", "sslmode=verify-full&sslrootcert=/none")
        .await;
    assert!(
        matches!(unreadable, Err(ConnectError::Tls(_))),
        "{unreadable:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_encryption_is_refused_where_it_is_required() {
    let url = PostgresServer::shared().create_database();
    let refused = url.replace("sslmode=disable", "sslmode=require");
    let refused = PostgresStore::connect(&refused, PostgresSettings::default()).await;
    assert!(
        matches!(refused, Err(ConnectError::Unreachable(_))),
        "{refused:?}"
    );
    let preferred = url.replace("sslmode=disable", "sslmode=prefer");
    assert!(
        PostgresStore::connect(&preferred, PostgresSettings::default())
            .await
            .is_ok()
    );
}
