//! Every loop, ended in every way: deliveries go on, nothing accepted is lost, and nobody has to help.

use std::collections::HashSet;
use std::future::pending;
use std::time::Duration;

use nahook_control::{ApplyMode, Catalog as _};
use nahook_core::id::DeliveryId;
use nahook_core::{Clock as _, Outcome, SystemClock};
use nahook_memory::MemoryStore;
use nahook_nats::{Nats, NatsSettings, connect};
use nahook_queue::{DeliveryLog as _, DeliveryQueue as _, DeliveryStatus, Next};
use nahook_supervision::{Death, Loop, Supervisor};
use nahook_testkit::declare::{Workspace, workspace_id};
use nahook_testkit::run;
use nahook_testserver::NatsServer;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{ids, publish, published, request, settle};

const PATIENCE: Duration = Duration::from_mins(1);
const WORKSPACE: &str = "ws_shop";

/// The loops of this crate; the name says whose they are.
fn loops() -> Vec<Loop> {
    let all = Loop::ALL.iter().copied();
    all.filter(|which| which.name().starts_with("nats_"))
        .collect()
}

/// A process with a queue of its own on the server, and a store that records its log.
struct Process {
    nats: Nats,
    settings: NatsSettings,
    store: MemoryStore,
    recording: JoinHandle<()>,
}

impl Process {
    async fn start(url: &str) -> Self {
        let mut settings = NatsSettings::default();
        settings.supervisor = Supervisor::new();
        settings.log = true;
        settings.ack_wait = Duration::from_secs(2);
        // So that every retry moves.
        settings.keep_retries_for = Duration::ZERO;
        let nats = connect(url, settings.clone()).await.unwrap();
        let store = MemoryStore::default();
        let manifest = Workspace::new(WORKSPACE)
            .event_type("order.paid")
            .endpoints(5)
            .manifest();
        store.apply(&manifest, ApplyMode::Commit).await.unwrap();
        let (log, recorder) = (nats.log.clone().unwrap(), store.clone());
        let recording = tokio::spawn(async move { log.run(recorder, pending()).await });
        nats.queue.caught_up().await.unwrap();
        let process = Self {
            nats,
            settings,
            store,
            recording,
        };
        process
            .until("all loops run", || {
                let running = process.settings.supervisor.loops();
                running.len() == loops().len() && running.iter().all(|status| status.running == 1)
            })
            .await;
        process
    }

    async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so() {
            let loops = self.settings.supervisor.loops();
            assert!(Instant::now() < end, "{what}: {loops:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Publishes, each call with its own number, and answers what is or may be queued.
    async fn publish(&self, numbers: std::ops::Range<u64>) -> (HashSet<DeliveryId>, usize) {
        let (mut queued, mut unclear) = (HashSet::new(), 0);
        for number in numbers {
            let slots = timeout(PATIENCE, publish(&self.nats, number, 5))
                .await
                .unwrap();
            unclear += slots
                .iter()
                .filter(|slot| slot.outcome() != Outcome::Published)
                .count();
            queued.extend(published(&slots));
        }
        (queued, unclear)
    }

    /// Works until these have been delivered, each retried once; answers how often each was delivered.
    async fn deliver(&self, wanted: &HashSet<DeliveryId>) -> Vec<DeliveryId> {
        let mut delivered = Vec::new();
        let end = Instant::now() + PATIENCE;
        while !wanted.iter().all(|id| delivered.contains(id)) {
            let missing = wanted.len() - delivered.len().min(wanted.len());
            let loops = self.settings.supervisor.loops();
            assert!(
                Instant::now() < end,
                "{missing} are not delivered: {loops:?}"
            );
            let leased = self.nats.queue.lease(&request(1, 100)).await.unwrap();
            let (fresh, retried): (Vec<_>, Vec<_>) = leased
                .deliveries
                .into_iter()
                .partition(|leased| leased.attempts == 0);
            let soon = SystemClock.now().saturating_add(Duration::from_millis(100));
            settle(&self.nats.queue, &fresh, Next::Retry(soon)).await;
            settle(&self.nats.queue, &retried, Next::Delivered).await;
            delivered.extend(ids(&retried));
            sleep(Duration::from_millis(20)).await;
        }
        delivered
    }

    async fn is_logged(&self, delivered: &HashSet<DeliveryId>) {
        let end = Instant::now() + PATIENCE;
        for id in delivered {
            loop {
                let shown = self.store.delivery(*id, &workspace_id(WORKSPACE)).await;
                let status = shown.unwrap().map(|record| record.status);
                if status == Some(DeliveryStatus::Delivered) {
                    break;
                }
                assert!(Instant::now() < end, "{id} is logged as {status:?}");
                sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// One loop dies amid work. Afterwards all of what it does goes on.
async fn kill_and_go_on(process: &Process, which: Loop, death: Death, first: u64) {
    let name = format!("{} {death:?}", which.name());
    let supervisor = &process.settings.supervisor;
    let (mut queued, unclear) = process.publish(first..first + 3).await;
    assert_eq!(unclear, 0, "{name}: before");
    supervisor.kill(which, death);
    // Meanwhile the process is used.
    let (meanwhile, _) = process.publish(first + 10..first + 15).await;
    queued.extend(meanwhile);
    process
        .until(&format!("{name} starts again"), || {
            let running = supervisor.loops();
            let status = running.iter().find(|status| status.which == which).unwrap();
            status.failures == 1 && status.running == 1
        })
        .await;
    let (after, unclear) = process.publish(first + 20..first + 23).await;
    assert_eq!(unclear, 0, "{name}: publishing goes on");
    queued.extend(after);
    process.deliver(&queued).await;
    process.is_logged(&queued).await;
    assert_eq!(process.nats.check_publishable().await, Ok(()), "{name}");
}

fn kill_each(death: Death) {
    run(async {
        let server = NatsServer::start();
        let process = Process::start(&server.url()).await;
        for (which, nth) in loops().into_iter().zip(1..) {
            kill_and_go_on(&process, which, death, nth * 1_000).await;
        }
        let supervisor = &process.settings.supervisor;
        process
            .until("all loops are up", || supervisor.down().is_empty())
            .await;
    });
}

#[test]
fn loops_that_panic_start_again() {
    kill_each(Death::Panic);
}

#[test]
fn loops_that_fail_start_again() {
    kill_each(Death::Fail);
}

#[test]
fn loops_that_are_aborted_start_again() {
    kill_each(Death::Abort);
}

/// The list and the crate are in step: every loop of the list is started, and all end with the last handle.
#[test]
fn all_loops_end_with_their_process() {
    run(async {
        let server = NatsServer::start();
        let process = Process::start(&server.url()).await;
        let supervisor = process.settings.supervisor.clone();
        process.nats.close().await;
        process.recording.abort();
        let _ = process.recording.await;
        drop(process.nats);
        let end = Instant::now() + PATIENCE;
        let left = || -> Vec<_> {
            let loops = supervisor.loops().into_iter();
            let running = loops.filter(|status| status.wanted > 0);
            running.map(|status| status.which.name()).collect()
        };
        while !left().is_empty() {
            assert!(Instant::now() < end, "{:?}", left());
            sleep(Duration::from_millis(20)).await;
        }
    });
}
