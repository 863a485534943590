//! Every way to say who we are, and TLS.

use nahook_testserver::{NatsOptions, NatsServer};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::starting::refusal;
use crate::support::server::Server;

/// A pair made for these tests.
const NKEY: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
const NKEY_SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";

async fn is_let_in(nats: &NatsServer, settings: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir, settings).await;
    assert_eq!(nats.messages("NAHOOK_DELIVERIES"), Some(0), "{settings:?}");
    server.process.kill();
}

async fn is_refused(settings: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let said = refusal(dir.path(), settings, &[]).await;
    assert!(
        said.contains("cannot use the queue"),
        "{settings:?}: {said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_and_a_token_are_taken_from_the_url_or_the_settings() {
    let options = NatsOptions::new();
    let nats = options.clone().user("ann", "s3cret").start();
    let url = nats.url();
    is_let_in(&nats, &["--queue", &nats.url_with("ann:s3cret")]).await;
    let by_settings = ["--queue", &url, "--nats-user", "ann", "--nats-password"];
    is_let_in(&nats, &[&by_settings[..], &["s3cret"]].concat()).await;
    is_refused(&[&by_settings[..], &["secret"]].concat()).await;
    is_refused(&["--queue", &url]).await;

    let nats = options.token("t0ken").start();
    let url = nats.url();
    is_let_in(&nats, &["--queue", &nats.url_with("t0ken")]).await;
    is_let_in(&nats, &["--queue", &url, "--nats-token", "t0ken"]).await;
    is_refused(&["--queue", &url, "--nats-token", "token"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_nkey_is_taken_from_a_file() {
    let nats = NatsOptions::new().nkey(NKEY).start();
    let dir = tempfile::tempdir().unwrap();
    let seed = dir.path().join("seed");
    std::fs::write(&seed, format!("{NKEY_SEED}\n")).unwrap();
    let seed = seed.to_str().unwrap();
    let url = nats.url();
    is_let_in(&nats, &["--queue", &url, "--nats-nkey-file", seed]).await;
    is_refused(&["--queue", &url]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_checked_by_the_certificates_given() {
    let key = KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names)
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let nats = NatsOptions::new()
        .tls(&certificate.pem(), &key.serialize_pem())
        .start();
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, certificate.pem()).unwrap();
    let ca = ca.to_str().unwrap();
    let url = nats.url().replace("nats://", "tls://");
    is_let_in(&nats, &["--queue", &url, "--nats-tls-ca", ca]).await;
    is_let_in(
        &nats,
        &["--queue", &nats.url(), "--nats-tls", "--nats-tls-ca", ca],
    )
    .await;
    is_refused(&["--queue", &url]).await;

    let plain = NatsServer::start();
    is_refused(&["--queue", &plain.url(), "--nats-tls", "--nats-tls-ca", ca]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_for_our_certificate_gets_it() {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let signed = || {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        (certificate.pem(), key.serialize_pem())
    };
    let (certificate, key) = signed();
    let nats = NatsOptions::new()
        .mutual_tls(&certificate, &key, &authority.pem())
        .start();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let ca = file("ca.pem", &authority.pem());
    let (certificate, key) = signed();
    let (certificate, key) = (file("our.pem", &certificate), file("our.key", &key));
    let url = nats.url().replace("nats://", "tls://");
    let without = ["--queue", &url, "--nats-tls-ca", &ca];
    let ours = ["--nats-tls-cert", &certificate, "--nats-tls-key", &key];
    is_let_in(&nats, &[&without[..], &ours].concat()).await;
    is_refused(&without).await;
}
