use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
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
    let (tell, ends) = unbounded_channel();
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([NAME.to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
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
    assert_eq!(transport.post(hook.clone()).await, Ok(status(200)));
    assert_eq!(transport.post(hook.clone()).await, Ok(status(200)));
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
    assert_eq!(transport.post(hook).await, Ok(status(200)));
    let end = tokio::time::timeout(Duration::from_secs(5), ends.recv()).await;
    assert_eq!(end.expect("it ends"), Some(true));
}

#[tokio::test]
async fn an_unknown_authority_is_a_tls_error() {
    let (receiver, _) = receiver().await;
    let hook = request(format!("https://{NAME}:{}/", receiver.socket.port()));
    assert_eq!(
        trusting(NAME, vec![]).post(hook.clone()).await,
        Err(TransportError::Tls)
    );
}

#[tokio::test]
async fn a_certificate_for_another_name_is_a_tls_error() {
    let (receiver, root) = receiver().await;
    let transport = trusting("other.test", vec![root]);
    for host in ["other.test", "127.0.0.1"] {
        let hook = request(format!("https://{host}:{}/", receiver.socket.port()));
        assert_eq!(
            transport.post(hook.clone()).await,
            Err(TransportError::Tls),
            "{host}"
        );
    }
}

#[tokio::test]
async fn an_endpoint_that_does_not_speak_tls_is_a_tls_error() {
    let receiver = Receiver::start(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        super::receiver::closed(&mut stream).await;
    })
    .await;
    let hook = request(format!("https://{NAME}:{}/", receiver.socket.port()));
    assert_eq!(
        trusting(NAME, vec![]).post(hook.clone()).await,
        Err(TransportError::Tls)
    );
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
        guarded.post(hook.clone()).await,
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
