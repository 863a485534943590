//! Time from the commit of an app's own transaction until a worker that waits has leased its delivery.

use std::time::{Duration, Instant};

use nahook_benches::event;
use nahook_control::{ApplyMode, Catalog, EndpointSpec, EventTypeSpec, Manifest, WorkspaceSpec};
use nahook_core::id::WorkspaceId;
use nahook_core::{EventTypeName, EventTypeSelector};
use nahook_queue::{DeliveryQueue, LeaseRequest, WorkerId};
use nahook_sqlite::{SqliteSettings, SqliteStore};
use rusqlite::{Connection, TransactionBehavior};
use tempfile::TempDir;

/// Prints the distribution over so many commits, one after the other, on a store that is idle otherwise.
pub(crate) async fn print(commits: usize) {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("shop.db");
    let store = SqliteStore::open(&path, SqliteSettings::default()).expect("a file");
    let workspace = WorkspaceId::from_bits(1);
    let name = EventTypeName::new("order.paid").expect("a name");
    let endpoint = EndpointSpec {
        url: "https://customer.example/hooks".to_owned(),
        event_types: Some(vec![EventTypeSelector::Name(name.clone())]),
        ..EndpointSpec::default()
    };
    let shop = WorkspaceSpec {
        id: Some(workspace),
        name: "shop".to_owned(),
        event_types: vec![EventTypeSpec::named(name)],
        endpoints: vec![endpoint],
        ..WorkspaceSpec::default()
    };
    let manifest = Manifest::from(shop);
    let applied = store.apply(&manifest, ApplyMode::Commit).await;
    applied.expect("a manifest");
    let mut app = Connection::open(&path).expect("a connection");
    let mut taken = Vec::with_capacity(commits);
    for _ in 0..commits {
        let waiting = tokio::spawn(leased(store.clone()));
        // The worker has found nothing and waits.
        tokio::time::sleep(Duration::from_millis(5)).await;
        let committed = commit(&store, &mut app, workspace);
        let leased = waiting.await.expect("leased");
        taken.push(leased.saturating_duration_since(committed));
    }
    taken.sort_unstable();
    let at = |percent: usize| taken[(commits - 1) * percent / 100].as_micros();
    println!(
        "from an app's commit to the lease, {commits} commits: median {} µs, p99 {} µs, worst {} µs",
        at(50),
        at(99),
        at(100)
    );
}

/// Queues an event in a transaction. Answers the moment at which it was committed.
fn commit(store: &SqliteStore, app: &mut Connection, workspace: WorkspaceId) -> Instant {
    let tx = app.transaction_with_behavior(TransactionBehavior::Immediate);
    let tx = tx.expect("a transaction");
    let event = event(200).expect("an event");
    store.trigger_in(&tx, &event, workspace).expect("queued");
    tx.commit().expect("committed");
    Instant::now()
}

/// The moment at which something is leased.
async fn leased(store: SqliteStore) -> Instant {
    let request = LeaseRequest::new(WorkerId(1), 1, Duration::from_mins(1));
    loop {
        let batch = store.lease(&request).await.expect("leases");
        if !batch.deliveries.is_empty() {
            return Instant::now();
        }
        store.changed(batch.generation).await;
    }
}
