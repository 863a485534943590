//! A trigger costs the allocator the same however many endpoints it reaches.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use allocation_counter::{AllocationInfo, measure};
use bytes::Bytes;
use nahook_core::id::{EndpointId, EventTypeId, WorkspaceId};
use nahook_core::{
    Delivery, DeliveryPublisher, DynDeliveryPublisher, DynSubscriptionStore, Event, EventTypeName,
    FanOut, Metadata, NewEvent, Payload, Subscribers, SubscriptionStore,
};
use nahook_testkit::FixedSubscribers;

const WIDTHS: [usize; 4] = [1, 10, 1_000, 10_000];

/// Allocations of a trigger with typed back ends that allocate nothing.
const BUDGET: u64 = 3;

/// Allocations with trait objects, which may add a boxed future for each port.
const BUDGET_ERASED: u64 = BUDGET + 2;

/// A queue that takes everything and keeps nothing.
struct Nowhere;

impl DeliveryPublisher for Nowhere {
    async fn publish(&self, _: &Event, deliveries: &mut [Delivery]) {
        deliveries.iter_mut().for_each(Delivery::mark_published);
    }
}

/// A subscription store that has its answer ready, as a cache does.
fn cached(width: usize) -> FixedSubscribers {
    FixedSubscribers(Subscribers {
        event_type: EventTypeId::from_bits(7),
        endpoints: (0..width)
            .map(|at| EndpointId::from_bits(at as u128))
            .collect(),
    })
}

/// Returns what one trigger allocates, the receipt included, once everything is warm.
fn allocations<S, P>(engine: &FanOut<S, P>, width: usize) -> AllocationInfo
where
    S: SubscriptionStore,
    P: DeliveryPublisher,
{
    // Deadlines need a runtime's timer; nothing here ever waits for it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let _entered = runtime.enter();
    let workspace = WorkspaceId::from_bits(1);
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
            let triggering = std::pin::pin!(engine.trigger(event, workspace));
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
        let engine = FanOut::new(cached(width), Nowhere);
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
        let engine = FanOut::new(store, publisher);
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
    let engine = FanOut::new(cached(0), Nowhere);
    assert!(allocations(&engine, 0).count_total <= BUDGET);
}

#[test]
fn the_bytes_are_those_of_the_receipts_slots() {
    let fixed = allocations(&FanOut::new(cached(0), Nowhere), 0).bytes_total;
    for width in WIDTHS {
        let engine = FanOut::new(cached(width), Nowhere);
        let slots = (width * size_of::<Delivery>()) as u64;
        assert!(allocations(&engine, width).bytes_total <= fixed + slots);
    }
}
