//! Lists of deliveries, for people who ask.

use async_trait::async_trait;
use auto_impl::auto_impl;
use nahook_core::id::{DeliveryId, EndpointId, WorkspaceId};
use nahook_core::{StoreError, Timestamp};

use crate::{DeliveryRecord, DeliveryStatus};

/// A query for an endpoint's deliveries.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeliveryQuery {
    /// Workspace of the endpoint.
    pub workspace: WorkspaceId,
    /// Endpoint whose deliveries are meant.
    pub endpoint: EndpointId,
    /// Only those that stand so.
    pub status: Option<DeliveryStatus>,
    /// Only those accepted then or later.
    pub since: Option<Timestamp>,
    /// Only those that were queued before this one: where the page before ended.
    pub before: Option<DeliveryId>,
    /// Largest number of them.
    pub limit: usize,
}

/// Lists deliveries.
#[async_trait]
#[auto_impl(&, Arc)]
pub trait DeliverySearch: Send + Sync {
    /// The endpoint's deliveries, the one queued last first; also those of an endpoint that was removed. None if the
    /// workspace has no such endpoint.
    ///
    /// # Behaviour
    /// * Following pages by `before` shows each delivery that was there at the first once, whatever is queued meanwhile.
    /// * A `before` that is not a delivery of the workspace's any more still marks its place.
    /// * Answered from an index: the time does not grow with the number of deliveries.
    async fn deliveries(&self, query: &DeliveryQuery) -> Result<Vec<DeliveryRecord>, StoreError>;
}
