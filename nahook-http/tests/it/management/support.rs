//! Two workspaces on a back end in memory, and a client of the routes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request};
use bytes::Bytes;
use nahook_control::{ApplyMode, Catalog as _, Manifest};
use nahook_core::{Clock, IdSource, RandomIds, Timestamp};
use nahook_http::{
    ManagementApi, ManagementPorts, ManagementSettings, management_router, with_fallbacks,
};
use nahook_memory::MemoryStore;
use serde_json::{Value, json};
use tower::ServiceExt as _;

pub(crate) const TOKEN: &str = "nhm_shop_000000000000000000000000000";
pub(crate) const DISABLED: &str = "nhm_disabled_00000000000000000000000";
pub(crate) const OTHERS: &str = "nhm_other_00000000000000000000000000";
pub(crate) const KEY: &str = "nhk_us_shop_000000000000000000000000";
pub(crate) const SHOP: &str = "/management/v1/workspaces/ws_shop";
pub(crate) const OTHER: &str = "/management/v1/workspaces/ws_other";
/// The secret of the shop's endpoint.
pub(crate) const SECRET: &str = "whsec_dGVzdF93ZWJob29rX3NpZ25pbmdfa2V5XzMyYnl0ZXMh";
/// The password of the shop's endpoint.
pub(crate) const PASSWORD: &str = "pa55-w0rd-of-the-shop";

/// A clock that stands until it is moved.
#[derive(Debug)]
pub(crate) struct StandingClock(AtomicU64);

impl StandingClock {
    pub(crate) fn forward(&self, millis: u64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for StandingClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// A workspace with everything in it, and another one like it.
pub(crate) struct Bench {
    pub(crate) memory: MemoryStore,
    pub(crate) clock: Arc<StandingClock>,
    pub(crate) router: Router,
}

pub(crate) fn manifest() -> Value {
    json!({ "workspaces": [
        {
            "id": "ws_shop", "name": "shop",
            "environments": [{"id": "env_staging", "slug": "staging"}],
            "event_types": [
                {"id": "evt_paid", "name": "order.paid"},
                {"id": "evt_sent", "name": "order.sent"},
            ],
            "endpoints": [{
                "id": "ep_1", "url": "https://one.example/", "secret": SECRET,
                "auth_username": "shop", "auth_password": PASSWORD, "event_types": ["order.paid"],
            }],
            "api_keys": [{"id": "key_shop", "name": "shop", "key": KEY}],
            "management_tokens": [
                {"id": "tok_shop", "name": "manager", "token": TOKEN},
                {"name": "disabled", "token": DISABLED, "disabled": true},
            ],
        },
        {
            "id": "ws_other", "name": "other",
            "environments": [{"id": "env_other", "slug": "staging"}],
            "event_types": [{"id": "evt_other", "name": "order.paid"}],
            "endpoints": [{"id": "ep_other", "url": "https://other.example/", "event_types": ["order.paid"]}],
            "api_keys": [{"id": "key_other", "name": "other", "key": "nhk_us_other_00000000000000000000000"}],
            "management_tokens": [{"id": "tok_other", "name": "other", "token": OTHERS}],
        },
    ]})
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// With other ports than the memory's.
    pub(crate) async fn with(change: impl FnOnce(&mut ManagementPorts)) -> Self {
        let clock = Arc::new(StandingClock(AtomicU64::new(1_795_680_000_000)));
        let ids: Arc<dyn IdSource> = Arc::new(RandomIds);
        let memory = MemoryStore::new(Arc::clone(&clock) as Arc<dyn Clock>, ids);
        let manifest: Manifest = serde_json::from_value(manifest()).unwrap();
        memory.apply(&manifest, ApplyMode::Commit).await.unwrap();
        let store = Arc::new(memory.clone());
        let mut ports = ManagementPorts {
            keys: Arc::<MemoryStore>::clone(&store),
            log: Arc::<MemoryStore>::clone(&store),
            redelivery: Arc::<MemoryStore>::clone(&store),
            search: Arc::<MemoryStore>::clone(&store),
            publisher: Arc::<MemoryStore>::clone(&store),
            subscriptions: Arc::<MemoryStore>::clone(&store),
            store,
        };
        change(&mut ports);
        let settings = ManagementSettings {
            portal_url: "https://portal.example/portal".to_owned(),
            ..ManagementSettings::default()
        };
        let api = ManagementApi::new(ports)
            .with_settings(settings)
            .with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
        Self {
            memory,
            clock,
            router: with_fallbacks(management_router(api)),
        }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: to_bytes(body, usize::MAX).await.unwrap(),
        }
    }

    pub(crate) async fn ask(&self, method: Method, path: &str, body: impl Into<Body>) -> Answer {
        self.send(request(method, path, TOKEN, body)).await
    }

    /// Below the shop's base.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, &format!("{SHOP}{path}"), "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        let path = format!("{SHOP}{path}");
        self.ask(Method::POST, &path, body.to_string()).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        let path = format!("{SHOP}{path}");
        self.ask(Method::PATCH, &path, body.to_string()).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        let path = format!("{SHOP}{path}");
        self.ask(Method::PUT, &path, body.to_string()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.ask(Method::DELETE, &format!("{SHOP}{path}"), "").await
    }
}

pub(crate) fn request(
    method: Method,
    path: &str,
    token: &str,
    body: impl Into<Body>,
) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {token}"))
        .body(body.into())
        .unwrap()
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The body of an answer with this status.
    #[track_caller]
    pub(crate) fn json(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.headers["content-type"], "application/json");
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Checks that nothing was said.
    #[track_caller]
    pub(crate) fn nothing(&self) {
        assert_eq!((self.status, self.body.len()), (204, 0), "{self:?}");
    }

    /// Checks the error's shape to the byte, and answers its message.
    #[track_caller]
    pub(crate) fn error(&self, status: u16, code: &str) -> String {
        let json = self.json(status);
        let message = json["error"]["message"].as_str().unwrap();
        assert_eq!(json, json!({"error": {"code": code, "message": message}}));
        message.to_owned()
    }
}

/// The ids in a list.
pub(crate) fn ids(list: &Value) -> Vec<&str> {
    let items = list.as_array().unwrap().iter();
    items.map(|item| item["id"].as_str().unwrap()).collect()
}
