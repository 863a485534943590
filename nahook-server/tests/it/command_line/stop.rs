//! SIGTERM: what is there is finished, within a bound.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::manifest::{EVENT_TYPE, KEY, endpoint, shop};
use crate::support::receiver::{Receiver, Reply};
use crate::support::server::{ALLOW_LOOPBACK, Server};
use crate::support::{SOON, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_flight_is_answered_and_its_deliveries_survive() {
    let receiver = Receiver::start().await;
    let mut server = Server::with(&shop(vec![endpoint("ep_1", &receiver.url("/1"))])).await;
    let body = "{\"payload\":{\"last\":\"one\"}}";
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "POST /api/ingest/event/{EVENT_TYPE} HTTP/1.1\r\nhost: nahook\r\nauthorization: Bearer {KEY}\r\n\
         content-length: {}\r\n\r\n{}",
        body.len(),
        &body[..10],
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;

    server.process.terminate();
    let logged = server.process.stderr.clone();
    until(SOON, "the stop is logged", || logged.find("stopping")).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    // Whoever comes now comes too late.
    let late = TcpStream::connect(server.address).await;
    assert!(late.is_err(), "a stopping server accepts connections");
    stream.write_all(&body.as_bytes()[10..]).await.unwrap();
    let mut answer = String::new();
    let reading = stream.read_to_string(&mut answer);
    tokio::time::timeout(SOON, reading).await.unwrap().unwrap();

    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    assert!(server.process.exit(SOON).await.success());
    if receiver.len() == 0 {
        server.start_again().await;
    }
    assert_eq!(receiver.exactly(1).await[0].body, "{\"last\":\"one\"}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_in_flight_is_finished_and_not_repeated() {
    let receiver = Receiver::start().await;
    receiver.reply("/slow", [Reply::Late(Duration::from_millis(1_500), 200)]);
    let mut server = Server::with(&shop(vec![endpoint("ep_slow", &receiver.url("/slow"))])).await;
    server.trigger("{}").await;
    receiver.wait_for(1).await;

    let began = Instant::now();
    server.process.terminate();
    assert!(server.process.exit(SOON).await.success());
    assert!(
        began.elapsed() >= Duration::from_secs(1),
        "it did not wait for the delivery"
    );

    server.start_again().await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    receiver.exactly(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_and_hanging_endpoints_do_not_hold_a_stop_up_for_long() {
    let receiver = Receiver::start().await;
    receiver.reply("/hangs", [Reply::Hang]);
    let mut server = Server::with(&shop(vec![endpoint("ep_hangs", &receiver.url("/hangs"))])).await;
    server.trigger("{}").await;
    receiver.wait_for(1).await;
    let _idle = TcpStream::connect(server.address).await.unwrap();

    server.process.terminate();

    assert!(server.process.exit(Duration::from_secs(30)).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_server_stops() {
    let mut server = Server::with(&shop(vec![])).await;
    let api = server.api();
    api.trigger(EVENT_TYPE, "{}").await.delivery_ids();
    server.process.terminate();
    assert!(server.process.exit(SOON).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    let receiver = Receiver::start().await;
    receiver.reply("/hangs", [Reply::Hang]);
    let mut server = Server::with(&shop(vec![endpoint("ep_hangs", &receiver.url("/hangs"))])).await;
    server.trigger("{}").await;
    receiver.wait_for(1).await;

    server.process.terminate();
    let logged = server.process.stderr.clone();
    until(SOON, "the stop is logged", || logged.find("stopping")).await;
    assert!(server.process.is_running());
    server.process.terminate();

    let status = server.process.exit(Duration::from_secs(5)).await;
    assert!(!status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_that_are_held_are_made_by_the_next_start_without() {
    let receiver = Receiver::start().await;
    let manifest = shop(vec![endpoint("ep_1", &receiver.url("/1"))]);
    let held = [&ALLOW_LOOPBACK[..], &["--hold-deliveries"]].concat();
    let mut server = Server::with_settings(&manifest, &held).await;
    let logged = server.process.stderr.clone();
    until(SOON, "it is said", || logged.find("deliveries are held")).await;
    let mut told = Vec::new();
    for _ in 0..3 {
        told.extend(server.trigger("{}").await);
    }
    assert_eq!(server.api().get("/readyz").await.status, 200);
    receiver.exactly(0).await;
    server.process.terminate();
    assert!(server.process.exit(SOON).await.success());

    server
        .arguments
        .retain(|argument| argument != "--hold-deliveries");
    server.start_again().await;
    let arrived = receiver.exactly(3).await;
    let mut arrived: Vec<_> = arrived
        .iter()
        .map(|arrival| arrival.header("nahook-delivery-id").to_owned())
        .collect();
    arrived.sort();
    told.sort();
    assert_eq!(arrived, told);
}

#[tokio::test(flavor = "multi_thread")]
async fn request_to_reload_is_logged_and_nothing_else() {
    let mut server = Server::with(&shop(vec![])).await;
    server.process.signal(Signal::HUP);
    let logged = server.process.stderr.clone();
    until(SOON, "it is logged", || logged.find("SIGHUP is ignored")).await;
    assert_eq!(server.api().trigger(EVENT_TYPE, "{}").await.status, 202);
    server.process.signal(Signal::INT);
    assert!(server.process.exit(SOON).await.success());
}
