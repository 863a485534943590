//! A worker stops, or there are several of them.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use nahook_delivery::WorkerSettings;
use nahook_queue::DeliveryStatus;
use tokio::time::{Instant, sleep, sleep_until};

use crate::faulty::{Fault, Faulty};
use crate::support::{Act, Rig};

#[tokio::test(start_paused = true)]
async fn stopping_lets_attempts_end_and_leases_nothing_more() {
    let rig = Rig::new(&["ep_a"]).await;
    rig.always("ep_a", Act::AnswerAfter(Duration::from_secs(10), 200));
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.extend(rig.publish(&["ep_a"]).await);
    }
    let worker = rig.start(WorkerSettings::default());
    sleep(Duration::from_secs(1)).await;
    let stopping = Instant::now();
    let report = worker.stop().await;
    let took = stopping.elapsed();
    assert!((8..10).contains(&took.as_secs()), "{took:?}");
    assert_eq!(
        (report.delivered, report.unsettled, report.released),
        (4, 0, 0)
    );
    assert_eq!(rig.arrivals().len(), 4);
    let mut pending = 0;
    for id in ids {
        pending += usize::from(rig.status(id).await == DeliveryStatus::Pending);
    }
    assert_eq!(pending, 6);
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_stops_at_once() {
    let rig = Rig::new(&["ep_a"]).await;
    let worker = rig.start(WorkerSettings::default());
    sleep(Duration::from_secs(1)).await;
    let stopping = Instant::now();
    worker.stop().await;
    assert!(stopping.elapsed() < Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn what_outlasts_the_stop_is_given_back_at_once() {
    let rig = Rig::new(&["ep_a"]).await;
    rig.at_first("ep_a", Act::HangForEver);
    let ids = rig.publish(&["ep_a"]).await;
    let settings = WorkerSettings {
        stop_timeout: Duration::from_secs(5),
        ..WorkerSettings::default()
    };
    let worker = rig.start(settings.clone());
    sleep(Duration::from_secs(1)).await;
    let stopping = Instant::now();
    let report = worker.stop().await;
    assert_eq!(stopping.elapsed().as_secs(), 5);
    assert_eq!(
        (report.released, report.unsettled, report.attempts),
        (1, 0, 0)
    );
    // Another worker need not wait for the lease to end.
    let next = rig.start(settings);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.status(ids[0]).await, DeliveryStatus::Delivered);
    next.stop().await;
}

#[tokio::test(start_paused = true)]
async fn attempt_that_ends_at_the_instant_of_the_time_out_is_settled() {
    // The worker's timer is set before the attempt's last one, or after it.
    let secs = Duration::from_secs;
    for act in [
        Act::AnswerAfter(secs(9), 200),
        Act::AnswerInSteps([secs(5), secs(4)], 200),
    ] {
        for _ in 0..20 {
            let rig = Rig::new(&["ep_a"]).await;
            rig.always("ep_a", act);
            let ids = rig.publish(&["ep_a"]).await;
            let settings = WorkerSettings {
                stop_timeout: secs(5),
                ..WorkerSettings::default()
            };
            let worker = rig.start(settings);
            while rig.arrivals().is_empty() {
                sleep(Duration::from_millis(1)).await;
            }
            let begun = rig.transport.started + rig.arrivals()[0].at;
            sleep_until(begun + secs(4)).await;
            let report = worker.stop().await;
            assert_eq!((report.delivered, report.released), (1, 0), "{act:?}");
            assert_eq!(rig.status(ids[0]).await, DeliveryStatus::Delivered);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_leased_but_not_begun_is_given_back() {
    let rig = Rig::new(&["ep_a"]).await;
    let ids = rig.publish(&["ep_a"]).await;
    let directory = Faulty::new(&rig.store).targets(|_| Fault::Hang);
    let worker = rig.start_over(rig.store.clone(), directory, WorkerSettings::default());
    sleep(Duration::from_secs(1)).await;
    let report = worker.stop().await;
    assert_eq!(
        (report.released, report.attempts, report.unsettled),
        (1, 0, 0)
    );
    assert_eq!(rig.status(ids[0]).await, DeliveryStatus::Pending);
}

#[tokio::test(start_paused = true)]
async fn what_is_looked_up_after_the_stop_is_given_back_and_not_attempted() {
    let rig = Rig::new(&["ep_a"]).await;
    let ids = rig.publish(&["ep_a"]).await;
    let late = Fault::TakeLate(Duration::from_secs(3));
    let directory = Faulty::new(&rig.store).targets(move |_| late);
    let worker = rig.start_over(rig.store.clone(), directory, WorkerSettings::default());
    sleep(Duration::from_secs(1)).await;
    let stopping = Instant::now();
    let report = worker.stop().await;
    assert_eq!(stopping.elapsed().as_secs(), 2);
    assert_eq!(
        (report.released, report.attempts, report.unsettled),
        (1, 0, 0)
    );
    assert_eq!(rig.arrivals().len(), 0);
    assert_eq!(rig.status(ids[0]).await, DeliveryStatus::Pending);
}

#[tokio::test(start_paused = true)]
async fn look_up_that_outlasts_the_stop_settles_nothing_again() {
    let rig = Rig::new(&["ep_a", "ep_b"]).await;
    let ids = rig.publish(&["ep_a", "ep_b"]).await;
    // The look-up ends while the one delivery is being settled, and the other keeps the worker at work.
    let late = Fault::TakeLate(Duration::from_secs(3));
    let directory = Faulty::new(&rig.store).targets(move |_| late);
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let queue = Faulty::new(&rig.store).settle(move |batch| {
        if batch.iter().any(|it| it.lease.delivery == ids[1]) {
            return Fault::Internal;
        }
        counted.fetch_add(1, Ordering::Relaxed);
        Fault::TakeLate(Duration::from_secs(2))
    });
    let settings = WorkerSettings {
        stop_timeout: Duration::from_secs(1),
        ..WorkerSettings::default()
    };
    let worker = rig.start_over(queue, directory, settings);
    sleep(Duration::from_secs(1)).await;
    let report = worker.stop().await;
    assert_eq!((report.released, report.unsettled), (1, 1));
    assert_eq!(taken.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_call_still_leases_while_stopping_is_given_back() {
    let rig = Rig::new(&["ep_a"]).await;
    let ids = rig.publish(&["ep_a"]).await;
    let queue = Faulty::new(&rig.store).lease_takes(Duration::from_secs(3));
    // What will not be attempted need not be looked up.
    let directory = Faulty::new(&rig.store).targets(|_| Fault::Hang);
    let worker = rig.start_over(queue, directory, WorkerSettings::default());
    sleep(Duration::from_secs(1)).await;
    let stopping = Instant::now();
    let report = worker.stop().await;
    assert_eq!(stopping.elapsed().as_secs(), 2);
    assert_eq!(
        (report.released, report.attempts, report.unsettled),
        (1, 0, 0)
    );
    assert_eq!(rig.arrivals().len(), 0);
    // Long before a lease would end.
    let next = rig.start(WorkerSettings::default());
    sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.status(ids[0]).await, DeliveryStatus::Delivered);
    next.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_bounded_even_if_the_queue_is_gone() {
    for fault in [Fault::Hang, Fault::Unavailable] {
        let rig = Rig::new(&["ep_a"]).await;
        rig.publish(&["ep_a"]).await;
        let queue = Faulty::new(&rig.store).settle(move |_| fault);
        let worker = rig.start_over(queue, rig.store.clone(), WorkerSettings::default());
        sleep(Duration::from_secs(1)).await;
        let stopping = Instant::now();
        let report = worker.stop().await;
        let took = stopping.elapsed();
        assert!(took <= Duration::from_millis(25_010), "{fault:?} {took:?}");
        assert_eq!((report.delivered, report.unsettled), (0, 1), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn settlements_that_wait_to_be_tried_again_are_tried_at_once() {
    let rig = Rig::new(&["ep_a"]).await;
    let ids = rig.publish(&["ep_a"]).await;
    let is_up = Arc::new(AtomicBool::new(false));
    let (up, calls) = (Arc::clone(&is_up), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&calls);
    let queue = Faulty::new(&rig.store).settle(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        if up.load(Ordering::Relaxed) {
            Fault::None
        } else {
            Fault::Unavailable
        }
    });
    let worker = rig.start_over(queue, rig.store.clone(), WorkerSettings::default());
    // The pauses have grown to five seconds, and one has just begun.
    while calls.load(Ordering::Relaxed) < 12 {
        sleep(Duration::from_millis(1)).await;
    }
    is_up.store(true, Ordering::Relaxed);
    let stopping = Instant::now();
    let report = worker.stop().await;
    assert!(stopping.elapsed() < Duration::from_millis(10));
    assert_eq!((report.delivered, report.unsettled), (1, 0));
    assert_eq!(rig.status(ids[0]).await, DeliveryStatus::Delivered);
}

#[tokio::test(start_paused = true)]
async fn settlements_that_wait_are_tried_once_more_when_attempts_are_cut_off() {
    let rig = Rig::new(&["ep_a", "ep_b"]).await;
    rig.always("ep_b", Act::HangForEver);
    let ids = rig.publish(&["ep_a", "ep_b"]).await;
    let calls = Arc::new(AtomicUsize::new(0));
    let up_from = Arc::new(AtomicUsize::new(usize::MAX));
    let (counted, from) = (Arc::clone(&calls), Arc::clone(&up_from));
    let queue = Faulty::new(&rig.store).settle(move |_| {
        Fault::Unavailable
            .when(counted.fetch_add(1, Ordering::Relaxed) < from.load(Ordering::Relaxed))
    });
    let settings = WorkerSettings {
        stop_timeout: Duration::from_secs(6),
        stop_grace: Duration::from_secs(1),
        attempt_timeout: Duration::from_hours(1),
        ..WorkerSettings::default()
    };
    let worker = rig.start_over(queue, rig.store.clone(), settings);
    while calls.load(Ordering::Relaxed) < 12 {
        sleep(Duration::from_millis(1)).await;
    }
    // At once, after five seconds, and then not before ten: too late.
    up_from.store(calls.load(Ordering::Relaxed) + 2, Ordering::Relaxed);
    let report = worker.stop().await;
    assert_eq!(
        (report.delivered, report.released, report.unsettled),
        (1, 1, 0)
    );
    assert_eq!(rig.status(ids[0]).await, DeliveryStatus::Delivered);
}

#[tokio::test(start_paused = true)]
async fn two_workers_share_a_queue_and_each_delivery_is_sent_once() {
    let rig = Rig::new(&["ep_a", "ep_b", "ep_c"]).await;
    let act = Act::AnswerAfter(Duration::from_millis(20), 200);
    for endpoint in ["ep_a", "ep_b", "ep_c"] {
        rig.always(endpoint, act);
    }
    let workers = [
        rig.start(WorkerSettings::default()),
        rig.start(WorkerSettings::default()),
    ];
    let mut ids = Vec::new();
    for _ in 0..200 {
        ids.extend(rig.publish(&["ep_a", "ep_b", "ep_c"]).await);
        sleep(Duration::from_millis(1)).await;
    }
    rig.until(&ids, DeliveryStatus::Delivered).await;
    for worker in workers {
        let report = worker.stop().await;
        assert!(report.delivered > 0, "both had a part: {report:?}");
    }
    let arrivals = rig.arrivals();
    let distinct: HashSet<_> = arrivals
        .iter()
        .map(|a| a.header("nahook-delivery-id"))
        .collect();
    assert_eq!((arrivals.len(), distinct.len()), (600, 600));
}

#[tokio::test(start_paused = true)]
async fn what_a_crashed_worker_held_is_attempted_by_another_once_its_lease_ends() {
    let rig = Rig::new(&["ep_a"]).await;
    rig.at_first("ep_a", Act::Hang);
    let ids = rig.publish(&["ep_a"]).await;
    // As in a process that was killed, which gives nothing back.
    let queue = Faulty::new(&rig.store).settle(|_| Fault::Hang);
    let crashing = rig.start_over(queue, rig.store.clone(), WorkerSettings::default());
    sleep(Duration::from_secs(1)).await;
    crashing.crash().await;
    let other = rig.start(WorkerSettings::default());
    sleep(Duration::from_secs(50)).await;
    assert_eq!(rig.arrivals().len(), 1);
    sleep(Duration::from_secs(15)).await;
    assert_eq!(rig.status(ids[0]).await, DeliveryStatus::Delivered);
    assert_eq!(other.stop().await.delivered, 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_worker_held_that_was_dropped_is_given_back() {
    let rig = Rig::new(&["ep_a"]).await;
    rig.at_first("ep_a", Act::Hang);
    let ids = rig.publish(&["ep_a"]).await;
    let dropped = rig.start(WorkerSettings::default());
    sleep(Duration::from_secs(1)).await;
    dropped.crash().await;
    let other = rig.start(WorkerSettings::default());
    sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.status(ids[0]).await, DeliveryStatus::Delivered);
    other.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_dropped_worker_had_delivered_is_not_sent_again() {
    // It is dropped while the queue takes its time to settle, or does not take the settlement at first.
    let late = Duration::from_secs(2);
    for fault in [
        Fault::TakeLate(late),
        Fault::FailLate(late),
        Fault::Unavailable,
    ] {
        let rig = Rig::new(&["ep_a"]).await;
        let ids = rig.publish(&["ep_a"]).await;
        let mut calls = 0;
        let queue = Faulty::new(&rig.store).settle(move |_| {
            calls += 1;
            fault.when(calls == 1)
        });
        let dropped = rig.start_over(queue, rig.store.clone(), WorkerSettings::default());
        while rig.arrivals().is_empty() {
            sleep(Duration::from_millis(1)).await;
        }
        sleep(Duration::from_millis(5)).await;
        dropped.crash().await;
        let other = rig.start(WorkerSettings::default());
        rig.until(&ids, DeliveryStatus::Delivered).await;
        assert_eq!(other.stop().await.attempts, 0, "{fault:?}");
        assert_eq!(rig.arrivals().len(), 1, "{fault:?}");
    }
}
