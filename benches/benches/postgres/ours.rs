//! The adapter.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nahook_benches::event;
use nahook_control::{ApplyMode, Catalog, EndpointSpec, EventTypeSpec, Manifest, WorkspaceSpec};
use nahook_core::id::{EndpointId, EventTypeId, MessageId, WorkspaceId};
use nahook_core::{
    Clock, Delivery, DeliveryPublisher, Event, EventTypeName, NewEvent, Outcome, SubscriptionStore,
    SystemClock,
};
use nahook_postgres::{PostgresSettings, PostgresStore};
use nahook_queue::{
    Attempt, DeliveryQueue, LeaseRequest, LeasedDelivery, Next, Settlement, WorkerId,
};
use tokio_postgres::NoTls;

use crate::{BATCH, WIDTHS};

pub(crate) struct Ours {
    store: PostgresStore,
    /// Looks up without a cache.
    asking: PostgresStore,
    workspace: WorkspaceId,
    endpoints: Vec<EndpointId>,
    numbers: Arc<AtomicU64>,
    filling: tokio_postgres::Client,
}

fn name(width: usize) -> EventTypeName {
    EventTypeName::new(&format!("order.to{width}")).expect("a name")
}

fn event_type(width: usize) -> EventTypeId {
    EventTypeId::from_bits(u128::try_from(width).expect("a number"))
}

impl Ours {
    pub(crate) async fn new(url: &str) -> Self {
        let settings = PostgresSettings::default();
        let store = PostgresStore::connect(url, settings.clone())
            .await
            .expect("a server");
        let workspace = WorkspaceId::from_bits(1);
        let endpoints: Vec<_> = (0..WIDTHS[3])
            .map(|n| EndpointId::from_bits(n as u128))
            .collect();
        let spec = |(number, id): (usize, &EndpointId)| EndpointSpec {
            id: Some(*id),
            url: "https://customer.example/hooks".to_owned(),
            event_types: Some(
                WIDTHS
                    .into_iter()
                    .filter(|width| number < *width)
                    .map(|width| name(width).into())
                    .collect(),
            ),
            ..EndpointSpec::default()
        };
        let types = WIDTHS.into_iter().map(|width| EventTypeSpec {
            id: Some(event_type(width)),
            ..EventTypeSpec::named(name(width))
        });
        let shop = WorkspaceSpec {
            id: Some(workspace),
            name: "shop".to_owned(),
            event_types: types.collect(),
            endpoints: endpoints.iter().enumerate().map(spec).collect(),
            ..WorkspaceSpec::default()
        };
        let manifest = Manifest::from(shop);
        store
            .apply(&manifest, ApplyMode::Commit)
            .await
            .expect("a manifest");
        let mut asking = settings;
        asking.cache_len_max = 0;
        let asking = PostgresStore::connect(url, asking).await.expect("a server");
        let (filling, connection) = tokio_postgres::connect(url, NoTls).await.expect("a server");
        tokio::spawn(connection);
        filling
            .batch_execute("SET search_path = nahook; ANALYZE")
            .await
            .expect("statistics");
        Self {
            store,
            asking,
            workspace,
            endpoints,
            numbers: Arc::default(),
            filling,
        }
    }

    pub(crate) async fn look_up(&self, width: usize, times: u64) -> Duration {
        let (name, scope) = (name(width), nahook_benches::workspace().into());
        let began = Instant::now();
        for _ in 0..times {
            let found = self
                .asking
                .subscribers(&name, &scope)
                .await
                .expect("an answer");
            assert_eq!(found.map_or(0, |found| found.endpoints.len()), width);
        }
        began.elapsed()
    }

    /// So many callers publish so many events each, one after the other.
    pub(crate) async fn publish(&self, width: usize, callers: usize, times: u64) -> Duration {
        let began = Instant::now();
        let mut tasks = Vec::with_capacity(callers);
        for _ in 0..callers {
            let (store, numbers) = (self.store.clone(), Arc::clone(&self.numbers));
            let (workspace, endpoints) = (self.workspace, self.endpoints[..width].to_vec());
            tasks.push(tokio::spawn(async move {
                let new = event(200).expect("an event");
                for _ in 0..times {
                    let number = numbers.fetch_add(1, Ordering::Relaxed);
                    let (event, mut slots) =
                        order(new.clone(), workspace, width, number, &endpoints);
                    store.publish(&event, &mut slots).await;
                    assert!(
                        slots
                            .iter()
                            .all(|slot| slot.outcome() == Outcome::Published)
                    );
                }
            }));
        }
        for task in tasks {
            task.await.expect("published");
        }
        began.elapsed()
    }

    /// Takes batches out of a queue with ten events to everybody for each; what is not to be measured of it is done aside.
    pub(crate) async fn take(&self, settles: bool, times: u64) -> Duration {
        self.fill(times).await;
        let request = LeaseRequest::new(WorkerId(1), BATCH, Duration::from_mins(1));
        let mut took = Duration::ZERO;
        for _ in 0..times {
            let began = Instant::now();
            let batch = self.store.lease(&request).await.expect("leases");
            let leased = began.elapsed();
            assert_eq!(batch.deliveries.len(), BATCH);
            let settlements: Vec<_> = batch.deliveries.iter().map(delivered).collect();
            let began = Instant::now();
            self.store.settle(&settlements).await.expect("settled");
            took += leased
                + if settles {
                    began.elapsed()
                } else {
                    Duration::ZERO
                };
        }
        took
    }

    /// Leaves in the queue what so many batches take, and some more.
    async fn fill(&self, batches: u64) {
        let events = NonZeroU64::new(batches.div_ceil(10) + 1).expect("at least one");
        self.filling
            .batch_execute(&format!(
                "TRUNCATE delivery, attempt, event;
                INSERT INTO event (seq, id, workspace, event_type, accepted_at, payload)
                    SELECT nextval('event_seq'), lpad(to_hex(n << 20), 32, '0')::uuid, w.row,
                        (SELECT min(row) FROM event_type), n, '{{}}'
                    FROM generate_series(1::bigint, {events}) n, workspace w;
                INSERT INTO delivery (key, endpoint, due_at, attempts, status)
                    SELECT (e.seq << 20) | (p.row - first.row), p.row, e.accepted_at, 0, 0
                    FROM event e, endpoint p, (SELECT min(row) AS row FROM endpoint) first;
                ANALYZE delivery"
            ))
            .await
            .expect("a full queue");
    }
}

fn order(
    new: NewEvent,
    workspace: WorkspaceId,
    width: usize,
    number: u64,
    endpoints: &[EndpointId],
) -> (Event, Vec<Delivery>) {
    let now = SystemClock.now();
    let id = MessageId::from_parts(now, u128::from(number) << 33);
    let event = Event::new(new, id, event_type(width), workspace, now);
    let slots = (0..)
        .zip(endpoints)
        .map(|(ordinal, endpoint)| Delivery::new(id, ordinal, *endpoint));
    (event, slots.collect())
}

fn delivered(leased: &LeasedDelivery) -> Settlement {
    Settlement {
        lease: leased.lease,
        attempt: Some(Attempt::answered(
            leased.accepted_at,
            Duration::from_millis(20),
            200,
        )),
        next: Next::Delivered,
    }
}
