//! A worker that fails starts again, and loses nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nahook_core::{Clock, Timestamp};
use nahook_delivery::{Worker, WorkerSettings};
use nahook_queue::DeliveryStatus;
use nahook_supervision::{Death, Loop, Supervisor};
use nahook_testkit::TokioClock;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::support::{Act, Rig};

fn supervise(
    rig: &Rig,
    supervisor: &Supervisor,
    clock: impl Clock + 'static,
) -> (watch::Sender<bool>, JoinHandle<()>) {
    let store = || rig.store.clone();
    let worker = Worker::new(store(), store(), Arc::clone(&rig.transport))
        .with_clock(clock)
        .with_settings(WorkerSettings::default());
    let (stop, stopped) = watch::channel(false);
    let stopping = move || {
        let mut stopped = stopped.clone();
        async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        }
    };
    let running = worker.supervise(supervisor, &Handle::current(), stopping);
    (stop, running)
}

#[tokio::test(start_paused = true)]
async fn worker_that_dies_is_replaced_and_its_leases_do_not_wait() {
    for death in Death::ALL {
        let rig = Rig::new(&["ep_a", "ep_b"]).await;
        rig.at_first("ep_a", Act::Hang);
        let supervisor = Supervisor::new();
        let (stop, running) = supervise(&rig, &supervisor, rig.clock);
        let ids = rig.publish(&["ep_a"]).await;
        while rig.running() == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        supervisor.kill(Loop::DeliveryWorker, *death);
        // Long before a lease would end.
        sleep(Duration::from_secs(2)).await;
        let later = rig.publish(&["ep_b"]).await;
        sleep(Duration::from_secs(1)).await;
        for id in [ids[0], later[0]] {
            assert_eq!(rig.status(id).await, DeliveryStatus::Delivered, "{death:?}");
        }
        assert_eq!(rig.overlaps(), 0, "{death:?}");
        assert_eq!(supervisor.loops()[0].failures, 1, "{death:?}");
        stop.send_replace(true);
        running.await.unwrap();
    }
}

/// Panics when it is read for the `at`th time.
#[derive(Clone)]
struct Panicking {
    clock: TokioClock,
    reads: Arc<AtomicUsize>,
    at: usize,
}

impl Clock for Panicking {
    fn now(&self) -> Timestamp {
        let read = self.reads.fetch_add(1, Ordering::SeqCst);
        assert_ne!(read, self.at, "a planted panic");
        self.clock.now()
    }
}

#[tokio::test(start_paused = true)]
async fn panic_anywhere_in_the_worker_loses_no_delivery() {
    let mut panics = 0;
    for at in 0..8 {
        let rig = Rig::new(&["ep_a", "ep_b"]).await;
        let clock = Panicking {
            clock: rig.clock,
            reads: Arc::default(),
            at,
        };
        let reads = Arc::clone(&clock.reads);
        let supervisor = Supervisor::new();
        let (stop, running) = supervise(&rig, &supervisor, clock);
        let mut ids = rig.publish(&["ep_a", "ep_b"]).await;
        sleep(Duration::from_secs(1)).await;
        ids.extend(rig.publish(&["ep_a", "ep_b"]).await);
        sleep(Duration::from_secs(3)).await;
        for id in &ids {
            assert_eq!(rig.status(*id).await, DeliveryStatus::Delivered, "{at}");
        }
        assert!(reads.load(Ordering::SeqCst) > at);
        panics += supervisor.loops()[0].failures;
        stop.send_replace(true);
        running.await.unwrap();
    }
    assert_eq!(panics, 8, "each panic was noticed");
}

#[tokio::test(start_paused = true)]
async fn worker_without_a_supervisor_starts_again_by_itself() {
    let rig = Rig::new(&["ep_a"]).await;
    let clock = Panicking {
        clock: rig.clock,
        reads: Arc::default(),
        at: 1,
    };
    let store = || rig.store.clone();
    let worker = Worker::new(store(), store(), Arc::clone(&rig.transport)).with_clock(clock);
    let (stop, mut stopped) = watch::channel(false);
    let running = tokio::spawn(worker.run(async move {
        let _ = stopped.wait_for(|stop| *stop).await;
    }));
    let ids = rig.publish(&["ep_a"]).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(rig.status(ids[0]).await, DeliveryStatus::Delivered);
    stop.send_replace(true);
    let report = running.await.unwrap();
    assert_eq!((report.delivered, report.unsettled), (1, 0));
}
