//! Support of the benches: back ends that cost nothing, and a trigger without a runtime around it.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use nahook_core::admission::{Caller, Plan};
use nahook_core::id::{ApiKeyId, EndpointId, EventTypeId, WorkspaceId};
use nahook_core::{
    Delivery, DeliveryPublisher, EndpointState, Event, EventTypeName, EventTypeNameError,
    FailureKind, FanOut, Metadata, NewEvent, Payload, PayloadError, Receipt, Scope, StoreError,
    Subscribers, SubscriptionStore,
};
use tokio::runtime::{Builder, Runtime};

/// The engine over the typed back ends of this crate.
pub type NullFanOut = FanOut<CachedSubscriptions, NullPublisher>;

/// An engine whose back ends cost nothing, reaching `width` endpoints.
pub fn null_fan_out(width: usize) -> NullFanOut {
    FanOut::new(CachedSubscriptions::of(width), NullPublisher::default())
}

/// A subscription store that has its answer ready, as a cache does.
#[derive(Clone, Debug)]
pub struct CachedSubscriptions(Subscribers);

impl CachedSubscriptions {
    /// So many endpoints, subscribed to everything.
    pub fn of(width: usize) -> Self {
        Self(Subscribers {
            event_type: EventTypeId::from_bits(7),
            endpoints: (0..width)
                .map(|at| EndpointId::from_bits(at as u128))
                .collect(),
        })
    }
}

impl SubscriptionStore for CachedSubscriptions {
    async fn subscribers(
        &self,
        _: &EventTypeName,
        _: &Scope,
    ) -> Result<Option<Subscribers>, StoreError> {
        Ok(Some(self.0.clone()))
    }

    async fn endpoint_states(
        &self,
        ids: &[EndpointId],
        _: &Scope,
    ) -> Result<Vec<EndpointState>, StoreError> {
        Ok(vec![EndpointState::Active; ids.len()])
    }
}

/// A queue that keeps nothing, and takes everything but the failing share.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullPublisher {
    failing_per_mille: usize,
}

impl NullPublisher {
    /// Fails for so many in a thousand deliveries, evenly spread.
    pub fn failing_for(per_mille: usize) -> Self {
        Self {
            failing_per_mille: per_mille,
        }
    }
}

impl DeliveryPublisher for NullPublisher {
    async fn publish(&self, _: &Event, deliveries: &mut [Delivery]) {
        let mut failing = 0;
        for delivery in deliveries {
            failing += self.failing_per_mille;
            if failing >= 1_000 {
                failing -= 1_000;
                delivery.mark_failed(FailureKind::QueueUnavailable);
            } else {
                delivery.mark_published();
            }
        }
    }
}

/// The workspace of the benches.
pub fn workspace() -> WorkspaceId {
    WorkspaceId::from_bits(1)
}

/// A key of that workspace, without limits.
pub fn caller() -> Caller {
    Caller {
        key: ApiKeyId::from_bits(1),
        workspace: workspace(),
        environment: None,
        endpoint: None,
        plan: Plan::default(),
    }
}

/// An event whose payload has so many bytes, on the heap as a request's are.
pub fn event(payload_len: usize) -> Result<NewEvent, EventError> {
    Ok(NewEvent {
        event_type: EventTypeName::new("order.paid").map_err(EventError::Name)?,
        payload: Payload::new(Bytes::from(object(payload_len))).map_err(EventError::Payload)?,
        metadata: Metadata::default(),
    })
}

/// A JSON object of so many bytes, at least eight.
pub fn object(len: usize) -> Vec<u8> {
    let text = "x".repeat(len.saturating_sub(r#"{"a":""}"#.len()));
    format!(r#"{{"a":"{text}"}}"#).into_bytes()
}

/// Why there is no event: never, for the names and payloads of this crate.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum EventError {
    /// The name is not one.
    Name(EventTypeNameError),
    /// The payload is not one.
    Payload(PayloadError),
}

/// A runtime for its timer, which deadlines need and which nothing here ever waits for.
pub fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_time().build()
}

/// Triggers, within an entered [`runtime`] and without its scheduler: what is measured is the engine alone.
///
/// `None` if the engine waited for something or answered with an error; the back ends of this crate make it do neither.
pub fn trigger<S, P>(engine: &FanOut<S, P>, event: NewEvent, scope: Scope) -> Option<Receipt>
where
    S: SubscriptionStore,
    P: DeliveryPublisher,
{
    now(engine.trigger(event, scope))?.ok()
}

/// The future's output, if it is there at once.
pub fn now<F: Future>(future: F) -> Option<F::Output> {
    let future = std::pin::pin!(future);
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// The system's clock, shared.
pub fn clock() -> Arc<dyn nahook_core::Clock> {
    Arc::new(nahook_core::SystemClock)
}
