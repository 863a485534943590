//! `/openapi.json`.

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse as _;
use axum::routing::get;
use bytes::Bytes;

use super::openapi_document;
use crate::{EdgeLayer, method_not_allowed};

/// Serves the document; nobody is asked for a key.
pub fn openapi_router() -> Router {
    let document = Bytes::from(openapi_document().to_string());
    let show = move || {
        let document = document.clone();
        async move {
            let json = HeaderValue::from_static("application/json");
            ([(header::CONTENT_TYPE, json)], document).into_response()
        }
    };
    Router::new()
        .route("/openapi.json", get(show))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(EdgeLayer::default())
}
