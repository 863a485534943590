//! The three ports as mocks, and what the tests hand to them.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use mockall::{TimesRange, mock};
use nahook_core::admission::{
    Allowance, Caller, Grant, LimiterDown, NotWorkspaceScoped, Plan, Verdict,
};
use nahook_core::id::{ApiKeyId, EndpointId, EventTypeId, WorkspaceId};
use nahook_core::{
    Admission, Delivery, DeliveryPublisher, EndpointState, Event, EventTypeName, FanOut,
    IdempotencyKey, Metadata, NewEvent, NewSend, Payload, RateLimiter, Receipt, Scope, SendError,
    Sent, StoreError, Subscribers, SubscriptionStore, TriggerError,
};
use tokio::time::Instant;

mock! {
    pub Subscriptions {}
    impl SubscriptionStore for Subscriptions {
        fn subscribers(
            &self,
            event_type: &EventTypeName,
            scope: &Scope,
        ) -> impl Future<Output = Result<Option<Subscribers>, StoreError>> + Send;
        fn endpoint_states(
            &self,
            ids: &[EndpointId],
            scope: &Scope,
        ) -> impl Future<Output = Result<Vec<EndpointState>, StoreError>> + Send;
    }
}

mock! {
    pub Publisher {}
    impl DeliveryPublisher for Publisher {
        fn publish(
            &self,
            event: &Event,
            deliveries: &mut [Delivery],
        ) -> impl Future<Output = ()> + Send;
    }
}

mock! {
    pub Limiter {}
    impl RateLimiter for Limiter {
        fn check(&self, caller: &Caller) -> impl Future<Output = Result<Verdict, StoreError>> + Send;
        fn check_many(
            &self,
            caller: &Caller,
            wanted: u32,
        ) -> impl Future<Output = Result<Grant, StoreError>> + Send;
        fn peek(&self, caller: &Caller) -> impl Future<Output = Result<Allowance, StoreError>> + Send;
    }
}

/// An answer of a port.
pub(crate) type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A limiter's answer to several.
pub(crate) type Granted = Result<Grant, StoreError>;
/// A store's answer about an event type.
pub(crate) type Found = Result<Option<Subscribers>, StoreError>;
/// A store's answer about endpoints.
pub(crate) type States = Result<Vec<EndpointState>, StoreError>;

/// The engine over the mocks.
type Engine<P> = Admission<MockSubscriptions, P, MockLimiter>;

/// The three mocks, scripted, and what becomes of callers while the limiter is down.
#[derive(Default)]
pub(crate) struct Ports {
    limiter: Option<MockLimiter>,
    subscriptions: Option<MockSubscriptions>,
    publisher: Option<MockPublisher>,
    limiter_down: LimiterDown,
    calls: Calls,
}

/// The ports that were called, in that order. The engine catches the panic of a mock that expects no call, so a test
/// compares this instead.
#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<Vec<&'static str>>>);

/// The result of a call of the engine.
#[derive(Debug)]
pub(crate) struct Played<A = Result<Receipt, TriggerError>> {
    pub(crate) answer: A,
    pub(crate) calls: Vec<&'static str>,
    pub(crate) elapsed: Duration,
}

/// The result of a Send.
pub(crate) type SendPlayed = Played<Result<Sent, SendError>>;
/// The result of several Sends.
pub(crate) type SendsPlayed = Played<Vec<Result<Sent, SendError>>>;
/// The result of several triggers.
pub(crate) type BatchPlayed =
    Played<Result<Vec<Result<Receipt, TriggerError>>, NotWorkspaceScoped>>;

impl Calls {
    fn note(&self, port: &'static str) {
        self.0.lock().unwrap().push(port);
    }
}

impl Ports {
    /// The limiter answers that, once.
    pub(crate) fn limiter(
        mut self,
        answer: impl Fn(&Caller) -> Answer<Result<Verdict, StoreError>> + Send + 'static,
    ) -> Self {
        let calls = self.calls.clone();
        let mock = self.limiter.insert(MockLimiter::new());
        mock.expect_check().times(1).returning(move |caller| {
            calls.note("limiter");
            answer(caller)
        });
        self
    }

    /// The limiter answers that to several.
    pub(crate) fn granting(
        mut self,
        answer: impl Fn(u32) -> Answer<Granted> + Send + 'static,
    ) -> Self {
        let calls = self.calls.clone();
        let mock = self.limiter.insert(MockLimiter::new());
        mock.expect_check_many().returning(move |_, wanted| {
            calls.note("limiter");
            answer(wanted)
        });
        self
    }

