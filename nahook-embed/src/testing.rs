//! A handle for an app's own tests: without network and without waiting.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nahook_control::EndpointDirectory as _;
use nahook_core::id::{DeliveryId, EndpointId, MessageId};
use nahook_core::{Clock, EventTypeName, Payload, RandomIds, Timestamp};
use nahook_delivery::RetrySchedule;
use nahook_queue::{
    Attempt, DeliveryQueue as _, LeaseRequest, LeasedDelivery, Next, Settled, Settlement, WorkerId,
};
use serde::Serialize;

use crate::hooks::HooksBuilder;
use crate::{Backend, Hooks, HooksError, OpenError};

/// Midnight of 1 January 2026, UTC.
const BEGINNING: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// Number of deliveries attempted together.
const BATCH: usize = 1_000;

/// [`Hooks`] in memory whose deliveries are captured instead of sent, by a clock that the test moves.
///
/// ```
/// use nahook_embed::Hooks;
/// use serde_json::json;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hooks = Hooks::test().await?;
/// hooks.create_endpoint("https://customer.example/hooks").on("order.paid").await?;
/// // What the app under test does with `hooks`, of which it takes a clone:
/// hooks.trigger("order.paid", &json!({"order": "ord_123"})).await?;
/// hooks.assert_delivered("order.paid", &json!({"order": "ord_123"})).await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TestHooks {
    hooks: Hooks,
    clock: TestClock,
    status: Arc<AtomicU16>,
    captured: Arc<Mutex<Vec<CapturedWebhook>>>,
}

/// An attempt that was captured.
///
/// ```
/// use nahook_embed::Hooks;
/// use serde_json::json;
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hooks = Hooks::test().await?;
/// hooks.create_endpoint("https://customer.example/hooks").on("order.paid").await?;
/// hooks.answer_with(503);
/// hooks.trigger("order.paid", &json!({"order": "ord_123"})).await?;
/// assert_eq!(hooks.deliver().await?[0].status, 503);
/// hooks.answer_with(204);
/// hooks.advance(Duration::from_secs(5));
/// let retried = hooks.deliver().await?;
/// assert_eq!((retried[0].attempt, retried[0].status), (2, 204));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct CapturedWebhook {
    /// The message, which the receiver would see as `webhook-id`.
    pub message: MessageId,
    /// The delivery.
    pub delivery: DeliveryId,
    /// The endpoint it is for.
    pub endpoint: EndpointId,
    /// The event type; absent where a payload was sent to the endpoint directly.
    pub event_type: Option<EventTypeName>,
    /// The body.
    pub payload: Payload,
    /// Number of the attempt, counted from 1.
    pub attempt: u32,
    /// Status that it was answered with.
    pub status: u16,
}

#[derive(Clone)]
struct TestClock(Arc<AtomicU64>);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.load(Ordering::SeqCst))
    }
}

impl Hooks {
    /// A handle for a test, on a back end of its own in memory.
    pub async fn test() -> Result<TestHooks, OpenError> {
        let clock = TestClock(Arc::new(AtomicU64::new(BEGINNING.as_nanos())));
        let backend = Backend::memory(Arc::new(clock.clone()), Arc::new(RandomIds));
        let hooks = HooksBuilder::over_with_clock(backend, &clock).await?;
        Ok(TestHooks {
            hooks,
            clock,
            status: Arc::new(AtomicU16::new(204)),
            captured: Arc::default(),
        })
    }
}

