//! The queue or the directory fails: nothing is sent again because of it, and nobody else suffers.

use std::collections::HashSet;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nahook_core::id::EndpointId;
use nahook_core::{Clock, Timestamp};
use nahook_delivery::{Worker, WorkerSettings};
use nahook_queue::DeliveryStatus;
use nahook_testkit::TokioClock;
use tokio::time::{Instant, sleep};

use crate::faulty::{Fault, Faulty};
use crate::support::{Act, Rig};

fn short_leases() -> WorkerSettings {
    WorkerSettings {
        lease_duration: Duration::from_secs(3),
        ..WorkerSettings::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_extended_while_its_attempt_runs() {
    let rig = Rig::new(&["ep_a"]).await;
    rig.always("ep_a", Act::AnswerAfter(Duration::from_secs(14), 200));
    // A second worker would take the delivery the moment that its lease ends.
    let (one, two) = (rig.start(short_leases()), rig.start(short_leases()));
    let ids = rig.publish(&["ep_a"]).await;
    rig.until(&ids, DeliveryStatus::Delivered).await;
    let lost = one.stop().await.leases_lost + two.stop().await.leases_lost;
    assert_eq!((rig.arrivals().len(), lost), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_settlement_that_fails_many_times_sends_nothing_again() {
    for fault in [
        Fault::Internal,
        Fault::Unavailable,
        Fault::TakeAndFail,
        Fault::Panic,
        Fault::Hang,
    ] {
        let rig = Rig::new(&["ep_a", "ep_b"]).await;
        let mut calls = 0;
        let queue = Faulty::new(&rig.store).settle(move |_| {
            calls += 1;
            fault.when(calls <= 12)
        });
        let settings = WorkerSettings {
            bookkeeping_timeout: Duration::from_secs(2),
            ..short_leases()
        };
        let worker = rig.start_over(queue, rig.store.clone(), settings.clone());
        let other = rig.start(settings);
        let ids = rig.publish(&["ep_a", "ep_b"]).await;
        rig.until(&ids, DeliveryStatus::Delivered).await;
        // Long enough for anything that were still leased to be offered again.
        sleep(Duration::from_mins(5)).await;
        worker.stop().await;
        other.stop().await;
        assert_eq!(rig.arrivals().len(), 2, "{fault:?}");
        assert_eq!(rig.attempts(ids[0]).await.len(), 1, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_poisoned_settlement_spoils_nothing_for_the_others() {
    for fault in [Fault::Internal, Fault::Unavailable, Fault::Panic] {
        let rig = Rig::new(&["ep_a", "ep_b"]).await;
        let mut ids = Vec::new();
        for _ in 0..50 {
            ids.extend(rig.publish(&["ep_a", "ep_b"]).await);
        }
        let poisoned = ids.remove(37);
        let queue = Faulty::new(&rig.store).settle(move |batch| {
            let is_poison = batch
                .iter()
                .any(|settlement| settlement.lease.delivery == poisoned);
            fault.when(is_poison)
        });
        let worker = rig.start_over(queue, rig.store.clone(), short_leases());
        sleep(Duration::from_secs(10)).await;
        for id in &ids {
            assert_eq!(
                rig.status(*id).await,
                DeliveryStatus::Delivered,
                "{fault:?}"
            );
        }
        // And what comes later is not held up by what still fails.
        let late = rig.publish(&["ep_a", "ep_b"]).await;
        sleep(Duration::from_secs(1)).await;
        for id in late {
            assert_eq!(rig.status(id).await, DeliveryStatus::Delivered, "{fault:?}");
        }
        sleep(Duration::from_mins(10)).await;
        assert_eq!(
            rig.arrivals().len(),
            102,
            "{fault:?}: each was sent once, the poisoned one too"
        );
        worker.crash().await;
    }
}

#[tokio::test(start_paused = true)]
async fn many_poisoned_settlements_do_not_bring_the_worker_to_a_halt() {
    let rig = Rig::new(&["ep_a", "ep_b"]).await;
    let mut poisoned = HashSet::new();
    for _ in 0..20 {
        poisoned.extend(rig.publish(&["ep_a"]).await);
    }
    let queue = Faulty::new(&rig.store).settle(move |batch| {
        let is_poison = batch
            .iter()
            .any(|settlement| poisoned.contains(&settlement.lease.delivery));
        Fault::Internal.when(is_poison)
    });
    let settings = WorkerSettings {
        in_flight_max: 20,
        ..short_leases()
    };
    let worker = rig.start_over(queue, rig.store.clone(), settings);
    sleep(Duration::from_mins(1)).await;
    let ids = rig.publish(&["ep_b"]).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.status(ids[0]).await, DeliveryStatus::Delivered);
    worker.crash().await;
}

#[tokio::test(start_paused = true)]
async fn settlements_that_are_never_answered_leave_their_room_to_others() {
    let rig = Rig::new(&["ep_a", "ep_b"]).await;
    let mut unanswered = HashSet::new();
    for _ in 0..20 {
        unanswered.extend(rig.publish(&["ep_a"]).await);
    }
    let stuck = unanswered.clone();
    let queue = Faulty::new(&rig.store).settle(move |batch| {
        let mut deliveries = batch.iter().map(|it| it.lease.delivery);
        Fault::Hang.when(deliveries.any(|delivery| stuck.contains(&delivery)))
    });
    let settings = WorkerSettings {
        in_flight_max: 20,
        ..WorkerSettings::default()
    };
    let worker = rig.start_over(queue, rig.store.clone(), settings);
    while rig.arrivals().len() < unanswered.len() {
        sleep(Duration::from_secs(1)).await;
    }
    // Every settlement is tried again by now, for ten seconds each time.
    sleep(Duration::from_mins(1)).await;
    for _ in 0..60 {
        let ids = rig.publish(&["ep_b"]).await;
        sleep(Duration::from_millis(500)).await;
        assert_eq!(rig.status(ids[0]).await, DeliveryStatus::Delivered);
    }
    worker.crash().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_held_is_bounded_however_much_is_stuck() {
    let names: Vec<_> = (0..100).map(|nth| format!("ep_{nth}")).collect();
    let endpoints: Vec<_> = names.iter().map(String::as_str).collect();
    for fault in [Fault::Internal, Fault::Unavailable, Fault::Hang] {
        let rig = Rig::new(&endpoints).await;
        rig.publish(&endpoints).await;
        let queue = Faulty::new(&rig.store).settle(move |_| fault);
        let settings = WorkerSettings {
            in_flight_max: 20,
            ..WorkerSettings::default()
        };
        let worker = rig.start_over(queue, rig.store.clone(), settings);
        sleep(Duration::from_mins(10)).await;
        // Eleven sixteenths of twice the bound: as many as there are slots may be stuck.
        assert_eq!(rig.arrivals().len(), 28, "{fault:?}");
        worker.crash().await;
    }
}

/// Leases fail five times, succeed once, and fail once more: the pause after that is the first again.
#[tokio::test(start_paused = true)]
async fn lease_that_succeeds_ends_the_growth_of_pauses() {
    for is_empty in [true, false] {
        let rig = Rig::new(&["ep_a"]).await;
        if !is_empty {
            rig.publish(&["ep_a"]).await;
        }
        let calls = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&calls);
        let queue = Faulty::new(&rig.store).lease(move |_| {
            let mut calls = noted.lock().unwrap();
            calls.push(Instant::now());
            match calls.len() {
                6 | 8.. => Fault::None,
                _ => Fault::Unavailable,
            }
        });
        let worker = rig.start_over(queue, rig.store.clone(), WorkerSettings::default());
        sleep(Duration::from_mins(10)).await;
        worker.stop().await;
        let calls = calls.lock().unwrap();
        let pause = |nth: usize| calls[nth + 1] - calls[nth];
        assert!(pause(4) > Duration::from_secs(1), "{:?}", pause(4));
        assert!(pause(6) < Duration::from_millis(200), "{:?}", pause(6));
    }
}

/// A clock that is ahead of the store's.
#[derive(Clone, Copy)]
struct Ahead(TokioClock);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        self.0.now().saturating_add(Duration::from_secs(10))
    }
}

/// For ten seconds the store does not find due what the worker does.
#[tokio::test(start_paused = true)]
async fn worker_whose_clock_is_ahead_asks_with_growing_pauses() {
    let rig = Rig::new(&["ep_a"]).await;
    rig.at_first("ep_a", Act::Answer(500));
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let queue = Faulty::new(&rig.store).lease(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Fault::None
    });
    let worker = Worker::new(queue, rig.store.clone(), Arc::clone(&rig.transport));
    let running = tokio::spawn(worker.with_clock(Ahead(rig.clock)).run(pending()));
    let ids = rig.publish(&["ep_a"]).await;
    rig.until(&ids, DeliveryStatus::Delivered).await;
    running.abort();
    let calls = calls.load(Ordering::Relaxed);
    assert!(calls < 200, "{calls}");
}

#[tokio::test(start_paused = true)]
async fn settlement_that_fails_is_tried_again_with_growing_pauses() {
    let rig = Rig::new(&["ep_a"]).await;
    let calls = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&calls);
    let queue = Faulty::new(&rig.store).settle(move |_| {
        noted.lock().unwrap().push(Instant::now());
        Fault::Unavailable
    });
    let worker = rig.start_over(queue, rig.store.clone(), WorkerSettings::default());
    rig.publish(&["ep_a"]).await;
    sleep(Duration::from_secs(30)).await;
    worker.crash().await;
    let calls = calls.lock().unwrap();
    let pauses: Vec<_> = calls
        .windows(2)
        .map(|two| two[1].duration_since(two[0]))
        .collect();
    let expected = [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000];
    assert!(pauses.len() >= expected.len(), "{pauses:?}");
    for (pause, expected) in pauses.iter().zip(expected) {
        let late = pause.as_millis().checked_sub(expected);
        assert!(late.is_some_and(|late| late < 10), "{pauses:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_ends_unnoticed_does_not_send_again_what_is_under_way() {
    let rig = Rig::new(&["ep_a"]).await;
    rig.always("ep_a", Act::AnswerAfter(Duration::from_secs(14), 200));
    // No lease can be extended, so each ends while its attempt runs, and the worker is offered the delivery again.
    let queue = Faulty::new(&rig.store).extend(|_| Fault::Unavailable);
    let worker = rig.start_over(queue, rig.store.clone(), short_leases());
    let ids = rig.publish(&["ep_a"]).await;
    rig.until(&ids, DeliveryStatus::Delivered).await;
    worker.stop().await;
    assert_eq!((rig.arrivals().len(), rig.overlaps()), (1, 0));
    assert_eq!(rig.attempts(ids[0]).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_ends_while_being_settled_is_settled_anew() {
    let rig = Rig::new(&["ep_a"]).await;
    let mut calls = 0;
    let queue = Faulty::new(&rig.store)
        .extend(|_| Fault::Unavailable)
        .settle(move |_| {
            calls += 1;
            let late = Fault::TakeLate(Duration::from_secs(5));
            late.when(calls == 1)
        });
    let worker = rig.start_over(queue, rig.store.clone(), short_leases());
    let ids = rig.publish(&["ep_a"]).await;
    sleep(Duration::from_millis(5_500)).await;
    assert_eq!(rig.status(ids[0]).await, DeliveryStatus::Delivered);
    sleep(Duration::from_mins(1)).await;
    assert_eq!(rig.arrivals().len(), 1);
    assert_eq!(worker.stop().await.unsettled, 0);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_somebody_else_has_overtaken_is_cut_off_before_the_next_one() {
    let rig = Rig::new(&["ep_a"]).await;
    // The first attempt takes long, the second one fails at once.
    rig.script("ep_a", |nth| match nth {
        0 => Act::AnswerAfter(Duration::from_secs(14), 200),
        1 => Act::Answer(500),
        _ => Act::AnswerAfter(Duration::from_secs(2), 200),
    });
    let (clock, begun) = (rig.clock, rig.clock.now());
    let queue = Faulty::new(&rig.store)
        .extend(|_| Fault::Unavailable)
        .lease(move |_| {
            let passed = clock.now().saturating_since(begun).as_secs();
            Fault::Unavailable.when((2..6).contains(&passed))
        });
    let overtaken = rig.start_over(queue, rig.store.clone(), short_leases());
    let ids = rig.publish(&["ep_a"]).await;
    sleep(Duration::from_secs(1)).await;
    let overtaking = rig.start(short_leases());
    sleep(Duration::from_millis(3_500)).await;
    assert_eq!(
        rig.arrivals().len(),
        2,
        "the lease ended, and the other worker took the delivery"
    );
    overtaking.stop().await;
    rig.until(&ids, DeliveryStatus::Delivered).await;
    // The retry came to the first worker while its first attempt was running.
    let arrivals = rig.arrivals();
    assert_eq!(arrivals.len(), 3);
    assert_eq!(arrivals[2].header("nahook-attempt"), "2");
    assert!(arrivals[2].at < Duration::from_secs(14));
    assert_eq!(
        rig.overlaps(),
        1,
        "only the two of different workers ran side by side"
    );
    assert_eq!(overtaken.stop().await.unsettled, 0);
}

#[tokio::test(start_paused = true)]
async fn while_the_directory_is_down_nothing_is_sent_and_afterwards_everything() {
    for fault in [
        Fault::Internal,
        Fault::Unavailable,
        Fault::Panic,
        Fault::Hang,
    ] {
        let rig = Rig::new(&["ep_a", "ep_b"]).await;
        let up_from = rig.clock.now().saturating_add(Duration::from_mins(1));
        let clock = rig.clock;
        let mut calls = 0;
        let directory = Faulty::new(&rig.store).targets(move |_| {
            calls += 1;
            assert!(calls < 400, "it is asked too often");
            fault.when(clock.now() < up_from)
        });
        let settings = WorkerSettings {
            bookkeeping_timeout: Duration::from_secs(2),
            ..WorkerSettings::default()
        };
        let worker = rig.start_over(rig.store.clone(), directory, settings);
        let ids = rig.publish(&["ep_a", "ep_b"]).await;
        sleep(Duration::from_secs(50)).await;
        assert_eq!(rig.arrivals().len(), 0, "{fault:?}");
        sleep(Duration::from_secs(30)).await;
        for id in ids {
            assert_eq!(rig.status(id).await, DeliveryStatus::Delivered, "{fault:?}");
            assert_eq!(rig.attempts(id).await.len(), 1, "{fault:?}");
        }
        worker.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_the_directory_cannot_read_holds_up_no_other() {
    let rig = Rig::new(&["ep_a", "ep_b", "ep_unreadable"]).await;
    let unreadable = EndpointId::new("ep_unreadable").unwrap();
    let mut calls = 0;
    let directory = Faulty::new(&rig.store).targets(move |ids| {
        calls += 1;
        assert!(calls < 600, "it is asked too often");
        Fault::Internal.when(ids.contains(&unreadable))
    });
    let worker = rig.start_over(rig.store.clone(), directory, WorkerSettings::default());
    for _ in 0..60 {
        let ids = rig.publish(&["ep_a", "ep_unreadable", "ep_b"]).await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(rig.status(ids[0]).await, DeliveryStatus::Delivered);
        assert_eq!(rig.status(ids[2]).await, DeliveryStatus::Delivered);
    }
    worker.stop().await;
    assert_eq!(rig.arrivals_at("ep_unreadable").len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_cannot_lease_is_asked_again_with_growing_pauses() {
    for fault in [
        Fault::Internal,
        Fault::Unavailable,
        Fault::Panic,
        Fault::Hang,
    ] {
        let rig = Rig::new(&["ep_a"]).await;
        let up_from = rig.clock.now().saturating_add(Duration::from_mins(5));
        let clock = rig.clock;
        let mut calls = 0;
        let queue = Faulty::new(&rig.store).lease(move |_| {
            calls += 1;
            assert!(calls < 200, "it is asked too often");
            fault.when(clock.now() < up_from)
        });
        let worker = rig.start_over(queue, rig.store.clone(), WorkerSettings::default());
        let ids = rig.publish(&["ep_a"]).await;
        sleep(Duration::from_secs(320)).await;
        assert_eq!(
            rig.status(ids[0]).await,
            DeliveryStatus::Delivered,
            "{fault:?}"
        );
        worker.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_that_fails_is_made_again() {
    let rig = Rig::new(&["ep_a"]).await;
    rig.always("ep_a", Act::Answer(410));
    let mut calls = 0;
    let directory = Faulty::new(&rig.store).report(move |_| {
        calls += 1;
        Fault::Unavailable.when(calls < 4)
    });
    let worker = rig.start_over(rig.store.clone(), directory, WorkerSettings::default());
    let ids = rig.publish(&["ep_a"]).await;
    rig.until(&ids, DeliveryStatus::Failed).await;
    // A worker that stops reports first.
    worker.stop().await;
    assert!(!rig.target("ep_a").await.is_active);
}

#[tokio::test(start_paused = true)]
async fn while_all_is_well_nothing_is_reported() {
    let rig = Rig::new(&["ep_a"]).await;
    rig.script("ep_a", |nth| Act::Answer(if nth == 2 { 500 } else { 200 }));
    let reports = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reports);
    let directory = Faulty::new(&rig.store).report(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Fault::None
    });
    let worker = rig.start_over(rig.store.clone(), directory, WorkerSettings::default());
    let mut seen = Vec::new();
    for _ in 0..5 {
        let ids = rig.publish(&["ep_a"]).await;
        rig.until(&ids, DeliveryStatus::Delivered).await;
        sleep(Duration::from_secs(1)).await;
        seen.push(reports.load(Ordering::Relaxed));
    }
    worker.stop().await;
    // The third fails at first: that it fails is reported once, and once that it no longer does.
    assert_eq!(seen, [0, 0, 2, 2, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_transport_is_a_failed_attempt() {
    let rig = Rig::new(&["ep_a"]).await;
    rig.at_first("ep_a", Act::Panic);
    let worker = rig.start(WorkerSettings::default());
    let ids = rig.publish(&["ep_a"]).await;
    rig.until(&ids, DeliveryStatus::Delivered).await;
    worker.stop().await;
    let attempts = rig.attempts(ids[0]).await;
    assert_eq!(attempts.len(), 2);
    let error = attempts[0].attempt.error.as_deref();
    assert_eq!(error, Some("the attempt failed unexpectedly"));
    let [first, second] = [0, 1].map(|nth| rig.arrivals()[nth].at.as_secs_f64());
    let gap = second - first;
    assert!((4.4..5.7).contains(&gap), "{gap}");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_the_transport_never_ends_is_given_up() {
    let rig = Rig::new(&["ep_a"]).await;
    rig.at_first("ep_a", Act::HangForEver);
    let worker = rig.start(WorkerSettings::default());
    let ids = rig.publish(&["ep_a"]).await;
    rig.until(&ids, DeliveryStatus::Delivered).await;
    worker.stop().await;
    let first = &rig.attempts(ids[0]).await[0].attempt;
    assert_eq!(first.duration.as_secs(), 30);
    assert_eq!(
        first.error.as_deref(),
        Some("timed out while waiting for the answer")
    );
}
