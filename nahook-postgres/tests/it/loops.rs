//! Every loop of the store, ended in every way.

use std::collections::BTreeSet;
use std::time::Duration;

use nahook_control::{ApplyMode, Catalog};
use nahook_core::id::DeliveryId;
use nahook_core::{Delivery, FailureKind, Outcome};
use nahook_postgres::{PostgresSettings, PostgresStore};
use nahook_supervision::{Death, Loop, Supervisor};
use nahook_testkit::ManualClock;
use nahook_testserver::PostgresServer;

use crate::support::{
    client, connect, leasable, listeners, outcomes, publish, rows, settings, shop, spread, until,
};

fn failures(supervisor: &Supervisor, which: Loop) -> u64 {
    let loops = supervisor.loops();
    let status = loops.iter().find(|status| status.which == which).unwrap();
    status.failures
}

/// A store whose loops the test can end.
async fn store_with(settings: PostgresSettings) -> (String, Supervisor, PostgresStore) {
    let url = PostgresServer::shared().create_database();
    let supervisor = settings.supervisor.clone();
    let store = connect(&url, settings).await;
    store.apply(&shop(2), ApplyMode::Commit).await.unwrap();
    (url, supervisor, store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn store_runs_its_loops_under_the_supervisor_and_stops_them() {
    let (_, supervisor, store) = store_with(settings(2)).await;
    // What is in hand is kept once leases were asked for.
    assert_eq!(leasable(&store).await, []);
    let running = || {
        let loops = supervisor.loops();
        let running = loops.iter().map(|status| (status.which, status.running));
        running.collect::<Vec<_>>()
    };
    assert_eq!(
        running(),
        [
            (Loop::PostgresWriter, 2),
            (Loop::PostgresKeeper, 1),
            (Loop::PostgresListener, 1),
            (Loop::PostgresRetention, 1)
        ]
    );
    store.close().await.unwrap();
    assert!(running().iter().all(|(_, count)| *count == 0));
    assert_eq!(supervisor.down(), Vec::<&str>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writer_that_dies_answers_truthfully_and_is_replaced() {
    for death in Death::ALL {
        let (_, supervisor, store) = store_with(settings(1)).await;
        let publishing = (0..60).map(|number| {
            let store = store.clone();
            tokio::spawn(async move { publish(&store, number, 2).await })
        });
        let publishing: Vec<_> = publishing.collect();
        for killed in 1..=3 {
            supervisor.kill(Loop::PostgresWriter, *death);
            until("it was noticed", || async {
                failures(&supervisor, Loop::PostgresWriter) == killed
            })
            .await;
        }
        let mut published: Vec<Delivery> = Vec::new();
        for one in publishing {
            published.extend(one.await.unwrap());
        }
        let after = publish(&store, 1_000, 2).await;
        assert_eq!(outcomes(&after), ["published"; 2], "{death:?}");
        published.extend(after);
        let queued: BTreeSet<DeliveryId> = leasable(&store).await.into_iter().collect();
        for delivery in &published {
            let is_queued = queued.contains(&delivery.id());
            match delivery.outcome() {
                Outcome::Published | Outcome::Replayed(_) => assert!(is_queued, "{death:?}"),
                Outcome::Failed(FailureKind::Unconfirmed) => {}
                Outcome::Failed(kind) => assert!(!is_queued, "{death:?}: {}", kind.code()),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listener_that_dies_is_replaced() {
    for death in Death::ALL {
        let (url, supervisor, _store) = store_with(settings(1)).await;
        let observer = client(&url).await;
        until("it listens", || async {
            listeners(&observer).await.len() == 1
        })
        .await;
        let before = listeners(&observer).await;
        supervisor.kill(Loop::PostgresListener, *death);
        until("another listens", || async {
            let now = listeners(&observer).await;
            now.len() == 1 && now != before
        })
        .await;
        assert_eq!(failures(&supervisor, Loop::PostgresListener), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_that_dies_goes_on() {
    for death in Death::ALL {
        let clock = ManualClock::default();
        let mut settings = settings(1).with_clock(clock.clone());
        settings.retention_interval = Duration::from_millis(20);
        let (url, supervisor, store) = store_with(settings).await;
        supervisor.kill(Loop::PostgresRetention, *death);
        until("it was noticed", || async {
            failures(&supervisor, Loop::PostgresRetention) == 1
        })
        .await;
        assert_eq!(outcomes(&publish(&store, 1, 2).await), ["published"; 2]);
        let settle = "UPDATE nahook.delivery SET due_at = NULL, status = 2";
        spread(&url).await;
        let client = client(&url).await;
        client.batch_execute(settle).await.unwrap();
        // Events are published as of today.
        clock.advance(Duration::from_hours(24 * 365 * 200));
        until("it forgets", || async { rows(&url).await == 0 }).await;
    }
}
