use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::receiver::Receiver;
use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const TIMED_OUT: Result<OutboundResponse, TransportError> =
    Err(TransportError::Timeout(TimeoutPhase::Connect));

/// A listener whose queue is full: the kernel drops further SYNs, so connecting hangs.
async fn unanswering(socket: SocketAddr) -> (SocketAddr, impl Sized) {
    let listening = TcpSocket::new_v4().unwrap();
    listening.bind(socket).unwrap();
    let listener = listening.listen(1).unwrap();
    let socket = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(200), TcpStream::connect(socket)).await {
        queued.push(stream.unwrap());
    }
    (socket, (listener, queued))
}

#[tokio::test]
async fn a_host_that_does_not_answer_the_connection_is_a_time_out() {
    let (socket, _listener) = unanswering("127.0.0.1:0".parse().unwrap()).await;
    let mut settings = hasty();
    settings.total_timeout = Duration::from_mins(2);
    let transport = transport(loopback(), &settings, Names::default());
    let started = Instant::now();
    assert_eq!(transport.head(at(socket)).await, TIMED_OUT);
    let elapsed = started.elapsed();
    assert!(
        elapsed >= settings.connect_timeout && elapsed < settings.total_timeout,
        "{elapsed:?}"
    );
}

#[tokio::test]
async fn a_silent_address_leaves_time_for_the_next() {
    let receiver = Receiver::answering(OK).await;
    let port = receiver.socket.port();
    let (_, _listener) = unanswering(SocketAddr::new([127, 0, 0, 2].into(), port)).await;
    let names = Names::of("half.test", &[&["127.0.0.2", "127.0.0.1"]]);
    let transport = transport(loopback(), &hasty(), names);
    let result = transport
        .head(request(format!("http://half.test:{port}/")))
        .await;
    assert_eq!(result, Ok(status(200)));
}

#[tokio::test]
async fn a_refusing_address_is_passed_over_for_the_next() {
    let receiver = Receiver::answering(OK).await;
    let names = Names::of("half.test", &[&["127.0.0.3", "127.0.0.1"]]);
    let transport = transport(loopback(), &TransportSettings::default(), names);
    let url = format!("http://half.test:{}/", receiver.socket.port());
    assert_eq!(transport.head(request(url)).await, Ok(status(200)));
}

/// No connection can be made to a broadcast address: the kernel says that the network is unreachable.
#[tokio::test]
async fn address_out_of_reach_is_passed_over_and_an_endpoint_that_fails_tells_more() {
    let receiver = Receiver::answering(OK).await;
    let (unreachable, refusing) = ("127.255.255.255", "127.0.0.3");
    let lack = Err(TransportError::Local(LocalCause::Network));
    for (addresses, expected) in [
        (&[unreachable][..], lack),
        (&[unreachable, "127.0.0.1"], Ok(status(200))),
        (&[unreachable, refusing], Err(TransportError::Connect)),
        (&[refusing, unreachable], Err(TransportError::Connect)),
    ] {
        let names = Names::of("half.test", &[addresses]);
        let transport = transport(loopback(), &TransportSettings::default(), names);
        let url = format!("http://half.test:{}/", receiver.socket.port());
        let outcome = transport.head(request(url)).await;
        assert_eq!(outcome, expected, "{addresses:?}");
    }
}

#[tokio::test]
async fn a_closed_port_is_a_failed_connection() {
    let socket = Receiver::answering(OK).await.socket;
    tokio::task::yield_now().await;
    assert_eq!(open().head(at(socket)).await, Err(TransportError::Connect));
}

#[tokio::test]
async fn a_name_without_addresses_or_unknown_is_not_resolved() {
    let names = Names::of("empty.test", &[&[]]);
    let transport = transport(loopback(), &TransportSettings::default(), names);
    for url in ["http://empty.test/", "http://unknown.test/"] {
        let result = transport.head(request(url)).await;
        assert_eq!(result, Err(TransportError::Resolve), "{url}");
    }
}

struct Silent;

