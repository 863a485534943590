//! Everything around a queue on NATS: the broker, one of three, a process that takes events in or delivers, a stream.

mod broker;
mod chunk;
mod cluster;
mod processes;
mod stream;

use std::time::{Duration, Instant};

use nahook_testserver::NatsServer;
use tokio::task::block_in_place;

use super::account::{Counts, Outage};
use super::load::Told;
use super::random::Random;
use super::rounds;
use super::support::receiver::{Arrival, Receiver};

/// The streams in which deliveries wait.
const STREAMS: [&str; 2] = ["NAHOOK_DELIVERIES", "NAHOOK_RETRIES"];
/// Upper bound on the time until everything is settled: longer than a record stays with a process that is gone.
const SETTLED_MAX: Duration = Duration::from_mins(2);
/// Time after an outage in which something may be begun for its sake: the server gives the records of a killed process to
/// another 10 s later.
const BEGUN_MAX: Duration = Duration::from_secs(20);

fn nats_rounds(default: u64) -> (u64, Random) {
    rounds("NAHOOK_CRASH_NATS_ROUNDS", default)
}

/// Waits until nothing waits for a worker, so that what has arrived is all there is.
async fn settled(nats: &NatsServer, receiver: &Receiver) -> Vec<Arrival> {
    let give_up = Instant::now() + SETTLED_MAX;
    let mut is_done_since: Option<Instant> = None;
    loop {
        // A killed server may keep records that were acknowledged: they are no work.
        let left = block_in_place(|| {
            let fresh = nats.unconsumed(STREAMS[0], "workers");
            (fresh, nats.messages(STREAMS[1]))
        });
        is_done_since = if left == (Some(0), Some(0)) {
            is_done_since.or(Some(Instant::now()))
        } else {
            None
        };
        if is_done_since.is_some_and(|since| since.elapsed() > Duration::from_millis(500)) {
            let kept = block_in_place(|| nats.messages(STREAMS[0]));
            println!(
                "records that are done and still there: {}",
                kept.unwrap_or_default()
            );
            return receiver.arrivals();
        }
        assert!(Instant::now() < give_up, "there is work left: {left:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Counts, and judges what every test asks for.
fn judged(
    what: &str,
    rounds: u64,
    told: &Told,
    arrivals: &[Arrival],
    outages: &[Outage],
) -> Counts {
    let counts = Counts::of(told, arrivals, |first, second| {
        let explains = |outage: &Outage| outage.is_between(first, second, BEGUN_MAX);
        outages.iter().any(explains)
    });
    println!("{what} killed: {rounds} rounds, {counts}");
    assert_eq!(counts.lost, 0);
    counts
}
