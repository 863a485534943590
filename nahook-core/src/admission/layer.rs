//! The limits of callers, in front of the engine.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::FanOut;
use crate::admission::{Allowance, Caller, Grant, NotWorkspaceScoped, Verdict};
use crate::engine::contain::{NO_SPAN, contain, panicked};
use crate::{
    DeliveryPublisher, NewEvent, NewSend, RateLimiter, Receipt, SendError, Sent, StoreError,
    SubscriptionStore, TriggerError,
};

/// Lets callers trigger and send within what their keys and plans allow: the reach of the key, the size of a payload, and
/// the rates, for which each call spends a token.
///
/// A layer that can be left out: an app that embeds [`FanOut`] has no keys and no plans.
#[derive(Debug)]
pub struct Admission<S, P, L> {
    fan_out: FanOut<S, P>,
    limiter: L,
    limiter_down: LimiterDown,
}

/// Treatment of callers when the rate limiter does not answer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LimiterDown {
    /// Let them in; the receipts say so (contract, section 1).
    #[default]
    Admit,
    /// Refuse them.
    Refuse,
}

/// Answer of the limiter to several wishes.
#[derive(Debug)]
struct Admitted {
    /// Number of those that were let in, the first ones.
    len: usize,
    /// True if they were because the limiter is down.
    is_bypassed: bool,
    /// Refusal of the others.
    refusal: Option<Refusal>,
}

/// Reason why a call was not let in.
#[derive(Clone, Debug)]
enum Refusal {
    DeadlineExceeded,
    LimiterDown(StoreError),
    PayloadTooLarge { len: usize, len_max: usize },
    RateLimited(Duration),
}

impl<S, P, L> Admission<S, P, L> {
    /// Puts the limits of `limiter` before `fan_out`. While the limiter does not answer, everybody is let in.
    pub fn new(fan_out: FanOut<S, P>, limiter: L) -> Self {
        Self {
            fan_out,
            limiter,
            limiter_down: LimiterDown::Admit,
        }
    }

    /// Sets what becomes of callers while the limiter does not answer.
    #[must_use]
    pub fn with_limiter_down(mut self, limiter_down: LimiterDown) -> Self {
        self.limiter_down = limiter_down;
        self
    }

    /// The engine behind the limits.
    pub fn fan_out(&self) -> &FanOut<S, P> {
        &self.fan_out
    }
}

impl<S: SubscriptionStore, P: DeliveryPublisher, L: RateLimiter> Admission<S, P, L> {
    /// [`FanOut::trigger`] within the caller's reach, for one token.
    pub async fn trigger(&self, event: NewEvent, caller: &Caller) -> Result<Receipt, TriggerError> {
        let deadline = Instant::now() + self.fan_out.timeout();
        self.trigger_by(deadline, event, caller).await
    }

    /// [`trigger`](Self::trigger) with a deadline of the caller's, as [`FanOut::trigger_by`].
    pub async fn trigger_by(
        &self,
        deadline: Instant,
        event: NewEvent,
        caller: &Caller,
    ) -> Result<Receipt, TriggerError> {
        let scope = caller.fan_out_scope()?;
        check_size(event.payload.len(), caller)?;
        let is_bypassed = self.admit_one(deadline, caller).await?;
        let receipt = self.fan_out.trigger_by(deadline, event, scope).await?;
        Ok(receipt.bypassing_limiter(is_bypassed))
    }

    /// [`FanOut::trigger_batch`] within the caller's reach. Each event costs a token, and the first ones get what there is.
    ///
    /// # Errors
    /// The batch's error means that nobody was asked.
    pub async fn trigger_batch(
        &self,
        events: Vec<NewEvent>,
        caller: &Caller,
    ) -> Result<Vec<Result<Receipt, TriggerError>>, NotWorkspaceScoped> {
        let deadline = Instant::now() + self.fan_out.timeout();
        self.trigger_batch_by(deadline, events, caller).await
    }

