//! The one NATS server there is: killed, and stopped where it is until every client has its answer.

use std::time::Instant;

use nahook_testserver::{NatsOptions, NatsServer};
use tokio::task::block_in_place;

use super::{judged, nats_rounds, settled};
use crate::account::Outage;
use crate::load::{CLIENTS, Fate, Load, manifest};
use crate::support::receiver::Receiver;
use crate::support::server::{ALLOW_LOOPBACK, Server};

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
            load.until(1, Fate::is_whole).await;
            let from = Instant::now();
            block_in_place(|| nats.kill());
            tokio::time::sleep(random.millis(0..1_000)).await;
            block_in_place(|| nats.start_again());
            let to = Instant::now();
            outages.push(Outage { from, to });
        }
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
        load.until(1, Fate::is_whole).await;
        let from = Instant::now();
        block_in_place(|| nats.freeze());
        // Every client gets an answer while it stands still.
        load.until(CLIENTS, Fate::has_failures).await;
        block_in_place(|| nats.thaw());
        let to = Instant::now();
        outages.push(Outage { from, to });
    }
    let told = load.end().await;
    let arrivals = settled(&nats, &receiver).await;
    let counts = judged(
        "a broker that stands still",
        rounds,
        &told,
        &arrivals,
        &outages,
    );
    assert!(
        counts.unconfirmed > 0,
        "nobody was told that nothing is known"
    );
}
