//! A seeded back end, routes over it, and planted faults.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use nahook_control::{ApplyMode, Catalog, KeyEntry, KeyHash, KeyStore, Manifest};
use nahook_core::admission::{Allowance, Caller, Grant, LimiterDown, Verdict};
use nahook_core::id::EndpointId;
use nahook_core::{
    Admission, Delivery, DeliveryPublisher, DynDeliveryPublisher, DynRateLimiter,
    DynSubscriptionStore, EndpointState, Event, EventTypeName, FailureKind, FanOut, GcraLimiter,
    Outcome, RateLimiter, Scope, StoreError, Subscribers, SubscriptionStore, SystemClock,
    Timestamp,
};
use nahook_http::{Ingestion, ingestion_router, with_fallbacks};
use nahook_memory::MemoryStore;
use nahook_queue::{DeliveryQueue, LeaseRequest, LeasedDelivery, WorkerId};
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// A key that may do everything in the workspace.
pub(crate) const KEY: &str = "nhk_us_open_000000000000000000000000";
/// A key that is switched off.
pub(crate) const DISABLED: &str = "nhk_us_disabled_00000000000000000000";
/// A key that is bound to one endpoint.
pub(crate) const BOUND: &str = "nhk_us_bound_00000000000000000000000";
/// A key of a workspace that lets in one event an hour, of at most 64 bytes.
pub(crate) const POOR: &str = "nhk_us_poor_000000000000000000000000";
/// A key that is bound to an environment other than the default one.
pub(crate) const STAGING: &str = "nhk_us_staging_000000000000000000000";
/// A key of a workspace that lets in three events at once.
pub(crate) const SOME: &str = "nhk_us_some_000000000000000000000000";
/// The payload cap of the poor workspace.
pub(crate) const POOR_LEN_MAX: usize = 64;
/// The path of an event type with two subscribers.
pub(crate) const ORDER_PAID: &str = "/api/ingest/event/order.paid";

/// Routes over back ends, each real unless it is to fail.
pub(crate) struct Bench {
    pub(crate) memory: MemoryStore,
    pub(crate) subscriptions: Arc<dyn DynSubscriptionStore>,
    pub(crate) publisher: Arc<dyn DynDeliveryPublisher>,
    pub(crate) limiter: Arc<dyn DynRateLimiter>,
    pub(crate) keys: Arc<dyn KeyStore>,
    pub(crate) limiter_down: LimiterDown,
    pub(crate) timeout: Duration,
}

impl Bench {
    /// Two workspaces, one rich and one poor, on a back end in memory.
    pub(crate) async fn new() -> Self {
        let manifest: Manifest = serde_json::from_value(json!({ "workspaces": [
            {
                "id": "ws_rich", "name": "rich",
                "event_types": [{"id": "evt_paid", "name": "order.paid"}, {"name": "order.unheard"}, {"name": "batch"}],
                "endpoints": [
                    {"id": "ep_1", "url": "https://one.example/", "event_types": ["order.paid"]},
                    {"id": "ep_2", "url": "https://two.example/", "event_types": ["order.paid"]},
                    {"id": "ep_3", "url": "https://three.example/"},
                    {"id": "ep_off", "url": "https://off.example/", "is_active": false},
                    {"id": "ep_staged", "url": "https://staged.example/", "environment": "staging"},
                ],
                "environments": [{"slug": "staging"}],
                "api_keys": [
                    {"name": "open", "key": KEY},
                    {"name": "disabled", "key": DISABLED, "disabled": true},
                    {"name": "bound", "key": BOUND, "endpoint": "ep_1"},
                    {"name": "staging", "key": STAGING, "environment": "staging"},
                ],
                "management_tokens": [{"name": "manager", "token": "nhm_manager_000000000000000000000000"}],
            },
            {
                "id": "ws_poor", "name": "poor",
                "plan": {
                    "payload_len_max": POOR_LEN_MAX,
                    "key_rate": {"count": 1, "period_secs": 3600},
                },
                "event_types": [{"name": "order.paid"}, {"name": "poor.only"}],
                "endpoints": [{"id": "ep_poor", "url": "https://poor.example/", "event_types": ["poor.only"]}],
                "api_keys": [{"name": "poor", "key": POOR}],
            },
            {
                "id": "ws_some", "name": "some",
                "plan": {
                    "payload_len_max": POOR_LEN_MAX,
                    "key_rate": {"count": 1, "period_secs": 3600, "burst": 3},
                    "workspace_rate": {"count": 1, "period_secs": 3600, "burst": 9},
                },
                "event_types": [{"name": "order.paid"}],
                "endpoints": [{"id": "ep_some", "url": "https://some.example/", "event_types": ["order.paid"]}],
                "api_keys": [{"name": "some", "key": SOME}],
            },
        ]}))
        .unwrap();
        let memory = MemoryStore::default();
        memory.apply(&manifest, ApplyMode::Commit).await.unwrap();
        Self {
            subscriptions: Arc::new(memory.clone()),
            publisher: Arc::new(memory.clone()),
            limiter: Arc::new(GcraLimiter::new(Arc::new(SystemClock))),
            keys: Arc::new(memory.clone()),
            limiter_down: LimiterDown::Admit,
            timeout: Duration::from_secs(5),
            memory,
        }
    }