impl Resolver for Silent {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn silent_name_server_is_a_lack_of_this_machine_while_nothing_else_resolves() {
    let transport = HttpTransport::with_resolver(loopback(), &hasty(), Silent).unwrap();
    let lack = Err(TransportError::Local(LocalCause::Resolver));
    let post = || transport.head(request("http://slow.test/"));
    assert_eq!(post().await, lack);
    transport.reach.resolved(&[[203, 0, 113, 1].into()]);
    let timed_out = Err(TransportError::Timeout(TimeoutPhase::Resolve));
    assert_eq!(post().await, timed_out);
}

/// Fails like this each time.
struct Failing(fn() -> io::Error);

impl Resolver for Failing {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        Err(self.0())
    }
}

#[tokio::test]
async fn look_ups_that_fail_for_a_lack_of_this_machine_are_no_failure_of_the_endpoint() {
    let lack = |cause| Err(TransportError::Local(cause));
    let no_thread = || io::Error::from(io::ErrorKind::WouldBlock);
    let no_descriptor = || io::Error::from(rustix::io::Errno::MFILE);
    let no_server = || io::Error::from(io::ErrorKind::NetworkDown);
    let unknown = || io::Error::other("no such name");
    for (error, expected) in [
        (no_thread as fn() -> io::Error, lack(LocalCause::Threads)),
        (no_descriptor, lack(LocalCause::Descriptors)),
        (no_server, lack(LocalCause::Resolver)),
        (unknown, Err(TransportError::Resolve)),
    ] {
        let transport = HttpTransport::with_resolver(loopback(), &hasty(), Failing(error)).unwrap();
        let outcome = transport.head(request("http://some.test/")).await;
        assert_eq!(outcome, expected);
    }
    // An answer that there is no such name comes from a name server: the next one's silence is the endpoint's.
    let transport = HttpTransport::with_resolver(loopback(), &hasty(), Failing(no_server)).unwrap();
    transport.reach.resolved(&[]);
    let outcome = transport.head(request("http://some.test/")).await;
    assert_eq!(outcome, Err(TransportError::Resolve));
}

#[tokio::test]
async fn connections_are_limited_and_idle_ones_make_room() {
    let receivers = [
        Receiver::answering(OK).await,
        Receiver::answering(OK).await,
        Receiver::answering(OK).await,
    ];
    let settings = TransportSettings {
        connections_max: 1,
        ..hasty()
    };
    let transport = Arc::new(transport(loopback(), &settings, Names::default()));
    for _ in 0..2 {
        for receiver in &receivers {
            assert_eq!(transport.head(at(receiver.socket)).await, Ok(status(200)));
        }
    }
    let silent = Receiver::start(|mut stream| async move {
        super::receiver::closed(&mut stream).await;
    })
    .await;
    let holding = tokio::spawn({
        let (transport, request) = (Arc::clone(&transport), at(silent.socket));
        async move { transport.head(request).await }
    });
    while silent.accepted() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let outcome = transport.head(at(receivers[0].socket)).await;
    assert_eq!(outcome, Err(TransportError::Local(LocalCause::Connections)));
    assert!(holding.await.unwrap().is_err());
    assert_eq!(
        transport.head(at(receivers[0].socket)).await,
        Ok(status(200))
    );
}

#[tokio::test]
async fn a_silent_tls_handshake_is_a_time_out_while_connecting() {
    let receiver = Receiver::start(|mut stream| async move {
        super::receiver::closed(&mut stream).await;
    })
    .await;
    let transport = transport(loopback(), &hasty(), Names::default());
    let url = format!("https://{}/", receiver.socket);
    assert_eq!(transport.head(request(url)).await, TIMED_OUT);
}

#[tokio::test]
async fn at_most_sixteen_addresses_of_a_name_are_dialled() {
    let receiver = Receiver::answering(OK).await;
    let refusing = (2..=17)
        .map(|last| format!("127.0.9.{last}"))
        .collect::<Vec<_>>();
    let mut answer = refusing.iter().map(String::as_str).collect::<Vec<_>>();
    answer.push("127.0.0.1");
    let url = format!("http://many.test:{}/", receiver.socket.port());
    let names = Names::of("many.test", &[&answer]);
    let all = transport(loopback(), &TransportSettings::default(), names);
    assert_eq!(all.head(request(&url)).await, Err(TransportError::Connect));
    let names = Names::of("many.test", &[&answer[1..]]);
    let fewer = transport(loopback(), &TransportSettings::default(), names);
    assert_eq!(fewer.head(request(&url)).await, Ok(status(200)));
}
