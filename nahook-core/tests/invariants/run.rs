//! Runs a case in paused time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use nahook_core::admission::{Allowance, Caller, Grant, Plan, Verdict};
use nahook_core::id::{ApiKeyId, EndpointId, EnvironmentId, EventTypeId, WorkspaceId};
use nahook_core::{
    Admission, Delivery, DeliveryPublisher, DynDeliveryPublisher, DynRateLimiter,
    DynSubscriptionStore, EndpointState, Event, EventTypeName, FanOut, Metadata, NewEvent, Payload,
    RateLimiter, Receipt, Scope, StoreError, Subscribers, SubscriptionStore, Timestamp,
    TriggerError,
};
use nahook_testkit::{FaultyPublisher, HeldDelivery, RecordingPublisher, SeededIds, TokioClock};
use tokio::time::{Instant, sleep};

use crate::case::{Case, LimiterAnswer, Reach, StoreAnswer};

/// The result of a case.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) answer: Result<Receipt, TriggerError>,
    pub(crate) elapsed: Duration,
    /// Everything that had happened behind the ports long after the answer.
    pub(crate) truth: Truth,
}

/// Everything that has happened behind the ports.
#[derive(Clone, Debug, Default)]
pub(crate) struct Truth {
    pub(crate) checked: Vec<Caller>,
    pub(crate) looked_up: Vec<(EventTypeName, Scope)>,
    pub(crate) published: Vec<Event>,
    /// The deliveries that the queue holds, whatever it said of them.
    pub(crate) held: Vec<HeldDelivery>,
}

/// The ports and the engine of a case.
pub(crate) struct Stage {
    engine: Engine,
    queue: FaultyPublisher<RecordingPublisher>,
    truth: Arc<Mutex<Truth>>,
}

enum Engine {
    Typed(Box<Admission<ScriptedStore, ObservedPublisher, ScriptedLimiter>>),
    Erased(
        Admission<
            Arc<dyn DynSubscriptionStore>,
            Box<dyn DynDeliveryPublisher>,
            Arc<dyn DynRateLimiter>,
        >,
    ),
}

struct ScriptedLimiter {
    case: Case,
    truth: Arc<Mutex<Truth>>,
}

struct ObservedPublisher {
    queue: FaultyPublisher<RecordingPublisher>,
    truth: Arc<Mutex<Truth>>,
}

struct ScriptedStore {
    case: Case,
    truth: Arc<Mutex<Truth>>,
}

/// Triggers once.
pub(crate) fn run(case: &Case) -> Ran {
    run_with(case, event())
}

/// Triggers that event once.
pub(crate) fn run_with(case: &Case, event: NewEvent) -> Ran {
    in_paused_time(async {
        let stage = Stage::new(case);
        let began = Instant::now();
        let answer = stage.trigger(case, event).await;
        let elapsed = began.elapsed();
        Ran {
            answer,
            elapsed,
            truth: stage.truth_at_last().await,
        }
    })
}

/// Runs the future on a runtime of its own whose clock only moves when everybody waits.
pub(crate) fn in_paused_time<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(future)
}

impl Stage {
    pub(crate) fn new(case: &Case) -> Self {
        let truth = Arc::new(Mutex::new(Truth::default()));
        let store = ScriptedStore {
            case: case.clone(),
            truth: Arc::clone(&truth),
        };
        let queue = FaultyPublisher::recording(case.queue.script());
        let publisher = ObservedPublisher {
            queue: queue.clone(),
            truth: Arc::clone(&truth),
        };
        let limiter = ScriptedLimiter {
            case: case.clone(),
            truth: Arc::clone(&truth),
        };
        let engine = if case.is_erased {
            let store: Arc<dyn DynSubscriptionStore> = Arc::new(store);
            let publisher: Box<dyn DynDeliveryPublisher> = Box::new(publisher);
            let limiter: Arc<dyn DynRateLimiter> = Arc::new(limiter);
            Engine::Erased(admission(case, store, publisher, limiter))
        } else {
            Engine::Typed(Box::new(admission(case, store, publisher, limiter)))
        };
        Self {
            engine,
            queue,
            truth,
        }
    }

    pub(crate) async fn trigger(
        &self,
        case: &Case,
        event: NewEvent,
    ) -> Result<Receipt, TriggerError> {
        let caller = caller(case, &event);
        match &self.engine {
            Engine::Typed(engine) => engine.trigger(event, &caller).await,
            Engine::Erased(engine) => engine.trigger(event, &caller).await,
        }
    }

