//! A server on a file.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::account::{Counts, Outage};
use super::load::{Fate, Load, Told, manifest};
use super::rounds;
use super::support::receiver::{Arrival, Receiver};
use super::support::server::Server;

const ROUNDS: u64 = 50;
/// Upper bound on the time until deliveries arrive after the last start: longer than any lease lasts.
const DRAIN_MAX: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_is_what_is_delivered() {
    let (rounds, mut random) = rounds("NAHOOK_CRASH_ROUNDS", ROUNDS);
    let receiver = Receiver::start().await;
    let mut server = Server::with(&manifest(&receiver)).await;
    let load = Load::start(vec![server.address], &mut random);

    let mut outages = Vec::new();
    for _ in 0..rounds {
        tokio::time::sleep(random.millis(50..600)).await;
        load.until(1, Fate::is_whole).await;
        let from = Instant::now();
        server.process.kill();
        load.ask(vec![]);
        // Sometimes the next process does not even get to listen.
        while random.next().is_multiple_of(4) {
            server.launch_again();
            tokio::time::sleep(random.millis(1..150)).await;
            server.process.kill();
        }
        server.start_again().await;
        outages.push(Outage {
            from,
            to: Instant::now(),
        });
        load.ask(vec![server.address]);
    }
    let told = load.end().await;

    let drained = drain(&receiver, &told).await;
    let counts = Counts::of(&told, &drained, |first, second| {
        let explains = |outage: &Outage| outage.is_between(first, second, Duration::ZERO);
        outages.iter().any(explains)
    });
    println!("server on a file killed: {rounds} rounds, {counts}");
    assert_eq!(counts.lost, 0);
}

/// Waits until every delivery that was promised has arrived, or time is up, and then some for what should not come.
async fn drain(receiver: &Receiver, told: &Told) -> Vec<Arrival> {
    let promised: usize = told
        .values()
        .map(|fate| {
            if let Fate::Accepted { ids, .. } = fate {
                ids.len()
            } else {
                0
            }
        })
        .sum();
    let give_up = Instant::now() + DRAIN_MAX;
    let (mut seen, mut quiet_since) = (0, Instant::now());
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = receiver.len();
        if now != seen {
            (seen, quiet_since) = (now, Instant::now());
        }
        let is_quiet = quiet_since.elapsed() > Duration::from_secs(1);
        if (now >= promised && is_quiet && missing(receiver, told) == 0) || Instant::now() > give_up
        {
            return receiver.arrivals();
        }
    }
}

fn missing(receiver: &Receiver, told: &Told) -> usize {
    let arrivals = receiver.arrivals();
    let arrived: HashSet<_> = arrivals
        .iter()
        .map(|arrival| arrival.header("nahook-delivery-id"))
        .collect();
    let ids = told.values().filter_map(|fate| match fate {
        Fate::Accepted { ids, .. } => Some(ids),
        _ => None,
    });
    ids.flatten()
        .filter(|id| !arrived.contains(id.as_str()))
        .count()
}
