//! A store in a directory of its own, and what the tests do with it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nahook_control::{Actor, ApplyMode, Catalog, KeyState, Management};
use nahook_core::id::{DeliveryId, EndpointId};
use nahook_core::{Clock, Delivery, DeliveryPublisher, FailureKind, Outcome, Timestamp};
use nahook_queue::{DeliveryQueue, LeaseRequest, LeasedDelivery, WorkerId};
use nahook_sqlite::{SqliteSettings, SqliteStore};
use nahook_testkit::declare::{
    Workspace, api_key_id, deliveries, event, nth_endpoint_id, workspace_id,
};
use rusqlite::Connection;
use tempfile::TempDir;

pub(crate) const WORKSPACE: &str = "ws_shop";
pub(crate) const EVENT_TYPE: &str = "order.paid";
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// A clock that stands still.
#[derive(Clone, Copy)]
pub(crate) struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        NOW
    }
}

/// A directory for a store, gone when dropped.
pub(crate) struct Place {
    pub(crate) directory: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("nahook.db")
    }

    pub(crate) fn open(&self) -> SqliteStore {
        open(&self.file())
    }

    /// A connection that knows nothing of the store.
    pub(crate) fn raw(&self) -> Connection {
        Connection::open(self.file()).unwrap()
    }
}

/// Enables, disables or revokes a key of the workspace.
pub(crate) async fn set_key_state(store: &SqliteStore, key: &str, state: KeyState) {
    let (workspace, key) = (workspace_id(WORKSPACE), api_key_id(key));
    Management::new(store.clone())
        .set_api_key_state(&workspace, &Actor::operator(), key, state)
        .await
        .unwrap();
}

pub(crate) fn server() -> SqliteSettings {
    SqliteSettings::server().with_clock(Still)
}

pub(crate) fn open(file: &Path) -> SqliteStore {
    SqliteStore::open(file, server()).unwrap()
}

/// Declares so many endpoints, none of them subscribed.
pub(crate) async fn declare(store: &SqliteStore, endpoints: usize) {
    let manifest = Workspace::new(WORKSPACE)
        .event_type(EVENT_TYPE)
        .endpoints(endpoints)
        .manifest();
    store.apply(&manifest, ApplyMode::Commit).await.unwrap();
}

/// Publishes the event with that number to so many endpoints.
pub(crate) async fn publish(store: &SqliteStore, number: u64, endpoints: usize) -> Vec<Delivery> {
    let event = event(WORKSPACE, EVENT_TYPE, number, NOW);
    let mut slots = deliveries(&event, &first_endpoints(endpoints));
    store.publish(&event, &mut slots).await;
    slots
}

pub(crate) fn first_endpoints(count: usize) -> Vec<EndpointId> {
    (0..count).map(nth_endpoint_id).collect()
}

pub(crate) fn all_published(slots: &[Delivery]) -> bool {
    slots
        .iter()
        .all(|slot| slot.outcome() == Outcome::Published)
}

pub(crate) fn all_failed(slots: &[Delivery], kind: FailureKind) -> bool {
    slots
        .iter()
        .all(|slot| slot.outcome() == Outcome::Failed(kind))
}

pub(crate) fn ids(slots: &[Delivery]) -> BTreeSet<DeliveryId> {
    slots.iter().map(Delivery::id).collect()
}

pub(crate) fn request(max: usize) -> LeaseRequest {
    LeaseRequest {
        per_endpoint_max: usize::MAX,
        ..LeaseRequest::new(WorkerId(1), max, Duration::from_mins(1))
    }
}

pub(crate) async fn lease(store: &SqliteStore, max: usize) -> Vec<LeasedDelivery> {
    store.lease(&request(max)).await.unwrap().deliveries
}

/// Every delivery that waits.
pub(crate) async fn queued(store: &SqliteStore) -> BTreeSet<DeliveryId> {
    let leased = lease(store, 1_000_000).await;
    leased.iter().map(|leased| leased.lease.delivery).collect()
}

/// Events and deliveries in the file, and how many of either lack the other.
pub(crate) fn halves(connection: &Connection) -> (i64, i64, i64) {
    let count = |sql: &str| -> i64 {
        let sql = format!(
            "WITH delivery AS (SELECT key FROM nahook_delivery UNION ALL SELECT key FROM nahook_fresh) {sql}"
        );
        connection.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    let orphans = count(
        "SELECT count(*) FROM delivery WHERE NOT EXISTS
             (SELECT 1 FROM nahook_event AS event WHERE event.seq = delivery.key >> 20)",
    );
    let incomplete = count(
        "SELECT count(*) FROM nahook_event AS event WHERE width <>
             (SELECT count(*) FROM delivery WHERE delivery.key >> 20 = event.seq)",
    );
    (
        count("SELECT count(*) FROM nahook_event"),
        count("SELECT count(*) FROM delivery"),
        orphans + incomplete,
    )
}
