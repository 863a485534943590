//! Support of the queue clauses: a workspace with endpoints, and short ways to fill and to lease.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nahook_core::id::{DeliveryId, EndpointId};
use nahook_core::{Delivery, Event, Outcome, Timestamp};
use nahook_queue::{
    Attempt, DeliveryQueue, Lease, LeaseBatch, LeaseRequest, LeasedDelivery, Next, Settled,
    Settlement, WorkerId,
};

use crate::QueueHarness;
use crate::declare::{Workspace, deliveries, event, nth_endpoint_id};

/// Duration of leases here.
pub(crate) const LEASE: Duration = Duration::from_secs(30);

pub(super) const MILLISECOND: Duration = Duration::from_millis(1);

/// The last millisecond before a lease expires.
pub(super) const ALMOST_A_LEASE: Duration = LEASE.saturating_sub(MILLISECOND);

/// No bound that anything here comes near.
const PLENTY: usize = 1_000_000;

/// A started queue with endpoints to publish for.
pub(crate) struct Shop<H> {
    pub(crate) harness: H,
    events: AtomicU64,
}

impl<H: QueueHarness> Shop<H> {
    pub(crate) async fn with_endpoints(count: usize) -> Self {
        let harness = H::start().await;
        let shop = Workspace::new("ws_shop")
            .event_type("order.paid")
            .endpoints(count);
        harness.apply(&shop.manifest()).await;
        Self {
            harness,
            events: AtomicU64::new(1),
        }
    }

    /// The shop after a restart, if the queue survives one.
    pub(crate) async fn restarted(self) -> Option<Self> {
        let harness = self.harness.restart().await?;
        Some(Self {
            harness,
            events: self.events,
        })
    }

    /// The next event, accepted now.
    pub(crate) fn event(&self) -> Event {
        let number = self.events.fetch_add(1, Ordering::Relaxed);
        event("ws_shop", "order.paid", number, self.harness.now())
    }

    /// Publishes one event to these endpoints, by number.
    pub(crate) async fn publish(&self, endpoints: &[usize]) -> Vec<DeliveryId> {
        let event = self.event();
        self.publish_event(&event, endpoints).await
    }

    pub(crate) async fn publish_event(
        &self,
        event: &Event,
        endpoints: &[usize],
    ) -> Vec<DeliveryId> {
        let endpoints: Vec<EndpointId> = endpoints.iter().map(|n| nth_endpoint_id(*n)).collect();
        let mut slots = deliveries(event, &endpoints);
        self.harness.publish(event, &mut slots).await;
        for slot in &slots {
            assert_eq!(
                slot.outcome(),
                Outcome::Published,
                "the harness can publish"
            );
        }
        slots.iter().map(Delivery::id).collect()
    }

    /// Publishes one event for one endpoint.
    pub(crate) async fn publish_one(&self) -> DeliveryId {
        self.publish(&[0]).await[0]
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.harness.now()
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.harness.advance(by);
    }

    pub(crate) async fn lease(&self, request: &LeaseRequest) -> LeaseBatch {
        let batch = self.harness.queue().lease(request).await;
        batch.expect("the queue can be asked")
    }

    /// Leases everything there is for this worker.
    pub(crate) async fn lease_all(&self, worker: u64) -> Vec<LeasedDelivery> {
        self.lease(&request(worker, PLENTY)).await.deliveries
    }

    /// Leases the one delivery there is.
    pub(crate) async fn lease_one(&self, worker: u64) -> LeasedDelivery {
        let mut leased = self.lease_all(worker).await;
        assert_eq!(leased.len(), 1, "one delivery is there to be leased");
        leased.remove(0)
    }

    /// The ids of everything there is for this worker.
    pub(crate) async fn lease_ids(&self, worker: u64) -> Vec<DeliveryId> {
        ids(&self.lease_all(worker).await)
    }

    pub(crate) async fn settle(&self, lease: Lease, next: Next) -> Settled {
        let attempt = (next != Next::Release).then(|| attempt(self.now()));
        let settlement = Settlement {
            lease,
            attempt,
            next,
        };
        self.settle_all(&[settlement]).await[0]
    }

    /// Settles a lease that has to be held.
    pub(crate) async fn settle_held(&self, lease: Lease, next: Next) {
        let settled = self.settle(lease, next).await;
        assert_eq!(settled, Settled::Done, "the lease is held");
    }

    pub(crate) async fn settle_all(&self, settlements: &[Settlement]) -> Vec<Settled> {
        let settled = self.harness.queue().settle(settlements).await;
        let settled = settled.expect("the queue can be asked");
        assert_eq!(
            settled.len(),
            settlements.len(),
            "each settlement is answered"
        );
        settled
    }

    pub(crate) async fn extend(&self, leases: &[Lease], duration: Duration) -> Vec<bool> {
        let extended = self.harness.queue().extend(leases, duration).await;
        let extended = extended.expect("the queue can be asked");
        assert_eq!(extended.len(), leases.len(), "each lease is answered");
        extended
    }
}

/// A request that is bounded by `max` alone.
pub(crate) fn request(worker: u64, max: usize) -> LeaseRequest {
    LeaseRequest {
        per_endpoint_max: PLENTY,
        ..LeaseRequest::new(WorkerId(worker), max, LEASE)
    }
}

/// An attempt that began then and that the receiver refused.
pub(crate) fn attempt(started_at: Timestamp) -> Attempt {
    Attempt {
        started_at,
        duration: Duration::from_millis(120),
        status_code: Some(500),
        error: Some("the receiver answered 500".to_owned()),
        response_body: Some("<p>not \u{202e}now\u{fffd}</p>\r\n".to_owned()),
    }
}

pub(super) fn ids(leased: &[LeasedDelivery]) -> Vec<DeliveryId> {
    leased.iter().map(|leased| leased.lease.delivery).collect()
}
