//! Sending to single endpoints: scope, size, admit, look up, publish, account.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::admission::admit;
use super::contain::{contain, panicked};
use crate::{
    Caller, Clock, DeliveryId, DirectDelivery, DirectOutcome, DirectPublisher, EndpointDirectory,
    EndpointId, EndpointTarget, Event, FailureKind, FanOutSettings, IdSource, IdempotencyKey,
    MessageId, NewSend, RandomIds, RateLimiter, SendError, Sent, SystemClock,
};

/// Sends payloads to single endpoints, each at most once for its idempotency key.
///
/// As [`FanOut`](crate::FanOut) it owns the deadline and the order of the steps and keeps no state.
pub struct DirectSend<E, P, L> {
    endpoints: E,
    publisher: P,
    limiter: L,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    settings: FanOutSettings,
}

impl<E: EndpointDirectory, P: DirectPublisher, L: RateLimiter> DirectSend<E, P, L> {
    /// An engine over these back ends, with the system's clock and the default settings.
    pub fn new(endpoints: E, publisher: P, limiter: L) -> Self {
        Self {
            endpoints,
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

    /// Queues one payload for one endpoint within the [time-out](FanOutSettings::timeout), unless its idempotency key
    /// stands for an earlier one already.
    ///
    /// # Errors
    /// Every error but [`SendError::Unconfirmed`] means that nothing was queued and nothing will be.
    ///
    /// # Cancellation
    /// Dropping the future cancels the publisher's; what it has queued by then stays queued.
    pub async fn send(&self, send: NewSend, caller: &Caller) -> Result<Sent, SendError> {
        self.send_by(Instant::now() + self.settings.timeout, send, caller)
            .await
    }

    /// [`send`](Self::send) with a deadline of the caller's, such as the arrival of a request plus five seconds.
    ///
    /// The answer comes at the deadline at the latest, as far as the back ends' futures yield.
    pub async fn send_by(
        &self,
        deadline: Instant,
        send: NewSend,
        caller: &Caller,
    ) -> Result<Sent, SendError> {
        let mut answers = self.send_batch_by(deadline, vec![send], caller).await;
        answers.pop().unwrap_or(Err(SendError::DeadlineExceeded))
    }

    /// Sends each as [`send`](Self::send) does, within one time-out for all; answers in their order.
    ///
    /// Each is independent, costs a token and has an answer of its own. All endpoints are looked up in one call, and
    /// everything is published in another.
    pub async fn send_batch(
        &self,
        sends: Vec<NewSend>,
        caller: &Caller,
    ) -> Vec<Result<Sent, SendError>> {
        let deadline = Instant::now() + self.settings.timeout;
        self.send_batch_by(deadline, sends, caller).await
    }

    /// [`send_batch`](Self::send_batch) with a deadline of the caller's.
    pub async fn send_batch_by(
        &self,
        deadline: Instant,
        sends: Vec<NewSend>,
        caller: &Caller,
    ) -> Vec<Result<Sent, SendError>> {
        let mut batch = Batch::new(sends);
        batch.refuse(|send| check_scope(send, caller).and_then(|()| check_size(send, caller)));
        let prepared = timeout_at(deadline, async {
            let is_bypassed = self.admit(&mut batch, caller).await;
            self.look_up(&mut batch, caller).await;
            is_bypassed
        })
        .await;
        match prepared {
            // Publishing that begins too late could only end as "may be queued": better to say nothing was.
            Ok(is_bypassed) if Instant::now() < deadline => {
                self.publish(deadline, &mut batch, caller, is_bypassed)
                    .await;
            }
            _ => {}
        }
        batch.into_answers()
    }

    /// Spends the caller's tokens. Answers whether the limiter was passed by because it is down.
    async fn admit(&self, batch: &mut Batch, caller: &Caller) -> bool {
        let admission = admit(&self.limiter, caller, batch.open.len(), &self.settings).await;
        let mut left = admission.admitted;
        batch.refuse(|_| match (left.checked_sub(1), &admission.refusal) {
            (Some(rest), _) => {
                left = rest;
                Ok(())
            }
            (None, Some(refusal)) => Err(refusal.clone().into()),
            (None, None) => Ok(()),
        });
        admission.is_bypassed
    }

    async fn look_up(&self, batch: &mut Batch, caller: &Caller) {
        let mut ids: Vec<EndpointId> = batch.open.iter().map(|(_, send)| send.endpoint).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            return;
        }
        let found = contain(|| self.endpoints.targets(&ids))
            .await
            .unwrap_or_else(panicked);
        match found {
            Ok(targets) => {
                let targets: HashMap<_, _> = ids.into_iter().zip(targets).collect();
                batch.refuse(|send| {
                    let target = targets.get(&send.endpoint).and_then(Option::as_deref);
                    check_target(target, caller)
                });
            }
            Err(error) => batch.refuse(|_| Err(SendError::StoreUnavailable(error.clone()))),
        }
    }

    /// Queues what is left of the batch and accounts for each, whatever the publisher does.
    async fn publish(
        &self,
        deadline: Instant,
        batch: &mut Batch,
        caller: &Caller,
        is_bypassed: bool,
    ) {
        let now = self.clock.now();
        let (mut places, mut slots) = (Vec::new(), Vec::new());
        for (place, send) in std::mem::take(&mut batch.open) {
            let message = MessageId::from_parts(now, self.ids.random());
            let (workspace, key) = (caller.workspace, send.idempotency_key);
            let event = Event::direct(send.payload, message, workspace, key, now);
            places.push(place);
            slots.push(DirectDelivery::new(event, send.endpoint));
        }
        if slots.is_empty() {
            return;
        }
        let publishing = contain(|| self.publisher.publish_direct(&mut slots));
        // Dropped at the deadline: what it resolved by then is kept, the rest stays unconfirmed. A panic likewise.
        let in_time = timeout_at(deadline, publishing).await.is_ok();
        for (place, slot) in places.into_iter().zip(&slots) {
            batch.answers[place] = Some(account(slot, in_time, is_bypassed));
        }
    }
}

/// The items that are not answered yet, and the answers to the others.
struct Batch {
    open: Vec<(usize, NewSend)>,
    answers: Vec<Option<Result<Sent, SendError>>>,
}

impl Batch {
    fn new(sends: Vec<NewSend>) -> Self {
        Self {
            answers: sends.iter().map(|_| None).collect(),
            open: sends.into_iter().enumerate().collect(),
        }
    }

