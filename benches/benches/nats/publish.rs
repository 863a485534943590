//! Triggers a second, by layout.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::{self, Context};
use bytes::Bytes;
use futures_util::future::try_join_all;
use nahook_core::{DeliveryPublisher as _, Outcome};
use nahook_nats::{Nats, NatsSettings, connect};
use nahook_testserver::NatsServer;

use super::support::{Scale, endpoints, event, median};

pub(crate) fn print_header() {
    println!(
        "| callers | width | triggers/s | p50 | deliveries/s | of the same bytes sent raw | of one message a delivery |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
}

/// A message as it lies in the stream.
#[derive(Clone)]
struct Raw {
    headers: HeaderMap,
    body: Bytes,
}

/// Measures all three ways in turns, so that what the machine does meanwhile hits all of them.
pub(crate) async fn measure(server: &NatsServer, callers: usize, width: usize, scale: Scale) {
    let nats = connect(&server.url(), NatsSettings::default())
        .await
        .expect("a connection");
    let client = async_nats::ConnectOptions::new()
        .client_capacity(8_192)
        .connect(server.url())
        .await
        .expect("a connection");
    let context = jetstream::ContextBuilder::new()
        .max_ack_inflight(100_000)
        .backpressure_on_inflight(true)
        .build(client);
    let records = Arc::new(as_published(&nats, &context, width).await);
    let messages = Arc::new(one_for_each(&nats, &context, width).await);
    let (mut ours, mut raw, mut each, mut waits) = (vec![], vec![], vec![], vec![]);
    for _ in 0..scale.rounds {
        let (rate, wait) = run(callers, scale.round, || {
            let nats = nats.clone();
            let endpoints = endpoints(width);
            async move {
                let (event, mut slots) = event(&endpoints);
                nats.publisher.publish(&event, &mut slots).await;
                let taken = slots
                    .iter()
                    .all(|slot| slot.outcome() == Outcome::Published);
                assert!(taken, "the server takes everything");
            }
        })
        .await;
        ours.push(rate);
        waits.push(wait);
        empty(&context).await;
        let (rate, _) = run(callers, scale.round, || send(&context, &records)).await;
        raw.push(rate);
        empty(&context).await;
        if callers * width <= scale.messages_max {
            let (rate, _) = run(callers, scale.round, || send(&context, &messages)).await;
            each.push(rate);
            empty(&context).await;
        }
    }
    let (ours, raw) = (median(ours), median(raw));
    let each = if each.is_empty() {
        "–".to_owned()
    } else {
        format!("{:.1}", ours / median(each))
    };
    #[expect(clippy::cast_precision_loss, reason = "a number to be read")]
    let deliveries = ours * width as f64;
    println!(
        "| {callers} | {width} | {ours:.0} | {:.2} ms | {deliveries:.0} | {:.2} | {each} |",
        median(waits) * 1_000.0,
        ours / raw
    );
}

/// The records that a publication makes that comes alone.
async fn as_published(nats: &Nats, context: &Context, width: usize) -> Vec<Raw> {
    let (event, mut slots) = event(&endpoints(width));
    nats.publisher.publish(&event, &mut slots).await;
    take_all(context).await
}

/// A message for each delivery, of the same format.
async fn one_for_each(nats: &Nats, context: &Context, width: usize) -> Vec<Raw> {
    let (event, mut slots) = event(&endpoints(1));
    nats.publisher.publish(&event, &mut slots).await;
    let one = take_all(context).await;
    one.into_iter().cycle().take(width).collect()
}

async fn take_all(context: &Context) -> Vec<Raw> {
    let stream = context.get_stream(STREAM).await.expect("the stream");
    let state = stream.cached_info().state.clone();
    let mut taken = Vec::new();
    for sequence in state.first_sequence..=state.last_sequence {
        if let Ok(message) = stream.get_raw_message(sequence).await {
            let mut headers = message.headers;
            // Each is to be taken, however often it is sent.
            headers.insert("Nats-Msg-Id", "");
            taken.push(Raw {
                headers,
                body: message.payload,
            });
        }
    }
    empty(context).await;
    taken
}

const STREAM: &str = "NAHOOK_DELIVERIES";

async fn empty(context: &Context) {
    let stream = context.get_stream(STREAM).await.expect("the stream");
    stream.purge().await.expect("a purge");
}

/// Sends all of it first, and awaits the acknowledgements after.
fn send(context: &Context, messages: &Arc<Vec<Raw>>) -> impl Future<Output = ()> + Send + use<> {
    static SENT: AtomicU64 = AtomicU64::new(0);
    let (context, messages) = (context.clone(), Arc::clone(messages));
    async move {
        let mut acks = Vec::with_capacity(messages.len());
        for Raw { headers, body } in messages.iter() {
            let mut headers = headers.clone();
            let number = SENT.fetch_add(1, Ordering::Relaxed);
            headers.insert("Nats-Msg-Id", format!("raw-{number}"));
            let ack = context
                .publish_with_headers("nahook.deliveries", headers, body.clone())
                .await
                .expect("a publish");
            acks.push(ack.into_future());
        }
        try_join_all(acks).await.expect("acknowledgements");
    }
}

/// So many callers, each beginning again when it is done: how often a second, and how long the median one takes.
async fn run<F>(callers: usize, round: Duration, call: impl Fn() -> F) -> (f64, f64)
where
    F: Future<Output = ()> + Send + 'static,
{
    let began = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    let timed = |call: F| async {
        let began = Instant::now();
        call.await;
        began.elapsed().as_secs_f64()
    };
    for _ in 0..callers {
        running.spawn(timed(call()));
    }
    let mut waits = Vec::new();
    while let Some(wait) = running.join_next().await {
        waits.push(wait.expect("a call"));
        if began.elapsed() < round {
            running.spawn(timed(call()));
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a number to be read")]
    let count = waits.len() as f64;
    (count / began.elapsed().as_secs_f64(), median(waits))
}
