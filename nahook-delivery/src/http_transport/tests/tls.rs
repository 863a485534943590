use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_rustls::TlsAcceptor;

use super::receiver::Receiver;
use super::*;

const NAME: &str = "receiver.test";

async fn receiver() -> (Receiver, CertificateDer<'static>) {
    let (receiver, root, _) = telling_receiver().await;
    (receiver, root)
}

/// A receiver with a certificate for [`NAME`] by an authority of its own, that authority, and how its connections end:
/// `true` if as TLS wants it.
async fn telling_receiver() -> (Receiver, CertificateDer<'static>, UnboundedReceiver<bool>) {
    receiver_with(rustls::DEFAULT_VERSIONS, |_| {}).await
}

/// The same, speaking these versions, with a certificate that was changed before it was signed.
async fn receiver_with(
    versions: &[&'static rustls::SupportedProtocolVersion],
    change: impl FnOnce(&mut CertificateParams),
) -> (Receiver, CertificateDer<'static>, UnboundedReceiver<bool>) {
    receiver_for(Clients::All, versions, change).await
}

/// Clients that a receiver takes.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Clients {
    All,
    WithCertificate,
}

async fn receiver_for(
    clients: Clients,
    versions: &[&'static rustls::SupportedProtocolVersion],
    change: impl FnOnce(&mut CertificateParams),
) -> (Receiver, CertificateDer<'static>, UnboundedReceiver<bool>) {
    let (tell, ends) = unbounded_channel();
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([NAME.to_owned()]).unwrap();
    change(&mut params);
    let certificate = params.signed_by(&key, &issuer).unwrap();

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut authorities = rustls::RootCertStore::empty();
    authorities.add(root.der().clone()).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(authorities.into(), Arc::clone(&provider));
    let verifier = match clients {
        Clients::All => WebPkiClientVerifier::no_client_auth(),
        Clients::WithCertificate => verifier.build().unwrap(),
    };
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let receiver = Receiver::start(move |stream| {
        let (acceptor, tell) = (acceptor.clone(), tell.clone());
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            let mut request = vec![0; 4096];
            let end = loop {
                match stream.read(&mut request).await {
                    Ok(0) => break true,
                    Ok(_) => {}
                    Err(_) => break false,
                }
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                    .await
                    .unwrap();
            };
            let _ = tell.send(end);
        }
    })
    .await;
    (receiver, root.der().clone(), ends)
}

fn trusting(name: &str, extra_roots: Vec<CertificateDer<'static>>) -> HttpTransport<Names> {
    let settings = TransportSettings {
        extra_roots,
        ..TransportSettings::default()
    };
    transport(loopback(), &settings, Names::of(name, &[&["127.0.0.1"]]))
}

#[tokio::test]
async fn a_trusted_certificate_is_accepted_and_the_connection_used_again() {
    let (receiver, root) = receiver().await;
    let transport = trusting(NAME, vec![root]);
    let hook = request(format!("https://{NAME}:{}/", receiver.socket.port()));
    assert_eq!(transport.head(hook.clone()).await, Ok(status(200)));
    assert_eq!(transport.head(hook.clone()).await, Ok(status(200)));
    assert_eq!(receiver.accepted(), 1);
}

#[tokio::test]
async fn a_connection_that_is_not_needed_any_more_is_ended_and_not_cut_off() {
    let (receiver, root, mut ends) = telling_receiver().await;
    let settings = TransportSettings {
        idle_timeout: Duration::from_millis(100),
        extra_roots: vec![root],
        ..TransportSettings::default()
    };
    let transport = transport(loopback(), &settings, Names::of(NAME, &[&["127.0.0.1"]]));
    let hook = request(format!("https://{NAME}:{}/", receiver.socket.port()));
    assert_eq!(transport.head(hook).await, Ok(status(200)));
    let end = tokio::time::timeout(Duration::from_mins(1), ends.recv()).await;
    assert_eq!(end.expect("it ends"), Some(true));
}

/// Returns the outcome of posting to `https://{host}`, where the receiver with the certificate for [`NAME`] is.
async fn outcome(
    host: &str,
    receiver: &Receiver,
    roots: Vec<CertificateDer<'static>>,
) -> Result<OutboundResponse, TransportError> {
    let hook = request(format!("https://{host}:{}/", receiver.socket.port()));
    trusting(host, roots).head(hook).await
}

