//! Lists of deliveries, for people who ask.

use crate::{DeliveryRecord, DeliveryStatus};
use nahook_core::erase;

use nahook_core::{DeliveryId, EndpointId, StoreError, Timestamp, WorkspaceId};

/// Which of an endpoint's deliveries are asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeliveryQuery {
    /// Whose endpoint it is.
    pub workspace: WorkspaceId,
    /// Whose deliveries.
    pub endpoint: EndpointId,
    /// Only those that stand so.
    pub status: Option<DeliveryStatus>,
    /// Only those accepted then or later.
    pub since: Option<Timestamp>,
    /// Only those that were queued before this one: where the page before ended.
    pub before: Option<DeliveryId>,
    /// How many at most.
    pub limit: usize,
}

/// Lists deliveries.
pub trait DeliverySearch: Send + Sync {
    /// The endpoint's deliveries, the one queued last first; also those of an endpoint that was removed. None if the
    /// workspace has no such endpoint.
    ///
    /// # Behaviour
    /// * Following pages by `before` shows each delivery that was there at the first once, whatever is queued meanwhile.
    /// * A `before` that is not a delivery of the workspace's any more still marks its place.
    /// * Answered from an index: the time does not grow with the number of deliveries.
    fn deliveries(
        &self,
        query: &DeliveryQuery,
    ) -> impl Future<Output = Result<Vec<DeliveryRecord>, StoreError>> + Send;
}

erase! {
    /// [`DeliverySearch`] as a trait object.
    DeliverySearch as DynDeliverySearch {
        fn deliveries / deliveries_dyn(query: &DeliveryQuery) -> Result<Vec<DeliveryRecord>, StoreError>;
    }
}
