//! Several triggers at once.

use tokio::time::{Instant, timeout_at};

use super::admission::{Admission, admit};
use super::fan_out::{FanOut, check_size};
use super::join::join_all;
use crate::{
    Caller, DeliveryPublisher, FanOutScope, NewEvent, NotWorkspaceScoped, RateLimiter, Receipt,
    SubscriptionStore, TriggerError,
};

/// One event's answer.
type Answer = Result<Receipt, TriggerError>;

/// Events of one type and their places in the batch.
type OfOneType = Vec<(usize, NewEvent)>;

impl<S: SubscriptionStore, P: DeliveryPublisher, L: RateLimiter> FanOut<S, P, L> {
    /// Triggers each event as [`trigger`](Self::trigger) does, within one [time-out](crate::FanOutSettings::timeout) for
    /// all; answers in their order.
    ///
    /// Events are independent: what happens to one says nothing about the others. Each costs a token, and the first
    /// ones get what there is. An event type is looked up once, however often it occurs, and everything is published
    /// side by side, so that a back end can take it together.
    ///
    /// # Errors
    /// An event's error means what it means for [`trigger`](Self::trigger); the batch's, that nobody was asked.
    ///
    /// # Cancellation
    /// As for [`trigger`](Self::trigger).
    pub async fn trigger_batch(
        &self,
        events: Vec<NewEvent>,
        caller: &Caller,
    ) -> Result<Vec<Answer>, NotWorkspaceScoped> {
        let deadline = Instant::now() + self.settings().timeout;
        self.trigger_batch_by(deadline, events, caller).await
    }

    /// [`trigger_batch`](Self::trigger_batch) with a deadline of the caller's.
    pub async fn trigger_batch_by(
        &self,
        deadline: Instant,
        events: Vec<NewEvent>,
        caller: &Caller,
    ) -> Result<Vec<Answer>, NotWorkspaceScoped> {
        let scope = FanOutScope::try_from(caller)?;
        let mut answers: Vec<Option<Answer>> = events.iter().map(|_| None).collect();
        let mut fitting = Vec::with_capacity(events.len());
        for (place, event) in events.into_iter().enumerate() {
            match check_size(&event, caller) {
                Ok(()) => fitting.push((place, event)),
                Err(error) => answers[place] = Some(Err(error)),
            }
        }
        let admitting = admit(&self.limiter, caller, fitting.len(), self.settings());
        let Ok(admission) = timeout_at(deadline, admitting).await else {
            return Ok(in_order(answers));
        };
        let is_bypassed = admission.is_bypassed;
        let admitted = let_in(fitting, &admission, &mut answers);
        let fanning_out = by_type(admitted)
            .into_iter()
            .map(|events| self.fan_out(deadline, events, &scope));
        for (place, answer) in join_all(fanning_out).await.into_iter().flatten() {
            answers[place] = Some(answer.map(|receipt| receipt.bypassing_limiter(is_bypassed)));
        }
        Ok(in_order(answers))
    }

    /// Looks the events' one type up and publishes each of them.
    async fn fan_out(
        &self,
        deadline: Instant,
        events: OfOneType,
        scope: &FanOutScope,
    ) -> Vec<(usize, Answer)> {
        let Some(name) = events.first().map(|(_, event)| event.event_type.clone()) else {
            return Vec::new();
        };
        let subscribers = timeout_at(deadline, self.look_up(&name, scope))
            .await
            .unwrap_or(Err(TriggerError::DeadlineExceeded));
        let subscribers = &subscribers;
        let publishing = events.into_iter().map(|(place, event)| async move {
            let answer = match subscribers.clone() {
                Ok(subscribers) => self.publish(deadline, event, scope, subscribers).await,
                Err(error) => Err(error),
            };
            (place, answer)
        });
        join_all(publishing).await
    }
}

/// Keeps those that were let in, and answers the others.
fn let_in(
    mut fitting: Vec<(usize, NewEvent)>,
    admission: &Admission,
    answers: &mut [Option<Answer>],
) -> Vec<(usize, NewEvent)> {
    let refused = fitting.split_off(admission.admitted.min(fitting.len()));
    if let Some(refusal) = &admission.refusal {
        for (place, _) in refused {
            answers[place] = Some(Err(refusal.clone().into()));
        }
    }
    fitting
}

/// In the order in which the types first occur.
fn by_type(events: Vec<(usize, NewEvent)>) -> Vec<OfOneType> {
    let mut groups: Vec<OfOneType> = Vec::new();
    for (place, event) in events {
        let group = groups
            .iter_mut()
            .find(|group| group[0].1.event_type == event.event_type);
        match group {
            Some(group) => group.push((place, event)),
            None => groups.push(vec![(place, event)]),
        }
    }
    groups
}

/// What has no answer was overtaken by the deadline before anything was published.
fn in_order(answers: Vec<Option<Answer>>) -> Vec<Answer> {
    answers
        .into_iter()
        .map(|answer| answer.unwrap_or(Err(TriggerError::DeadlineExceeded)))
        .collect()
}