#[tokio::test]
async fn each_fault_of_a_certificate_has_a_reason_of_its_own() {
    let day = Duration::from_hours(24);
    let now = std::time::SystemTime::now();
    let (receiver, root) = receiver().await;
    let unknown = outcome(NAME, &receiver, vec![]).await;
    let others = outcome("other.test", &receiver, vec![root.clone()]).await;
    let address = outcome("127.0.0.1", &receiver, vec![root]).await;
    let (old, root, _) = receiver_with(rustls::DEFAULT_VERSIONS, |params| {
        params.not_after = (now - day).into();
    })
    .await;
    let expired = outcome(NAME, &old, vec![root]).await;
    let (future, root, _) = receiver_with(rustls::DEFAULT_VERSIONS, |params| {
        params.not_before = (now + day).into();
    })
    .await;
    let not_yet = outcome(NAME, &future, vec![root]).await;
    let (authority, root, _) = receiver_with(rustls::DEFAULT_VERSIONS, |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    })
    .await;
    let own = outcome(NAME, &authority, vec![root]).await;
    let (client, root, _) = receiver_with(rustls::DEFAULT_VERSIONS, |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    })
    .await;
    let for_clients = outcome(NAME, &client, vec![root]).await;
    for (outcome, fault) in [
        (unknown, TlsFault::UnknownAuthority),
        (others, TlsFault::WrongName),
        (address, TlsFault::WrongName),
        (expired, TlsFault::Expired),
        (not_yet, TlsFault::NotYetValid),
        (own, TlsFault::UnknownAuthority),
        (for_clients, TlsFault::BadCertificate),
    ] {
        assert_eq!(outcome, Err(TransportError::Tls(fault)));
    }
}

/// Returns the outcome of a handshake that the receiver answers with these bytes, before it closes the connection.
async fn handshake_answered(answer: &'static [u8]) -> Result<OutboundResponse, TransportError> {
    let receiver = Receiver::start(move |mut stream| async move {
        let mut hello = [0; 1024];
        let _ = stream.read(&mut hello).await;
        let _ = stream.write_all(answer).await;
    })
    .await;
    outcome(NAME, &receiver, vec![]).await
}

#[tokio::test]
async fn each_end_of_a_handshake_has_a_reason_of_its_own() {
    let plain = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n";
    for (answer, fault) in [
        (plain.as_slice(), TlsFault::NotTls),
        (b"220 mail.example ESMTP\r\n", TlsFault::NotTls),
        (b"", TlsFault::Closed),
        // Alerts, fatal: protocol_version, handshake_failure, unrecognized_name.
        (b"\x15\x03\x03\0\x02\x02\x46", TlsFault::Incompatible),
        (b"\x15\x03\x03\0\x02\x02\x28", TlsFault::NoAgreement),
        (b"\x15\x03\x03\0\x02\x02\x70", TlsFault::Refused),
    ] {
        let outcome = handshake_answered(answer).await;
        assert_eq!(outcome, Err(TransportError::Tls(fault)), "{answer:?}");
    }
}

#[tokio::test]
async fn want_of_a_client_certificate_is_told() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let clients = Clients::WithCertificate;
        let (receiver, root, _) = receiver_for(clients, &[version], |_| {}).await;
        let outcome = outcome(NAME, &receiver, vec![root]).await;
        let wanted = Err(TransportError::Tls(TlsFault::ClientCertificate));
        assert_eq!(outcome, wanted, "{version:?}");
    }
}

#[tokio::test]
async fn old_but_sound_version_is_spoken() {
    let (receiver, root, _) = receiver_with(&[&rustls::version::TLS12], |_| {}).await;
    let outcome = outcome(NAME, &receiver, vec![root]).await;
    assert_eq!(outcome, Ok(status(200)));
}

#[tokio::test]
async fn connection_in_plain_text_is_not_used_for_tls_and_the_other_way_round() {
    // Answers in plain text and over TLS on one port, and counts what each had.
    let (tell, mut first_bytes) = unbounded_channel();
    let receiver = Receiver::start(move |mut stream| {
        let tell = tell.clone();
        async move {
            let mut first = [0];
            stream.peek(&mut first).await.unwrap();
            tell.send(first[0]).unwrap();
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            while super::receiver::read_request(&mut stream).await.is_some() {
                stream.write_all(answer).await.unwrap();
            }
        }
    })
    .await;
    let transport = trusting(NAME, vec![]);
    let port = receiver.socket.port();
    let plain = request(format!("http://{NAME}:{port}/"));
    assert_eq!(transport.head(plain).await, Ok(status(200)));
    assert_eq!(first_bytes.recv().await, Some(b'P'));
    let secret = request(format!("https://{NAME}:{port}/"));
    // Its handshake is no request that the receiver would understand.
    let outcome = timeout(Duration::from_secs(1), transport.head(secret)).await;
    assert_ne!(outcome, Ok(Ok(status(200))));
    assert_eq!(first_bytes.recv().await, Some(0x16), "a handshake");
}

#[tokio::test]
async fn refused_addresses_are_refused_before_tls() {
    let (receiver, root) = receiver().await;
    let settings = TransportSettings {
        extra_roots: vec![root],
        ..TransportSettings::default()
    };
    let names = Names::of(NAME, &[&["127.0.0.1"]]);
    let guarded = transport(AddressPolicy::new(), &settings, names);
    let hook = request(format!("https://{NAME}:{}/", receiver.socket.port()));
    assert_eq!(
        guarded.head(hook.clone()).await,
        Err(TransportError::RefusedAddress)
    );
    assert_eq!(receiver.accepted(), 0);
}

#[test]
fn an_extra_root_that_is_no_certificate_is_a_setup_error() {
    let extra_roots = vec![CertificateDer::from(vec![1, 2, 3])];
    let settings = TransportSettings {
        extra_roots,
        ..TransportSettings::default()
    };
    let refused = HttpTransport::new(AddressPolicy::new(), &settings).unwrap_err();
    assert!(matches!(refused, TransportSetupError::Tls(_)));
}
