//! The engine.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::admission::{admit, standing};
use super::contain::{contain, panicked};
use crate::{
    Allowance, Caller, Clock, Delivery, DeliveryPublisher, Event, EventTypeName, FanOutScope,
    IdSource, MessageId, NewEvent, RandomIds, RateLimiter, Receipt, Subscribers, SubscriptionStore,
    SystemClock, TriggerError,
};

/// Fans events out: one [`trigger`](Self::trigger) queues one delivery for every subscribed endpoint and says what became
/// of each.
///
/// It owns the deadline and the order of the steps; everything else is behind ports. It keeps no state, so any number
/// may run side by side.
pub struct FanOut<S, P, L> {
    subscriptions: S,
    publisher: P,
    pub(super) limiter: L,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    settings: FanOutSettings,
}

/// The engine's numbers and choices.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FanOutSettings {
    /// How long a trigger may take (contract: 5 s).
    pub timeout: Duration,
    /// What to do when the rate limiter does not answer (contract: admit, and count it).
    pub limiter_down: LimiterDown,
}

/// What to do with a trigger when the rate limiter does not answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LimiterDown {
    /// Let it in; the receipt says so.
    Admit,
    /// Refuse it.
    Refuse,
}

impl Default for FanOutSettings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            limiter_down: LimiterDown::Admit,
        }
    }
}

impl<S: SubscriptionStore, P: DeliveryPublisher, L: RateLimiter> FanOut<S, P, L> {
    /// An engine over these back ends, with the system's clock and the default settings.
    pub fn new(subscriptions: S, publisher: P, limiter: L) -> Self {
        Self {
            subscriptions,
            publisher,
            limiter,
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
            settings: FanOutSettings::default(),
        }
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

    /// Uses `settings`.
    #[must_use]
    pub fn with_settings(mut self, settings: FanOutSettings) -> Self {
        self.settings = settings;
        self
    }

    /// The settings in use.
    pub fn settings(&self) -> &FanOutSettings {
        &self.settings
    }

    /// Queues `event` for every endpoint that is subscribed to its type within the caller's reach, within the
    /// [time-out](FanOutSettings::timeout).
    ///
    /// # Errors
    /// An error means that nothing was queued and nothing will be. Once anything was, or may have been, queued, the
    /// answer is a receipt, and what went wrong is in its failures.
    ///
    /// # Cancellation
    /// Dropping the future cancels the publisher's; what it has queued by then stays queued.
    pub async fn trigger(&self, event: NewEvent, caller: &Caller) -> Result<Receipt, TriggerError> {
        self.trigger_by(Instant::now() + self.settings.timeout, event, caller)
            .await
    }

    /// [`trigger`](Self::trigger) with a deadline of the caller's, such as the arrival of a request plus five seconds.
    ///
    /// The answer comes at the deadline at the latest, as far as the back ends' futures yield.
    pub async fn trigger_by(
        &self,
        deadline: Instant,
        event: NewEvent,
        caller: &Caller,
    ) -> Result<Receipt, TriggerError> {
        let scope = FanOutScope::try_from(caller)?;
        check_size(&event, caller)?;
        let (bypassed, subscribers) = timeout_at(deadline, async {
            let bypassed = self.admit(caller).await?;
            Ok((bypassed, self.look_up(&event.event_type, &scope).await?))
        })
        .await
        .unwrap_or(Err(TriggerError::DeadlineExceeded))?;
        let receipt = self.publish(deadline, event, &scope, subscribers).await?;
        Ok(receipt.bypassing_limiter(bypassed))
    }

    /// How the caller stands with its limits, by the deadline at the latest; nothing is spent.
    ///
    /// A limiter that does not answer limits nobody: then these are the plan's own numbers.
    pub async fn standing_by(&self, deadline: Instant, caller: &Caller) -> Allowance {
        standing(&self.limiter, &*self.clock, deadline, caller).await
    }

    /// Spends the caller's tokens. Answers whether the limiter was passed by because it is down.
    async fn admit(&self, caller: &Caller) -> Result<bool, TriggerError> {
        let admission = admit(&self.limiter, caller, 1, &self.settings).await;
        match admission.refusal {
            None => Ok(admission.is_bypassed),
            Some(refusal) => Err(refusal.into()),
        }
    }

    pub(super) async fn look_up(
        &self,
        event_type: &EventTypeName,
        scope: &FanOutScope,
    ) -> Result<Subscribers, TriggerError> {
        contain(|| self.subscriptions.subscribers(event_type, scope))
            .await
            .unwrap_or_else(panicked)
            .map_err(TriggerError::StoreUnavailable)?
            .ok_or(TriggerError::UnknownEventType)
    }

    /// Queues the deliveries and accounts for each, whatever the publisher does.
    pub(super) async fn publish(
        &self,
        deadline: Instant,
        event: NewEvent,
        scope: &FanOutScope,
        subscribers: Subscribers,
    ) -> Result<Receipt, TriggerError> {
        // Publishing that begins too late could only end as "may be queued": better to say nothing was.
        if Instant::now() >= deadline {
            return Err(TriggerError::DeadlineExceeded);
        }
        let now = self.clock.now();
        let message = MessageId::from_parts(now, self.ids.random());
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
            let event = Event::new(event, message, event_type, scope.workspace(), now);
            let publishing = contain(|| self.publisher.publish(&event, &mut deliveries));
            // Dropped at the deadline: what it resolved by then is kept, the rest stays unconfirmed. A panic likewise.
            in_time = timeout_at(deadline, publishing).await.is_ok();
        }
        if !in_time && !deliveries.iter().any(Delivery::may_be_queued) {
            return Err(TriggerError::DeadlineExceeded);
        }
        Ok(Receipt::new(message, event_type, deliveries))
    }
}

pub(super) fn check_size(event: &NewEvent, caller: &Caller) -> Result<(), TriggerError> {
    let (len, len_max) = (event.payload.len(), caller.plan.payload_len_max);
    if len > len_max {
        Err(TriggerError::PayloadTooLarge { len, len_max })
    } else {
        Ok(())
    }
}

impl<S, P, L> std::fmt::Debug for FanOut<S, P, L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FanOut")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
