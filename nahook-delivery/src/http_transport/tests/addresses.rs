use super::receiver::Receiver;
use super::*;
use crate::transport::OutboundUrl;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// Every spelling of a loopback address that reaches a listener on 127.0.0.1.
const LOOPBACK_SPELLINGS: [&str; 9] = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f.1",
    "0x7f000001",
    "0177.0.0.1",
    "%31%32%37.0.0.1",
    "127。0。0。1",
    "[::ffff:127.0.0.1]",
];

/// Two listeners at one port: 127.0.0.1, and 127.0.0.2 which the returned policy does not open.
async fn permitted_and_refused() -> (Receiver, Receiver, AddressPolicy) {
    let permitted = Receiver::answering(OK).await;
    let twin = SocketAddr::new([127, 0, 0, 2].into(), permitted.socket.port());
    let refused = Receiver::start_at(twin, |stream| super::receiver::answer_all(stream, OK)).await;
    let policy = AddressPolicy::new().allow_socket(permitted.socket);
    (permitted, refused, policy)
}

#[tokio::test]
async fn loopback_is_refused_by_default_in_every_spelling() {
    let receiver = Receiver::answering(OK).await;
    let port = receiver.socket.port();
    let settings = TransportSettings::default();
    // The resolver knows no name: were one of these taken for a name, the error would be `Resolve`.
    let guarded = transport(AddressPolicy::new(), &settings, Names::default());
    for host in LOOPBACK_SPELLINGS
        .into_iter()
        .chain(["[::1]", "0.0.0.0", "0", "[::]"])
    {
        let result = guarded
            .head(request(format!("http://{host}:{port}/")))
            .await;
        assert_eq!(result, Err(TransportError::RefusedAddress), "{host}");
    }
    assert_eq!(receiver.accepted(), 0);

    // And they are refused for the address alone: opened, each arrives.
    for host in LOOPBACK_SPELLINGS {
        let result = open().head(request(format!("http://{host}:{port}/"))).await;
        assert_eq!(result, Ok(status(200)), "{host}");
    }
}

#[tokio::test]
async fn the_systems_own_names_are_judged_like_any_other() {
    let receiver = Receiver::answering(OK).await;
    let settings = TransportSettings::default();
    let local = request(format!("http://localhost:{}/", receiver.socket.port()));
    let guarded = HttpTransport::new(AddressPolicy::new(), &settings).unwrap();
    assert_eq!(
        guarded.head(local.clone()).await,
        Err(TransportError::RefusedAddress)
    );
    assert_eq!(receiver.accepted(), 0);
    let opened = HttpTransport::new(loopback(), &settings).unwrap();
    assert_eq!(opened.head(local.clone()).await, Ok(status(200)));
}

#[tokio::test]
async fn of_a_mixed_name_only_the_permitted_addresses_are_dialled() {
    let (permitted, refused, policy) = permitted_and_refused().await;
    for answer in [["127.0.0.2", "127.0.0.1"], ["127.0.0.1", "127.0.0.2"]] {
        let names = Names::of("mixed.test", &[&answer]);
        let transport = transport(policy.clone(), &TransportSettings::default(), names);
        let url = format!("http://mixed.test:{}/", permitted.socket.port());
        assert_eq!(transport.head(request(url)).await, Ok(status(200)));
    }
    assert_eq!((permitted.accepted(), refused.accepted()), (2, 0));
}

#[tokio::test]
async fn a_refused_address_is_not_fallen_back_to_when_the_permitted_one_fails() {
    let (permitted, refused, policy) = permitted_and_refused().await;
    let port = permitted.socket.port();
    drop(permitted);
    tokio::task::yield_now().await;
    let names = Names::of("mixed.test", &[&["127.0.0.1", "127.0.0.2"]]);
    let transport = transport(policy, &TransportSettings::default(), names);
    let result = transport
        .head(request(format!("http://mixed.test:{port}/")))
        .await;
    assert_eq!(result, Err(TransportError::Connect));
    assert_eq!(refused.accepted(), 0);
}

#[tokio::test]
async fn a_name_that_is_rebound_to_a_refused_address_is_refused() {
    let (permitted, refused, policy) = permitted_and_refused().await;
    let names = Names::of("rebound.test", &[&["127.0.0.1"], &["127.0.0.2"]]);
    let settings = TransportSettings {
        idle_per_host_max: 0,
        ..TransportSettings::default()
    };
    let transport = transport(policy, &settings, names);
    let rebound = request(format!("http://rebound.test:{}/", permitted.socket.port()));
    assert_eq!(transport.head(rebound.clone()).await, Ok(status(200)));
    assert_eq!(
        transport.head(rebound.clone()).await,
        Err(TransportError::RefusedAddress)
    );
    assert_eq!((permitted.accepted(), refused.accepted()), (1, 0));
}

#[tokio::test]
async fn a_name_with_a_mapped_address_is_judged_as_its_v4() {
    let (permitted, refused, policy) = permitted_and_refused().await;
    let port = permitted.socket.port();
    for (ip, expected) in [
        ("::ffff:127.0.0.1", Ok(status(200))),
        ("::ffff:127.0.0.2", Err(TransportError::RefusedAddress)),
    ] {
        let names = Names::of("mapped.test", &[&[ip]]);
        let transport = transport(policy.clone(), &TransportSettings::default(), names);
        let result = transport
            .head(request(format!("http://mapped.test:{port}/")))
            .await;
        assert_eq!(result, expected, "{ip}");
    }
    assert_eq!((permitted.accepted(), refused.accepted()), (1, 0));
}

#[test]
fn a_url_that_cannot_be_posted_to_is_invalid() {
    for url in [
        "http://user:pass@127.0.0.1/",
        "http://user@127.0.0.1/",
        "http://:pass@127.0.0.1/",
        "ftp://127.0.0.1/",
        "unix://127.0.0.1/",
        "file:///etc/passwd",
        "data:text/plain,x",
        "http://",
        "no url",
        "",
        "http://[fe80::1%25eth0]/",
        "http://localhost%00.test/",
        "http://xn--a.test/",
        "http://a\u{200d}b.test/",
        "http://a..b/",
        "http://a\\b/",
    ] {
        let read = url.parse::<OutboundUrl>();
        assert_eq!(read, Err(TransportError::InvalidUrl), "{url}");
    }
}

proptest::proptest! {
    /// One opinion: what may be declared can be made a request of.
    #[test]
    fn every_url_that_may_be_declared_can_be_posted_to(
        scheme in "(http|https|HTTP)",
        host in "([a-zA-Z0-9_.*%ßä\u{200d}\u{3002}-]{1,12}|\\[[0-9a-f:.%]{2,12}\\]|xn--[a-z0-9-]{1,6}|\\PC{1,8})",
        port in "(:[0-9]{0,6})?",
        rest in "([/?#]\\PC{0,12})?",
    ) {
        let text = format!("{scheme}://{host}{port}{rest}");
        let declared = text.parse::<nahook_control::EndpointUrl>().is_ok();
        let dialled = text.parse::<OutboundUrl>();
        proptest::prop_assert_eq!(declared, dialled.is_ok(), "{}", text);
        if let Ok(url) = dialled {
            proptest::prop_assert!(url.host().to_str().is_ok());
            proptest::prop_assert!(url.path().path().starts_with('/'));
            proptest::prop_assert!(url.as_uri().port_u16() != Some(0));
        }
    }
}
