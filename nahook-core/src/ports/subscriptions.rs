//! The subscriptions, and the endpoints that have them.

use std::sync::Arc;

use super::erase;
use crate::id::{EndpointId, EventTypeId};
use crate::{EventTypeName, Scope, StoreError};

/// The endpoints an event fans out to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Subscribers {
    /// The event type that the name stands for.
    pub event_type: EventTypeId,
    /// Each endpoint once, in the order in which they subscribed. Shared, so that a cache hands it out for free.
    pub endpoints: Arc<[EndpointId]>,
}

/// State of an endpoint within a scope.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum EndpointState {
    /// It takes deliveries.
    Active,
    /// It is disabled.
    Disabled,
    /// There is none with this id within the scope.
    Unknown,
}

/// Answers which endpoints an event type fans out to, and whether an endpoint takes deliveries.
pub trait SubscriptionStore: Send + Sync {
    /// The active endpoints subscribed to `event_type` within `scope`.
    ///
    /// # Behaviour
    /// * `None`: the workspace has no event type of that name, whatever patterns there are.
    /// * An endpoint is subscribed by the event type's name, by a [pattern](crate::EventTypePattern) that matches it, or both. A
    ///   pattern counts for event types that are made later from the moment they exist, in the order of the patterns.
    /// * Only the scope's workspace, and only its environment if it has one. An event type that is not published in the
    ///   scope's environment has no subscribers there.
    /// * Each endpoint appears once, however many ways it is subscribed. The order is that of subscribing and does not change
    ///   between calls; an endpoint keeps its place until nothing subscribes it any more.
    /// * A change that has been answered is seen by the next call (a cache states its bound).
    /// * An error means the store could not be asked; nothing has changed anywhere.
    fn subscribers(
        &self,
        event_type: &EventTypeName,
        scope: &Scope,
    ) -> impl Future<Output = Result<Option<Subscribers>, StoreError>> + Send;

    /// States of these endpoints within `scope`, in this order. A change that has been answered is seen by the next call (a
    /// cache states its bound).
    fn endpoint_states(
        &self,
        ids: &[EndpointId],
        scope: &Scope,
    ) -> impl Future<Output = Result<Vec<EndpointState>, StoreError>> + Send;
}

erase! {
    /// [`SubscriptionStore`] as a trait object.
    SubscriptionStore as DynSubscriptionStore {
        fn subscribers / subscribers_dyn(event_type: &EventTypeName, scope: &Scope)
            -> Result<Option<Subscribers>, StoreError>;
        fn endpoint_states / endpoint_states_dyn(ids: &[EndpointId], scope: &Scope)
            -> Result<Vec<EndpointState>, StoreError>;
    }
}