    /// Answers those that do not pass the check.
    fn refuse(&mut self, mut check: impl FnMut(&NewSend) -> Result<(), SendError>) {
        let answers = &mut self.answers;
        self.open.retain(|(place, send)| match check(send) {
            Ok(()) => true,
            Err(error) => {
                answers[*place] = Some(Err(error));
                false
            }
        });
    }

    /// What has no answer was overtaken by the deadline before anything was published.
    fn into_answers(self) -> Vec<Result<Sent, SendError>> {
        self.answers
            .into_iter()
            .map(|answer| answer.unwrap_or(Err(SendError::DeadlineExceeded)))
            .collect()
    }
}

/// A key that is bound to an endpoint knows of no other.
fn check_scope(send: &NewSend, caller: &Caller) -> Result<(), SendError> {
    match caller.endpoint {
        Some(bound) if bound != send.endpoint => Err(SendError::UnknownEndpoint),
        _ => Ok(()),
    }
}

fn check_size(send: &NewSend, caller: &Caller) -> Result<(), SendError> {
    let (len, len_max) = (send.payload.len(), caller.plan.payload_len_max);
    if len > len_max {
        Err(SendError::PayloadTooLarge { len, len_max })
    } else {
        Ok(())
    }
}

fn check_target(target: Option<&EndpointTarget>, caller: &Caller) -> Result<(), SendError> {
    let is_reached = |target: &&EndpointTarget| {
        target.workspace == caller.workspace
            && caller
                .environment
                .is_none_or(|environment| environment == target.environment)
    };
    match target.filter(is_reached) {
        None => Err(SendError::UnknownEndpoint),
        Some(target) if !target.is_active => Err(SendError::EndpointDisabled),
        Some(_) => Ok(()),
    }
}

fn account(
    slot: &DirectDelivery,
    in_time: bool,
    limiter_bypassed: bool,
) -> Result<Sent, SendError> {
    let sent = |delivery: DeliveryId, is_replay| Sent {
        delivery,
        message: slot.event().id,
        idempotency_key: slot
            .idempotency_key()
            .cloned()
            .unwrap_or_else(|| IdempotencyKey::of(delivery)),
        is_replay,
        limiter_bypassed,
    };
    match slot.outcome() {
        DirectOutcome::Published => Ok(sent(slot.id(), false)),
        DirectOutcome::Replayed(original) => Ok(sent(original, true)),
        DirectOutcome::Failed(kind) if kind.may_be_queued() => Err(SendError::Unconfirmed {
            delivery: slot.id(),
            is_keyed: slot.idempotency_key().is_some(),
        }),
        DirectOutcome::Failed(FailureKind::EndpointGone) => Err(SendError::UnknownEndpoint),
        DirectOutcome::Failed(kind) if in_time => Err(SendError::QueueRefused(kind)),
        DirectOutcome::Failed(_) => Err(SendError::DeadlineExceeded),
    }
}

impl<E, P, L> std::fmt::Debug for DirectSend<E, P, L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DirectSend")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
