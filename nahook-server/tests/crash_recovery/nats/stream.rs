//! A stream that is full, and one that is deleted underneath.

use std::time::{Duration, Instant};

use nahook_testserver::NatsServer;
use tokio::task::block_in_place;

use super::{STREAMS, judged, nats_rounds, settled};
use crate::account::Outage;
use crate::load::{ENDPOINTS, Fate, Load, manifest};
use crate::support::receiver::{Receiver, Reply};
use crate::support::server::{ALLOW_LOOPBACK, Server};

/// A full stream refuses events with certainty, and what is in it is delivered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_stream_takes_nothing_and_says_so() {
    let (rounds, mut random) = nats_rounds(2);
    let receiver = Receiver::start().await;
    let nats = NatsServer::start();
    let queue = nats.url();
    let queue = ["--queue", &queue, "--nats-bytes-max", "40000"];
    let settings = [&ALLOW_LOOPBACK[..], &queue].concat();
    let server = Server::with_settings(&manifest(&receiver), &settings).await;
    let load = Load::start(vec![server.address], &mut random);
    let answer = |late: u64| {
        for n in 0..ENDPOINTS {
            let reply = Reply::Late(Duration::from_millis(late), 200);
            receiver.reply(&format!("/ep_{n}"), [reply]);
        }
    };
    for _ in 0..rounds {
        answer(1_500);
        load.until(1, Fate::is_turned_away).await;
        tokio::time::sleep(random.millis(0..1_000)).await;
        answer(0);
        load.until(1, Fate::is_whole).await;
        tokio::time::sleep(random.millis(0..1_000)).await;
    }
    let told = load.end().await;
    let turned_away = told.values().filter(|fate| fate.is_turned_away());
    let turned_away = turned_away.count();
    let arrivals = settled(&nats, &receiver).await;
    let counts = judged("a full stream", rounds, &told, &arrivals, &[]);
    assert!(turned_away > 0, "it was never full: {counts}");
    assert_eq!((counts.unconfirmed, counts.repeated), (0, 0), "{counts}");
}

/// It is made again, and from then on everything is as before. What it held is gone with it, so it is deleted while it holds
/// nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_deleted_underneath_is_made_again() {
    let (rounds, mut random) = nats_rounds(2);
    let receiver = Receiver::start().await;
    let nats = NatsServer::start();
    let queue = nats.url();
    let settings = [&ALLOW_LOOPBACK[..], &["--queue", &queue]].concat();
    let server = Server::with_settings(&manifest(&receiver), &settings).await;
    let load = Load::start(vec![server.address], &mut random);
    let mut outages = Vec::new();
    for _ in 0..rounds {
        tokio::time::sleep(random.millis(500..1_000)).await;
        load.until(1, Fate::is_whole).await;
        load.ask(vec![]);
        // Who was asked has answered.
        tokio::time::sleep(Duration::from_millis(300)).await;
        settled(&nats, &receiver).await;
        let from = Instant::now();
        block_in_place(|| nats.delete_stream(STREAMS[0]));
        load.ask(vec![server.address]);
        let made_again = || nats.messages(STREAMS[0]).is_some();
        while !block_in_place(made_again) {
            assert!(
                from.elapsed() < Duration::from_mins(2),
                "it is not made again"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let to = Instant::now();
        outages.push(Outage { from, to });
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let told = load.end().await;
    let arrivals = settled(&nats, &receiver).await;
    judged(
        "a stream that is deleted",
        rounds,
        &told,
        &arrivals,
        &outages,
    );
}
