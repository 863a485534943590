//! The contents of a queue.

use nahook_core::id::{DeliveryId, EndpointId};
use nahook_core::{Delivery, Event, Metadata, Payload};

/// A delivery as the queue holds it, read past the publisher.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeldDelivery {
    /// The delivery.
    pub delivery: DeliveryId,
    /// The endpoint it is for.
    pub endpoint: EndpointId,
    /// Payload that will be sent.
    pub payload: Payload,
    /// The event's labels.
    pub metadata: Metadata,
}

impl HeldDelivery {
    /// Returns what a queue that took `delivery` of `event` holds.
    pub fn of(event: &Event, delivery: &Delivery) -> Self {
        Self {
            delivery: delivery.id(),
            endpoint: delivery.endpoint(),
            payload: event.payload.clone(),
            metadata: event.metadata.clone(),
        }
    }
}
