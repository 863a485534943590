//! TLS of the listener, by real handshakes.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::manifest::{EVENT_TYPE, KEY, endpoint, shop};
use crate::support::process::Nahook;
use crate::support::receiver::Receiver;
use crate::support::server::{ALLOW_LOOPBACK, apply};
use crate::support::{SOON, until};

struct Pair {
    cert: CertificateDer<'static>,
    cert_pem: String,
    key_pem: String,
}

fn made() -> Pair {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    Pair {
        cert: cert.der().clone(),
        cert_pem: cert.pem(),
        key_pem: signing_key.serialize_pem(),
    }
}

fn write(dir: &Path, cert: &str, key: &str) {
    std::fs::write(dir.join("cert.pem"), cert).unwrap();
    std::fs::write(dir.join("key.pem"), key).unwrap();
}

/// Triggers an event over a connection of its own. Returns the answer's status line, or nothing if the certificate is not
/// the expected one.
async fn trigger(address: SocketAddr, expected: &CertificateDer<'static>) -> Option<String> {
    let mut roots = RootCertStore::empty();
    roots.add(expected.clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, stream).await.ok()?;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let request = format!(
        "POST /api/ingest/event/{EVENT_TYPE} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n\
         Connection: close\r\nContent-Length: 14\r\n\r\n{{\"payload\":{{}}}}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    answer.lines().next().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn new_certificate_is_served_and_a_bad_one_is_not() {
    let receiver = Receiver::start().await;
    let dir = tempfile::tempdir().unwrap();
    let manifest = shop(vec![endpoint("ep_1", &receiver.url("/1"))]);
    assert!(apply(dir.path(), &manifest).await.success);
    let (first, second) = (made(), made());
    write(dir.path(), &first.cert_pem, &first.key_pem);
    let any = "127.0.0.1:0";
    let serve = ["serve", "--listen", any, "--operations-listen", any];
    let tls = ["--tls-cert", "cert.pem", "--tls-key", "key.pem"];
    let arguments = [&serve[..], &tls, &["--sample", "false"], &ALLOW_LOOPBACK].concat();
    let mut process = Nahook::start(dir.path(), &arguments);
    let line = process.line("listening on https://").await;
    let address = line
        .rsplit("https://")
        .next()
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let accepted = Some("HTTP/1.1 202 Accepted".to_owned());
    assert_eq!(trigger(address, &first.cert).await, accepted);
    assert_eq!(trigger(address, &second.cert).await, None);
    receiver.wait_for(1).await;

    write(dir.path(), &first.cert_pem, &second.key_pem);
    let refused = || process.stderr.find("the new certificate cannot be used");
    until(SOON, "the bad pair is logged", refused).await;
    assert_eq!(trigger(address, &first.cert).await, accepted);

    write(dir.path(), &second.cert_pem, &second.key_pem);
    let replaced = || process.stderr.find("a new certificate is served");
    until(SOON, "the good pair is served", replaced).await;
    assert_eq!(trigger(address, &second.cert).await, accepted);
    assert_eq!(trigger(address, &first.cert).await, None);

    // Whoever speaks plain HTTP, or nothing, harms nobody.
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"));
    assert_eq!(trigger(address, &second.cert).await, accepted);
}

#[tokio::test(flavor = "multi_thread")]
async fn start_without_a_usable_pair_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let pair = made();
    write(dir.path(), &pair.cert_pem, "no key");
    for (tls, named) in [
        (
            &["--tls-cert", "cert.pem", "--tls-key", "key.pem"][..],
            "key.pem",
        ),
        (
            &["--tls-cert", "none.pem", "--tls-key", "key.pem"],
            "none.pem",
        ),
        (&["--tls-cert", "cert.pem"], "--tls-key"),
    ] {
        let arguments = [&["serve", "--listen", "127.0.0.1:0"], tls].concat();
        let ended = Nahook::run(dir.path(), &arguments).await;
        assert!(
            !ended.success && ended.stderr.contains(named),
            "{}",
            ended.stderr
        );
    }
}
