//! The three ports as mocks, and what the tests hand to them.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use mockall::mock;
use nahook_core::admission::{Allowance, Caller, Grant, LimiterDown, Plan, Verdict};
use nahook_core::id::{ApiKeyId, EndpointId, EventTypeId, WorkspaceId};
use nahook_core::{
    Admission, Delivery, DeliveryPublisher, EndpointState, Event, EventTypeName, FanOut, Metadata,
    NewEvent, Payload, RateLimiter, Receipt, Scope, StoreError, Subscribers, SubscriptionStore,
    TriggerError,
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

/// The three mocks, scripted, and what becomes of callers while the limiter is down.
#[derive(Default)]
pub(crate) struct Ports {
    limiter: Option<MockLimiter>,
    subscriptions: Option<MockSubscriptions>,
    publisher: Option<MockPublisher>,
    pub(crate) limiter_down: LimiterDown,
    calls: Calls,
}

/// The ports that were called, in that order. The engine catches the panic of a mock that expects no call, so a test
/// compares this instead.
#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<Vec<&'static str>>>);

/// The result of a trigger.
#[derive(Debug)]
pub(crate) struct Played {
    pub(crate) answer: Result<Receipt, TriggerError>,
    pub(crate) calls: Vec<&'static str>,
    pub(crate) elapsed: Duration,
}

impl Calls {
    pub(crate) fn note(&self, port: &'static str) {
        self.0.lock().unwrap().push(port);
    }

    /// All of them so far.
    pub(crate) fn all(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().clone()
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

    /// The subscription store answers that, once.
    pub(crate) fn store(
        mut self,
        answer: impl Fn(&EventTypeName, &Scope) -> Answer<Result<Option<Subscribers>, StoreError>>
        + Send
        + 'static,
    ) -> Self {
        let calls = self.calls.clone();
        let mock = self.subscriptions.insert(MockSubscriptions::new());
        mock.expect_subscribers()
            .times(1)
            .returning(move |name, scope| {
                calls.note("store");
                answer(name, scope)
            });
        self
    }

    /// The publisher does that, once.
    pub(crate) fn publisher(
        mut self,
        answer: impl Fn(&Event, &mut [Delivery]) -> Answer<()> + Send + 'static,
    ) -> Self {
        let calls = self.calls.clone();
        let mock = self.publisher.insert(MockPublisher::new());
        mock.expect_publish()
            .times(1)
            .returning(move |event, deliveries| {
                calls.note("publisher");
                answer(event, deliveries)
            });
        self
    }

    pub(crate) fn admits(self) -> Self {
        self.limiter(|_| ready(Ok(Verdict::Admit)))
    }

    pub(crate) fn finds(self, width: u128) -> Self {
        self.store(move |_, _| ready(Ok(Some(subscribers(width)))))
    }

    pub(crate) fn publishes(self) -> Self {
        self.publisher(|_, deliveries| {
            deliveries.iter_mut().for_each(Delivery::mark_published);
            ready(())
        })
    }

    /// Triggers [`event`] for the caller, [`TIMEOUT`] from now at the latest.
    pub(crate) async fn play(self, caller: &Caller) -> Played {
        let deadline = Instant::now() + TIMEOUT;
        self.play_by(deadline, caller).await
    }

    /// Triggers [`event`] for the caller.
    pub(crate) async fn play_by(mut self, deadline: Instant, caller: &Caller) -> Played {
        let (limiter, subscriptions, publisher) = self.mocks();
        self.play_over(limiter, subscriptions, publisher, deadline, caller)
            .await
    }

    /// Triggers [`event`] for the caller with a publisher that is no mock.
    pub(crate) async fn play_with(
        mut self,
        publisher: impl DeliveryPublisher,
        caller: &Caller,
    ) -> Played {
        let (limiter, subscriptions, _) = self.mocks();
        let deadline = Instant::now() + TIMEOUT;
        self.play_over(limiter, subscriptions, publisher, deadline, caller)
            .await
    }

    async fn play_over(
        self,
        limiter: MockLimiter,
        subscriptions: MockSubscriptions,
        publisher: impl DeliveryPublisher,
        deadline: Instant,
        caller: &Caller,
    ) -> Played {
        let engine = Admission::new(FanOut::new(subscriptions, publisher), limiter)
            .with_limiter_down(self.limiter_down);
        let began = Instant::now();
        let answer = engine.trigger_by(deadline, event(), caller).await;
        Played {
            answer,
            calls: self.calls.all(),
            elapsed: began.elapsed(),
        }
    }

    /// The mocks; those that were given no script note that they were called, and do no harm.
    fn mocks(&mut self) -> (MockLimiter, MockSubscriptions, MockPublisher) {
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
            mock.expect_subscribers().returning(move |_, _| {
                calls.note("store");
                ready(Ok(Some(subscribers(1))))
            });
            mock
        });
        let publisher = self.publisher.take().unwrap_or_else(|| {
            let (calls, mut mock) = (self.calls.clone(), MockPublisher::new());
            mock.expect_publish().returning(move |_, _| {
                calls.note("publisher");
                ready(())
            });
            mock
        });
        (limiter, subscriptions, publisher)
    }
}

pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

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

pub(crate) fn event() -> NewEvent {
    NewEvent {
        event_type: EventTypeName::new("order.paid").unwrap(),
        payload: Payload::new(Bytes::from_static(b"{\"id\":1}")).unwrap(),
        metadata: Metadata::default(),
    }
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
