//! The one NATS server there is: killed, and stopped where it is across the deadline.

use std::time::{Duration, Instant};

use nahook_testserver::{NatsOptions, NatsServer};
use tokio::task::block_in_place;

use super::{judged, nats_rounds, settled};
use crate::account::Outage;
use crate::load::{Load, manifest};
use crate::support::receiver::Receiver;
use crate::support::server::{ALLOW_LOOPBACK, Server};

/// The engine's deadline.
const DEADLINE: Duration = Duration::from_secs(5);
/// Delay with which a client on a busy machine may see an answer.
const BOUND: Duration = Duration::from_secs(2);

/// Each setting for when a server syncs.
fn kinds() -> [(&'static str, NatsOptions); 2] {
    [
        ("default sync", NatsOptions::new()),
        ("sync always", NatsOptions::new().sync_always()),
    ]
}

async fn server(nats: &NatsServer, receiver: &Receiver) -> Server {
    let queue = nats.url();
    let settings = [&ALLOW_LOOPBACK[..], &["--queue", &queue]].concat();
    Server::with_settings(&manifest(receiver), &settings).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_outlives_the_broker() {
    for (what, options) in kinds() {
        let (rounds, mut random) = nats_rounds(2);
        let receiver = Receiver::start().await;
        let nats = options.start();
        let mut server = server(&nats, &receiver).await;
        let load = Load::start(vec![server.address], &mut random);
        let mut outages = Vec::new();
        for _ in 0..rounds {
            tokio::time::sleep(random.millis(300..1_500)).await;
            let from = Instant::now();
            block_in_place(|| nats.kill());
            tokio::time::sleep(random.millis(0..1_000)).await;
            block_in_place(|| nats.start_again());
            let to = Instant::now();
            outages.push(Outage { from, to });
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(load.slowest() < DEADLINE + BOUND, "{:?}", load.slowest());
        let told = load.end().await;
        assert!(server.process.is_running(), "the server has given up");
        let arrivals = settled(&nats, &receiver).await;
        judged(
            &format!("the broker ({what})"),
            rounds,
            &told,
            &arrivals,
            &outages,
        );
    }
}

/// While it stands still nothing is known of what was sent to it, and nobody waits for longer than the deadline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_stands_still_holds_nobody_up() {
    let (rounds, mut random) = nats_rounds(1);
    let receiver = Receiver::start().await;
    let nats = NatsServer::start();
    let server = server(&nats, &receiver).await;
    let load = Load::start(vec![server.address], &mut random);
    let mut outages = Vec::new();
    for _ in 0..rounds {
        tokio::time::sleep(random.millis(300..1_000)).await;
        let from = Instant::now();
        block_in_place(|| nats.freeze());
        tokio::time::sleep(DEADLINE + random.millis(500..2_500)).await;
        block_in_place(|| nats.thaw());
        let to = Instant::now();
        outages.push(Outage { from, to });
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let slowest = load.slowest();
    let told = load.end().await;
    let arrivals = settled(&nats, &receiver).await;
    let counts = judged(
        "a broker that stands still",
        rounds,
        &told,
        &arrivals,
        &outages,
    );
    println!("the slowest answer took {slowest:?}");
    assert!(slowest < DEADLINE + BOUND, "{slowest:?}");
    assert!(
        counts.unconfirmed > 0,
        "nobody was told that nothing is known"
    );
}
