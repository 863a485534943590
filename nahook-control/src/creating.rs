//! Event types that are made when first named.

use nahook_core::id::EndpointId;
use nahook_core::{
    EndpointState, EventTypeName, Scope, StoreError, Subscribers, SubscriptionStore,
};

use crate::{Catalog, CatalogError};

/// A subscription store in which every event type exists: an unknown one is created, and its subscribers are the endpoints whose
/// patterns match it.
///
/// Older servers did so; a typo then makes an event type that nobody hears of instead of a 404, so it is to be chosen
/// (contract, section 1). Since the engine asks a store only after admitting the caller, creating is rate-limited.
#[derive(Clone, Debug)]
pub struct CreatingSubscriptions<S, C> {
    subscriptions: S,
    catalog: C,
}

impl<S: SubscriptionStore, C: Catalog> CreatingSubscriptions<S, C> {
    /// Answers from `subscriptions`, and creates what is unknown there in `catalog`: two handles to one back end.
    pub fn new(subscriptions: S, catalog: C) -> Self {
        Self {
            subscriptions,
            catalog,
        }
    }
}

impl<S: SubscriptionStore, C: Catalog> SubscriptionStore for CreatingSubscriptions<S, C> {
    async fn subscribers(
        &self,
        event_type: &EventTypeName,
        scope: &Scope,
    ) -> Result<Option<Subscribers>, StoreError> {
        if let Some(known) = self.subscriptions.subscribers(event_type, scope).await? {
            return Ok(Some(known));
        }
        let workspace = scope.workspace;
        match self.catalog.ensure_event_type(event_type, &workspace).await {
            Ok(_) => self.subscriptions.subscribers(event_type, scope).await,
            // The workspace has as many as it may have.
            Err(CatalogError::NotFound("event type")) => Ok(None),
            Err(CatalogError::Store(error)) => Err(error),
            Err(other) => Err(StoreError::internal(other)),
        }
    }

    async fn endpoint_states(
        &self,
        ids: &[EndpointId],
        scope: &Scope,
    ) -> Result<Vec<EndpointState>, StoreError> {
        self.subscriptions.endpoint_states(ids, scope).await
    }
}
