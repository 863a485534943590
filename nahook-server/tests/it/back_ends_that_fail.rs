//! Answers that the published client sees when a back end fails: the real routes in this process, over back ends that
//! fail on command.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nahook::error::ApiError;
use nahook::types::{TriggerOptions, TriggerResult};
use nahook::{NahookClient, NahookError};
use nahook_control::{ApplyMode, Catalog as _, Manifest};
use nahook_core::id::EndpointId;
use nahook_core::{
    Admission, Delivery, DeliveryPublisher, EndpointState, Event, EventTypeName, FailureKind,
    FanOut, GcraLimiter, Scope, StoreError, Subscribers, SubscriptionStore, SystemClock,
};
use nahook_http::{Ingestion, ServeSettings, ingestion_router, serve, with_fallbacks};
use nahook_memory::MemoryStore;
use nahook_queue::{DeliveryQueue as _, LeaseRequest, WorkerId};
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::api::{Answer, Api};
use crate::support::manifest::{EVENT_TYPE, KEY, endpoint, shop};

/// Long enough for a memory store on a busy machine, short for a test that waits it out.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Way in which a back end fails.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Fault {
    /// It refuses `ep_2` and takes the rest.
    Refuses,
    /// It takes `ep_1` and never says anything of the rest.
    Silent,
    /// It does nothing until it is dropped, and then can promise that nothing was queued.
    RollsBack,
    /// It is out of order.
    Broken,
    /// None.
    Healthy,
}

/// A memory store whose publisher fails as told.
struct Publisher {
    store: MemoryStore,
    fault: Fault,
}

/// Resolves what is left when dropped, as a publisher with a transaction does.
struct RollBack<'a>(&'a mut [Delivery]);

impl Drop for RollBack<'_> {
    fn drop(&mut self) {
        for delivery in &mut *self.0 {
            delivery.mark_failed(FailureKind::QueueUnavailable);
        }
    }
}

impl DeliveryPublisher for Publisher {
    async fn publish(&self, event: &Event, deliveries: &mut [Delivery]) {
        match self.fault {
            Fault::Healthy => self.store.publish(event, deliveries).await,
            Fault::Broken => {
                for delivery in deliveries {
                    delivery.mark_failed(FailureKind::QueueUnavailable);
                }
            }
            Fault::Refuses => {
                let (first, rest) = deliveries.split_at_mut(1);
                let (second, third) = rest.split_at_mut(1);
                second[0].mark_failed(FailureKind::EndpointGone);
                self.store.publish(event, first).await;
                self.store.publish(event, third).await;
            }
            Fault::RollsBack => {
                let _guard = RollBack(deliveries);
                std::future::pending::<()>().await;
            }
            Fault::Silent => {
                self.store.publish(event, &mut deliveries[..1]).await;
                std::future::pending::<()>().await;
            }
        }
    }
}

/// A subscription store that does not answer its first so many calls, or is out of order.
struct Subscriptions {
    store: MemoryStore,
    silent_calls: AtomicUsize,
    is_broken: bool,
}

impl SubscriptionStore for Subscriptions {
    async fn subscribers(
        &self,
        event_type: &EventTypeName,
        scope: &Scope,
    ) -> Result<Option<Subscribers>, StoreError> {
        if self.is_broken {
            return Err(StoreError::unavailable("tcp://db.internal:5432 is down"));
        }
        let less_one = |calls: usize| calls.checked_sub(1);
        let order = Ordering::Relaxed;
        if self
            .silent_calls
            .fetch_update(order, order, less_one)
            .is_ok()
        {
            std::future::pending::<()>().await;
        }
        self.store.subscribers(event_type, scope).await
    }

    async fn endpoint_states(
        &self,
        ids: &[EndpointId],
        scope: &Scope,
    ) -> Result<Vec<EndpointState>, StoreError> {
        self.store.endpoint_states(ids, scope).await
    }
}

/// Address of the server, and its back ends.
struct Staged {
    address: SocketAddr,
    store: MemoryStore,
}

