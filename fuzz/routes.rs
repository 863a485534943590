//! The management routes over a workspace in memory, asked without a network.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use nahook_control::{ApplyMode, Catalog as _};
use nahook_core::{Delivery, DeliveryPublisher, Event, Payload};
use nahook_http::{
    Bound, BudgetKind, BudgetSettings, Budgets, ManagementApi, ManagementPorts, management_router,
    with_fallbacks,
};
use nahook_memory::MemoryStore;
use serde_json::json;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

/// Routes and what runs them.
pub struct Routes {
    runtime: Runtime,
    router: Router,
    queue: Queue,
}

/// A queue that keeps the last payload alone: a fuzzer would fill the memory.
#[derive(Clone, Default)]
struct Queue(Arc<Mutex<Option<Payload>>>);

impl DeliveryPublisher for Queue {
    async fn publish(&self, event: &Event, deliveries: &mut [Delivery]) {
        for delivery in deliveries {
            *self.0.lock().unwrap() = Some(event.payload.clone());
            delivery.mark_published();
        }
    }
}

/// Checks that the payload is a JSON object that stands in the body byte for byte.
pub fn stands_in(payload: &[u8], body: &[u8]) {
    assert!(payload.first() == Some(&b'{') && payload.last() == Some(&b'}'));
    let stands_there = body.windows(payload.len()).any(|part| part == payload);
    // PHP's empty list stands for an empty object.
    assert!(stands_there || payload == b"{}");
    let _: &serde_json::value::RawValue = serde_json::from_slice(payload).unwrap();
}

/// The routes, made once.
pub fn routes() -> &'static Routes {
    static ROUTES: OnceLock<Routes> = OnceLock::new();
    ROUTES.get_or_init(Routes::new)
}

impl Routes {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let store = MemoryStore::default();
        let manifest = serde_json::from_value(json!({ "workspaces": [{
            "id": "ws", "name": "w",
            "event_types": [{ "id": "evt_1", "name": "a.b" }],
            "endpoints": [{ "id": "ep_1", "url": "https://a.example/" }],
            "management_tokens": [{ "name": "t", "token": "nhm_t_000000000000000000000000000000" }],
        }]}))
        .unwrap();
        runtime
            .block_on(store.apply(&manifest, ApplyMode::Commit))
            .unwrap();
        let (store, queue) = (Arc::new(store), Queue::default());
        let api = ManagementApi::new(ManagementPorts {
            keys: store.clone(),
            log: store.clone(),
            redelivery: store.clone(),
            publisher: Arc::new(queue.clone()),
            search: store.clone(),
            subscriptions: store.clone(),
            store,
        });
        // A fuzzer calls more often than a workspace may.
        let unmetered = Bound::Spent {
            interval: Duration::from_nanos(1),
            burst: u32::MAX,
        };
        let budgets = BudgetSettings::default().with_bound(BudgetKind::ManagementCalls, unmetered);
        let api = api.with_budgets(Budgets::new(budgets));
        Self {
            runtime,
            router: with_fallbacks(management_router(api)),
            queue,
        }
    }

    /// The payload that was queued since this was asked last.
    pub fn queued(&self) -> Option<Payload> {
        self.queue.0.lock().unwrap().take()
    }

    /// Asks and answers the status, after checking that it is an answer that the document knows.
    pub fn ask(&self, method: &str, path: &str, body: &[u8]) -> u16 {
        let request = Request::builder()
            .method(method)
            .uri(format!("/management/v1/workspaces/ws{path}"))
            .header(
                "authorization",
                "Bearer nhm_t_000000000000000000000000000000",
            )
            .body(Body::from(body.to_vec()))
            .unwrap();
        let answering = async {
            let answer = self.router.clone().oneshot(request).await.unwrap();
            let status = answer.status().as_u16();
            let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
            (status, body)
        };
        let (status, body) = self.runtime.block_on(answering);
        assert!(status < 500, "{method} {path}: {status}");
        if status != 204 {
            let _: serde_json::Value = serde_json::from_slice(&body).unwrap();
        }
        status
    }
}
