//! Routes for the people and machines that run the server.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::{ApiError, EdgeLayer, method_not_allowed};

/// Upper bound on a probe's duration; a silent one counts as not ready.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// The content type of the Prometheus text format.
const PROMETHEUS: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Something that must work for the server to be of use.
#[derive(Clone)]
pub struct Probe {
    name: &'static str,
    check: Arc<dyn Fn() -> Checking + Send + Sync>,
}

/// The result of a check; an error is a short reason, which is shown to whoever asks.
type Check = Result<(), Cow<'static, str>>;

type Checking = Pin<Box<dyn Future<Output = Check> + Send>>;

impl Probe {
    /// Calls `check` whenever `/readyz` is asked.
    ///
    /// `/readyz` needs no key: the error is a short reason without host names, credentials and texts of other programs.
    pub fn new<F>(name: &'static str, check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), Cow<'static, str>>> + Send + 'static,
    {
        Self {
            name,
            check: Arc::new(move || Box::pin(check())),
        }
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Probe").field(&self.name).finish()
    }
}

/// Sources of the operations routes.
#[derive(Clone, Default)]
pub struct Operations {
    probes: Vec<Probe>,
    metrics: Option<Arc<dyn Fn() -> String + Send + Sync>>,
}

impl Operations {
    /// No probes and no metrics.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a probe: the server is ready while every probe succeeds.
    #[must_use]
    pub fn with_probe(mut self, probe: Probe) -> Self {
        self.probes.push(probe);
        self
    }

    /// Shows what `render` writes in the Prometheus text format.
    #[must_use]
    pub fn with_metrics(mut self, render: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.metrics = Some(Arc::new(render));
        self
    }
}

impl Operations {
    /// Asks every probe, all at once. The error is a short reason, which anybody may read.
    pub async fn check(&self) -> Vec<(&'static str, Result<(), Cow<'static, str>>)> {
        ask(&self.probes).await
    }
}

impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operations")
            .field("probes", &self.probes)
            .finish_non_exhaustive()
    }
}

/// Serves `/healthz` (the process answers), `/readyz` and, where there are any, `/metrics` (Prometheus text) without
/// authentication.
///
/// `/readyz` names every probe under `checks`, as `ok` or with the reason why not: 200 while all succeed, else 503.
pub fn operations_router(operations: Operations) -> Router {
    let mut router = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz));
    if let Some(render) = operations.metrics.clone() {
        router = router.route("/metrics", get(move || ready(metrics(render()))));
    }
    router
        .method_not_allowed_fallback(method_not_allowed)
        .layer(EdgeLayer::default())
        .with_state(operations)
}

async fn healthz() -> Response {
    Json(json!({ "status": "alive" })).into_response()
}

async fn readyz(State(operations): State<Operations>) -> Response {
    let answers = operations.check().await;
    let failed = |(name, check): &(&'static str, Check)| check.is_err().then_some(*name);
    let failed: Vec<_> = answers.iter().filter_map(failed).collect();
    let checks: BTreeMap<_, _> = answers
        .iter()
        .map(|(name, check)| {
            (
                *name,
                check.as_ref().map_or_else(|reason| &**reason, |()| "ok"),
            )
        })
        .collect();
    if failed.is_empty() {
        return Json(json!({ "status": "ready", "checks": checks })).into_response();
    }
    let error = ApiError::unavailable(format!("Not ready: {}", failed.join(", ")));
    let body = json!({
        "error": { "code": error.code(), "message": error.message() },
        "checks": checks,
    });
    error.into_response().map(|_| body.to_string().into())
}

fn metrics(text: String) -> Response {
    ([(header::CONTENT_TYPE, PROMETHEUS)], text).into_response()
}

/// Runs all probes at once. One that panics, or takes longer than [`PROBE_TIMEOUT`], has failed.
async fn ask(probes: &[Probe]) -> Vec<(&'static str, Check)> {
    let mut asked = JoinSet::new();
    for (position, probe) in probes.iter().enumerate() {
        let check = Arc::clone(&probe.check);
        asked.spawn(async move {
            let answer = timeout(PROBE_TIMEOUT, async { check().await }).await;
            (position, answer.unwrap_or(Err("no answer in time".into())))
        });
    }
    let panicked = |probe: &Probe| (probe.name, Err("the check failed".into()));
    let mut answers: Vec<_> = probes.iter().map(panicked).collect();
    while let Some(answer) = asked.join_next().await {
        if let Ok((position, check)) = answer {
            answers[position].1 = check;
        }
    }
    answers
}