impl Staged {
    /// A server over three endpoints.
    async fn start(publisher: Fault, silent_calls: usize, is_broken: bool) -> Self {
        let store = MemoryStore::default();
        let endpoints = ["ep_1", "ep_2", "ep_3"].map(|id| endpoint(id, "http://127.0.0.1:9"));
        let endpoints = endpoints
            .into_iter()
            .enumerate()
            .map(|(port, mut endpoint)| {
                endpoint["url"] = json!(format!("http://127.0.0.1:{}/", port + 1));
                endpoint
            });
        let manifest: Manifest = serde_json::from_value(shop(endpoints.collect())).unwrap();
        store.apply(&manifest, ApplyMode::Commit).await.unwrap();
        let subscriptions = Subscriptions {
            store: store.clone(),
            silent_calls: AtomicUsize::new(silent_calls),
            is_broken,
        };
        let publisher = Publisher {
            store: store.clone(),
            fault: publisher,
        };
        let limiter = Arc::new(GcraLimiter::new(Arc::new(SystemClock)));
        let fan_out = FanOut::new(Arc::new(subscriptions) as _, Arc::new(publisher) as _);
        let engine = Admission::new(fan_out.with_timeout(TIMEOUT), limiter as _);
        let ingestion = Ingestion::new(Arc::new(engine), Arc::new(store.clone()));
        let router = with_fallbacks(ingestion_router(ingestion));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(
            listener,
            router,
            ServeSettings::default(),
            nahook_supervision::Supervisor::new(),
            std::future::pending(),
        ));
        Self { address, store }
    }

    fn client(&self, retries: u32) -> NahookClient {
        let base_url = format!("http://{}", self.address);
        NahookClient::builder(KEY)
            .base_url(base_url)
            .retries(retries)
            .build()
            .unwrap()
    }

    /// Triggers by the published client, which has to succeed.
    async fn triggered(&self, retries: u32) -> TriggerResult {
        let client = self.client(retries);
        client.trigger(EVENT_TYPE, options()).await.unwrap()
    }

    /// Triggers by the published client without retries, and returns the error.
    async fn refused(&self) -> ApiError {
        match self.client(0).trigger(EVENT_TYPE, options()).await {
            Err(NahookError::Api(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    /// The whole answer, of which the published client shows a part.
    async fn answer(&self) -> Answer {
        Api::new(self.address, KEY).trigger(EVENT_TYPE, "{}").await
    }

    /// The ids of everything that waits in the queue.
    async fn queued(&self) -> Vec<String> {
        let request = LeaseRequest::new(WorkerId(1), 1_000, Duration::from_mins(10));
        let batch = self.store.lease(&request).await.unwrap();
        let mut ids: Vec<_> = batch
            .deliveries
            .iter()
            .map(|leased| leased.lease.delivery.to_string())
            .collect();
        ids.sort_unstable();
        ids
    }
}

fn options() -> TriggerOptions {
    TriggerOptions {
        payload: json!({ "orderId": "ord_123" }),
        metadata: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_failure_lists_what_was_queued_and_what_was_not() {
    let staged = Staged::start(Fault::Refuses, 0, false).await;

    let result = staged.triggered(0).await;

    assert_eq!(result.status, "accepted");
    assert_eq!(staged.queued().await, result.delivery_ids);
    // This version of the client does not show the failures; the answer has them.
    let answer = staged.answer().await;
    assert_eq!(answer.delivery_ids().len(), 2);
    let json = answer.json();
    assert_eq!(json["status"], "accepted");
    let [failure] = json["failures"].as_array().unwrap().as_slice() else {
        panic!("{json}")
    };
    assert_eq!(
        (&failure["endpointId"], &failure["code"]),
        (&json!("ep_2"), &json!("endpoint_gone"))
    );
    assert!(!failure["message"].as_str().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_falls_silent_costs_the_deadline_and_only_what_it_did_not_confirm() {
    let staged = Staged::start(Fault::Silent, 0, false).await;

    let began = Instant::now();
    let result = staged.triggered(3).await;

    // Accepted at the deadline, at the first try: had the client retried, it would have taken it twice.
    assert!(began.elapsed() >= TIMEOUT);
    assert_eq!(result.delivery_ids.len(), 1);
    assert_eq!(staged.queued().await, result.delivery_ids);
    let json = staged.answer().await.json();
    let failures = json["failures"].as_array().unwrap();
    let ends: Vec<_> = failures
        .iter()
        .map(|f| (&f["endpointId"], &f["code"]))
        .collect();
    let unconfirmed = json!("unconfirmed");
    assert_eq!(
        ends,
        [
            (&json!("ep_2"), &unconfirmed),
            (&json!("ep_3"), &unconfirmed)
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_down_is_an_accepted_trigger_that_reached_nobody() {
    let staged = Staged::start(Fault::Broken, 0, false).await;

    let result = staged.triggered(0).await;

    assert!(result.delivery_ids.is_empty());
    let json = staged.answer().await.json();
    let failures = json["failures"].as_array().unwrap();
    assert_eq!(failures.len(), 3);
    assert!(
        failures
            .iter()
            .all(|failure| failure["code"] == "queue_unavailable"),
        "{json}"
    );
    assert!(staged.queued().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_with_nothing_queued_is_a_504_that_may_be_retried() {
    for (publisher, silent_calls) in [(Fault::RollsBack, 0), (Fault::Healthy, usize::MAX)] {
        let staged = Staged::start(publisher, silent_calls, false).await;
        let began = Instant::now();
        let error = staged.refused().await;
        assert!(began.elapsed() >= TIMEOUT);
        assert_eq!(
            (error.status, error.code.as_str()),
            (504, "ingest_timeout"),
            "{error:?}"
        );
        assert!(error.is_retryable());
        assert!(staged.queued().await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_own_retry_after_a_504_delivers_once() {
    let staged = Staged::start(Fault::Healthy, 1, false).await;

    let result = staged.triggered(1).await;

    assert_eq!(result.delivery_ids.len(), 3);
    assert_eq!(staged.queued().await, result.delivery_ids);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_down_is_a_503_with_retry_after_and_no_word_of_the_inside() {
    let staged = Staged::start(Fault::Healthy, 0, true).await;

    let error = staged.refused().await;

    assert_eq!(
        (error.status, error.code.as_str()),
        (503, "unavailable"),
        "{error:?}"
    );
    assert_eq!(error.retry_after, Some(1));
    assert!(!error.message.contains("db.internal"), "{error:?}");
    assert!(staged.queued().await.is_empty());
}
