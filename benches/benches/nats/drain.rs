//! Deliveries a second out of the queue: leased and settled, beside messages pulled and acknowledged.

use std::time::{Duration, Instant};

use async_nats::jetstream::{self, consumer::pull};
use futures_util::StreamExt as _;
use nahook_core::{Clock as _, DeliveryPublisher as _, SystemClock};
use nahook_nats::{Nats, NatsSettings, connect};
use nahook_queue::{Attempt, DeliveryQueue as _, LeaseRequest, Next, Settlement, WorkerId};
use nahook_testserver::NatsServer;

use super::support::{Scale, endpoints, event};

pub(crate) fn print_header() {
    println!(
        "| width | deliveries/s leased and settled | records/s | raw records/s pulled and acknowledged |"
    );
    println!("| ---: | ---: | ---: | ---: |");
}

pub(crate) async fn measure(server: &NatsServer, width: usize, scale: Scale) {
    let nats = connect(&server.url(), NatsSettings::default())
        .await
        .expect("a connection");
    let deliveries = fill(&nats, width, scale).await;
    let records = records(server).await;
    let took = drain_raw(server, records).await;
    #[expect(clippy::cast_precision_loss, reason = "numbers to be read")]
    let (records, raw) = (records as f64, records as f64 / took.as_secs_f64());
    fill(&nats, width, scale).await;
    let took = drain(&nats, deliveries).await.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a number to be read")]
    let rate = deliveries as f64 / took;
    println!("| {width} | {rate:.0} | {:.0} | {raw:.0} |", records / took);
}

async fn fill(nats: &Nats, width: usize, scale: Scale) -> usize {
    let endpoints = endpoints(width);
    let events = (scale.deliveries / width).max(1);
    // One after the other, so that each is a record of its own.
    for _ in 0..events {
        let (event, mut slots) = event(&endpoints);
        nats.publisher.publish(&event, &mut slots).await;
    }
    events * width
}

async fn records(server: &NatsServer) -> u64 {
    let client = async_nats::connect(server.url())
        .await
        .expect("a connection");
    let context = jetstream::new(client);
    let stream = context
        .get_stream("NAHOOK_DELIVERIES")
        .await
        .expect("the stream");
    stream.cached_info().state.messages
}

async fn drain_raw(server: &NatsServer, records: u64) -> Duration {
    let client = async_nats::connect(server.url())
        .await
        .expect("a connection");
    let context = jetstream::new(client);
    let consumer: jetstream::consumer::Consumer<pull::Config> = context
        .get_consumer_from_stream("workers", "NAHOOK_DELIVERIES")
        .await
        .expect("the consumer");
    let began = Instant::now();
    let mut messages = consumer
        .stream()
        .max_messages_per_batch(256)
        .messages()
        .await
        .expect("messages");
    for _ in 0..records {
        let message = messages
            .next()
            .await
            .expect("a message")
            .expect("a message");
        message.ack().await.expect("an acknowledgement");
    }
    began.elapsed()
}

/// As a worker does it: leases what it has room for, and settles what it has leased meanwhile.
async fn drain(nats: &Nats, deliveries: usize) -> Duration {
    let request = LeaseRequest {
        per_endpoint_max: 512,
        ..LeaseRequest::new(WorkerId(1), 256, Duration::from_mins(1))
    };
    let began = Instant::now();
    let mut settling = tokio::task::JoinSet::new();
    let mut settled = 0;
    while settled < deliveries {
        let batch = nats.queue.lease(&request).await.expect("a lease");
        if batch.deliveries.is_empty() && settling.is_empty() {
            nats.queue.changed(batch.generation).await;
        }
        if !batch.deliveries.is_empty() {
            let settlements: Vec<_> = batch
                .deliveries
                .iter()
                .map(|leased| Settlement {
                    lease: leased.lease,
                    attempt: Some(Attempt::answered(
                        SystemClock.now(),
                        Duration::from_millis(1),
                        200,
                    )),
                    next: Next::Delivered,
                })
                .collect();
            let queue = nats.queue.clone();
            settling.spawn(async move {
                queue.settle(&settlements).await.expect("a settlement");
                settlements.len()
            });
        }
        if settling.len() >= 2 || batch.deliveries.is_empty() {
            let done = settling.join_next().await;
            settled += done.map_or(0, |count| count.expect("a settlement"));
        }
    }
    began.elapsed()
}
