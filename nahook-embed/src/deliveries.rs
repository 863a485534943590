//! Deliveries: what became of them, and trying again.

use nahook_core::id::{DeliveryId, EndpointId};
use nahook_core::{Payload, Timestamp};
use nahook_queue::{
    AttemptRecord, DeliveryLog as _, DeliveryQuery, DeliveryRecord, DeliverySearch as _,
    DeliveryStatus, Redelivered, Redelivery as _, RedeliveryRequest,
};

use crate::{Hooks, HooksError};

/// Number of deliveries queued again by one call of the store.
const RETRY_LIMIT: usize = 1_000;

impl Hooks {
    /// The endpoint's deliveries, the one queued last first, of any status unless one is given; at most `limit` of them.
    pub async fn deliveries(
        &self,
        endpoint: EndpointId,
        status: Option<DeliveryStatus>,
        limit: usize,
    ) -> Result<Vec<DeliveryRecord>, HooksError> {
        let query = DeliveryQuery {
            workspace: self.workspace,
            endpoint,
            status,
            since: None,
            before: None,
            limit,
        };
        Ok(self.shared.backend.search.deliveries(&query).await?)
    }

    /// The delivery.
    pub async fn delivery(&self, id: DeliveryId) -> Result<DeliveryRecord, HooksError> {
        let found = self
            .shared
            .backend
            .log
            .delivery(id, &self.workspace)
            .await?;
        found.ok_or(HooksError::UnknownDelivery)
    }

    /// The delivery's attempts, the oldest first.
    pub async fn attempts(&self, id: DeliveryId) -> Result<Vec<AttemptRecord>, HooksError> {
        let found = self
            .shared
            .backend
            .log
            .attempts(id, &self.workspace)
            .await?;
        found.ok_or(HooksError::UnknownDelivery)
    }

    /// The delivery's payload.
    pub async fn payload(&self, id: DeliveryId) -> Result<Payload, HooksError> {
        let found = self.shared.backend.log.payload(id, &self.workspace).await?;
        found.ok_or(HooksError::UnknownDelivery)
    }

    /// Makes a delivery that was given up due at once.
    pub async fn retry(&self, id: DeliveryId) -> Result<Redelivered, HooksError> {
        let redelivery = &self.shared.backend.redelivery;
        match redelivery.redeliver(id, &self.workspace).await? {
            Redelivered::NotFound => Err(HooksError::UnknownDelivery),
            redelivered => Ok(redelivered),
        }
    }

    /// Makes all of the endpoint's deliveries due at once that were given up and accepted then or later. Answers their number.
    pub async fn retry_since(
        &self,
        endpoint: EndpointId,
        since: Timestamp,
    ) -> Result<usize, HooksError> {
        let request = RedeliveryRequest {
            workspace: self.workspace,
            endpoint,
            since,
            limit: RETRY_LIMIT,
        };
        let mut retried = 0;
        loop {
            let redelivery = &self.shared.backend.redelivery;
            let some = redelivery.redeliver_since(&request).await?;
            retried += some;
            if some < RETRY_LIMIT {
                return Ok(retried);
            }
        }
    }
}
