//! The ports of a Send as mocks, and what the tests hand to them.

use std::sync::Arc;
use std::time::Duration;

use mockall::mock;
use nahook_core::{
    Caller, DirectDelivery, DirectPublisher, DirectSend, EndpointDirectory, EndpointId,
    EndpointKind, EndpointTarget, EnvironmentId, FanOutSettings, Grant, HealthReport,
    IdempotencyKey, NewSend, Payload, SendError, Sent, StoreError, Verdict,
};
use tokio::time::Instant;

use crate::ports::{Answer, Calls, MockLimiter, TIMEOUT, caller, ready};

mock! {
    pub Endpoints {
        fn targets(&self, ids: &[EndpointId]) -> Answer<Targets>;
    }
}

#[async_trait::async_trait]
impl EndpointDirectory for MockEndpoints {
    async fn targets(
        &self,
        ids: &[EndpointId],
    ) -> Result<Vec<Option<Arc<EndpointTarget>>>, StoreError> {
        Self::targets(self, ids).await
    }

    async fn report(&self, _: &[HealthReport]) -> Result<(), StoreError> {
        unreachable!("a Send reports nothing")
    }
}

mock! {
    pub Direct {}
    impl DirectPublisher for Direct {
        fn publish_direct(
            &self,
            deliveries: &mut [DirectDelivery],
        ) -> impl Future<Output = ()> + Send;
    }
}

/// What a directory answers.
pub(super) type Targets = Result<Vec<Option<Arc<EndpointTarget>>>, StoreError>;

/// The three mocks, scripted, and the engine's settings.
pub(super) struct SendPorts {
    limiter: MockLimiter,
    endpoints: MockEndpoints,
    publisher: MockDirect,
    pub(super) settings: FanOutSettings,
    calls: Calls,
}

/// How Sends went.
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
            endpoints: MockEndpoints::new(),
            publisher: MockDirect::new(),
            settings: FanOutSettings::default(),
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

    /// The directory answers that.
    pub(super) fn directory(
        mut self,
        answer: impl Fn(&[EndpointId]) -> Answer<Targets> + Send + 'static,
    ) -> Self {
        let calls = self.calls.clone();
        self.endpoints.expect_targets().returning(move |ids| {
            calls.note("directory");
            answer(ids)
        });
        self
    }

    /// The directory has whatever it is asked for.
    pub(super) fn finds(self) -> Self {
        self.directory(|ids| ready(Ok(ids.iter().map(|id| Some(target(*id))).collect())))
    }

    /// The publisher does that.
    pub(super) fn publisher(
        mut self,
        answer: impl Fn(&mut [DirectDelivery]) -> Answer<()> + Send + 'static,
    ) -> Self {
        let calls = self.calls.clone();
        let mock = &mut self.publisher;
        mock.expect_publish_direct().returning(move |deliveries| {
            calls.note("publisher");
            answer(deliveries)
        });
        self
    }

    pub(super) fn publishes(self) -> Self {
        self.publisher(|deliveries| {
            deliveries.iter_mut().for_each(DirectDelivery::published);
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
        let engine = DirectSend::new(self.endpoints, self.publisher, self.limiter);
        let engine = engine.with_settings(self.settings);
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

/// What is known of an endpoint that the [`caller`] reaches.
pub(super) fn target(id: EndpointId) -> Arc<EndpointTarget> {
    Arc::new(reached(id))
}

pub(super) fn reached(id: EndpointId) -> EndpointTarget {
    EndpointTarget {
        id,
        workspace: caller().workspace,
        environment: EnvironmentId::from_bits(1),
        url: "http://one.example/".to_owned(),
        kind: EndpointKind::Webhook,
        secrets: Vec::new(),
        auth: None,
        is_active: true,
        failing_since: None,
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
