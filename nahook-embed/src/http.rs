//! The APIs as routes.

use std::sync::Arc;

use axum::Router;
use nahook_core::admission::LimiterDown;
use nahook_core::{Admission, DynSubscriptionStore, FanOut};
use nahook_http::{Ingestion, ManagementApi, ManagementPorts, ManagementSettings, Metered};

use crate::{Backend, Hooks};

impl Backend {
    /// The Ingestion API over this back end. With `creates_event_types` a trigger makes an event type that does not exist.
    pub fn ingestion(&self, creates_event_types: bool, limiter_down: LimiterDown) -> Ingestion {
        let subscriptions = self.subscription_store(creates_event_types);
        let search = || Arc::clone(&self.search);
        let subscriptions: Arc<dyn DynSubscriptionStore> =
            Arc::new(Metered::new(subscriptions, self.budgets.clone()).measuring(search()));
        let fan_out = FanOut::new(subscriptions, Arc::clone(&self.publisher));
        let engine = Admission::new(fan_out, Arc::clone(&self.limiter));
        let engine = engine.with_limiter_down(limiter_down);
        let ingestion = Ingestion::new(Arc::new(engine), Arc::clone(&self.keys));
        ingestion
            .with_budgets(self.budgets.clone())
            .measuring(search())
    }

    /// The Management API over this back end.
    pub fn management_api(&self, settings: ManagementSettings) -> ManagementApi {
        let ports = ManagementPorts {
            keys: Arc::clone(&self.keys),
            log: Arc::clone(&self.log),
            publisher: Arc::clone(&self.publisher),
            redelivery: Arc::clone(&self.redelivery),
            search: Arc::clone(&self.search),
            store: Arc::clone(&self.management),
            subscriptions: Arc::clone(&self.subscriptions),
        };
        let api = ManagementApi::new(ports).with_settings(settings);
        api.with_budgets(self.budgets.clone())
    }
}

impl Hooks {
    /// The Ingestion and Management APIs and the OpenAPI document, to be nested or merged into the app's own router. Who calls
    /// them needs a key or a management token of the workspace.
    ///
    /// ```
    /// use nahook_embed::Hooks;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let hooks = Hooks::open("memory://").await?;
    /// let app: axum::Router = axum::Router::new().nest("/hooks", hooks.router());
    /// # Ok(())
    /// # }
    /// ```
    pub fn router(&self) -> Router {
        let backend = &self.shared.backend;
        let creates = self.shared.creates_event_types;
        let ingestion = backend.ingestion(creates, LimiterDown::default());
        let management = backend.management_api(ManagementSettings::default());
        nahook_http::ingestion_router(ingestion)
            .merge(nahook_http::management_router(management))
            .merge(nahook_http::openapi_router())
    }
}
