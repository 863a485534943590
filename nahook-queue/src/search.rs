//! Lists and counts of deliveries, for people who ask.

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

/// A query for the number of a workspace's deliveries by status.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StatsQuery {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Endpoint whose deliveries alone are meant, if one is given.
    pub endpoint: Option<EndpointId>,
    /// Number up to which those of one status are counted.
    pub count_max: u64,
    /// True if only those that are not settled are counted: pending, delivering and scheduled for a retry.
    pub is_unsettled_only: bool,
}

impl StatsQuery {
    /// Returns true if deliveries of that status are counted.
    pub fn counts(&self, status: DeliveryStatus) -> bool {
        let is_settled = matches!(
            status,
            DeliveryStatus::DeadLetter | DeliveryStatus::Delivered | DeliveryStatus::Failed
        );
        !(self.is_unsettled_only && is_settled)
    }
}

/// Number of deliveries by status, and since when the first is due.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct DeliveryStats {
    /// Every attempt of the schedule has failed.
    pub dead_letter: u64,
    /// A receiver took it.
    pub delivered: u64,
    /// A worker is attempting it.
    pub delivering: u64,
    /// Given up before the schedule's end.
    pub failed: u64,
    /// Waiting for its first attempt.
    pub pending: u64,
    /// Waiting for a further attempt.
    pub scheduled_retry: u64,
    /// Time since which the first of those that no worker attempts has been due; absent if none is due. Where a queue elsewhere carries
    /// them, the time at which the first was accepted that waits for its first attempt.
    pub oldest_due_at: Option<Timestamp>,
}

impl DeliveryStats {
    /// The number of deliveries of that status.
    pub const fn count(&self, status: DeliveryStatus) -> u64 {
        match status {
            DeliveryStatus::DeadLetter => self.dead_letter,
            DeliveryStatus::Delivered => self.delivered,
            DeliveryStatus::Delivering => self.delivering,
            DeliveryStatus::Failed => self.failed,
            DeliveryStatus::Pending => self.pending,
            DeliveryStatus::ScheduledRetry => self.scheduled_retry,
        }
    }

    /// The number of deliveries of that status, to be changed.
    pub const fn count_mut(&mut self, status: DeliveryStatus) -> &mut u64 {
        match status {
            DeliveryStatus::DeadLetter => &mut self.dead_letter,
            DeliveryStatus::Delivered => &mut self.delivered,
            DeliveryStatus::Delivering => &mut self.delivering,
            DeliveryStatus::Failed => &mut self.failed,
            DeliveryStatus::Pending => &mut self.pending,
            DeliveryStatus::ScheduledRetry => &mut self.scheduled_retry,
        }
    }
}

/// Lists and counts deliveries.
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

    /// Counts the deliveries of the workspace, or of one endpoint of it, by the status under which they are listed. Nothing is
    /// counted of an endpoint that the workspace does not have.
    ///
    /// # Behaviour
    /// * A status with more deliveries than `count_max` shows `count_max`.
    /// * Answered from an index: a few steps for each of the endpoints, and one for each delivery counted.
    /// * A snapshot: what changes meanwhile may be counted under either status.
    async fn stats(&self, query: &StatsQuery) -> Result<DeliveryStats, StoreError>;

    /// Number of bytes of the workspace's payloads that are kept.
    ///
    /// Exact where a few thousand events are kept in all, else an estimate from a sample of as many: within some percent for a
    /// workspace that has much of what is kept.
    async fn stored_len(&self, workspace: &WorkspaceId) -> Result<u64, StoreError>;
}
