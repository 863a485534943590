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
    let transport = transport(loopback(), &hasty(), Names::default());
    let started = Instant::now();
    assert_eq!(transport.post(at(socket)).await, TIMED_OUT);
    let elapsed = started.elapsed();
    assert!(
        elapsed >= hasty().connect_timeout && elapsed < hasty().total_timeout,
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
        .post(request(format!("http://half.test:{port}/")))
        .await;
    assert_eq!(result, Ok(status(200)));
}

#[tokio::test]
async fn a_refusing_address_is_passed_over_for_the_next() {
    let receiver = Receiver::answering(OK).await;
    let names = Names::of("half.test", &[&["127.0.0.3", "127.0.0.1"]]);
    let transport = transport(loopback(), &TransportSettings::default(), names);
    let url = format!("http://half.test:{}/", receiver.socket.port());
    assert_eq!(transport.post(request(url)).await, Ok(status(200)));
}

#[tokio::test]
async fn a_closed_port_is_a_failed_connection() {
    let socket = Receiver::answering(OK).await.socket;
    tokio::task::yield_now().await;
    assert_eq!(open().post(at(socket)).await, Err(TransportError::Connect));
}

#[tokio::test]
async fn a_name_without_addresses_or_unknown_is_not_resolved() {
    let names = Names::of("empty.test", &[&[]]);
    let transport = transport(loopback(), &TransportSettings::default(), names);
    for url in ["http://empty.test/", "http://unknown.test/"] {
        let result = transport.post(request(url)).await;
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
async fn a_silent_name_server_is_a_time_out_while_connecting() {
    let transport = HttpTransport::with_resolver(loopback(), &hasty(), Silent).unwrap();
    assert_eq!(
        transport.post(request("http://slow.test/")).await,
        TIMED_OUT
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
    assert_eq!(transport.post(request(url)).await, TIMED_OUT);
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
    assert_eq!(all.post(request(&url)).await, Err(TransportError::Connect));
    let names = Names::of("many.test", &[&answer[1..]]);
    let fewer = transport(loopback(), &TransportSettings::default(), names);
    assert_eq!(fewer.post(request(&url)).await, Ok(status(200)));
}
