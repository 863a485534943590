//! The adapter.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nahook_benches::event;
use nahook_control::{ApplyMode, Catalog, EndpointSpec, EventTypeSpec, Manifest, WorkspaceSpec};
use nahook_core::id::{EndpointId, EventTypeId, MessageId, WorkspaceId};
use nahook_core::{Clock, Delivery, DeliveryPublisher, Event, EventTypeName, Outcome, SystemClock};
use nahook_queue::{
    Attempt, DeliveryQueue, LeaseRequest, LeasedDelivery, Next, Settlement, WorkerId,
};
use nahook_sqlite::{SqliteSettings, SqliteStore};
use tempfile::TempDir;

use crate::{BATCH, WIDTHS};

pub(crate) struct Ours {
    store: SqliteStore,
    workspace: WorkspaceId,
    endpoints: Vec<EndpointId>,
    numbers: Arc<AtomicU64>,
    _folder: TempDir,
}

fn event_type() -> EventTypeId {
    EventTypeId::from_bits(7)
}

impl Ours {
    pub(crate) async fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("nahook.db");
        let store = SqliteStore::open(path, SqliteSettings::default()).expect("a file");
        let workspace = WorkspaceId::from_bits(1);
        let endpoints: Vec<_> = (0..WIDTHS[3])
            .map(|n| EndpointId::from_bits(n as u128))
            .collect();
        let spec = |id: &EndpointId| EndpointSpec {
            id: Some(*id),
            url: "https://customer.example/hooks".to_owned(),
            ..EndpointSpec::default()
        };
        let shop = WorkspaceSpec {
            id: Some(workspace),
            name: "shop".to_owned(),
            event_types: vec![EventTypeSpec {
                id: Some(event_type()),
                ..EventTypeSpec::named(EventTypeName::new("order.paid").expect("a name"))
            }],
            endpoints: endpoints.iter().map(spec).collect(),
            ..WorkspaceSpec::default()
        };
        let manifest = Manifest::from(shop);
        let applied = store.apply(&manifest, ApplyMode::Commit).await;
        applied.expect("a manifest");
        Self {
            store,
            workspace,
            endpoints,
            numbers: Arc::default(),
            _folder: folder,
        }
    }

    /// So many callers publish so many events each, one after the other.
    pub(crate) async fn publish(&self, width: usize, callers: usize, times: u64) -> Duration {
        let began = Instant::now();
        let mut tasks = Vec::with_capacity(callers);
        for _ in 0..callers {
            let (store, numbers) = (self.store.clone(), Arc::clone(&self.numbers));
            let (workspace, endpoints) = (self.workspace, self.endpoints[..width].to_vec());
            tasks.push(tokio::spawn(async move {
                for _ in 0..times {
                    let number = numbers.fetch_add(1, Ordering::Relaxed);
                    let (event, mut slots) = order(workspace, number, &endpoints);
                    store.publish(&event, &mut slots).await;
                    let mut outcomes = slots.iter().map(Delivery::outcome);
                    assert!(outcomes.all(|outcome| outcome == Outcome::Published));
                }
            }));
        }
        for task in tasks {
            task.await.expect("published");
        }
        began.elapsed()
    }

    /// Takes so many batches out of the queue and settles them; what is published for it is not measured.
    pub(crate) async fn take(&self, times: u64) -> Duration {
        // What the other cases have left would be taken first: the queue is as long for both.
        self.publish(BATCH, 1, times).await;
        let request = LeaseRequest::new(WorkerId(1), BATCH, Duration::from_mins(1));
        let began = Instant::now();
        for _ in 0..times {
            let batch = self.store.lease(&request).await.expect("leases");
            assert_eq!(batch.deliveries.len(), BATCH);
            let settlements: Vec<_> = batch.deliveries.iter().map(delivered).collect();
            self.store.settle(&settlements).await.expect("settled");
        }
        began.elapsed()
    }
}

fn delivered(delivery: &LeasedDelivery) -> Settlement {
    Settlement {
        lease: delivery.lease,
        attempt: Some(Attempt::answered(
            SystemClock.now(),
            Duration::from_millis(20),
            200,
        )),
        next: Next::Delivered,
    }
}

fn order(workspace: WorkspaceId, number: u64, endpoints: &[EndpointId]) -> (Event, Vec<Delivery>) {
    let now = SystemClock.now();
    let message = MessageId::from_parts(now, u128::from(number) << 24);
    let event = event(200).expect("an event");
    let event = Event::new(event, message, event_type(), workspace, now);
    let slots = (0..).zip(endpoints);
    let slots = slots.map(|(ordinal, id)| Delivery::new(message, ordinal, *id));
    (event, slots.collect())
}
