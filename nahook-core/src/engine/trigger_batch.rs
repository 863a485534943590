//! Several triggers at once.

use futures_util::future::join_all;
use tokio::time::Instant;

use super::fan_out::FanOut;
use super::spans;
use crate::{DeliveryPublisher, NewEvent, Receipt, Scope, SubscriptionStore, TriggerError};

/// One event's answer.
type Answer = Result<Receipt, TriggerError>;

/// Events of one type and their places in the batch.
type OfOneType = Vec<(usize, NewEvent)>;

impl<S: SubscriptionStore, P: DeliveryPublisher> FanOut<S, P> {
    /// Triggers each event as [`trigger`](Self::trigger) does, within one [timeout](Self::timeout) for all; answers in
    /// their order.
    ///
    /// Events are independent: what happens to one says nothing about the others. An event type is looked up once,
    /// however often it occurs, and everything is published side by side, so that a back end can take it together.
    ///
    /// # Cancellation
    /// As for [`trigger`](Self::trigger).
    pub async fn trigger_batch(
        &self,
        events: Vec<NewEvent>,
        scope: impl Into<Scope>,
    ) -> Vec<Result<Receipt, TriggerError>> {
        self.trigger_batch_by(Instant::now() + self.timeout(), events, scope.into())
            .await
    }

    /// [`trigger_batch`](Self::trigger_batch) with a deadline of the caller's.
    pub async fn trigger_batch_by(
        &self,
        deadline: Instant,
        events: Vec<NewEvent>,
        scope: Scope,
    ) -> Vec<Result<Receipt, TriggerError>> {
        let fanning_out = by_type(events)
            .into_iter()
            .map(|events| self.fan_out_all(deadline, events, &scope));
        let mut answers: Vec<_> = join_all(fanning_out).await.into_iter().flatten().collect();
        answers.sort_unstable_by_key(|(place, _)| *place);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    /// Looks up the one type of the events and fans each of them out.
    async fn fan_out_all(
        &self,
        deadline: Instant,
        events: OfOneType,
        scope: &Scope,
    ) -> Vec<(usize, Answer)> {
        let Some((_, first)) = events.first() else {
            return Vec::new();
        };
        let span = spans::trigger(scope, &first.event_type, events.len());
        let looking_up = self.look_up(deadline, &first.event_type, scope, &span);
        let (subscribers, span) = (&looking_up.await, &span);
        let fanning_out = events.into_iter().map(|(place, event)| async move {
            let answer = match subscribers.clone() {
                Ok(subscribers) => {
                    self.fan_out(deadline, event, scope, subscribers, span)
                        .await
                }
                Err(error) => Err(error),
            };
            (place, answer)
        });
        join_all(fanning_out).await
    }
}

/// Groups the events, in the order in which their types first occur.
fn by_type(events: Vec<NewEvent>) -> Vec<OfOneType> {
    let mut groups: Vec<OfOneType> = Vec::new();
    for (place, event) in events.into_iter().enumerate() {
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
