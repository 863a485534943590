//! Deliveries: what became of them, and trying again.

use nahook_core::id::{DeliveryId, EndpointId};
use nahook_core::{Payload, Timestamp};
use nahook_delivery::DeliveryEvents;
use nahook_queue::{
    AttemptRecord, DeliveryLog as _, DeliveryQuery, DeliveryRecord, DeliverySearch as _,
    DeliveryStats, DeliveryStatus, Redelivered, Redelivery as _, RedeliveryRequest, StatsQuery,
};

use crate::{Hooks, HooksError};

/// Number of deliveries queued again by one call of the store.
const RETRY_LIMIT: usize = 1_000;

/// Number up to which the deliveries of one status are counted.
const COUNT_MAX: u64 = 10_000;

impl Hooks {
    /// Streams the outcomes of the workspace's attempts from now on, those that this process makes. However slow the reader is,
    /// nothing waits for it: it loses events, and is told how many.
    ///
    /// ```
    /// use nahook_embed::{DeliveryEvent, Hooks};
    /// use serde_json::json;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let hooks = Hooks::test().await?;
    /// let mut events = hooks.events();
    /// hooks.create_endpoint("https://customer.example/hooks").on("order.paid").await?;
    /// hooks.trigger("order.paid", &json!({"order": "ord_123"})).await?;
    /// # hooks.deliver().await?;
    /// match events.next().await {
    ///     Some(DeliveryEvent::Delivered(it)) => println!("{} arrived", it.delivery),
    ///     Some(DeliveryEvent::Retrying(it, at)) => println!("{:?}; once more at {at:?}", it.attempt),
    ///     Some(DeliveryEvent::DeadLettered(it)) => println!("{} was given up", it.delivery),
    ///     Some(DeliveryEvent::EndpointDisabled { endpoint, .. }) => println!("{endpoint} is disabled"),
    ///     Some(DeliveryEvent::Missed(events)) => println!("{events} events came too fast"),
    ///     _ => {}
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn events(&self) -> DeliveryEvents {
        self.shared.backend.events().of(self.workspace)
    }

    /// The endpoint's deliveries, the one queued last first, of any status unless one is given; at most `limit` of them.
    ///
    /// ```
    /// use nahook_embed::Hooks;
    /// use nahook_embed::queue::DeliveryStatus;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let hooks = Hooks::test().await?;
    /// # let endpoint = hooks.create_endpoint("https://customer.example/hooks").on("order.paid").await?;
    /// let failed = Some(DeliveryStatus::Failed);
    /// for delivery in hooks.deliveries(endpoint.id, failed, 100).await? {
    ///     println!("{} {:?}", delivery.id, hooks.attempts(delivery.id).await?.last());
    /// }
    /// # Ok(())
    /// # }
    /// ```
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

    /// Counts the deliveries of the workspace's endpoints by status, up to 10,000 of each, and tells since when the first is due.
    ///
    /// Takes a few steps in an index for each endpoint and one for each delivery counted: milliseconds, however long the log is.
    ///
    /// ```
    /// use nahook_embed::Hooks;
    /// use serde_json::json;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let hooks = Hooks::test().await?;
    /// let endpoint = hooks.create_endpoint("https://customer.example/hooks").on("order.paid").await?;
    /// hooks.trigger("order.paid", &json!({"order": "ord_123"})).await?;
    /// let stats = hooks.stats().await?;
    /// println!("{} wait, the first since {:?}", stats.pending, stats.oldest_due_at);
    /// assert_eq!(hooks.endpoint_stats(endpoint.id).await?, stats);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn stats(&self) -> Result<DeliveryStats, HooksError> {
        self.count(None).await
    }

    /// Counts the endpoint's deliveries likewise, also if it was deleted.
    pub async fn endpoint_stats(&self, endpoint: EndpointId) -> Result<DeliveryStats, HooksError> {
        self.count(Some(endpoint)).await
    }

    async fn count(&self, endpoint: Option<EndpointId>) -> Result<DeliveryStats, HooksError> {
        let query = StatsQuery {
            workspace: self.workspace,
            endpoint,
            count_max: COUNT_MAX,
            is_unsettled_only: false,
        };
        Ok(self.shared.backend.search.stats(&query).await?)
    }

    /// The delivery.
    ///
    /// ```
    /// use nahook_embed::Hooks;
    /// use serde_json::json;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let hooks = Hooks::test().await?;
    /// # let endpoint = hooks.create_endpoint("https://customer.example/hooks").on("order.paid").await?;
    /// let receipt = hooks.trigger("order.paid", &json!({"order": "ord_123"})).await?;
    /// for id in receipt.delivery_ids() {
    ///     let delivery = hooks.delivery(id).await?;
    ///     println!("{:?} after {} attempts", delivery.status, hooks.attempts(id).await?.len());
    ///     assert_eq!(hooks.payload(id).await?.as_bytes().as_ref(), br#"{"order":"ord_123"}"#);
    /// }
    /// # Ok(())
    /// # }
    /// ```
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
    ///
    /// ```
    /// use nahook_embed::Hooks;
    /// use nahook_embed::queue::Redelivered;
    /// use serde_json::json;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let hooks = Hooks::test().await?;
    /// # let endpoint = hooks.create_endpoint("https://customer.example/hooks").on("order.paid").await?;
    /// let receipt = hooks.trigger("order.paid", &json!({"order": "ord_123"})).await?;
    /// let delivery = receipt.deliveries()[0].id();
    /// # hooks.disable_endpoint(endpoint.id).await?;
    /// # hooks.deliver().await?;
    /// # hooks.enable_endpoint(endpoint.id).await?;
    /// // Once it was given up, and the receiver works again:
    /// assert_eq!(hooks.retry(delivery).await?, Redelivered::Queued);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn retry(&self, id: DeliveryId) -> Result<Redelivered, HooksError> {
        let redelivery = &self.shared.backend.redelivery;
        match redelivery.redeliver(id, &self.workspace).await? {
            Redelivered::NotFound => Err(HooksError::UnknownDelivery),
            redelivered => Ok(redelivered),
        }
    }

    /// Makes all of the endpoint's deliveries due at once that were given up and accepted then or later. Answers their number.
    ///
    /// ```
    /// use nahook_embed::Hooks;
    /// use nahook_embed::core::Timestamp;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let hooks = Hooks::test().await?;
    /// # let endpoint = hooks.create_endpoint("https://customer.example/hooks").on("order.paid").await?;
    /// let retried = hooks.retry_since(endpoint.id, Timestamp::from_millis(1_767_225_600_000)).await?;
    /// println!("{retried} deliveries are due again");
    /// # Ok(())
    /// # }
    /// ```
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
