//! Stopping gracefully, within a bound.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use nahook_http::ServeSettings;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::{Server, held_back};

const SOON: Duration = Duration::from_mins(1);
const ASK: &str = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";

#[tokio::test]
async fn what_is_in_flight_finishes_and_what_is_idle_closes() {
    let (reached, released) = <(Arc<Notify>, Arc<Notify>)>::default();
    let router = held_back(&reached, &released);
    let mut server = Server::start(router, ServeSettings::default()).await;
    let (mut busy, mut idle) = (server.connect().await, server.connect().await);
    idle.send("GET /none HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(idle.status().await, Some(404));
    busy.send(ASK).await;
    reached.notified().await;
    server.begin_to_stop();
    assert_eq!(timeout(SOON, idle.status()).await, Ok(None));
    assert!(!server.serving.is_finished());
    assert!(TcpStream::connect(server.address).await.is_err());
    released.notify_one();
    let (head, body) = busy.answer().await.unwrap();
    assert!(head.contains("connection: close"), "{head}");
    assert_eq!(body, "done");
    timeout(SOON, server.stop()).await.unwrap();
}

#[tokio::test]
async fn what_never_finishes_is_cut() {
    let (reached, never) = <(Arc<Notify>, Arc<Notify>)>::default();
    let settings = ServeSettings {
        stop_timeout: Duration::from_millis(100),
        ..ServeSettings::default()
    };
    let server = Server::start(held_back(&reached, &never), settings).await;
    let mut client = server.connect().await;
    client.send(ASK).await;
    reached.notified().await;
    timeout(SOON, server.stop()).await.unwrap();
    assert_eq!(timeout(SOON, client.status()).await, Ok(None));
}

#[tokio::test]
async fn stopping_with_nobody_there_is_immediate() {
    let server = Server::start(Router::new(), ServeSettings::default()).await;
    timeout(SOON, server.stop()).await.unwrap();
}
