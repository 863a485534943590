//! The harness of a back end that has every port but the limiter: it is every other harness, too.

use std::time::Duration;

use nahook_control::{
    Actor, ApplyMode, Catalog, EndpointDirectory, KeyState, KeyStore, Management, ManagementStore,
    Manifest, SessionStore,
};
use nahook_core::id::{ApiKeyId, DeliveryId, WorkspaceId};
use nahook_core::{Delivery, DeliveryPublisher, Event, Metadata, SubscriptionStore, Timestamp};
use nahook_queue::{
    DeliveryCounts, DeliveryLog, DeliveryQueue, DeliveryRecord, DeliveryRecorder, DeliverySearch,
    EventSearch, LeaseRequest, Next, Redelivery, Settlement, WorkerId,
};

use super::{
    CatalogHarness, CountsHarness, EndpointHarness, EventSearchHarness, KeyHarness, LogHarness,
    ManagementHarness, PublisherHarness, QueueHarness, RecorderHarness, RedeliveryHarness,
    SearchHarness, SendHarness, SessionHarness, SubscriptionHarness,
};
use crate::{HeldDelivery, ManualClock};

/// A handle that has every port but [`RateLimiter`](nahook_core::RateLimiter).
pub trait Store:
    SubscriptionStore
    + DeliveryPublisher
    + KeyStore
    + DeliveryQueue
    + EndpointDirectory
    + DeliveryLog
    + DeliveryRecorder
    + DeliveryCounts
    + DeliverySearch
    + EventSearch
    + Redelivery
    + Catalog
    + ManagementStore
    + SessionStore
    + Clone
    + 'static
{
}

impl<T> Store for T where
    T: SubscriptionStore
        + DeliveryPublisher
        + KeyStore
        + DeliveryQueue
        + EndpointDirectory
        + DeliveryLog
        + DeliveryRecorder
        + DeliveryCounts
        + DeliverySearch
        + EventSearch
        + Redelivery
        + Catalog
        + ManagementStore
        + SessionStore
        + Clone
        + 'static
{
}

/// Starts a back end that has every port but the limiter; whoever has one has the other harnesses for free.
pub trait StoreHarness: Sized + Send + Sync + 'static {
    /// The adapter under test; clones are handles to the same state.
    type Store: Store;

    /// Starts the back end, empty, on the harness's clock.
    fn start() -> impl Future<Output = Self> + Send;

    /// A handle to the adapter.
    fn store(&self) -> Self::Store;

    /// The clock that the back end reads.
    fn clock(&self) -> &ManualClock;

    /// Stops the back end in an orderly way and starts it again on what it has kept and on the same clock. `None` says
    /// that it promises to survive no restart.
    fn restart(self) -> impl Future<Output = Option<Self>> + Send;
}

/// Makes every [`StoreHarness`] each of these harnesses, by its store and these methods.
macro_rules! harnesses {
    ($($harness:ident $of:ident $make:ident [$($method:ident)*])+) => {
        $(
            impl<H: StoreHarness> $harness for H {
                type $of = H::Store;

                fn $make(&self) -> H::Store {
                    self.store()
                }

                $(harnesses! { @$method })*
            }
        )+
    };
    (@start) => {
        async fn start() -> Self {
            H::start().await
        }
    };
    (@start_catalog) => {
        async fn start_catalog() -> Self {
            H::start().await
        }
    };
    (@apply) => {
        async fn apply(&self, manifest: &Manifest) {
            apply(&self.store(), manifest).await;
        }
    };
    (@held) => {
        async fn held(&self) -> Vec<HeldDelivery> {
            held(&self.store()).await
        }
    };
    (@make_unreachable) => {
        async fn make_unreachable(&self) -> bool {
            false
        }
    };
    (@record) => {
        async fn record(&self, id: DeliveryId, workspace: &WorkspaceId) -> Option<DeliveryRecord> {
            let record = DeliveryLog::delivery(&self.store(), id, workspace).await;
            record.unwrap_or_else(|error| no_answer("delivery", &error))
        }
    };
    (@publish) => {
        async fn publish(&self, event: &Event, deliveries: &mut [Delivery]) {
            DeliveryPublisher::publish(&self.store(), event, deliveries).await;
        }
    };
    (@set_api_key_state) => {
        async fn set_api_key_state(
            &self,
            workspace: &WorkspaceId,
            key: ApiKeyId,
            state: KeyState,
        ) {
            let management = Management::new(self.store()).with_clock(self.clock().clone());
            let set = management
                .set_api_key_state(workspace, &Actor::operator(), key, state)
                .await;
            assert!(set.is_ok(), "the key's state cannot be set: {set:?}");
        }
    };
    (@now) => {
        fn now(&self) -> Timestamp {
            nahook_core::Clock::now(self.clock())
        }
    };
    (@advance) => {
        fn advance(&self, by: Duration) {
            self.clock().advance(by);
        }
    };
    (@management_clock) => {
        fn management_clock(&self) -> &ManualClock {
            self.clock()
        }
    };
    (@restart) => {
        async fn restart(self) -> Option<Self> {
            H::restart(self).await
        }
    };
    (@restart_catalog) => {
        async fn restart_catalog(self) -> Option<Self> {
            H::restart(self).await
        }
    };
}

harnesses! {
    SubscriptionHarness Subscriptions subscriptions [start apply]
    PublisherHarness Publisher publisher [start apply held restart make_unreachable]
    SendHarness Sender sender [start apply held record advance restart]
    QueueHarness Queue queue [start apply publish now advance restart]
    LogHarness Log log []
    RecorderHarness Recorder recorder []
    KeyHarness Keys keys [start apply set_api_key_state]
    EndpointHarness Endpoints endpoints [start apply]
    CatalogHarness Catalog catalog [start_catalog restart_catalog]
    ManagementHarness Management management [management_clock]
    CountsHarness Counts counts []
    SearchHarness Search search []
    EventSearchHarness Events events []
    SessionHarness Sessions sessions []
    RedeliveryHarness Redelivery redelivery []
}

async fn apply(store: &impl Catalog, manifest: &Manifest) {
    let applied = store.apply(manifest, ApplyMode::Commit).await;
    assert!(
        applied.is_ok(),
        "the manifest cannot be applied: {applied:?}"
    );
}

/// Reads the queue by leasing everything that is due and giving it back; the labels come from the log.
async fn held(store: &impl Store) -> Vec<HeldDelivery> {
    let request = LeaseRequest::new(WorkerId(1), 100_000, Duration::from_mins(1));
    let (mut held, mut releases) = (Vec::new(), Vec::new());
    loop {
        let batch = store.lease(&request).await;
        let deliveries =
            batch.map_or_else(|error| no_answer("lease", &error), |batch| batch.deliveries);
        if deliveries.is_empty() {
            break;
        }
        for leased in deliveries {
            let id = leased.lease.delivery;
            let record = store
                .delivery(id, &leased.workspace)
                .await
                .unwrap_or_else(|error| no_answer("delivery", &error));
            held.push(HeldDelivery {
                delivery: id,
                endpoint: leased.endpoint,
                payload: leased.payload,
                metadata: record.map_or_else(Metadata::default, |record| record.metadata),
            });
            releases.push(Settlement::unattempted(leased.lease, Next::Release));
        }
    }
    if let Err(error) = store.settle(&releases).await {
        no_answer::<()>("settle", &error);
    }
    held
}

#[expect(
    clippy::panic,
    reason = "a harness that cannot observe its back end fails the test run"
)]
fn no_answer<T>(call: &str, error: &nahook_core::StoreError) -> T {
    panic!("reading what the queue holds: {call} failed: {error:?}")
}