    /// [`trigger_batch`](Self::trigger_batch) with a deadline of the caller's.
    pub async fn trigger_batch_by(
        &self,
        deadline: Instant,
        events: Vec<NewEvent>,
        caller: &Caller,
    ) -> Result<Vec<Result<Receipt, TriggerError>>, NotWorkspaceScoped> {
        let scope = caller.fan_out_scope()?;
        let mut batch = Batch::new(events);
        batch.refuse(|event| Ok(check_size(event.payload.len(), caller)?));
        let is_bypassed = self.admit_batch(deadline, caller, &mut batch).await;
        let (events, places) = batch.admitted();
        let receipts = self.fan_out.trigger_batch_by(deadline, events, scope).await;
        let receipts = receipts
            .into_iter()
            .map(|answer| answer.map(|receipt| receipt.bypassing_limiter(is_bypassed)));
        Ok(batch.answers(places, receipts))
    }

    /// [`FanOut::send`] within the caller's reach, for one token.
    pub async fn send(&self, send: NewSend, caller: &Caller) -> Result<Sent, SendError> {
        let deadline = Instant::now() + self.fan_out.timeout();
        self.send_by(deadline, send, caller).await
    }

    /// [`send`](Self::send) with a deadline of the caller's, as [`FanOut::send_by`].
    pub async fn send_by(
        &self,
        deadline: Instant,
        send: NewSend,
        caller: &Caller,
    ) -> Result<Sent, SendError> {
        check_send(&send, caller)?;
        let is_bypassed = self.admit_one(deadline, caller).await?;
        let answer = self.fan_out.send_by(deadline, send, caller.scope()).await;
        Ok(answer?.bypassing_limiter(is_bypassed))
    }

    /// [`FanOut::send_batch`] within the caller's reach. Each costs a token, and the first ones get what there is.
    pub async fn send_batch(
        &self,
        sends: Vec<NewSend>,
        caller: &Caller,
    ) -> Vec<Result<Sent, SendError>> {
        let deadline = Instant::now() + self.fan_out.timeout();
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
        batch.refuse(|send| check_send(send, caller));
        let is_bypassed = self.admit_batch(deadline, caller, &mut batch).await;
        let (sends, places) = batch.admitted();
        let scope = caller.scope();
        let sent = self.fan_out.send_batch_by(deadline, sends, scope).await;
        let sent = sent
            .into_iter()
            .map(|answer| answer.map(|sent| sent.bypassing_limiter(is_bypassed)));
        batch.answers(places, sent)
    }

    /// Returns what the caller's limits leave it, by the deadline at the latest; nothing is spent.
    ///
    /// A limiter that does not answer limits nobody: then these are the plan's own numbers.
    pub async fn standing_by(&self, deadline: Instant, caller: &Caller) -> Allowance {
        let peeking = timeout_at(deadline, contain(&NO_SPAN, || self.limiter.peek(caller)));
        match peeking.await {
            Ok(Ok(Ok(allowance))) => allowance,
            _ => Allowance::of_plan(&caller.plan, self.fan_out.clock.now()),
        }
    }

    /// Spends a token. Returns true if it was not asked for one because the limiter is down.
    async fn admit_one(&self, deadline: Instant, caller: &Caller) -> Result<bool, Refusal> {
        let admitted = self.admit(deadline, caller, 1).await;
        admitted.refusal.map_or(Ok(admitted.is_bypassed), Err)
    }

    /// Spends a token for each of the batch, and answers those that there is none for.
    async fn admit_batch<T, A, E: From<Refusal>>(
        &self,
        deadline: Instant,
        caller: &Caller,
        batch: &mut Batch<T, A, E>,
    ) -> bool {
        let admitted = self.admit(deadline, caller, batch.open.len()).await;
        let mut left = admitted.len;
        batch.refuse(|_| match (left.checked_sub(1), &admitted.refusal) {
            (None, Some(refusal)) => Err(refusal.clone().into()),
            (rest, _) => {
                left = rest.unwrap_or_default();
                Ok(())
            }
        });
        admitted.is_bypassed
    }

