//! The engine.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tracing::Span;

use super::contain::{contain, panicked};
use super::spans;
use crate::id::MessageId;
use crate::{
    Clock, Delivery, DeliveryPublisher, Event, EventTypeName, IdSource, NewEvent, RandomIds,
    Receipt, Scope, Subscribers, SubscriptionStore, SystemClock, Timestamp, TriggerError,
};

/// Fans events out: one [`trigger`](Self::trigger) queues one delivery for every subscribed endpoint and tells what became
/// of each; one [`send`](Self::send) does so for a single endpoint.
///
/// It owns the deadline and the order of the steps; everything else is behind ports. It keeps no state, so any number
/// may run side by side. It knows no callers and no limits: those are [`Admission`](crate::Admission)'s.
#[derive(Clone)]
pub struct FanOut<S, P> {
    pub(super) subscriptions: S,
    publisher: P,
    pub(crate) clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    timeout: Duration,
}

impl<S, P> FanOut<S, P> {
    /// Time that a call may take unless [set](Self::with_timeout) otherwise: 5 s (contract, section 1).
    pub const TIMEOUT: Duration = Duration::from_secs(5);

    /// Sets the time that a call may take.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Reads the time of day from `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Draws ids from `ids`.
    #[must_use]
    pub fn with_ids(mut self, ids: impl IdSource + 'static) -> Self {
        self.ids = Arc::new(ids);
        self
    }

    /// Time that a call may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }
}

impl<S: SubscriptionStore, P: DeliveryPublisher> FanOut<S, P> {
    /// Makes an engine over these back ends, with the system's clock and the default timeout.
    pub fn new(subscriptions: S, publisher: P) -> Self {
        Self {
            subscriptions,
            publisher,
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
            timeout: Self::TIMEOUT,
        }
    }

    /// Queues `event` for every endpoint that is subscribed to its type within `scope`, before the
    /// [timeout](Self::timeout) has passed.
    ///
    /// # Errors
    /// An error means that nothing was queued and nothing will be. Once anything was, or may have been, queued, the
    /// answer is a receipt, and what went wrong is in its failures.
    ///
    /// # Cancellation
    /// Dropping the future cancels the publisher's; what it has queued by then stays queued.
    pub async fn trigger(
        &self,
        event: NewEvent,
        scope: impl Into<Scope>,
    ) -> Result<Receipt, TriggerError> {
        self.trigger_by(Instant::now() + self.timeout, event, scope.into())
            .await
    }

    /// [`trigger`](Self::trigger) with a deadline of the caller's, such as the arrival of a request plus five seconds.
    ///
    /// The answer comes at the deadline at the latest, as far as the back ends' futures yield.
    pub async fn trigger_by(
        &self,
        deadline: Instant,
        event: NewEvent,
        scope: Scope,
    ) -> Result<Receipt, TriggerError> {
        let span = spans::trigger(&scope, &event.event_type, 1);
        let looking_up = self.look_up(deadline, &event.event_type, &scope, &span);
        let subscribers = looking_up.await?;
        self.fan_out(deadline, event, &scope, subscribers, &span)
            .await
    }

    /// Returns the endpoints that are subscribed.
    pub(super) async fn look_up(
        &self,
        deadline: Instant,
        event_type: &EventTypeName,
        scope: &Scope,
        span: &Span,
    ) -> Result<Subscribers, TriggerError> {
        let looking_up = contain(span, || self.subscriptions.subscribers(event_type, scope));
        timeout_at(deadline, looking_up)
            .await
            .map_err(|_| TriggerError::DeadlineExceeded)?
            .unwrap_or_else(panicked)
            .map_err(TriggerError::StoreUnavailable)?
            .ok_or(TriggerError::UnknownEventType)
    }

    /// Queues the deliveries and accounts for each, whatever the publisher does.
    pub(super) async fn fan_out(
        &self,
        deadline: Instant,
        event: NewEvent,
        scope: &Scope,
        subscribers: Subscribers,
        span: &Span,
    ) -> Result<Receipt, TriggerError> {
        // Publishing that begins too late could only end as "may be queued": better to say nothing was.
        if Instant::now() >= deadline {
            return Err(TriggerError::DeadlineExceeded);
        }
        let now = self.clock.now();
        let message = self.draw(now);
        let Subscribers {
            event_type,
            endpoints,
        } = subscribers;
        let mut deliveries: Vec<Delivery> = (0..)
            .zip(endpoints.iter())
            .map(|(ordinal, endpoint)| Delivery::new(message, ordinal, *endpoint))
            .collect();
        let mut in_time = true;
        if !deliveries.is_empty() {
            let event = Event::new(event, message, event_type, scope.workspace, now);
            in_time = self.publish(deadline, &event, &mut deliveries, span).await;
        }
        if !in_time && !deliveries.iter().any(Delivery::may_be_queued) {
            return Err(TriggerError::DeadlineExceeded);
        }
        Ok(Receipt::new(message, event_type, deliveries))
    }

    /// Draws the id of a message that is accepted now.
    pub(super) fn draw(&self, now: Timestamp) -> MessageId {
        MessageId::from_parts(now, self.ids.random())
    }

    /// Has the publisher resolve the slots. Returns false if the deadline came first: what it resolved by then is kept, the
    /// rest stays unconfirmed. A panic likewise.
    pub(super) async fn publish(
        &self,
        deadline: Instant,
        event: &Event,
        deliveries: &mut [Delivery],
        span: &Span,
    ) -> bool {
        let span = span.in_scope(|| spans::publish(event, deliveries.len()));
        let publishing = contain(&span, || self.publisher.publish(event, deliveries));
        timeout_at(deadline, publishing).await.is_ok()
    }
}

impl<S, P> std::fmt::Debug for FanOut<S, P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FanOut")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
