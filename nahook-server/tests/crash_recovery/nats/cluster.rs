//! One of three NATS servers, and whichever leads.

use std::time::{Duration, Instant};

use nahook_testserver::NatsOptions;
use tokio::task::block_in_place;

use super::{STREAMS, judged, nats_rounds, settled};
use crate::account::Outage;
use crate::load::{Fate, Load, manifest};
use crate::support::receiver::Receiver;
use crate::support::server::{ALLOW_LOOPBACK, Server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_outlives_one_of_three_brokers_and_the_one_that_leads() {
    let (rounds, mut random) = nats_rounds(2);
    let receiver = Receiver::start().await;
    let nats = NatsOptions::new().start_cluster();
    let urls = nats.url();
    let queue = ["--queue", &urls, "--nats-replicas", "3"];
    let settings = [&ALLOW_LOOPBACK[..], &queue].concat();
    let mut server = Server::with_settings(&manifest(&receiver), &settings).await;
    let load = Load::start(vec![server.address], &mut random);
    let mut outages = Vec::new();
    for round in 0..rounds {
        tokio::time::sleep(random.millis(300..1_500)).await;
        load.until(1, Fate::is_whole).await;
        let from = Instant::now();
        block_in_place(|| {
            let leader = loop {
                if let Some(leader) = nats.stream_leader(STREAMS[0]) {
                    break leader;
                }
                std::thread::sleep(Duration::from_millis(50));
            };
            let one = if round.is_multiple_of(2) {
                leader
            } else {
                (leader + 1) % nats.nodes().len()
            };
            nats.nodes()[one].kill();
            std::thread::sleep(random.millis(0..2_000));
            nats.nodes()[one].start_again_in_the_background();
            nats.wait_until_ready();
        });
        let to = Instant::now();
        outages.push(Outage { from, to });
    }
    let told = load.end().await;
    assert!(server.process.is_running(), "the server has given up");
    let arrivals = settled(&nats.nodes()[0], &receiver).await;
    judged("one of three brokers", rounds, &told, &arrivals, &outages);
}
