//! A lack of this machine costs no endpoint an attempt.

use std::time::Duration;

use nahook_delivery::{LocalCause, TransportError, WorkerSettings};
use nahook_queue::DeliveryStatus;
use tokio::time::{Instant, sleep};

use crate::support::{Act, Rig};

const ALL: [LocalCause; 7] = [
    LocalCause::Connections,
    LocalCause::Descriptors,
    LocalCause::Memory,
    LocalCause::Network,
    LocalCause::Ports,
    LocalCause::Resolver,
    LocalCause::Threads,
];

fn lack(cause: LocalCause) -> Act {
    Act::Break(TransportError::Local(cause))
}

#[tokio::test(start_paused = true)]
async fn lack_of_this_machine_costs_no_attempt_and_no_health() {
    for cause in ALL {
        let rig = Rig::new(&["ep_a"]).await;
        rig.script("ep_a", move |nth| match nth {
            0..20 => lack(cause),
            _ => Act::Answer(200),
        });
        let begun = Instant::now();
        let worker = rig.start(WorkerSettings::default());
        let ids = rig.publish(&["ep_a"]).await;
        sleep(Duration::from_secs(5)).await;
        let waiting = rig.record(ids[0]).await;
        assert_eq!(waiting.attempts, 0, "{cause:?}");
        assert_eq!(rig.target("ep_a").await.failing_since, None, "{cause:?}");
        rig.until(&ids, DeliveryStatus::Delivered).await;
        let report = worker.stop().await;
        assert_eq!((report.attempts, report.released), (1, 20), "{cause:?}");
        assert_eq!(rig.attempts(ids[0]).await.len(), 1, "{cause:?}");
        // Neither a busy loop nor longer than the pauses add up to.
        let took = begun.elapsed();
        assert!((20..600).contains(&took.as_secs()), "{cause:?} {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn lack_of_descriptors_pauses_all_and_a_silent_resolver_its_endpoint_alone() {
    for (cause, is_all) in [
        (LocalCause::Descriptors, true),
        (LocalCause::Resolver, false),
    ] {
        let rig = Rig::new(&["ep_a", "ep_b"]).await;
        rig.always("ep_a", lack(cause));
        let worker = rig.start(WorkerSettings::default());
        rig.publish(&["ep_a"]).await;
        sleep(Duration::from_secs(100)).await;
        while rig.arrivals_at("ep_a").is_empty() {
            sleep(Duration::from_millis(1)).await;
        }
        let before = rig.arrivals_at("ep_a").len();
        while rig.arrivals_at("ep_a").len() == before {
            sleep(Duration::from_millis(1)).await;
        }
        let other = rig.publish(&["ep_b"]).await;
        let begun = Instant::now();
        rig.until(&other, DeliveryStatus::Delivered).await;
        let waited = begun.elapsed() >= Duration::from_millis(500);
        assert_eq!(waited, is_all, "{cause:?} {:?}", begun.elapsed());
        worker.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_be_the_endpoints_fault_is_forgiven_for_an_hour() {
    let rig = Rig::new(&["ep_a"]).await;
    rig.always("ep_a", lack(LocalCause::Resolver));
    let worker = rig.start(WorkerSettings::default());
    let ids = rig.publish(&["ep_a"]).await;
    sleep(Duration::from_mins(59)).await;
    assert_eq!(rig.record(ids[0]).await.attempts, 0);
    sleep(Duration::from_mins(2)).await;
    let attempts = rig.attempts(ids[0]).await;
    // A failure without an answer is no reason to forgive once more.
    assert_eq!(attempts.len(), 2);
    assert_eq!(
        attempts[0].attempt.error.as_deref(),
        Some("the host has no address that may be used")
    );
    rig.until(&ids, DeliveryStatus::DeadLetter).await;
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn endpoint_that_has_answered_is_forgiven_anew() {
    let rig = Rig::new(&["ep_a"]).await;
    rig.script("ep_a", |nth| match nth {
        0 | 2 => lack(LocalCause::Resolver),
        _ => Act::Answer(200),
    });
    let worker = rig.start(WorkerSettings::default());
    for _ in 0..2 {
        let ids = rig.publish(&["ep_a"]).await;
        rig.until(&ids, DeliveryStatus::Delivered).await;
        assert_eq!(rig.attempts(ids[0]).await.len(), 1);
        sleep(Duration::from_hours(2)).await;
    }
    worker.stop().await;
    assert_eq!(rig.arrivals().len(), 4);
}
