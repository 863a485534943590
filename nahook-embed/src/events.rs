//! Triggering and sending.

use bytes::Bytes;
use nahook_core::id::EndpointId;
use nahook_core::{
    EventTypeName, IdempotencyKey, NewEvent, NewSend, Payload, Receipt, Sent, TriggerError,
};
use serde::Serialize;

use crate::{Hooks, HooksError};

/// Payload of a test event.
const TEST: &str = r#"{"type":"nahook.test","data":{"message":"A test event from nahook"}}"#;

impl Hooks {
    /// Queues one delivery of the payload for every active endpoint that is subscribed to the event type. The payload is anything
    /// that serializes to a JSON object.
    ///
    /// # Errors
    /// An error means that nothing was queued. Once anything was, or may have been, the answer is a receipt, and what went
    /// wrong is among its [failures](Receipt::failures).
    ///
    /// ```
    /// use nahook_embed::Hooks;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let hooks = Hooks::test().await?;
    /// # let endpoint = hooks.create_endpoint("https://customer.example/hooks").on("order.paid").await?;
    /// #[derive(serde::Serialize)]
    /// struct Order {
    ///     order: &'static str,
    /// }
    ///
    /// let receipt = hooks.trigger("order.paid", &Order { order: "ord_123" }).await?;
    /// for failure in receipt.failures() {
    ///     println!("{failure:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn trigger(
        &self,
        event_type: &str,
        payload: &(impl Serialize + ?Sized + Sync),
    ) -> Result<Receipt, HooksError> {
        let event = NewEvent::new(EventTypeName::new(event_type)?, Payload::of(payload)?);
        self.trigger_event(event).await
    }

    /// [`trigger`](Self::trigger) of a payload that is JSON already: it arrives byte for byte.
    ///
    /// ```
    /// use nahook_embed::Hooks;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let hooks = Hooks::test().await?;
    /// # let endpoint = hooks.create_endpoint("https://customer.example/hooks").on("order.paid").await?;
    /// hooks.trigger_raw("order.paid", r#"{ "order": "ord_123" }"#).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn trigger_raw(
        &self,
        event_type: &str,
        json: impl Into<Bytes>,
    ) -> Result<Receipt, HooksError> {
        let event = NewEvent::new(EventTypeName::new(event_type)?, Payload::new(json)?);
        self.trigger_event(event).await
    }

    /// [`trigger`](Self::trigger) of an event that may have metadata.
    ///
    /// ```
    /// use nahook_embed::Hooks;
    /// use nahook_embed::core::{Metadata, NewEvent, Payload};
    /// use serde_json::json;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let hooks = Hooks::test().await?;
    /// # let endpoint = hooks.create_endpoint("https://customer.example/hooks").on("order.paid").await?;
    /// let mut event = NewEvent::new("order.paid".parse()?, Payload::of(&json!({"order": "ord_123"}))?);
    /// event.metadata = Metadata::new([("origin".to_owned(), "shop".to_owned())].into())?;
    /// hooks.trigger_event(event).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn trigger_event(&self, event: NewEvent) -> Result<Receipt, HooksError> {
        Ok(self.shared.fan_out.trigger(event, self.scope()).await?)
    }

    /// Triggers several events, each of which has an answer of its own.
    ///
    /// ```
    /// use nahook_embed::Hooks;
    /// use nahook_embed::core::{NewEvent, Payload};
    /// use serde_json::json;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let hooks = Hooks::test().await?;
    /// # let endpoint = hooks.create_endpoint("https://customer.example/hooks").on("order.paid").await?;
    /// let events = ["ord_1", "ord_2"].map(|order| {
    ///     let payload = Payload::of(&json!({ "order": order }))?;
    ///     Ok::<_, Box<dyn std::error::Error>>(NewEvent::new("order.paid".parse()?, payload))
    /// });
    /// let events = events.into_iter().collect::<Result<_, _>>()?;
    /// for answer in hooks.trigger_batch(events).await {
    ///     assert_eq!(answer?.delivery_ids().count(), 1);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn trigger_batch(&self, events: Vec<NewEvent>) -> Vec<Result<Receipt, TriggerError>> {
        let fan_out = &self.shared.fan_out;
        fan_out.trigger_batch(events, self.scope()).await
    }

    /// Queues the payload for one endpoint, whatever it is subscribed to.
    ///
    /// ```
    /// use nahook_embed::Hooks;
    /// use serde_json::json;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let hooks = Hooks::test().await?;
    /// # let endpoint = hooks.create_endpoint("https://customer.example/hooks").on("order.paid").await?;
    /// let sent = hooks.send(endpoint.id, &json!({"hello": "you"})).await?;
    /// println!("{}", sent.delivery);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send(
        &self,
        endpoint: EndpointId,
        payload: &(impl Serialize + ?Sized + Sync),
    ) -> Result<Sent, HooksError> {
        self.send_payload(endpoint, Payload::of(payload)?, None)
            .await
    }

    /// [`send`](Self::send) once: for 24 hours the same key is answered with the first delivery, and nothing is queued anew.
    ///
    /// ```
    /// use nahook_embed::Hooks;
    /// use serde_json::json;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let hooks = Hooks::test().await?;
    /// # let endpoint = hooks.create_endpoint("https://customer.example/hooks").on("order.paid").await?;
    /// let reminder = json!({"reminder": 1});
    /// let first = hooks.send_once(endpoint.id, "ord_123/reminder", &reminder).await?;
    /// let again = hooks.send_once(endpoint.id, "ord_123/reminder", &reminder).await?;
    /// assert_eq!(first.delivery, again.delivery);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send_once(
        &self,
        endpoint: EndpointId,
        idempotency_key: &str,
        payload: &(impl Serialize + ?Sized + Sync),
    ) -> Result<Sent, HooksError> {
        let key = IdempotencyKey::new(idempotency_key)?;
        self.send_payload(endpoint, Payload::of(payload)?, Some(key))
            .await
    }

    /// Sends the endpoint a small sample, to see whether it arrives.
    pub async fn send_test_event(&self, endpoint: EndpointId) -> Result<Sent, HooksError> {
        self.send_payload(endpoint, Payload::new(TEST)?, None).await
    }

    async fn send_payload(
        &self,
        endpoint: EndpointId,
        payload: Payload,
        idempotency_key: Option<IdempotencyKey>,
    ) -> Result<Sent, HooksError> {
        let asked = NewSend {
            endpoint,
            payload,
            idempotency_key,
        };
        Ok(self.shared.fan_out.send(asked, self.scope()).await?)
    }
}
