//! Every loop of the store dies in every way, and the store goes on without anybody's help.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::Duration;

use nahook_control::{Catalog, EndpointDirectory};
use nahook_core::admission::Rate;
use nahook_core::id::DeliveryId;
use nahook_core::{RateLimiter, SubscriptionStore};
use nahook_queue::{DeliveryLog, DeliveryQueue, Next, Settled, Settlement};
use nahook_sqlite::{SqliteLimiter, SqliteSettings, SqliteStore};
use nahook_supervision::{Death, Loop, Supervisor};
use nahook_testkit::ManualClock;
use nahook_testkit::declare::{caller, event_type_name, scope, workspace_id};

use crate::support::{
    EVENT_TYPE, NOW, Place, WORKSPACE, all_published, declare, first_endpoints, ids, lease,
    publish, queued,
};

const LOOPS: [Loop; 6] = [
    Loop::SqliteWriter,
    Loop::SqliteReader,
    Loop::SqliteLeaser,
    Loop::SqliteCheckpoint,
    Loop::SqliteRetention,
    Loop::SqliteLimiter,
];

/// A store, and what became of what it has accepted.
struct Bench {
    place: Place,
    clock: ManualClock,
    supervisor: Supervisor,
    store: SqliteStore,
    limiter: SqliteLimiter,
    accepted: Mutex<BTreeSet<DeliveryId>>,
    settled: Mutex<BTreeSet<DeliveryId>>,
}

impl Bench {
    async fn new() -> Self {
        let (place, clock) = (Place::new(), ManualClock::starting_at(NOW));
        let supervisor = Supervisor::new();
        let mut settings = SqliteSettings::server().with_clock(clock.clone());
        settings.retention_interval = Duration::from_millis(5);
        settings.supervisor = supervisor.clone();
        let store = SqliteStore::open(place.file(), settings).unwrap();
        declare(&store, 3).await;
        let limiter = SqliteLimiter::load(&store).await.unwrap();
        Self {
            place,
            clock,
            supervisor,
            store,
            limiter,
            accepted: Mutex::default(),
            settled: Mutex::default(),
        }
    }

    fn failures(&self, which: Loop) -> u64 {
        let loops = self.supervisor.loops();
        let status = loops.iter().find(|status| status.which == which);
        status.unwrap().failures
    }

