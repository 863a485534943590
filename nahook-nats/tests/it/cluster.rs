//! Three servers, of which one is lost.

use std::collections::HashMap;
use std::time::Duration;

use nahook_core::Delivery;
use nahook_nats::{Nats, NatsSettings};
use nahook_queue::{DeliveryQueue as _, Next};
use nahook_testkit::run;
use nahook_testserver::{NatsCluster, NatsOptions};
use tokio::time::Instant;

use crate::support::{
    connected, ids, outcomes, publish_until_taken, publish_within, request, rounds, settle,
};

/// Whichever node is lost while triggers run, the leader included: what was acknowledged is delivered, what was reported as not
/// queued is not, and no trigger takes longer than its deadline.
#[test]
fn the_loss_of_a_node_loses_nothing_that_was_acknowledged() {
    let newest = NatsOptions::new();
    // Which writes a node syncs is nothing to the others, and must be nothing to the promise.
    for options in [newest.clone(), newest.sync_always()] {
        let mut left = rounds(3);
        while left > 0 {
            // A few on each cluster: what runs has two minutes to end.
            let some = left.min(4);
            run(lose_nodes(&options, some));
            left -= some;
        }
    }
}

/// A cluster that has lost its majority has no leader: an opening waits for the election.
#[test]
fn opening_waits_for_a_cluster_that_elects_its_leader() {
    run(async {
        let cluster = NatsOptions::new().start_cluster();
        for node in &cluster.nodes()[1..] {
            node.kill();
        }
        let mut settings = NatsSettings::default();
        settings.replicas = 3;
        // Two servers have to start and to elect, on a machine that may be busy.
        settings.election_patience = Duration::from_secs(90);
        let url = cluster.nodes()[0].url();
        let opening = tokio::spawn(async move { nahook_nats::connect(&url, settings).await });
        for node in &cluster.nodes()[1..] {
            node.start_again_in_the_background();
        }
        let nats = opening.await.unwrap().unwrap();
        publish_until_taken(&nats, 1).await;
    });
}

async fn lose_nodes(options: &NatsOptions, rounds: usize) {
    let cluster = options.start_cluster();
    let mut settings = NatsSettings::default();
    settings.replicas = 3;
    settings.ack_wait = Duration::from_secs(3);
    let nats = connected(&cluster.url(), settings.clone()).await;
    let mut slots = publish_until_taken(&nats, 0).await;
    for round in 0..rounds {
        let victim = victim(&cluster, round).await;
        slots.extend(publish_around(&nats, round, || cluster.nodes()[victim].kill()).await);
        cluster.nodes()[victim].start_again_in_the_background();
        tokio::task::block_in_place(|| cluster.wait_until_ready());
    }
    slots.extend(publish_until_taken(&nats, 900 << 20).await);
    let mut delivered = HashMap::new();
    let end = Instant::now() + Duration::from_mins(1);
    let wanted = slots_that_are(&slots, "published");
    let mut quiet_since = Instant::now();
    while Instant::now() < end && quiet_since.elapsed() < 2 * settings.ack_wait {
        let batch = nats.queue.lease(&request(1, 500)).await.unwrap();
        if batch.deliveries.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        }
        quiet_since = Instant::now();
        settle(&nats.queue, &batch.deliveries, Next::Delivered).await;
        for id in ids(&batch.deliveries) {
            *delivered.entry(id).or_insert(0_usize) += 1;
        }
    }
    for slot in wanted {
        assert_eq!(delivered.get(&slot), Some(&1), "{slot} was acknowledged");
    }
    for kind in ["queue_unavailable", "payload_too_large", "endpoint_gone"] {
        for slot in slots_that_are(&slots, kind) {
            assert_eq!(delivered.get(&slot), None, "{slot} was reported as {kind}");
        }
    }
}

/// The leader of the deliveries, and another.
async fn victim(cluster: &NatsCluster, round: usize) -> usize {
    let leader = loop {
        if let Some(leader) = cluster.stream_leader("NAHOOK_DELIVERIES") {
            break leader;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    if round.is_multiple_of(2) {
        leader
    } else {
        (leader + 1) % 3
    }
}

/// Publishes for two seconds from four tasks, and lets something happen in the midst of it.
async fn publish_around(nats: &Nats, round: usize, happen: impl FnOnce()) -> Vec<Delivery> {
    let publishing: Vec<_> = (0..4)
        .map(|task| {
            let nats = nats.clone();
            tokio::spawn(async move {
                let mut slots = Vec::new();
                let end = Instant::now() + Duration::from_secs(2);
                let mut number = ((round * 4 + task + 1) as u64) << 20;
                while Instant::now() < end {
                    slots.extend(publish_within(&nats, number, Duration::from_secs(3)).await);
                    number += 1;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                slots
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    tokio::task::block_in_place(happen);
    let mut slots = Vec::new();
    for task in publishing {
        slots.extend(task.await.unwrap());
    }
    slots
}

fn slots_that_are(slots: &[Delivery], kind: &str) -> Vec<nahook_core::id::DeliveryId> {
    let outcomes = outcomes(slots);
    let those = slots
        .iter()
        .zip(outcomes)
        .filter(|(_, outcome)| *outcome == kind);
    those.map(|(slot, _)| slot.id()).collect()
}
