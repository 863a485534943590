//! TLS: whom we believe, and who we are.

use std::fs;
use std::path::PathBuf;

use nahook_nats::{ConnectError, NatsSettings, Tls, connect};
use nahook_testkit::run;
use nahook_testserver::{NatsOptions, NatsServer};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use crate::support::{outcomes, publish};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for this name and its key, in PEM.
fn signed_by(authority: &Authority, name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn file(folder: &TempDir, name: &str, content: &str) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    path
}

/// Settings that believe whom this authority has signed, and show this certificate and key.
fn settings(root: PathBuf, client_certificate: Option<(PathBuf, PathBuf)>) -> NatsSettings {
    let mut settings = NatsSettings::default();
    settings.tls = Tls {
        required: true,
        root_certificates: Some(root),
        client_certificate,
    };
    settings
}

#[test]
fn the_servers_certificate_is_checked() {
    run(async {
        let (right, other) = (authority(), authority());
        let (certificate, key) = signed_by(&right, "localhost");
        let server = NatsOptions::new().tls(&certificate, &key).start();
        let folder = tempfile::tempdir().unwrap();
        let url = format!("tls://localhost:{}", server.port());
        let trusting = |name: &str, pem: &str| settings(file(&folder, name, pem), None);
        let nats = connect(&url, trusting("right", &right.pem())).await;
        let nats = nats.unwrap();
        assert_eq!(outcomes(&publish(&nats, 1, 1).await), ["published"]);
        let deceived = connect(&url, trusting("other", &other.pem())).await;
        assert!(deceived.is_err(), "somebody else's certificate");
        let plain = NatsServer::start();
        let refused = connect(&plain.url(), trusting("right", &right.pem())).await;
        assert!(refused.is_err(), "a server without TLS");
        let unusable = connect(&url, settings(folder.path().join("missing"), None)).await;
        assert!(
            matches!(unusable, Err(ConnectError::Credentials(_))),
            "{unusable:?}"
        );
    });
}

#[test]
fn a_server_that_asks_for_our_certificate_gets_it() {
    run(async {
        let (servers, clients, strangers) = (authority(), authority(), authority());
        let (certificate, key) = signed_by(&servers, "localhost");
        let options = NatsOptions::new().mutual_tls(&certificate, &key, &clients.pem());
        let server = options.start();
        let url = format!("tls://localhost:{}", server.port());
        let folder = tempfile::tempdir().unwrap();
        let root = file(&folder, "root", &servers.pem());
        let pair = |name: &str, (certificate, key): (String, String)| {
            let certificate = file(&folder, &format!("{name}.pem"), &certificate);
            (certificate, file(&folder, &format!("{name}.key"), &key))
        };
        let ours = pair("ours", signed_by(&clients, "shop"));
        let strange = pair("strange", signed_by(&strangers, "shop"));

        let nats = connect(&url, settings(root.clone(), Some(ours.clone()))).await;
        let nats = nats.unwrap();
        assert_eq!(outcomes(&publish(&nats, 1, 1).await), ["published"]);
        for shown in [None, Some(strange.clone())] {
            let refused = connect(&url, settings(root.clone(), shown.clone())).await;
            assert!(refused.is_err(), "{shown:?}");
        }
        let missing = (ours.0.clone(), folder.path().join("missing"));
        let empty = (ours.0.clone(), file(&folder, "empty", ""));
        let mixed = (ours.0.clone(), strange.1);
        for unusable in [missing, empty, mixed] {
            let refused = connect(&url, settings(root.clone(), Some(unusable.clone()))).await;
            assert!(
                matches!(refused, Err(ConnectError::Credentials(_))),
                "{unusable:?}: {refused:?}"
            );
        }
    });
}
