//! No endpoint costs another its turn.

use std::time::Duration;

use nahook_delivery::{TransportError, WorkerSettings};
use nahook_queue::DeliveryStatus;
use tokio::time::sleep;

use crate::support::{Act, Rig};

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|nth| format!("{prefix}{nth}")).collect()
}

fn refs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_hang_fail_or_panic_do_not_delay_seventeen_healthy_ones() {
    let healthy = names("ep_healthy", 17);
    let bad = ["ep_hangs", "ep_fails", "ep_closes", "ep_panics", "ep_never"];
    let all: Vec<_> = refs(&healthy).into_iter().chain(bad).collect();
    let rig = Rig::new(&all).await;
    rig.always("ep_hangs", Act::Hang);
    rig.always("ep_fails", Act::Answer(500));
    rig.always("ep_closes", Act::Break(TransportError::Closed));
    rig.always("ep_panics", Act::Panic);
    rig.always("ep_never", Act::HangForEver);
    // A backlog for the bad ones, as a day of hanging would leave.
    for _ in 0..100 {
        rig.publish(&bad).await;
    }
    let worker = rig.start(WorkerSettings::default());
    for _ in 0..60 {
        let ids = rig.publish(&all).await;
        sleep(Duration::from_secs(1)).await;
        for id in &ids[..17] {
            assert_eq!(rig.status(*id).await, DeliveryStatus::Delivered);
        }
    }
    worker.crash().await;
    assert_eq!(rig.overlaps(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_hanging_endpoints_leave_room_for_the_healthy_ones() {
    let healthy = names("ep_healthy", 17);
    let hanging = names("ep_hanging", 100);
    let all: Vec<_> = refs(&healthy).into_iter().chain(refs(&hanging)).collect();
    let rig = Rig::new(&all).await;
    for endpoint in &hanging {
        rig.always(endpoint, Act::Hang);
    }
    for _ in 0..50 {
        rig.publish(&refs(&hanging)).await;
    }
    let worker = rig.start(WorkerSettings::default());
    for _ in 0..60 {
        let ids = rig.publish(&all).await;
        sleep(Duration::from_secs(1)).await;
        for id in &ids[..17] {
            assert_eq!(rig.status(*id).await, DeliveryStatus::Delivered);
        }
    }
    worker.crash().await;
}

#[tokio::test(start_paused = true)]
async fn once_known_even_more_hanging_endpoints_than_there_is_room_for_leave_half_of_it() {
    let hanging = names("ep_hanging", 60);
    let all: Vec<_> = refs(&hanging).into_iter().chain(["ep_healthy"]).collect();
    let rig = Rig::new(&all).await;
    for endpoint in &hanging {
        rig.always(endpoint, Act::Hang);
    }
    for _ in 0..50 {
        rig.publish(&refs(&hanging)).await;
    }
    let settings = WorkerSettings {
        in_flight_max: 20,
        ..WorkerSettings::default()
    };
    let worker = rig.start(settings);
    // Nothing tells hanging endpoints from others until they have hung once.
    sleep(Duration::from_mins(30)).await;
    for _ in 0..60 {
        let ids = rig.publish(&all).await;
        sleep(Duration::from_secs(1)).await;
        let healthy = ids.last().unwrap();
        assert_eq!(rig.status(*healthy).await, DeliveryStatus::Delivered);
    }
    // And they have their turns, all of them.
    for endpoint in &hanging {
        assert!(
            rig.arrivals_at(endpoint).len() > 1,
            "{endpoint} had no turn"
        );
    }
    worker.crash().await;
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_slow_but_answers_still_gets_many_at_a_time() {
    let rig = Rig::new(&["ep_slow"]).await;
    rig.always("ep_slow", Act::AnswerAfter(Duration::from_secs(3), 200));
    let mut ids = Vec::new();
    for _ in 0..300 {
        ids.extend(rig.publish(&["ep_slow"]).await);
    }
    let worker = rig.start(WorkerSettings::default());
    rig.until(&ids, DeliveryStatus::Delivered).await;
    worker.stop().await;
    let last = rig.arrivals().last().unwrap().at;
    // One at a time they would take 900 s, 64 at a time 15 s.
    assert!(last < Duration::from_mins(1), "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn no_endpoint_ever_gets_more_at_a_time_than_its_bound() {
    let rig = Rig::new(&["ep_a"]).await;
    rig.always("ep_a", Act::AnswerAfter(Duration::from_millis(500), 200));
    for _ in 0..500 {
        rig.publish(&["ep_a"]).await;
    }
    let worker = rig.start(WorkerSettings::default());
    let mut most = 0;
    for _ in 0..200 {
        sleep(Duration::from_millis(50)).await;
        most = most.max(rig.running());
    }
    worker.crash().await;
    assert_eq!(most, 64, "it grows to its bound and not further");
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_hardly_asks_the_queue() {
    use crate::faulty::{Fault, Faulty};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    let rig = Rig::new(&["ep_a"]).await;
    rig.script("ep_a", |nth| Act::Answer(if nth == 0 { 500 } else { 200 }));
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let queue = Faulty::new(&rig.store).lease(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Fault::None
    });
    let worker = rig.start_over(queue, rig.store.clone(), WorkerSettings::default());
    rig.publish(&["ep_a"]).await;
    sleep(Duration::from_mins(10)).await;
    worker.stop().await;
    let calls = calls.load(Ordering::Relaxed);
    // Every 30 s, and a few for each of the two attempts.
    assert!((20..40).contains(&calls), "{calls} calls in ten minutes");
}
