//! The pages, and the one list of their routes.

mod applications;
mod audit;
mod choices;
mod deliveries;
mod endpoint;
mod endpoint_form;
mod endpoints;
mod environments;
mod event_types;
mod events;
mod keys;
mod live;
mod overview;
mod retry_all;
mod search;
mod subscriptions;
mod system;
mod trigger;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::handler::Handler;
use axum::http::HeaderMap;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::error::PageError;
use crate::form::Fields;
use crate::guard::{admit, dress};
use crate::request::base_of;
use crate::sign_in;
use crate::site::{Audience, Site};

/// Result of a page.
type Answer = Result<Response, PageError>;

/// Routes, each with an entry in a list, which tests go through.
#[derive(Default)]
struct Routes {
    router: Router<Arc<Site>>,
    list: Vec<(&'static str, &'static str)>,
}

impl Routes {
    fn get<T: 'static>(&mut self, path: &'static str, page: impl Handler<T, Arc<Site>>) {
        self.list.push(("GET", path));
        self.router = std::mem::take(&mut self.router).route(path, get(page));
    }

    fn post<T: 'static>(&mut self, path: &'static str, action: impl Handler<T, Arc<Site>>) {
        self.list.push(("POST", path));
        self.router = std::mem::take(&mut self.router).route(path, post(action));
    }
}

/// Pages of endpoints and deliveries: everybody has those that the visitor reaches.
fn shared() -> Routes {
    let mut routes = Routes::default();
    routes.post("/sign-out", sign_in::sign_out);
    routes.get("/endpoints", endpoints::list);
    routes.get("/endpoints/new", endpoint_form::new);
    routes.post("/endpoints/new", endpoint_form::create);
    routes.get("/endpoints/{endpoint}", endpoint::show);
    routes.get("/endpoints/{endpoint}/edit", endpoint_form::edit);
    routes.post("/endpoints/{endpoint}/edit", endpoint_form::save);
    routes.post("/endpoints/{endpoint}/enable", endpoint_form::enable);
    routes.get("/endpoints/{endpoint}/disable", endpoint_form::ask_disable);
    routes.post("/endpoints/{endpoint}/disable", endpoint_form::disable);
    routes.get("/endpoints/{endpoint}/delete", endpoint_form::ask_delete);
    routes.post("/endpoints/{endpoint}/delete", endpoint_form::delete);
    routes.post("/endpoints/{endpoint}/secret", endpoint::secret);
    routes.get("/endpoints/{endpoint}/rotate", endpoint::ask_rotate);
    routes.post("/endpoints/{endpoint}/rotate", endpoint::rotate);
    routes.post("/endpoints/{endpoint}/test", endpoint::test);
    routes.get("/endpoints/{endpoint}/subscriptions", subscriptions::show);
    routes.post("/endpoints/{endpoint}/subscriptions", subscriptions::save);
    routes.get("/endpoints/{endpoint}/retry", retry_all::ask);
    routes.post("/endpoints/{endpoint}/retry", retry_all::retry);
    routes.get("/deliveries/{delivery}", deliveries::show);
    routes.get("/deliveries/{delivery}/payload", deliveries::payload);
    routes.post("/deliveries/{delivery}/retry", deliveries::retry);
    routes.post("/deliveries/{delivery}/resend", deliveries::resend);
    routes.get("/event-types", event_types::list);
    routes.get("/live", live::changes);
    routes
}

/// Pages of operators.
fn operators() -> Routes {
    let mut routes = shared();
    routes.get("/", overview::show);
    routes.get("/search", search::show);
    routes.get("/events", events::list);
    routes.get("/events/{event}", events::show);
    routes.get("/trigger", trigger::form);
    routes.post("/trigger", trigger::submit);
    routes.post("/event-types", event_types::create);
    routes.get("/event-types/{type}", event_types::show);
    routes.post("/event-types/{type}", event_types::save);
    routes.get("/event-types/{type}/delete", event_types::ask_delete);
    routes.post("/event-types/{type}/delete", event_types::delete);
    routes.get("/environments", environments::list);
    routes.post("/environments", environments::create);
    routes.post("/environments/visibility", environments::save_visibility);
    routes.post("/environments/{environment}", environments::rename);
    routes.get(
        "/environments/{environment}/delete",
        environments::ask_delete,
    );
    routes.post("/environments/{environment}/delete", environments::delete);
    routes.get("/applications", applications::list);
    routes.post("/applications", applications::create);
    routes.get("/applications/{application}", applications::show);
    routes.post("/applications/{application}", applications::save);
    routes.post("/applications/{application}/portal", applications::portal);
    routes.post(
        "/applications/{application}/sign-out",
        applications::sign_out,
    );
    routes.get(
        "/applications/{application}/delete",
        applications::ask_delete,
    );
    routes.post("/applications/{application}/delete", applications::delete);
    routes.get("/keys", keys::list);
    routes.post("/keys", keys::create);
    routes.post("/tokens", keys::create_token);
    routes.post("/keys/{key}/state", keys::set_state);
    routes.post("/tokens/{token}/state", keys::set_token_state);
    routes.get("/keys/{key}/revoke", keys::ask_revoke);
    routes.get("/tokens/{token}/revoke", keys::ask_revoke_token);
    routes.get("/audit", audit::list);
    routes.get("/system", system::show);
    routes
}

fn routes(audience: Audience) -> Routes {
    match audience {
        Audience::Operators => operators(),
        Audience::Customers => shared(),
    }
}

/// The method and path of every page that only visitors who have signed in see.
pub(crate) fn list(audience: Audience) -> Vec<(&'static str, &'static str)> {
    routes(audience).list
}

pub(crate) fn router(site: Site) -> Router {
    let site = Arc::new(site);
    let admitting = from_fn_with_state(Arc::clone(&site), admit);
    let mut router = routes(site.audience).router.route_layer(admitting);
    if site.audience == Audience::Customers {
        router = router.route("/", get(enter_portal));
    } else if site.access.is_none() {
        router = router.route("/sign-in", get(sign_in::form).post(sign_in::submit));
    }
    router
        .route("/assets/{name}", get(asset))
        .fallback(nothing)
        .method_not_allowed_fallback(nothing)
        .layer(from_fn_with_state(Arc::clone(&site), dress))
        .with_state(site)
}

async fn asset(
    State(site): State<Arc<Site>>,
    Path(name): Path<String>,
    asked: HeaderMap,
) -> Response {
    site.assets.answer(&name, &asked)
}

async fn nothing() -> Response {
    PageError::missing().into_response()
}

/// The portal's first page: opens a session if there is a code, and leads to the endpoints.
async fn enter_portal(State(site): State<Arc<Site>>, request: Request) -> Response {
    let base = base_of(request.extensions(), request.uri().path());
    let query = Fields::parse(request.uri().query().unwrap_or_default().as_bytes());
    match query.some("code") {
        Some(code) => sign_in::open_portal(&site, &base, &code).await,
        None => crate::page::redirect(&format!("{base}/endpoints")),
    }
}
