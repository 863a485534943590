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
    pub async fn trigger(
        &self,
        event_type: &str,
        payload: &(impl Serialize + ?Sized + Sync),
    ) -> Result<Receipt, HooksError> {
        let event = NewEvent::new(EventTypeName::new(event_type)?, Payload::of(payload)?);
        self.trigger_event(event).await
    }

    /// [`trigger`](Self::trigger) of a payload that is JSON already: it arrives byte for byte.
    pub async fn trigger_raw(
        &self,
        event_type: &str,
        json: impl Into<Bytes>,
    ) -> Result<Receipt, HooksError> {
        let event = NewEvent::new(EventTypeName::new(event_type)?, Payload::new(json)?);
        self.trigger_event(event).await
    }

    /// [`trigger`](Self::trigger) of an event that may have metadata.
    pub async fn trigger_event(&self, event: NewEvent) -> Result<Receipt, HooksError> {
        Ok(self.shared.fan_out.trigger(event, self.scope()).await?)
    }

    /// Triggers several events, each of which has an answer of its own.
    pub async fn trigger_batch(&self, events: Vec<NewEvent>) -> Vec<Result<Receipt, TriggerError>> {
        let fan_out = &self.shared.fan_out;
        fan_out.trigger_batch(events, self.scope()).await
    }

    /// Queues the deliveries of the payload within the app's own transaction: once it commits, and not if it does not.
    /// The store has to be on Postgres, and the transaction on a connection to the same database. An event type that is made for
    /// it stays when the transaction is rolled back.
    ///
    /// # Errors
    /// An error leaves the transaction as it was before.
    ///
    /// # Cancellation
    /// Dropping the future leaves the transaction in an unknown state: roll it back.
    #[cfg(feature = "postgres")]
    pub async fn trigger_in<T: nahook_postgres::CallersTransaction>(
        &self,
        transaction: &mut T,
        event_type: &str,
        payload: &(impl Serialize + ?Sized + Sync),
    ) -> Result<Receipt, HooksError> {
        let event = NewEvent::new(EventTypeName::new(event_type)?, Payload::of(payload)?);
        let store = self.shared.backend.postgres();
        let store = store.ok_or(HooksError::NotOnPostgres)?;
        let answer = store.trigger_in(transaction, &event, self.scope()).await;
        if self.shared.creates_event_types && matches!(answer, Err(TriggerError::UnknownEventType))
        {
            self.ensure_event_type(event_type).await?;
            return Ok(store.trigger_in(transaction, &event, self.scope()).await?);
        }
        Ok(answer?)
    }

    /// Queues the payload for one endpoint, whatever it is subscribed to.
    pub async fn send(
        &self,
        endpoint: EndpointId,
        payload: &(impl Serialize + ?Sized + Sync),
    ) -> Result<Sent, HooksError> {
        self.send_payload(endpoint, Payload::of(payload)?, None)
            .await
    }

    /// [`send`](Self::send) once: for 24 hours the same key is answered with the first delivery, and nothing is queued anew.
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