impl TestHooks {
    /// Lets every endpoint answer with this status from now on; 204 at first.
    pub fn answer_with(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// Moves the clock on; what comes due is attempted by the next [`deliver`](Self::deliver).
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        let add = |now: u64| Some(now.saturating_add(by));
        // Always answers Ok, because `add` always gives a value.
        let _ = self
            .clock
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, add);
    }

    /// Attempts everything that is due, and answers what was attempted. What fails is due again as the schedule of retries
    /// says, without its variation.
    pub async fn deliver(&self) -> Result<Vec<CapturedWebhook>, HooksError> {
        let queue = &self.hooks.shared.backend.queue;
        let request = LeaseRequest::new(WorkerId(1), BATCH, Duration::from_mins(1));
        let mut attempted = Vec::new();
        loop {
            let leased = queue.lease(&request).await?.deliveries;
            if leased.is_empty() {
                self.captured().extend_from_slice(&attempted);
                return Ok(attempted);
            }
            let ids: Vec<_> = leased.iter().map(|leased| leased.endpoint).collect();
            let endpoints = self.hooks.shared.backend.endpoints.targets(&ids).await?;
            let status = self.status.load(Ordering::SeqCst);
            let mut settlements = Vec::with_capacity(leased.len());
            for (leased, endpoint) in leased.iter().zip(endpoints) {
                if endpoint.is_none_or(|endpoint| !endpoint.is_active) {
                    // Gone or disabled: a worker gives it up without an attempt.
                    settlements.push(Settlement::unattempted(leased.lease, Next::Failed));
                    continue;
                }
                settlements.push(self.settlement(leased, status));
                attempted.push(CapturedWebhook {
                    message: leased.message,
                    delivery: leased.lease.delivery,
                    endpoint: leased.endpoint,
                    event_type: leased.event_type.clone(),
                    payload: leased.payload.clone(),
                    attempt: leased.attempts + 1,
                    status,
                });
            }
            let answers = queue.settle(&settlements).await?;
            let events = &self.hooks.shared.backend.events;
            for ((leased, settlement), answer) in leased.iter().zip(&settlements).zip(answers) {
                if answer == Settled::Done {
                    events.settled(leased, settlement);
                }
            }
        }
    }

    /// Every attempt so far, the oldest first.
    pub fn webhooks(&self) -> Vec<CapturedWebhook> {
        self.captured().clone()
    }

    /// Attempts everything that is due, and checks that an endpoint has taken a webhook of this type with this payload.
    ///
    /// # Panics
    /// If none has: a test fails then.
    #[expect(clippy::panic, reason = "an assertion of a test fails by a panic")]
    pub async fn assert_delivered(
        &self,
        event_type: &str,
        payload: &(impl Serialize + ?Sized + Sync),
    ) {
        let wanted = match (self.deliver().await, Payload::of(payload)) {
            (Ok(_), Ok(payload)) => payload,
            (Err(error), _) => panic!("nothing could be delivered: {error}"),
            (_, Err(error)) => panic!("the payload is none: {error}"),
        };
        let is_it = |webhook: &CapturedWebhook| {
            let name = webhook.event_type.as_ref().map(EventTypeName::as_str);
            (200..300).contains(&webhook.status)
                && name == Some(event_type)
                && webhook.payload == wanted
        };
        let webhooks = self.webhooks();
        if !webhooks.iter().any(is_it) {
            let other = webhooks
                .iter()
                .filter(|it| it.event_type.as_ref().map(EventTypeName::as_str) == Some(event_type));
            panic!(
                "no {event_type} with this payload was delivered; {} of {} webhooks have this type",
                other.count(),
                webhooks.len()
            );
        }
    }

    fn settlement(&self, leased: &LeasedDelivery, status: u16) -> Settlement {
        let now = self.clock.now();
        let is_taken = (200..300).contains(&status);
        let schedule = RetrySchedule {
            jitter_percent: 0,
            ..RetrySchedule::default()
        };
        let next = if is_taken {
            Next::Delivered
        } else {
            let wait = schedule.wait(leased.attempts + 1, None, 0);
            wait.map_or(Next::DeadLetter, |wait| {
                Next::Retry(now.saturating_add(wait))
            })
        };
        Settlement {
            lease: leased.lease,
            attempt: Some(Attempt {
                started_at: now,
                duration: Duration::ZERO,
                status_code: Some(status),
                error: (!is_taken).then(|| format!("the endpoint answered {status}")),
                response_body: None,
            }),
            next,
        }
    }

    fn captured(&self) -> MutexGuard<'_, Vec<CapturedWebhook>> {
        self.captured.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for TestHooks {
    type Target = Hooks;

    fn deref(&self) -> &Hooks {
        &self.hooks
    }
}

impl fmt::Debug for TestHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestHooks").finish_non_exhaustive()
    }
}
