//! What people and machines that run the server ask it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::{ApiError, EdgeLayer, method_not_allowed};

/// How long a probe may take; a silent one counts as not ready.
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

type Checking = Pin<Box<dyn Future<Output = bool> + Send>>;

impl Probe {
    /// Calls `check` whenever somebody asks; its name is shown to whoever asks while it answers false.
    pub fn new<F>(name: &'static str, check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = bool> + Send + 'static,
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

/// What the operations routes show.
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

    /// Is ready only while `probe` says so, too.
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

impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operations")
            .field("probes", &self.probes)
            .finish_non_exhaustive()
    }
}

/// `/healthz`: the process answers. `/readyz`: everything it needs does too, else 503 with the names of what does not.
/// `/metrics`: Prometheus text. None of them asks for a key.
pub fn operations_router(operations: Operations) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(EdgeLayer::default())
        .with_state(operations)
}

async fn healthz() -> Response {
    status("alive")
}

async fn readyz(State(operations): State<Operations>) -> Response {
    let missing = not_ready(&operations.probes).await;
    if missing.is_empty() {
        status("ready")
    } else {
        ApiError::unavailable(format!("Not ready: {}", missing.join(", "))).into_response()
    }
}

async fn metrics(State(operations): State<Operations>) -> Response {
    match &operations.metrics {
        Some(render) => ([(header::CONTENT_TYPE, PROMETHEUS)], render()).into_response(),
        None => ApiError::not_found("No metrics are kept").into_response(),
    }
}

/// The names of the probes that say no, panic or say nothing in time, in their order. All are asked at once.
async fn not_ready(probes: &[Probe]) -> Vec<&'static str> {
    let mut asked = JoinSet::new();
    for (position, probe) in probes.iter().enumerate() {
        let check = Arc::clone(&probe.check);
        asked.spawn(async move { (position, timeout(PROBE_TIMEOUT, check()).await == Ok(true)) });
    }
    let mut ready = vec![false; probes.len()];
    while let Some(answer) = asked.join_next().await {
        if let Ok((position, is_ready)) = answer {
            ready[position] = is_ready;
        }
    }
    let answers = probes.iter().zip(ready);
    answers
        .filter_map(|(probe, is_ready)| (!is_ready).then_some(probe.name))
        .collect()
}

fn status(status: &'static str) -> Response {
    let json = HeaderValue::from_static("application/json");
    (
        [(header::CONTENT_TYPE, json)],
        format!("{{\"status\":\"{status}\"}}"),
    )
        .into_response()
}
