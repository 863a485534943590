//! The ports of a Send as mocks, and what the tests hand to them.

use std::time::Duration;

use nahook_core::admission::{Caller, Grant, LimiterDown, Verdict};
use nahook_core::id::EndpointId;
use nahook_core::{
    Admission, Delivery, EndpointState, Event, FanOut, IdempotencyKey, NewSend, Payload, Scope,
    SendError, Sent, StoreError,
};
use tokio::time::Instant;

use crate::ports::{Answer, Calls, MockLimiter, MockPublisher, MockSubscriptions, TIMEOUT, ready};

/// A store's answer about endpoints.
pub(super) type States = Result<Vec<EndpointState>, StoreError>;

/// The three mocks, scripted, and what becomes of callers while the limiter is down.
pub(super) struct SendPorts {
    limiter: MockLimiter,
    subscriptions: MockSubscriptions,
    publisher: MockPublisher,
    pub(super) limiter_down: LimiterDown,
    calls: Calls,
}

/// The results of Sends.
#[derive(Debug)]
pub(super) struct SendsPlayed {
    pub(super) answers: Vec<Result<Sent, SendError>>,
    pub(super) calls: Vec<&'static str>,
    pub(super) elapsed: Duration,
}

impl SendsPlayed {
    /// The answer to the only Send.
    pub(super) fn answer(&self) -> &Result<Sent, SendError> {
        assert_eq!(self.answers.len(), 1);
        &self.answers[0]
    }
}

impl SendPorts {
    pub(super) fn new() -> Self {
        Self {
            limiter: MockLimiter::new(),
            subscriptions: MockSubscriptions::new(),
            publisher: MockPublisher::new(),
            limiter_down: LimiterDown::Admit,
            calls: Calls::default(),
        }
    }

    /// The limiter answers that to a single Send.
    pub(super) fn limiter(
        mut self,
        answer: impl Fn(&Caller) -> Answer<Result<Verdict, StoreError>> + Send + 'static,
    ) -> Self {
        let calls = self.calls.clone();
        self.limiter.expect_check().returning(move |caller| {
            calls.note("limiter");
            answer(caller)
        });
        self
    }

    /// The limiter grants that to several.
    pub(super) fn grants(mut self, wants: u32, grant: Grant) -> Self {
        let calls = self.calls.clone();
        let mock = &mut self.limiter;
        mock.expect_check_many().returning(move |_, wanted| {
            calls.note("limiter");
            assert_eq!(wanted, wants);
            ready(Ok(grant))
        });
        self
    }

    pub(super) fn admits(self) -> Self {
        self.limiter(|_| ready(Ok(Verdict::Admit)))
    }

    /// The store answers that when it is asked for endpoints.
    pub(super) fn store(
        mut self,
        answer: impl Fn(&[EndpointId], &Scope) -> Answer<States> + Send + 'static,
    ) -> Self {
        let calls = self.calls.clone();
        let mock = &mut self.subscriptions;
        mock.expect_endpoint_states().returning(move |ids, scope| {
            calls.note("store");
            answer(ids, scope)
        });
        self
    }

    /// The store has whatever it is asked for.
    pub(super) fn finds(self) -> Self {
        self.store(|ids, _| ready(Ok(vec![EndpointState::Active; ids.len()])))
    }

    /// The publisher does that with the slot of each.
    pub(super) fn publisher(
        mut self,
        answer: impl Fn(&Event, &mut Delivery) -> Answer<()> + Send + 'static,
    ) -> Self {
        let calls = self.calls.clone();
        let mock = &mut self.publisher;
        mock.expect_publish().returning(move |event, deliveries| {
            calls.note("publisher");
            let [slot] = deliveries else {
                panic!("{} slots for one endpoint", deliveries.len())
            };
            answer(event, slot)
        });
        self
    }

    pub(super) fn publishes(self) -> Self {
        self.publisher(|_, slot| {
            slot.mark_published();
            ready(())
        })
    }

    /// Sends [`send`] alone, [`TIMEOUT`] from now at the latest.
    pub(super) async fn play(self, caller: &Caller) -> SendsPlayed {
        self.play_by(Instant::now() + TIMEOUT, caller).await
    }

    pub(super) async fn play_by(self, deadline: Instant, caller: &Caller) -> SendsPlayed {
        self.run(deadline, caller, None).await
    }

    /// Sends these together, [`TIMEOUT`] from now at the latest.
    pub(super) async fn play_batch(self, sends: Vec<NewSend>, caller: &Caller) -> SendsPlayed {
        self.run(Instant::now() + TIMEOUT, caller, Some(sends))
            .await
    }

    async fn run(
        self,
        deadline: Instant,
        caller: &Caller,
        batch: Option<Vec<NewSend>>,
    ) -> SendsPlayed {
        let fan_out = FanOut::new(self.subscriptions, self.publisher);
        let engine = Admission::new(fan_out, self.limiter).with_limiter_down(self.limiter_down);
        let began = Instant::now();
        let answers = match batch {
            Some(sends) => engine.send_batch_by(deadline, sends, caller).await,
            None => vec![engine.send_by(deadline, send(), caller).await],
        };
        SendsPlayed {
            answers,
            calls: self.calls.all(),
            elapsed: began.elapsed(),
        }
    }
}

/// A payload for that endpoint, without a key.
pub(crate) fn send_to(endpoint: u128) -> NewSend {
    NewSend {
        endpoint: EndpointId::from_bits(endpoint),
        payload: Payload::new(format!("{{\"to\":{endpoint}}}")).unwrap(),
        idempotency_key: None,
    }
}

pub(crate) fn send() -> NewSend {
    NewSend {
        idempotency_key: Some(IdempotencyKey::new("k").unwrap()),
        ..send_to(1)
    }
}
