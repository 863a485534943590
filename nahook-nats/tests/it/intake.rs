//! Requests for records, as a server sees them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use async_nats::Subscriber;
use futures_util::StreamExt as _;
use nahook_nats::NatsSettings;
use nahook_queue::{DeliveryQueue as _, Next};
use nahook_testkit::run;
use nahook_testserver::NatsServer;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use crate::support::{connected, lease_some, publish, reader, settle};

const PATIENCE: Duration = Duration::from_mins(1);
const REQUESTS: &str = "$JS.API.CONSUMER.MSG.NEXT.NAHOOK_DELIVERIES.workers";

/// The next request of the process: for how many records, and where they are to be sent.
async fn next_request(requests: &mut Subscriber) -> (u64, String) {
    loop {
        let message = timeout(PATIENCE, requests.next()).await;
        let message = message.expect("it asks").expect("the client lives");
        // The proof of rights is no request.
        if let Ok(request) = serde_json::from_slice::<Value>(&message.payload) {
            let reply = message.reply.expect("it waits for them");
            return (request["batch"].as_u64().unwrap(), reply.to_string());
        }
    }
}

#[test]
fn process_asks_for_no_more_records_than_it_has_room_for() {
    run(async {
        let server = NatsServer::start();
        let client = reader::client(&server.url()).await;
        let mut requests = client.subscribe(REQUESTS).await.unwrap();
        client.flush().await.unwrap();
        let mut settings = NatsSettings::default();
        settings.window_records_max = 10;
        let nats = connected(&server.url(), settings).await;
        nats.queue.caught_up().await.unwrap();
        let (batch, first) = next_request(&mut requests).await;
        assert_eq!(batch, 10);
        // The server says every second that it still knows of the request. On a busy machine a word may come too late once.
        let mut more = 0;
        let end = Instant::now() + Duration::from_secs(4);
        while timeout_at(end, &mut requests).await {
            more += 1;
        }
        assert!(more <= 1, "{more} more requests for what it has asked for");
        for number in 0..8 {
            publish(&nats, number, 1).await;
        }
        let leased = lease_some(&nats.queue, 8, PATIENCE).await;
        settle(&nats.queue, &leased, Next::Delivered).await;
        let (batch, second) = next_request(&mut requests).await;
        assert_eq!(batch, 8, "beside the two that have not come");
        assert_ne!(first, second);
        for number in 10..20 {
            publish(&nats, number, 1).await;
        }
        assert_eq!(lease_some(&nats.queue, 10, PATIENCE).await.len(), 10);
        let end = Instant::now() + Duration::from_secs(1);
        assert!(!timeout_at(end, &mut requests).await, "it has no room");
    });
}

/// Returns true if there is a request until then.
async fn timeout_at(end: Instant, requests: &mut Subscriber) -> bool {
    tokio::time::timeout_at(end, requests.next()).await.is_ok()
}

/// Somebody refuses every request: each is followed by a pause.
#[test]
fn refused_request_is_not_made_again_at_once() {
    const PAUSE: Duration = Duration::from_millis(250);
    run(async {
        let server = NatsServer::start();
        let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let subscribe = format!("CONNECT {{\"headers\":true}}\r\nSUB {REQUESTS} 1\r\nPING\r\n");
        stream.write_all(subscribe.as_bytes()).unwrap();
        while lines.next().unwrap().unwrap() != "PONG" {}
        let nats = connected(&server.url(), NatsSettings::default()).await;
        let refusing = tokio::task::spawn_blocking(move || {
            let mut times = Vec::new();
            while times.len() < 5 {
                let line = lines.next().unwrap().unwrap();
                let words: Vec<_> = line.split(' ').collect();
                if words[0] != "MSG" || !lines.next().unwrap().unwrap().contains("batch") {
                    continue;
                }
                times.push(std::time::Instant::now());
                let refusal = "NATS/1.0 409 Leadership Change\r\n\r\n";
                let (reply, len) = (words[3], refusal.len());
                write!(stream, "HPUB {reply} {len} {len}\r\n{refusal}\r\n").unwrap();
            }
            times
        });
        nats.queue
            .lease(&crate::support::request(1, 1))
            .await
            .unwrap();
        let times = refusing.await.unwrap();
        let took = times[4].duration_since(times[0]);
        assert!(took >= 4 * PAUSE, "five requests in {took:?}");
    });
}
