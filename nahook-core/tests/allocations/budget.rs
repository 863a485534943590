//! What a trigger costs the allocator does not depend on how many endpoints it reaches.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use allocation_counter::{AllocationInfo, measure};
use bytes::Bytes;
use nahook_core::{
    Allowance, ApiKeyId, Caller, Delivery, DeliveryPublisher, DynDeliveryPublisher, DynRateLimiter,
    DynSubscriptionStore, EndpointId, Event, EventTypeId, EventTypeName, FanOut, FanOutScope,
    Grant, Metadata, NewEvent, Payload, Plan, RateLimiter, StoreError, Subscribers,
    SubscriptionStore, Timestamp, Verdict, WorkspaceId,
};

const WIDTHS: [usize; 4] = [1, 10, 1_000, 10_000];

/// What a trigger may allocate with typed back ends that allocate nothing.
const BUDGET: u64 = 3;

/// What trait objects may add to that: a boxed future for each port.
const BUDGET_ERASED: u64 = BUDGET + 3;

/// A subscription store that has its answer ready, as a cache does.
struct Cached(Subscribers);

impl SubscriptionStore for Cached {
    async fn subscribers(
        &self,
        _: &EventTypeName,
        _: &FanOutScope,
    ) -> Result<Option<Subscribers>, StoreError> {
        Ok(Some(self.0.clone()))
    }
}

/// A queue that takes everything and keeps nothing.
struct Nowhere;

impl DeliveryPublisher for Nowhere {
    async fn publish(&self, _: &Event, deliveries: &mut [Delivery]) {
        deliveries.iter_mut().for_each(Delivery::published);
    }
}

struct Unlimited;

impl RateLimiter for Unlimited {
    async fn check(&self, _: &Caller) -> Result<Verdict, StoreError> {
        Ok(Verdict::Admit)
    }

    async fn check_many(&self, _: &Caller, wanted: u32) -> Result<Grant, StoreError> {
        Ok(Grant {
            admitted: wanted,
            refused: None,
        })
    }

    async fn peek(&self, _: &Caller) -> Result<Allowance, StoreError> {
        Ok(Allowance::unlimited(Timestamp::default()))
    }
}

fn cached(width: usize) -> Cached {
    Cached(Subscribers {
        event_type: EventTypeId::from_bits(7),
        endpoints: (0..width)
            .map(|at| EndpointId::from_bits(at as u128))
            .collect(),
    })
}

/// What one trigger allocates, the receipt included, once everything is warm.
fn allocations<S, P, L>(engine: &FanOut<S, P, L>, width: usize) -> AllocationInfo
where
    S: SubscriptionStore,
    P: DeliveryPublisher,
    L: RateLimiter,
{
    // Deadlines need a runtime's timer; nothing here ever waits for it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let _entered = runtime.enter();
    let caller = Caller {
        key: ApiKeyId::from_bits(1),
        workspace: WorkspaceId::from_bits(1),
        environment: None,
        endpoint: None,
        plan: Plan::default(),
    };
    // From the heap, so that a copy of it would count.
    let event = NewEvent {
        event_type: EventTypeName::new("order.paid").unwrap(),
        payload: Payload::new(Bytes::from(b"{\"id\":1}".to_vec())).unwrap(),
        metadata: Metadata::default(),
    };
    let trigger = || {
        let event = event.clone();
        let mut receipt = None;
        let info = measure(|| {
            let triggering = std::pin::pin!(engine.trigger(event, &caller));
            if let Poll::Ready(answer) = triggering.poll(&mut Context::from_waker(Waker::noop())) {
                receipt = answer.ok();
            }
        });
        let published = receipt.map(|receipt| receipt.delivery_ids().count());
        assert_eq!(published, Some(width));
        info
    };
    trigger();
    trigger()
}

#[test]
fn allocations_do_not_grow_with_the_width() {
    let counts = WIDTHS.map(|width| {
        let engine = FanOut::new(cached(width), Nowhere, Unlimited);
        allocations(&engine, width).count_total
    });
    assert!(counts.iter().all(|count| *count <= BUDGET), "{counts:?}");
    assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
}

#[test]
fn trait_objects_add_a_boxed_future_for_each_port_and_no_more() {
    let counts = WIDTHS.map(|width| {
        let store: Arc<dyn DynSubscriptionStore> = Arc::new(cached(width));
        let publisher: Arc<dyn DynDeliveryPublisher> = Arc::new(Nowhere);
        let limiter: Arc<dyn DynRateLimiter> = Arc::new(Unlimited);
        let engine = FanOut::new(store, publisher, limiter);
        allocations(&engine, width).count_total
    });
    assert!(
        counts.iter().all(|count| *count <= BUDGET_ERASED),
        "{counts:?}"
    );
    assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
}

#[test]
fn nobody_subscribed_costs_no_more_than_somebody() {
    let engine = FanOut::new(cached(0), Nowhere, Unlimited);
    assert!(allocations(&engine, 0).count_total <= BUDGET);
}

#[test]
fn the_bytes_are_those_of_the_receipts_slots() {
    let fixed = allocations(&FanOut::new(cached(0), Nowhere, Unlimited), 0).bytes_total;
    for width in WIDTHS {
        let engine = FanOut::new(cached(width), Nowhere, Unlimited);
        let slots = (width * size_of::<Delivery>()) as u64;
        assert!(allocations(&engine, width).bytes_total <= fixed + slots);
    }
}
