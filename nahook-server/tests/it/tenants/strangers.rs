//! Clients without a key that take what they can.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::api::Api;
use crate::support::manifest::{EVENT_TYPE, KEY, endpoint, shop};
use crate::support::receiver::Receiver;
use crate::support::server::{ALLOW_LOOPBACK, Server};
use crate::support::{SOON, until};

/// Connections that the server allows, and how many a crowd has.
const ROOM: &str = "64";
const CROWD: usize = 300;
const HEAD: &str = "GET /none HTTP/1.1\r\nHost: h\r\n\r\n";

async fn server(receiver: &Receiver, settings: &[&str]) -> Server {
    let manifest = shop(vec![endpoint("ep_1", &receiver.url("/1"))]);
    let settings = [&ALLOW_LOOPBACK, settings].concat();
    Server::with_settings(&manifest, &settings).await
}

/// Connections from one address that say the same.
struct Crowd {
    server: SocketAddr,
    from: [u8; 4],
    says: &'static str,
    connections: Vec<TcpStream>,
}

impl Crowd {
    fn new(server: &Server, from: [u8; 4], says: &'static str) -> Self {
        Self {
            server: server.address,
            from,
            says,
            connections: Vec::new(),
        }
    }

    /// Connects once more for each connection that there is room for, and several times that.
    async fn press(&mut self) {
        self.connections.clear();
        for _ in 0..CROWD {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind((self.from, 0).into()).unwrap();
            let mut stream = socket.connect(self.server).await.unwrap();
            // The server may have closed it.
            let _ = stream.write_all(self.says.as_bytes()).await;
            self.connections.push(stream);
        }
    }
}

/// Triggers events, each on a connection of its own, while the crowd presses.
async fn newcomers_get_in(server: &Server, receiver: &Receiver, crowd: &mut Crowd) {
    let before = receiver.len();
    for _ in 0..5 {
        crowd.press().await;
        let newcomer = Api::new(server.address, KEY);
        let answer = newcomer.trigger(EVENT_TYPE, "{}").await;
        assert_eq!(answer.status, 202, "{}", answer.json());
        assert_eq!(newcomer.get("/healthz").await.status, 200);
    }
    receiver.wait_for(before + 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crowd_without_keys_keeps_nobody_out() {
    let receiver = Receiver::start().await;
    let server = server(&receiver, &["--client-connections", ROOM]).await;
    let kept = server.api();
    for says in [
        // Idle from the start, idle after a request, and halfway through a head or a body.
        "",
        HEAD,
        "GET /none HTTP/1.1\r\nHost:",
        "POST /api/ingest/event/order.paid HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n",
    ] {
        let mut crowd = Crowd::new(&server, [127, 0, 0, 1], says);
        newcomers_get_in(&server, &receiver, &mut crowd).await;
        // The connection on which a key was shown is still the same.
        assert_eq!(kept.trigger(EVENT_TYPE, "{}").await.status, 202);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_takes_its_share_only() {
    let receiver = Receiver::start().await;
    let server = server(&receiver, &["--client-connections", ROOM]).await;
    let mut neighbour = TcpStream::connect(server.address).await.unwrap();
    let mut crowd = Crowd::new(&server, [127, 0, 0, 2], HEAD);
    for _ in 0..3 {
        crowd.press().await;
        // Idle since before the crowd came, and still served.
        neighbour.write_all(HEAD.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        neighbour.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 404");
        while neighbour.try_read(&mut [0; 4096]).is_ok() {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn crowded_clients_leave_health_and_metrics_alone() {
    let receiver = Receiver::start().await;
    let server = server(&receiver, &["--client-connections", "4"]).await;
    // One address has one of four connections, whose place nobody takes during a request with a key.
    let body = "{\"payload\":{}}";
    let head = format!(
        "POST /api/ingest/event/{EVENT_TYPE} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {KEY}\r\n\
         Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut busy = TcpStream::connect(server.address).await.unwrap();
    busy.write_all(head.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    busy.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 100");
    let mut refused = TcpStream::connect(server.address).await.unwrap();
    refused.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 503");
    let operations = Api::new(server.operations().await, "");
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(operations.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_calls_are_counted_and_logged_once_a_minute() {
    let receiver = Receiver::start().await;
    let server = server(&receiver, &[]).await;
    let stranger = Api::new(server.address, "nhk_us_stranger");
    for _ in 0..200 {
        let refused = stranger.trigger(EVENT_TYPE, "{}").await;
        refused.assert_error(401, "unauthorized");
    }
    // A tenant's own refusals are told all the same.
    for _ in 0..50 {
        let refused = server.api().trigger("un.known", "{}").await;
        refused.assert_error(404, "not_found");
    }
    let log = server.process.stderr.clone();
    let all_logged = || (log.count(&["\"status\":404"]) == 50).then_some(());
    until(
        SOON,
        "every refusal is in the log at some level",
        all_logged,
    )
    .await;
    let info =
        |status: &str| log.count(&["\"level\":\"INFO\"", "\"client\":\"127.0.0.1\"", status]);
    assert_eq!((info("\"status\":401"), info("\"status\":404")), (1, 1));
    let metrics = server.metrics().await;
    assert!(
        metrics.contains("nahook_http_refusals_unlogged_total 248"),
        "{metrics}"
    );
    assert!(
        metrics
            .lines()
            .any(|line| line.starts_with("nahook_http_requests_total")
                && line.contains("401")
                && line.ends_with(" 200")),
        "{metrics}"
    );
}
