//! `/openapi.json`.

use std::sync::OnceLock;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;

use super::openapi_document;
use crate::{EdgeLayer, method_not_allowed};

/// Serves the OpenAPI document without authentication. It is made on the first request: that would be a third of what
/// starting a server takes.
pub fn openapi_router() -> Router {
    async fn show() -> Response {
        static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
        let document = DOCUMENT.get_or_init(|| Bytes::from(openapi_document().to_string()));
        let json = HeaderValue::from_static("application/json");
        ([(header::CONTENT_TYPE, json)], document.clone()).into_response()
    }
    Router::new()
        .route("/openapi.json", get(show))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(EdgeLayer::default())
}
