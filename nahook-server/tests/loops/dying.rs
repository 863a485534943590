//! The deaths.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use nahook_supervision::{Death, Loop};
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::composition::{Composition, Running};

/// Loops of the adapters and the transport that this does not end yet; tests of their own crates do.
const ELSEWHERE: [Loop; 10] = [
    Loop::ConnectionSweep,
    Loop::SqliteWriter,
    Loop::SqliteReader,
    Loop::SqliteLeaser,
    Loop::SqliteCheckpoint,
    Loop::SqliteRetention,
    Loop::SqliteLimiter,
    Loop::PostgresWriter,
    Loop::PostgresListener,
    Loop::PostgresRetention,
];

/// How long a recovery may take on a busy machine: a lease of what was in flight lasts for a minute.
const RECOVERY: Duration = Duration::from_secs(150);

/// Kills the loop, and shows that it is missed, comes back, and costs nobody a delivery.
async fn die(
    running: &Running,
    which: Loop,
    death: Death,
    told: &Mutex<(usize, BTreeSet<String>)>,
) {
    let what = format!("{which:?}, {death:?}");
    let give_up = Instant::now() + RECOVERY;
    let failures = || {
        let loops = running.supervisor.loops();
        let status = loops.into_iter().find(|status| status.which == which);
        status.map_or(0, |status| status.failures)
    };
    trigger(running, told).await;
    let before = failures();
    running.supervisor.kill(which, death);
    while failures() == before {
        assert!(Instant::now() < give_up, "{what}: it does not die");
        trigger(running, told).await;
        sleep(Duration::from_millis(5)).await;
    }
    // It counts as down for two seconds at least.
    let (status, checks) = running.readiness().await;
    assert!(
        status == 503 && checks.contains(which.name()),
        "{what}: {checks}"
    );
    trigger(running, told).await;
    loop {
        let (status, checks) = running.readiness().await;
        if status == 200 {
            break;
        }
        assert!(
            Instant::now() < give_up,
            "{what}: not ready again: {checks}"
        );
        sleep(Duration::from_millis(100)).await;
    }
    let (number, told) = &mut *told.lock().await;
    *number += 1;
    let promised = running.stir(*number).await;
    told.insert(promised.unwrap_or_else(|| panic!("{what}: it does not queue again")));
}

/// Waits until everything that was promised has arrived.
async fn all_arrive(running: &Running, told: &BTreeSet<String>) {
    let give_up = Instant::now() + RECOVERY;
    loop {
        let arrived = arrived(running);
        if told.is_subset(&arrived) {
            return;
        }
        let lost: Vec<_> = told.difference(&arrived).collect();
        assert!(Instant::now() < give_up, "lost {lost:?} of {}", told.len());
        sleep(Duration::from_millis(20)).await;
    }
}

async fn trigger(running: &Running, told: &Mutex<(usize, BTreeSet<String>)>) {
    let (number, told) = &mut *told.lock().await;
    *number += 1;
    told.extend(running.stir(*number).await);
}

fn arrived(running: &Running) -> BTreeSet<String> {
    let arrivals = running.receiver.arrivals();
    let id = |arrival: &crate::support::receiver::Arrival| {
        arrival.header("nahook-delivery-id").to_owned()
    };
    arrivals.iter().map(id).collect()
}

/// Kills every loop that runs, in every way. Returns the loops.
async fn survives(composition: Composition) -> BTreeSet<Loop> {
    let running = composition.start().await;
    let told = Mutex::default();
    // Some loops begin with the first delivery.
    trigger(&running, &told).await;
    let loops: BTreeSet<_> = running
        .supervisor
        .loops()
        .iter()
        .filter(|status| status.wanted > 0 && !ELSEWHERE.contains(&status.which))
        .map(|status| status.which)
        .collect();
    for which in &loops {
        for death in Death::ALL {
            die(&running, *which, *death, &told).await;
        }
    }
    all_arrive(&running, &told.lock().await.1).await;
    running.server.stop().await;
    loops
}

#[tokio::test(flavor = "multi_thread")]
async fn every_loop_that_dies_comes_back_and_nothing_is_lost() {
    let survivals = Composition::ALL.map(|composition| async move {
        let loops = survives(composition).await;
        println!("{composition:?}: {loops:?}");
        loops
    });
    let seen: BTreeSet<_> = join_all(survivals).await.into_iter().flatten().collect();
    let forgotten = Loop::ALL.iter().filter(|which| !seen.contains(which));
    let forgotten: Vec<_> = forgotten
        .filter(|which| !ELSEWHERE.contains(which))
        .collect();
    assert!(forgotten.is_empty(), "no composition runs {forgotten:?}");
}