    pub(crate) fn ingestion(&self) -> Ingestion {
        let fan_out = FanOut::new(Arc::clone(&self.subscriptions), Arc::clone(&self.publisher));
        let fan_out = fan_out.with_timeout(self.timeout);
        let engine = Admission::new(fan_out, Arc::clone(&self.limiter));
        let engine = engine.with_limiter_down(self.limiter_down);
        Ingestion::new(Arc::new(engine), Arc::clone(&self.keys))
    }

    /// The ingestion routes with the API's fallbacks.
    pub(crate) fn router(&self) -> Router {
        with_fallbacks(ingestion_router(self.ingestion()))
    }

    /// Everything that is queued, leased away.
    pub(crate) async fn queued(&self) -> Vec<LeasedDelivery> {
        let request = LeaseRequest::new(WorkerId(1), 1_000, Duration::from_mins(1));
        self.memory.lease(&request).await.unwrap().deliveries
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Checks the error's shape to the byte, and answers status and code.
    pub(crate) fn error(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), Some("application/json"));
        let json = self.json();
        let error = &json["error"];
        let (code, message) = (
            error["code"].as_str().unwrap(),
            error["message"].as_str().unwrap(),
        );
        assert!(!message.is_empty());
        assert_eq!(
            json,
            json!({"error": {"code": code, "message": message}}),
            "nothing else belongs there"
        );
        (self.status.as_u16(), code.to_owned())
    }
}

/// Lets the routes answer one request.
pub(crate) async fn ask(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    Answer {
        status: head.status,
        headers: head.headers,
        body: to_bytes(body, usize::MAX).await.unwrap(),
    }
}

/// A Trigger by `key`.
pub(crate) fn post(path: &str, key: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path)
        .header("authorization", format!("Bearer {key}"))
        .header("content-type", "application/json")
        .body(body.into())
        .unwrap()
}

/// A back end that fails in one way.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Answers that it is down.
    Down,
    /// Panics.
    Panic,
    /// Never answers.
    Silence,
}

impl Fault {
    async fn strike<T>(self) -> Result<T, StoreError> {
        match self {
            Self::Down => Err(StoreError::unavailable("postgres://secret@host is down")),
            Self::Panic => panic!("planted"),
            Self::Silence => pending().await,
        }
    }
}

impl SubscriptionStore for Fault {
    async fn subscribers(
        &self,
        _: &EventTypeName,
        _: &Scope,
    ) -> Result<Option<Subscribers>, StoreError> {
        self.strike().await
    }

    async fn endpoint_states(
        &self,
        _: &[EndpointId],
        _: &Scope,
    ) -> Result<Vec<EndpointState>, StoreError> {
        self.strike().await
    }
}

impl RateLimiter for Fault {
    async fn check(&self, _: &Caller) -> Result<Verdict, StoreError> {
        self.strike().await
    }

    async fn check_many(&self, _: &Caller, _: u32) -> Result<Grant, StoreError> {
        self.strike().await
    }

    async fn peek(&self, _: &Caller) -> Result<Allowance, StoreError> {
        self.strike().await
    }
}

#[async_trait::async_trait]
impl KeyStore for Fault {
    async fn api_key(&self, _: &KeyHash) -> Result<Option<KeyEntry<Caller>>, StoreError> {
        self.strike().await
    }

    async fn management_token(
        &self,
        _: &KeyHash,
    ) -> Result<Option<KeyEntry<nahook_control::TokenHolder>>, StoreError> {
        self.strike().await
    }
}

/// A publisher that rolls everything back when it is dropped, and never gets that far.
pub(crate) struct SlowToCommit;

impl DeliveryPublisher for SlowToCommit {
    async fn publish(&self, _: &Event, deliveries: &mut [Delivery]) {
        struct RollBack<'a>(&'a mut [Delivery]);
        impl Drop for RollBack<'_> {
            fn drop(&mut self) {
                for delivery in &mut *self.0 {
                    delivery.mark_failed(FailureKind::QueueUnavailable);
                }
            }
        }
        let _open = RollBack(deliveries);
        pending::<()>().await;
    }
}

/// A publisher that resolves slots by a script, in order; what the script does not reach is published.
pub(crate) struct Scripted(pub(crate) Vec<Outcome>);

impl DeliveryPublisher for Scripted {
    async fn publish(&self, _: &Event, deliveries: &mut [Delivery]) {
        let script = self.0.iter().copied();
        let script = script.chain(std::iter::repeat(Outcome::Published));
        for (delivery, outcome) in deliveries.iter_mut().zip(script) {
            delivery.resolve(outcome);
        }
    }
}

/// A limiter that counts how often it was asked, and admits.
#[derive(Default)]
pub(crate) struct Counting(pub(crate) Mutex<u32>);

impl RateLimiter for Counting {
    async fn check(&self, _: &Caller) -> Result<Verdict, StoreError> {
        *self.0.lock().unwrap() += 1;
        Ok(Verdict::Admit)
    }

    async fn check_many(&self, _: &Caller, wanted: u32) -> Result<Grant, StoreError> {
        *self.0.lock().unwrap() += wanted;
        Ok(Grant {
            admitted: wanted,
            refused: None,
        })
    }

    async fn peek(&self, _: &Caller) -> Result<Allowance, StoreError> {
        Ok(Allowance::unlimited(Timestamp::default()))
    }
}