    /// Ends the loop, and uses the store until it has died and after that.
    async fn kill(&self, which: Loop, death: Death, first: u64) {
        let before = self.failures(which);
        self.supervisor.kill(which, death);
        let mut number = first;
        while self.failures(which) == before {
            assert!(number < first + 10_000, "{which:?} does not die");
            self.use_all(number).await;
            number += 1;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.use_all(number).await;
    }

    /// Does whatever a store is for.
    async fn use_all(&self, number: u64) {
        let slots = publish(&self.store, number, 3).await;
        assert!(all_published(&slots), "{slots:?}");
        self.accepted.lock().unwrap().extend(ids(&slots));
        let leased = lease(&self.store, 1).await[0].lease;
        let delivered = Settlement {
            lease: leased,
            attempt: None,
            next: Next::Delivered,
        };
        let settled = self.store.settle(&[delivered]).await.unwrap();
        assert_eq!(settled, [Settled::Done]);
        assert!(self.settled.lock().unwrap().insert(leased.delivery));

        let workspace = workspace_id(WORKSPACE);
        let record = self.store.delivery(slots[0].id(), &workspace).await;
        assert!(record.unwrap().is_some());
        let (name, scope) = (event_type_name(EVENT_TYPE), scope(WORKSPACE, None));
        let subscribers = self.store.subscribers(&name, &scope).await;
        assert!(subscribers.unwrap().is_some());
        let targets = self.store.targets(&first_endpoints(3)).await.unwrap();
        assert!(targets.iter().all(Option::is_some));
        assert_eq!(self.store.workspaces().await.unwrap().len(), 1);
        self.store.check_writable().await.unwrap();
        self.spend(number).await;
    }

    /// Spends a quota that has to survive a restart.
    async fn spend(&self, number: u64) {
        let mut daily = caller(WORKSPACE, &format!("daily_{number}"));
        let one = NonZeroU32::MIN;
        daily.plan.key_rate = Rate::new(one, Duration::from_hours(24), one);
        self.limiter.check(&daily).await.unwrap();
    }

    fn count(&self, rows: &str) -> i64 {
        let statement = format!("SELECT count(*) FROM nahook_{rows}");
        let counted = self.place.raw().query_row(&statement, [], |row| row.get(0));
        counted.unwrap()
    }

    /// Waits for a fact.
    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let mut looks = 0;
        while !is_so(self) {
            looks += 1;
            assert!(looks < 2_000, "never: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn every_death_is_survived(which: Loop) {
    let bench = Bench::new().await;
    for (nth, death) in (1_u64..).zip(Death::ALL) {
        bench.kill(which, *death, nth * 1_000_000).await;
        assert_eq!(bench.failures(which), nth);
    }
    // Whatever was accepted was settled, or is still there.
    let mut found = queued(&bench.store).await;
    let settled = bench.settled.lock().unwrap().clone();
    assert!(found.is_disjoint(&settled));
    found.extend(settled);
    assert_eq!(found, *bench.accepted.lock().unwrap());

    // Retention goes on, and takes what is settled alone.
    let (waiting, settled) = (
        "delivery WHERE coalesce(status, 0) <> 2",
        "delivery WHERE status = 2",
    );
    let before = bench.count(waiting);
    let event = publish(&bench.store, 9_000_000, 1).await;
    for leased in lease(&bench.store, 1).await {
        assert_eq!(leased.lease.delivery, event[0].id());
        let delivered = Settlement {
            lease: leased.lease,
            attempt: None,
            next: Next::Delivered,
        };
        bench.store.settle(&[delivered]).await.unwrap();
    }
    let old = bench.count(settled);
    bench.clock.advance(Duration::from_hours(8 * 24));
    bench
        .until("the old event goes", |bench| bench.count(settled) < old)
        .await;
    assert_eq!(bench.count(waiting), before);

    // What is owed to the limiter is kept.
    bench.spend(9_000_001).await;
    bench
        .until("the debt is kept", |bench| {
            bench.count("limiter_arrival WHERE id = 'daily_9000001'") == 1
        })
        .await;
    // The WAL is checkpointed beside the writer.
    let file = bench.place.file();
    let len = || std::fs::metadata(&file).unwrap().len();
    let before = len();
    for number in 9_100_000.. {
        if len() > before {
            break;
        }
        assert!(number < 9_200_000, "nobody checkpoints");
        publish(&bench.store, number, 3).await;
    }
    let status = bench.supervisor.loops();
    assert!(status.iter().all(|status| status.running == status.wanted));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writer_that_dies_is_replaced() {
    every_death_is_survived(Loop::SqliteWriter).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reader_that_dies_is_replaced() {
    every_death_is_survived(Loop::SqliteReader).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaser_that_dies_is_replaced() {
    every_death_is_survived(Loop::SqliteLeaser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checkpointer_that_dies_is_replaced() {
    every_death_is_survived(Loop::SqliteCheckpoint).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_that_dies_is_replaced() {
    every_death_is_survived(Loop::SqliteRetention).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limiter_keeper_that_dies_is_replaced() {
    every_death_is_survived(Loop::SqliteLimiter).await;
}

#[tokio::test]
async fn every_loop_of_the_store_is_supervised() {
    let bench = Bench::new().await;
    let running: BTreeSet<_> = bench.supervisor.loops().iter().map(|it| it.which).collect();
    assert_eq!(running, BTreeSet::from(LOOPS));
    let all = Loop::ALL.iter().copied();
    let of_sqlite: BTreeSet<_> = all.filter(|it| it.name().starts_with("sqlite_")).collect();
    assert_eq!(running, of_sqlite);
    let supervisor = bench.supervisor.clone();
    drop(bench);
    assert!(supervisor.loops().iter().all(|status| status.wanted == 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn store_closes_whatever_has_just_died() {
    for which in LOOPS {
        for death in Death::ALL {
            let bench = Bench::new().await;
            let slots = publish(&bench.store, 1, 3).await;
            assert!(all_published(&slots));
            bench.supervisor.kill(which, *death);
            let Bench { store, place, .. } = bench;
            store.close().await.unwrap();
            drop(store);
            assert_eq!(queued(&place.open()).await, ids(&slots), "{which:?}");
        }
    }
}
