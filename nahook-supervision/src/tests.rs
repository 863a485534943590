//! Restarts, and their marks in the register.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::{Exit, Loop, Supervisor, metric};

const WHICH: Loop = Loop::MetricsUpkeep;

/// Number of loops that were started and of those that run.
fn register(supervisor: &Supervisor) -> (usize, usize) {
    let status = supervisor.loops()[0];
    (status.wanted, status.running)
}

/// Waits until a loop has ended so many times without having been asked to.
async fn until_failures(supervisor: &Supervisor, failures: u64) {
    while supervisor.loops()[0].failures < failures {
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn loop_that_never_gets_steady_starts_after_longer_and_longer_pauses() {
    let supervisor = Supervisor::new();
    let (started, mut starts) = tokio::sync::mpsc::unbounded_channel();
    let _running = supervisor.spawn(WHICH, move || {
        started.send(Instant::now()).unwrap();
        async {
            sleep(Duration::from_secs(9)).await;
            Exit::failed("planted")
        }
    });
    let mut before = starts.recv().await.unwrap();
    for pause in [10, 20, 40, 80] {
        let start = starts.recv().await.unwrap();
        let expected = Duration::from_secs(9) + Duration::from_millis(pause);
        assert_eq!(start - before, expected);
        before = start;
    }
}

#[tokio::test(start_paused = true)]
async fn loop_that_was_restarted_is_down_for_two_seconds() {
    let supervisor = Supervisor::new();
    let mut is_first = true;
    let _running = supervisor.spawn(WHICH, move || {
        let fails = std::mem::take(&mut is_first);
        async move {
            if fails {
                return Exit::failed("planted");
            }
            pending().await
        }
    });
    assert_eq!(register(&supervisor), (1, 1), "from when it was spawned");
    until_failures(&supervisor, 1).await;
    sleep(Duration::from_millis(1_900)).await;
    assert_eq!(register(&supervisor), (1, 1));
    assert_eq!(supervisor.down(), [WHICH.name()]);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(supervisor.down(), Vec::<&str>::new());
}

#[tokio::test(start_paused = true)]
async fn loop_that_panics_when_it_is_made_is_made_again() {
    let supervisor = Supervisor::new();
    let mut is_first = true;
    let _running = supervisor.spawn(WHICH, move || {
        assert!(!std::mem::take(&mut is_first), "planted");
        pending()
    });
    until_failures(&supervisor, 1).await;
    assert_eq!(register(&supervisor), (1, 0));
    sleep(Duration::from_millis(10)).await;
    assert_eq!(register(&supervisor), (1, 1));
}

#[tokio::test]
async fn aborting_the_handle_cuts_the_loop_off() {
    let supervisor = Supervisor::new();
    let (held, mut watched) = watch::channel(());
    let mut held = Some(held);
    let running = supervisor.spawn(WHICH, move || {
        let held = held.take();
        async move {
            let held = held.unwrap();
            held.send_replace(());
            pending().await
        }
    });
    watched.changed().await.unwrap();
    running.abort();
    // Closed once the loop has been dropped.
    watched.changed().await.unwrap_err();
    assert_eq!(register(&supervisor), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn loop_that_is_stopped_during_its_pause_leaves_the_others_running() {
    let supervisor = Supervisor::new();
    let _steady = supervisor.spawn(WHICH, pending);
    let failing = supervisor.spawn(WHICH, || async { Exit::failed("planted") });
    until_failures(&supervisor, 1).await;
    assert_eq!(register(&supervisor), (2, 1));
    failing.abort();
    failing.await.unwrap_err();
    assert_eq!(register(&supervisor), (1, 1));
}

#[test]
fn thread_is_running_whenever_it_runs_and_pauses_before_it_starts_again() {
    let supervisor = Supervisor::new();
    let (begun, begins) = mpsc::channel();
    let mut left = 4;
    let register_of = supervisor.clone();
    let running = supervisor.spawn_thread(WHICH, "test", move |_| {
        begun.send(register(&register_of)).unwrap();
        left -= 1;
        if left == 0 {
            return Exit::Stopped;
        }
        Exit::failed("planted")
    });
    let since = std::time::Instant::now();
    running.unwrap().join().unwrap();
    assert_eq!(begins.iter().collect::<Vec<_>>(), [(1, 1); 4]);
    assert!(since.elapsed() >= Duration::from_millis(10 + 20));
    assert_eq!(register(&supervisor), (0, 0));
}

/// Counts the ends of loops, or panics.
struct Counting {
    ends: Arc<AtomicU64>,
    is_broken: bool,
}

impl Recorder for Counting {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        assert!(!self.is_broken, "planted");
        let mut labels = key.labels();
        let is_its = labels.any(|label| (label.key(), label.value()) == ("loop", WHICH.name()));
        if key.name() == metric::LOOP_FAILURES && is_its {
            return Counter::from_arc(Arc::clone(&self.ends));
        }
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test(start_paused = true)]
async fn ends_are_counted_and_a_recorder_that_panics_prevents_no_restart() {
    for is_broken in [false, true] {
        let ends = Arc::<AtomicU64>::default();
        let recorder = Counting {
            ends: Arc::clone(&ends),
            is_broken,
        };
        let _recording = metrics::set_default_local_recorder(&recorder);
        let supervisor = Supervisor::new();
        let starts = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&starts);
        let running = supervisor.spawn(WHICH, move || {
            let start = counted.fetch_add(1, Ordering::SeqCst);
            async move {
                if start < 2 {
                    return Exit::failed("planted");
                }
                Exit::Stopped
            }
        });
        running.await.unwrap();
        assert_eq!(starts.load(Ordering::SeqCst), 3);
        let counted = if is_broken { 0 } else { 2 };
        assert_eq!(ends.load(Ordering::SeqCst), counted);
    }
}