    /// The subscription store answers that, so many times.
    pub(crate) fn stores(
        mut self,
        times: impl Into<TimesRange>,
        answer: impl Fn(&EventTypeName, &Scope) -> Answer<Found> + Send + 'static,
    ) -> Self {
        let calls = self.calls.clone();
        let mock = self.subscriptions.insert(MockSubscriptions::new());
        mock.expect_subscribers()
            .times(times)
            .returning(move |name, scope| {
                calls.note("store");
                answer(name, scope)
            });
        self
    }

    /// The subscription store answers that when it is asked for endpoints, once.
    pub(crate) fn endpoints(
        mut self,
        answer: impl Fn(&[EndpointId], &Scope) -> Answer<States> + Send + 'static,
    ) -> Self {
        let calls = self.calls.clone();
        let mock = self.subscriptions.insert(MockSubscriptions::new());
        mock.expect_endpoint_states()
            .times(1)
            .returning(move |ids, scope| {
                calls.note("store");
                answer(ids, scope)
            });
        self
    }

    /// The publisher does that, so many times.
    pub(crate) fn publishers(
        mut self,
        times: impl Into<TimesRange>,
        answer: impl Fn(&Event, &mut [Delivery]) -> Answer<()> + Send + 'static,
    ) -> Self {
        let calls = self.calls.clone();
        let mock = self.publisher.insert(MockPublisher::new());
        mock.expect_publish()
            .times(times)
            .returning(move |event, deliveries| {
                calls.note("publisher");
                answer(event, deliveries)
            });
        self
    }

    /// The subscription store answers that, once.
    pub(crate) fn store(
        self,
        answer: impl Fn(&EventTypeName, &Scope) -> Answer<Found> + Send + 'static,
    ) -> Self {
        self.stores(1, answer)
    }

    /// The publisher does that, once.
    pub(crate) fn publisher(
        self,
        answer: impl Fn(&Event, &mut [Delivery]) -> Answer<()> + Send + 'static,
    ) -> Self {
        self.publishers(1, answer)
    }

    /// The publisher does that with the slot of each Send.
    pub(crate) fn sender(
        self,
        answer: impl Fn(&Event, &mut Delivery) -> Answer<()> + Send + 'static,
    ) -> Self {
        self.publishers(.., move |event, deliveries| {
            let [slot] = deliveries else {
                panic!("{} slots for one endpoint", deliveries.len())
            };
            answer(event, slot)
        })
    }

    pub(crate) fn admits(self) -> Self {
        self.limiter(|_| ready(Ok(Verdict::Admit)))
    }

    /// The limiter is asked for so many and grants that.
    pub(crate) fn grants(self, wants: u32, admitted: u32, refused: Option<Duration>) -> Self {
        self.granting(move |wanted| {
            assert_eq!(wanted, wants);
            ready(Ok(Grant { admitted, refused }))
        })
    }

    pub(crate) fn finds(self, width: u128) -> Self {
        self.store(move |_, _| ready(Ok(Some(subscribers(width)))))
    }

    /// The store has whatever endpoint it is asked for.
    pub(crate) fn finds_endpoints(self) -> Self {
        self.endpoints(|ids, _| ready(Ok(vec![EndpointState::Active; ids.len()])))
    }

    pub(crate) fn publishes(self) -> Self {
        self.publisher(publish)
    }

    pub(crate) fn sends(self) -> Self {
        self.sender(|_, slot| {
            slot.mark_published();
            ready(())
        })
    }

    pub(crate) fn limiter_down(self, limiter_down: LimiterDown) -> Self {
        Self {
            limiter_down,
            ..self
        }
    }

    /// Triggers [`event`] for the caller, [`TIMEOUT`] from now at the latest.
    pub(crate) async fn play(self, caller: &Caller) -> Played {
        self.play_by(Instant::now() + TIMEOUT, caller).await
    }

    /// Triggers [`event`] for the caller.
    pub(crate) async fn play_by(self, deadline: Instant, caller: &Caller) -> Played {
        self.call(async |engine| engine.trigger_by(deadline, event(), caller).await)
            .await
    }

    /// Triggers [`event`] for the caller with a publisher that is no mock.
    pub(crate) async fn play_with(
        self,
        publisher: impl DeliveryPublisher,
        caller: &Caller,
    ) -> Played {
        let deadline = Instant::now() + TIMEOUT;
        self.call_over(publisher, async |engine| {
            engine.trigger_by(deadline, event(), caller).await
        })
        .await
    }

    /// Triggers these together, [`TIMEOUT`] from now at the latest.
    pub(crate) async fn play_batch(self, events: Vec<NewEvent>, caller: &Caller) -> BatchPlayed {
        let deadline = Instant::now() + TIMEOUT;
        self.call(async |engine| engine.trigger_batch_by(deadline, events, caller).await)
            .await
    }

