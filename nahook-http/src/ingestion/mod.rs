//! The Ingestion API (contract, section 1).

mod authenticate;
mod body;
mod call;
mod items;
mod report;
mod send;
mod trigger;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::routing::post;
use nahook_control::KeyStore;
use nahook_core::{Admission, DynDeliveryPublisher, DynRateLimiter, DynSubscriptionStore};
use nahook_queue::DeliverySearch;

pub(crate) use self::authenticate::bearer;
pub(crate) use self::body::{Charged, ReadError, Unread};
pub(crate) use self::send::refused;
use self::send::{ENDPOINT, send, send_batch};
use self::trigger::{EVENT_TYPE, trigger, trigger_batch};
use crate::{Budgets, EdgeLayer, Pressure, method_not_allowed};

/// The engine and the limits of its callers, over back ends that are chosen at run time.
pub type IngestionEngine = Admission<
    Arc<dyn DynSubscriptionStore>,
    Arc<dyn DynDeliveryPublisher>,
    Arc<dyn DynRateLimiter>,
>;

/// Dependencies of the routes; a clone is a handle.
#[derive(Clone)]
pub struct Ingestion {
    engine: Arc<IngestionEngine>,
    keys: Arc<dyn KeyStore>,
    pressure: Pressure,
    budgets: Budgets,
    search: Option<Arc<dyn DeliverySearch>>,
}

impl Ingestion {
    /// Routes over this engine and these keys. The timeout of the engine counts from a request's arrival.
    pub fn new(engine: Arc<IngestionEngine>, keys: Arc<dyn KeyStore>) -> Self {
        Self {
            engine,
            keys,
            pressure: Pressure::default(),
            budgets: Budgets::default(),
            search: None,
        }
    }

    /// Holds workspaces to the bytes that their plans let them keep, which `search` measures.
    #[must_use]
    pub fn measuring(mut self, search: Arc<dyn DeliverySearch>) -> Self {
        self.search = Some(search);
        self
    }

    /// Draws on `budgets`, so that other routes draw on the same accounts. The engine is to look subscribers up through a
    /// [`Metered`](crate::Metered) of the same budgets; else the workspaces' rates of deliveries do not count.
    #[must_use]
    pub fn with_budgets(mut self, budgets: Budgets) -> Self {
        self.budgets = budgets;
        self
    }

    /// Refuses events while `pressure` says so.
    #[must_use]
    pub fn with_pressure(mut self, pressure: Pressure) -> Self {
        self.pressure = pressure;
        self
    }
}

impl fmt::Debug for Ingestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ingestion").finish_non_exhaustive()
    }
}

/// The ingestion routes, to be merged or nested into any axum application, or served alone
/// [with fallbacks](crate::with_fallbacks).
pub fn ingestion_router(ingestion: Ingestion) -> Router {
    let mut router = Router::new();
    for base in ["/api/ingest", "/ingest"] {
        router = router
            .route(&format!("{base}/{{{ENDPOINT}}}"), post(send))
            .route(&format!("{base}/batch"), post(send_batch))
            .route(&format!("{base}/event/{{{EVENT_TYPE}}}"), post(trigger))
            .route(&format!("{base}/event/batch"), post(trigger_batch));
    }
    router
        .method_not_allowed_fallback(method_not_allowed)
        .layer(EdgeLayer::default())
        // One handle for all: a request counts a single reference.
        .with_state(Arc::new(ingestion))
}
