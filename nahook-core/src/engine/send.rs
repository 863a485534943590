//! Sending to single endpoints: look up, then fan out to one.

use std::collections::HashMap;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};
use tracing::Span;

use super::contain::{contain, panicked};
use super::fan_out::FanOut;
use super::spans;
use crate::id::EndpointId;
use crate::{
    Delivery, DeliveryPublisher, EndpointState, Event, FailureKind, IdempotencyKey, NewSend,
    Outcome, Scope, SendError, Sent, SubscriptionStore,
};

impl<S: SubscriptionStore, P: DeliveryPublisher> FanOut<S, P> {
    /// Queues one payload for one endpoint before the [timeout](Self::timeout) has passed, unless its idempotency key
    /// stands for an earlier one already.
    ///
    /// # Errors
    /// Every error but [`SendError::Unconfirmed`] means that nothing was queued and nothing will be.
    ///
    /// # Cancellation
    /// Dropping the future cancels the publisher's; what it has queued by then stays queued.
    pub async fn send(&self, send: NewSend, scope: impl Into<Scope>) -> Result<Sent, SendError> {
        self.send_by(Instant::now() + self.timeout(), send, scope.into())
            .await
    }

    /// [`send`](Self::send) with a deadline of the caller's, such as the arrival of a request plus five seconds.
    ///
    /// The answer comes at the deadline at the latest, as far as the back ends' futures yield.
    pub async fn send_by(
        &self,
        deadline: Instant,
        send: NewSend,
        scope: Scope,
    ) -> Result<Sent, SendError> {
        let mut answers = self.send_batch_by(deadline, vec![send], scope).await;
        answers.pop().unwrap_or(Err(SendError::DeadlineExceeded))
    }

    /// Sends each as [`send`](Self::send) does, within one timeout for all; answers in their order.
    ///
    /// Each is independent and has an answer of its own. All endpoints are looked up in one call, and everything is
    /// published side by side, so that a back end can take it together. Of several with one key the first counts.
    pub async fn send_batch(
        &self,
        sends: Vec<NewSend>,
        scope: impl Into<Scope>,
    ) -> Vec<Result<Sent, SendError>> {
        self.send_batch_by(Instant::now() + self.timeout(), sends, scope.into())
            .await
    }

    /// [`send_batch`](Self::send_batch) with a deadline of the caller's.
    pub async fn send_batch_by(
        &self,
        deadline: Instant,
        sends: Vec<NewSend>,
        scope: Scope,
    ) -> Vec<Result<Sent, SendError>> {
        let ids: Vec<EndpointId> = sends.iter().map(|send| send.endpoint).collect();
        let span = spans::send(&scope, sends.len());
        let looking_up = self.endpoint_states(deadline, &ids, &scope, &span);
        let states = match looking_up.await {
            Ok(states) => states,
            Err(error) => return sends.iter().map(|_| Err(error.clone())).collect(),
        };
        let (scope, states, span) = (&scope, &states, &span);
        let sending = by_key(sends).into_iter().map(|sends| async move {
            let mut answers = Vec::with_capacity(sends.len());
            for (place, send) in sends {
                let answer = match states.get(place) {
                    Some(EndpointState::Active) => {
                        self.fan_out_to_one(deadline, send, scope, span).await
                    }
                    Some(EndpointState::Disabled) => Err(SendError::EndpointDisabled),
                    Some(EndpointState::Unknown) | None => Err(SendError::UnknownEndpoint),
                };
                answers.push((place, answer));
            }
            answers
        });
        let answers = join_all(sending).await;
        let mut answers: Vec<_> = answers.into_iter().flatten().collect();
        answers.sort_unstable_by_key(|(place, _)| *place);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    async fn endpoint_states(
        &self,
        deadline: Instant,
        ids: &[EndpointId],
        scope: &Scope,
        span: &Span,
    ) -> Result<Vec<EndpointState>, SendError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let looking_up = contain(span, || self.subscriptions.endpoint_states(ids, scope));
        timeout_at(deadline, looking_up)
            .await
            .map_err(|_| SendError::DeadlineExceeded)?
            .unwrap_or_else(panicked)
            .map_err(SendError::StoreUnavailable)
    }

    /// Queues the delivery and accounts for it, whatever the publisher does.
    async fn fan_out_to_one(
        &self,
        deadline: Instant,
        send: NewSend,
        scope: &Scope,
        span: &Span,
    ) -> Result<Sent, SendError> {
        // Publishing that begins too late could only end as "may be queued": better to say nothing was.
        if Instant::now() >= deadline {
            return Err(SendError::DeadlineExceeded);
        }
        let now = self.clock.now();
        let message = self.draw(now);
        let mut slot = [Delivery::new(message, 0, send.endpoint)];
        let event = Event::direct(
            send.payload,
            message,
            scope.workspace,
            send.idempotency_key,
            now,
        );
        let in_time = self.publish(deadline, &event, &mut slot, span).await;
        account(&event, &slot[0], in_time)
    }
}

/// Groups the sends that have one key for one endpoint: they go one after the other, so that the first counts.
fn by_key(sends: Vec<NewSend>) -> Vec<Vec<(usize, NewSend)>> {
    let mut groups: Vec<Vec<(usize, NewSend)>> = Vec::with_capacity(sends.len());
    let mut of_key = HashMap::new();
    for (place, send) in sends.into_iter().enumerate() {
        let new = groups.len();
        let group = match &send.idempotency_key {
            Some(key) => *of_key.entry((send.endpoint, key.clone())).or_insert(new),
            None => new,
        };
        match groups.get_mut(group) {
            Some(group) => group.push((place, send)),
            None => groups.push(vec![(place, send)]),
        }
    }
    groups
}

/// Tells what became of the slot.
fn account(event: &Event, slot: &Delivery, in_time: bool) -> Result<Sent, SendError> {
    let key = event.idempotency_key.as_ref();
    let (delivery, is_replay) = match slot.outcome() {
        Outcome::Published => (slot.id(), false),
        Outcome::Replayed(original) => (original, true),
        Outcome::Failed(kind) if kind.may_be_queued() => {
            return Err(SendError::Unconfirmed {
                delivery: slot.id(),
                is_keyed: key.is_some(),
            });
        }
        Outcome::Failed(FailureKind::EndpointGone) => return Err(SendError::UnknownEndpoint),
        Outcome::Failed(kind) if in_time => return Err(SendError::QueueRefused(kind)),
        Outcome::Failed(_) => return Err(SendError::DeadlineExceeded),
    };
    Ok(Sent {
        delivery,
        message: event.id,
        idempotency_key: key.cloned().unwrap_or_else(|| IdempotencyKey::of(delivery)),
        is_replay,
        limiter_bypassed: false,
    })
}