    /// Sends [`send`] alone, [`TIMEOUT`] from now at the latest.
    pub(crate) async fn play_send(self, caller: &Caller) -> SendPlayed {
        self.play_send_by(Instant::now() + TIMEOUT, caller).await
    }

    /// Sends [`send`] alone.
    pub(crate) async fn play_send_by(self, deadline: Instant, caller: &Caller) -> SendPlayed {
        self.call(async |engine| engine.send_by(deadline, send(), caller).await)
            .await
    }

    /// Sends these together, [`TIMEOUT`] from now at the latest.
    pub(crate) async fn play_sends(self, sends: Vec<NewSend>, caller: &Caller) -> SendsPlayed {
        let deadline = Instant::now() + TIMEOUT;
        self.call(async |engine| engine.send_batch_by(deadline, sends, caller).await)
            .await
    }

    async fn call<A>(mut self, call: impl AsyncFnOnce(&Engine<MockPublisher>) -> A) -> Played<A> {
        if self.publisher.is_none() {
            self = self.publishers(.., |_, _| ready(()));
        }
        let publisher = self.publisher.take().unwrap();
        self.call_over(publisher, call).await
    }

    /// Mocks that were given no script note that they were called, and do no harm.
    async fn call_over<P: DeliveryPublisher, A>(
        mut self,
        publisher: P,
        call: impl AsyncFnOnce(&Engine<P>) -> A,
    ) -> Played<A> {
        let limiter = self.limiter.take().unwrap_or_else(|| {
            let (calls, mut mock) = (self.calls.clone(), MockLimiter::new());
            mock.expect_check().returning(move |_| {
                calls.note("limiter");
                ready(Ok(Verdict::Admit))
            });
            mock
        });
        let subscriptions = self.subscriptions.take().unwrap_or_else(|| {
            let (calls, mut mock) = (self.calls.clone(), MockSubscriptions::new());
            let noted = calls.clone();
            mock.expect_endpoint_states().returning(move |ids, _| {
                noted.note("store");
                ready(Ok(vec![EndpointState::Active; ids.len()]))
            });
            mock.expect_subscribers().returning(move |_, _| {
                calls.note("store");
                ready(Ok(Some(subscribers(1))))
            });
            mock
        });
        let engine = Admission::new(FanOut::new(subscriptions, publisher), limiter)
            .with_limiter_down(self.limiter_down);
        let began = Instant::now();
        let answer = call(&engine).await;
        Played {
            answer,
            calls: self.calls.0.lock().unwrap().clone(),
            elapsed: began.elapsed(),
        }
    }
}

pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

/// No calls.
pub(crate) const NOBODY: [&str; 0] = [];

pub(crate) fn subscribers(width: u128) -> Subscribers {
    Subscribers {
        event_type: EventTypeId::from_bits(7),
        endpoints: (0..width).map(EndpointId::from_bits).collect(),
    }
}

pub(crate) fn caller() -> Caller {
    Caller {
        key: ApiKeyId::from_bits(1),
        workspace: WorkspaceId::from_bits(1),
        environment: None,
        endpoint: None,
        plan: Plan::default(),
    }
}

/// A caller whose key is bound to that endpoint.
pub(crate) fn bound_to(endpoint: EndpointId) -> Caller {
    Caller {
        endpoint: Some(endpoint),
        ..caller()
    }
}

/// A caller whose payloads may be so long.
pub(crate) fn capped(payload_len_max: usize) -> Caller {
    Caller {
        plan: Plan {
            payload_len_max,
            ..Plan::default()
        },
        ..caller()
    }
}

pub(crate) fn out_of_reach() -> StoreError {
    StoreError::unavailable("out of reach")
}

pub(crate) fn event() -> NewEvent {
    NewEvent {
        event_type: EventTypeName::new("order.paid").unwrap(),
        payload: Payload::new(Bytes::from_static(b"{\"id\":1}")).unwrap(),
        metadata: Metadata::default(),
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

/// Takes every delivery.
pub(crate) fn publish(_: &Event, deliveries: &mut [Delivery]) -> Answer<()> {
    deliveries.iter_mut().for_each(Delivery::mark_published);
    ready(())
}

/// An answer that is there at once.
pub(crate) fn ready<T: Send + 'static>(answer: T) -> Answer<T> {
    Box::pin(std::future::ready(answer))
}

/// An answer that never comes.
pub(crate) fn silence<T: Send + 'static>() -> Answer<T> {
    Box::pin(std::future::pending())
}

/// An answer that comes once `duration` has passed.
pub(crate) fn after<T: Send + 'static>(duration: Duration, answer: T) -> Answer<T> {
    Box::pin(async move {
        tokio::time::sleep(duration).await;
        answer
    })
}
