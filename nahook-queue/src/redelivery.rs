//! Queueing again what was given up.

use async_trait::async_trait;
use auto_impl::auto_impl;
use nahook_core::id::{DeliveryId, EndpointId, WorkspaceId};
use nahook_core::{StoreError, Timestamp};

use crate::DeliveryStatus;

/// The result of a request for a further attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Redelivered {
    /// The workspace has no such delivery.
    NotFound,
    /// It is not one that was given up, or its payload is not kept any more; this is how it stands.
    NotGivenUp(DeliveryStatus),
    /// It is due at once.
    Queued,
}

/// A request to attempt deliveries again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RedeliveryRequest {
    /// Workspace of the endpoint.
    pub workspace: WorkspaceId,
    /// Endpoint whose deliveries are meant.
    pub endpoint: EndpointId,
    /// Only those accepted then or later.
    pub since: Timestamp,
    /// Largest number of them.
    pub limit: usize,
}

/// Queues deliveries again that ended as failed or dead letter.
///
/// The delivery keeps its id, its message's id and its attempts, and takes up the schedule where it stood: one whose
/// schedule had ended has one attempt more.
///
/// A delivery that a queue elsewhere carried, that it gave up and that is only [recorded](crate::DeliveryRecorder) in
/// this store is this store's queue's to deliver from then on: what is recorded of it later is left out.
#[async_trait]
#[auto_impl(&, Arc)]
pub trait Redelivery: Send + Sync {
    /// Makes the delivery due at once, if it was given up.
    async fn redeliver(
        &self,
        id: DeliveryId,
        workspace: &WorkspaceId,
    ) -> Result<Redelivered, StoreError>;

    /// Makes the endpoint's given-up deliveries due at once, the oldest first, at most `limit` of them. Answers how many;
    /// less than `limit` says that there are no more.
    async fn redeliver_since(&self, request: &RedeliveryRequest) -> Result<usize, StoreError>;
}
