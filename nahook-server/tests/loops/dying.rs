//! The deaths.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use nahook_supervision::{Death, Loop, LoopStatus};
use tokio::join;
use tokio::time::sleep;

use crate::composition::{Composition, Running};
use crate::promises::Promises;

/// Upper bound on a recovery on a busy machine: a lease of a delivery in flight lasts for a minute.
pub(crate) const RECOVERY: Duration = Duration::from_secs(150);
/// A loop that has ended counts as down for at least this long.
const DOWN_FOR: Duration = Duration::from_secs(2);
/// So many loops are killed at once: each death takes two seconds.
const AT_ONCE: usize = 2;

/// Kills the loops, and shows that they are missed, come back, and cost nobody a delivery.
async fn die(running: &Running, loops: &[Loop], death: Death, promises: &Promises) {
    let what = format!("{loops:?}, {death:?}");
    let give_up = Instant::now() + RECOVERY;
    let are_missed = AtomicBool::new(false);
    let dying = async {
        let missed = loops
            .iter()
            .map(|which| is_missed(running, *which, death, give_up));
        join_all(missed).await;
        are_missed.store(true, Ordering::Relaxed);
    };
    let triggering = async {
        while !are_missed.load(Ordering::Relaxed) {
            promises.trigger(running).await;
            sleep(Duration::from_millis(5)).await;
        }
    };
    join!(dying, triggering);
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
    let is_accepted = promises.trigger(running).await;
    assert!(is_accepted, "{what}: it does not queue again");
    if let Some(certificate) = &running.certificate
        && loops.contains(&Loop::TlsReload)
    {
        certificate.replace();
        while !certificate.is_served(running.server.address()).await {
            let is_late = Instant::now() >= give_up;
            assert!(!is_late, "{what}: a new certificate is not served");
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Kills the loop until readiness has named it. Once is enough, unless this test was too slow to look.
async fn is_missed(running: &Running, which: Loop, death: Death, give_up: Instant) {
    let what = format!("{which:?}, {death:?}");
    let failures = || status(running, which).map_or(0, |status| status.failures);
    loop {
        let before = failures();
        let mut alive_at = Instant::now();
        running.supervisor.kill(which, death);
        loop {
            let now = Instant::now();
            if failures() != before {
                break;
            }
            assert!(now < give_up, "{what}: it does not die");
            alive_at = now;
            sleep(Duration::from_millis(5)).await;
        }
        let (status, checks) = running.readiness().await;
        if status == 503 && checks.contains(which.name()) {
            return;
        }
        let is_in_time = alive_at.elapsed() < DOWN_FOR;
        assert!(!is_in_time, "{what}: it is not missed: {checks}");
        assert!(Instant::now() < give_up, "{what}: it is never missed");
    }
}

fn status(running: &Running, which: Loop) -> Option<LoopStatus> {
    let loops = running.supervisor.loops();
    loops.into_iter().find(|status| status.which == which)
}

/// Waits until exactly these loops run.
async fn all_run(running: &Running, loops: &BTreeSet<Loop>) {
    let give_up = Instant::now() + RECOVERY;
    loop {
        let wanted = running.supervisor.loops().into_iter();
        let wanted = wanted.filter(|status| status.wanted > 0);
        let wanted: BTreeSet<_> = wanted.map(|status| status.which).collect();
        if wanted == *loops {
            return;
        }
        let others: Vec<_> = wanted.symmetric_difference(loops).collect();
        assert!(
            Instant::now() < give_up,
            "missing or unexpected: {others:?}"
        );
        sleep(Duration::from_millis(20)).await;
    }
}

/// Kills every loop in every way. Returns the loops.
async fn survives(composition: Composition) -> BTreeSet<Loop> {
    let running = Box::pin(composition.start()).await;
    let promises = Promises::default();
    let loops = Loop::ALL.iter().copied();
    let loops: BTreeSet<_> = loops.filter(|which| composition.runs(*which)).collect();
    // Some loops begin with the first delivery.
    assert!(promises.trigger(&running).await);
    all_run(&running, &loops).await;
    let in_order: Vec<_> = loops.iter().copied().collect();
    for death in Death::ALL {
        for group in in_order.chunks(AT_ONCE) {
            die(&running, group, *death, &promises).await;
        }
    }
    all_run(&running, &loops).await;
    promises.all_arrive(&running).await;
    running.server.stop().await;
    loops
}

#[tokio::test(flavor = "multi_thread")]
async fn every_loop_that_dies_comes_back_and_nothing_is_lost() {
    let survivals = Composition::ALL.map(survives);
    let killed: BTreeSet<_> = join_all(survivals).await.into_iter().flatten().collect();
    let all: BTreeSet<_> = Loop::ALL.iter().copied().collect();
    assert_eq!(killed, all);
}