    async fn admit(&self, deadline: Instant, caller: &Caller, wanted: usize) -> Admitted {
        let asked = async {
            match u32::try_from(wanted) {
                Ok(0) => Ok((0, None)),
                Ok(1) => contain(&NO_SPAN, || self.limiter.check(caller))
                    .await
                    .unwrap_or_else(panicked)
                    .map(|verdict| match verdict {
                        Verdict::Admit => (1, None),
                        Verdict::Refuse { retry_after } => (0, Some(retry_after)),
                    }),
                several => {
                    let several = several.unwrap_or(u32::MAX);
                    contain(&NO_SPAN, || self.limiter.check_many(caller, several))
                        .await
                        .unwrap_or_else(panicked)
                        .map(|Grant { admitted, refused }| (admitted as usize, refused))
                }
            }
        };
        let (len, is_bypassed, refusal) = match timeout_at(deadline, asked).await {
            Ok(Ok((_, None))) => (wanted, false, None),
            Ok(Ok((len, Some(retry_after)))) => {
                (len, false, Some(Refusal::RateLimited(retry_after)))
            }
            Ok(Err(error)) => match self.limiter_down {
                LimiterDown::Admit => (wanted, true, None),
                LimiterDown::Refuse => (0, false, Some(Refusal::LimiterDown(error))),
            },
            Err(_) => (0, false, Some(Refusal::DeadlineExceeded)),
        };
        Admitted {
            len,
            is_bypassed,
            refusal,
        }
    }
}

fn check_size(len: usize, caller: &Caller) -> Result<(), Refusal> {
    let len_max = caller.plan.payload_len_max;
    if len > len_max {
        Err(Refusal::PayloadTooLarge { len, len_max })
    } else {
        Ok(())
    }
}

/// A key that is bound to an endpoint knows of no other.
fn check_send(send: &NewSend, caller: &Caller) -> Result<(), SendError> {
    match caller.endpoint {
        Some(bound) if bound != send.endpoint => Err(SendError::UnknownEndpoint),
        _ => Ok(check_size(send.payload.len(), caller)?),
    }
}

/// Items of a batch: those that are not answered yet, and the answers to the others.
struct Batch<T, A, E> {
    open: Vec<(usize, T)>,
    answers: Vec<Option<Result<A, E>>>,
}

impl<T, A, E: From<Refusal>> Batch<T, A, E> {
    fn new(items: Vec<T>) -> Self {
        Self {
            answers: items.iter().map(|_| None).collect(),
            open: items.into_iter().enumerate().collect(),
        }
    }

    /// Answers those that do not pass the check.
    fn refuse(&mut self, mut check: impl FnMut(&T) -> Result<(), E>) {
        let answers = &mut self.answers;
        self.open.retain(|(place, item)| match check(item) {
            Ok(()) => true,
            Err(error) => {
                answers[*place] = Some(Err(error));
                false
            }
        });
    }

    /// Takes those that are not answered, and their places.
    fn admitted(&mut self) -> (Vec<T>, Vec<usize>) {
        let open = std::mem::take(&mut self.open);
        open.into_iter().map(|(place, item)| (item, place)).unzip()
    }

    /// Puts the answers of those that were let in to the others.
    fn answers(
        mut self,
        places: Vec<usize>,
        answers: impl IntoIterator<Item = Result<A, E>>,
    ) -> Vec<Result<A, E>> {
        for (place, answer) in places.into_iter().zip(answers) {
            self.answers[place] = Some(answer);
        }
        self.answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(|| Err(Refusal::DeadlineExceeded.into())))
            .collect()
    }
}

macro_rules! refusal_into {
    ($error:ident) => {
        impl From<Refusal> for $error {
            fn from(refusal: Refusal) -> Self {
                match refusal {
                    Refusal::DeadlineExceeded => Self::DeadlineExceeded,
                    Refusal::LimiterDown(error) => Self::LimiterUnavailable(error),
                    Refusal::PayloadTooLarge { len, len_max } => {
                        Self::PayloadTooLarge { len, len_max }
                    }
                    Refusal::RateLimited(retry_after) => Self::RateLimited { retry_after },
                }
            }
        }
    };
}

refusal_into!(SendError);
refusal_into!(TriggerError);
