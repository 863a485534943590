//! The dashboard and the portal, as the settings have them.

use axum::Router;
use axum::extract::RawQuery;
use axum::response::Redirect;
use axum::routing::get;
use nahook_dashboard::{PageSettings, dashboard_router, portal_router};
use nahook_embed::{Backend, QueueUrl, StoreUrl};
use nahook_http::{ManagementSettings, Operations};

use crate::settings::Settings;

/// Settings of the Management API: sessions of the portal have URLs that browsers reach.
pub(crate) fn management(settings: &Settings, browsed: &str) -> ManagementSettings {
    let portal_url = settings.portal_url.clone();
    let own = || format!("{browsed}/portal");
    ManagementSettings {
        portal_url: portal_url.unwrap_or_else(own),
        ..ManagementSettings::default()
    }
}

async fn without_slash(RawQuery(query): RawQuery) -> Redirect {
    let query = query.map(|query| format!("?{query}"));
    Redirect::to(&format!("/portal{}", query.unwrap_or_default()))
}

/// The dashboard and the portal.
pub(crate) fn router(
    settings: &Settings,
    browsed: &str,
    backend: &Backend,
    operations: Operations,
) -> Router {
    let is_secure = browsed.starts_with("https:");
    let mut ports = backend.page_ports(management(settings, browsed));
    ports.operations = Some(operations);
    let store = match &settings.store {
        StoreUrl::Memory => "In memory",
        StoreUrl::Postgres(_) => "Postgres",
        StoreUrl::Sqlite(_) => "SQLite",
    };
    let queue = match &settings.queue {
        QueueUrl::Store => "The store's",
        QueueUrl::Nats(_) => "NATS JetStream",
    };
    let deliveries = if settings.hold_deliveries {
        "Held until a start without --hold-deliveries"
    } else {
        "Attempted"
    };
    let days = settings.retention.as_secs() / (24 * 3_600);
    let of_operators = PageSettings {
        is_secure,
        facts: vec![
            ("Store", store.to_owned()),
            ("Queue", queue.to_owned()),
            (
                "Role of this process",
                format!("{:?}", settings.role).to_lowercase(),
            ),
            ("Deliveries", deliveries.to_owned()),
            ("Retention", format!("{days} days")),
        ],
        ..PageSettings::default()
    };
    let of_customers = PageSettings {
        brand: settings.pages.brand.clone(),
        is_secure,
        frame_ancestors: settings.pages.frame_ancestors.clone(),
        facts: Vec::new(),
    };
    Router::new()
        .route("/", get(async || Redirect::to("/dashboard")))
        .route("/dashboard/", get(async || Redirect::to("/dashboard")))
        .route("/portal/", get(without_slash))
        .nest("/dashboard", dashboard_router(ports.clone(), of_operators))
        .nest("/portal", portal_router(ports, of_customers))
}