    /// Returns what has happened in the end: long after every script is over.
    pub(crate) async fn truth_at_last(&self) -> Truth {
        sleep(Duration::from_mins(1)).await;
        Truth {
            held: self.queue.held(),
            ..self.truth.lock().unwrap().clone()
        }
    }
}

fn admission<S, P, L>(case: &Case, store: S, publisher: P, limiter: L) -> Admission<S, P, L>
where
    S: SubscriptionStore,
    P: DeliveryPublisher,
    L: RateLimiter,
{
    let fan_out = FanOut::new(store, publisher)
        .with_clock(TokioClock::default())
        .with_ids(SeededIds::new(case.seed))
        .with_timeout(Duration::from_millis(case.timeout));
    Admission::new(fan_out, limiter).with_limiter_down(case.limiter_down)
}

impl RateLimiter for ScriptedLimiter {
    async fn check(&self, caller: &Caller) -> Result<Verdict, StoreError> {
        self.truth.lock().unwrap().checked.push(*caller);
        sleep(Duration::from_millis(self.case.limiter.after)).await;
        match self.case.limiter.answer {
            LimiterAnswer::Admit => Ok(Verdict::Admit),
            LimiterAnswer::Refuse => Ok(Verdict::Refuse {
                retry_after: Duration::from_secs(1),
            }),
            LimiterAnswer::Error => Err(StoreError::unavailable("planned")),
            LimiterAnswer::Panic => panic!("planned"),
            LimiterAnswer::Silence => std::future::pending().await,
        }
    }

    async fn check_many(&self, caller: &Caller, wanted: u32) -> Result<Grant, StoreError> {
        Ok(match self.check(caller).await? {
            Verdict::Admit => Grant {
                admitted: wanted,
                refused: None,
            },
            Verdict::Refuse { retry_after } => Grant {
                admitted: 0,
                refused: Some(retry_after),
            },
        })
    }

    async fn peek(&self, _: &Caller) -> Result<Allowance, StoreError> {
        Ok(Allowance::unlimited(Timestamp::default()))
    }
}

impl DeliveryPublisher for ObservedPublisher {
    async fn publish(&self, event: &Event, deliveries: &mut [Delivery]) {
        self.truth.lock().unwrap().published.push(event.clone());
        self.queue.publish(event, deliveries).await;
    }
}

impl SubscriptionStore for ScriptedStore {
    async fn subscribers(
        &self,
        event_type: &EventTypeName,
        scope: &Scope,
    ) -> Result<Option<Subscribers>, StoreError> {
        let look_up = (event_type.clone(), *scope);
        self.truth.lock().unwrap().looked_up.push(look_up);
        sleep(Duration::from_millis(self.case.store.after)).await;
        match self.case.store.answer {
            StoreAnswer::Found => Ok(Some(Subscribers {
                event_type: EventTypeId::from_bits(7),
                endpoints: endpoints(&self.case).into(),
            })),
            StoreAnswer::Unknown => Ok(None),
            StoreAnswer::Error => Err(StoreError::internal("planned")),
            StoreAnswer::Panic => panic!("planned"),
            StoreAnswer::Silence => std::future::pending().await,
        }
    }

    async fn endpoint_states(
        &self,
        _: &[EndpointId],
        _: &Scope,
    ) -> Result<Vec<EndpointState>, StoreError> {
        unreachable!("nothing is sent to single endpoints")
    }
}

/// Returns the subscribers in the store's order, which is not that of the ids.
pub(crate) fn endpoints(case: &Case) -> Vec<EndpointId> {
    (0..case.queue.faults.len())
        .map(|at| EndpointId::from_bits(u128::from(u32::MAX) - 7 * at as u128 % 2_003))
        .collect()
}

pub(crate) fn event() -> NewEvent {
    NewEvent {
        event_type: EventTypeName::new("order.paid").unwrap(),
        payload: Payload::new(Bytes::from_static(b"{\"id\":1}")).unwrap(),
        metadata: Metadata::default(),
    }
}

pub(crate) fn caller(case: &Case, event: &NewEvent) -> Caller {
    Caller {
        key: ApiKeyId::from_bits(1),
        workspace: WorkspaceId::from_bits(1),
        environment: environment(case.reach),
        endpoint: (case.reach == Reach::Endpoint).then(|| EndpointId::from_bits(1)),
        plan: Plan {
            payload_len_max: event.payload.len() - usize::from(case.is_oversized),
            ..Plan::default()
        },
    }
}

fn environment(reach: Reach) -> Option<EnvironmentId> {
    (reach == Reach::Environment).then(|| EnvironmentId::from_bits(3))
}
