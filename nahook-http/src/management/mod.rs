//! The Management API (contract, section 2), and what operators need beyond it.

mod answer;
mod api;
mod applications;
mod attempts;
mod audit_logs;
mod body;
mod call;
mod cursor;
mod deliveries;
mod dry_run;
mod endpoint_body;
mod endpoints;
mod environments;
mod event_types;
mod form;
mod instant;
mod keys;
mod labels;
mod lists;
mod path;
mod patterns;
mod portal;
mod query;
mod redelivery;
mod refusal;
mod report;
mod routes;
mod schemas;
mod secret_reads;
mod subscriptions;
mod test_event;
mod tokens;
mod visibility;

use axum::Router;

pub use self::api::{ManagementApi, ManagementPorts, ManagementSettings, MeteredSubscriptions};
pub use self::form::FormBody;
pub use self::instant::{read as parse_instant, show as show_instant};
use self::routes::Routes;
pub(crate) use self::schemas::refine;
use crate::openapi::Operation;
use crate::{EdgeLayer, method_not_allowed};

/// Path that every route begins with.
const BASE: &str = "/management/v1/workspaces/{workspaceId}";

/// The routes of the Management API, to be merged into any axum application, or served
/// [with fallbacks](crate::with_fallbacks).
pub fn management_router(api: ManagementApi) -> Router {
    routes()
        .into_router()
        .method_not_allowed_fallback(method_not_allowed)
        .layer(EdgeLayer::default())
        .with_state(api)
}

/// Returns the routes' part of the OpenAPI document.
pub(crate) fn operations() -> Vec<Operation> {
    routes().into_operations()
}

fn routes() -> Routes {
    let mut routes = Routes::new(BASE);
    endpoints::add(&mut routes);
    subscriptions::add(&mut routes);
    patterns::add(&mut routes);
    event_types::add(&mut routes);
    environments::add(&mut routes);
    visibility::add(&mut routes);
    applications::add(&mut routes);
    portal::add(&mut routes);
    deliveries::add(&mut routes);
    attempts::add(&mut routes);
    audit_logs::add(&mut routes);
    keys::add(&mut routes);
    tokens::add(&mut routes);
    redelivery::add(&mut routes);
    dry_run::add(&mut routes);
    test_event::add(&mut routes);
    routes
}
