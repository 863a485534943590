//! Answers requests that no route takes, in the shape of errors.

use axum::Router;
use axum::response::{IntoResponse, Response};

use crate::metric::{self, Route};
use crate::{ApiError, EdgeLayer};

/// Makes `router` answer what it has no route or no method for in the API's error shape, and puts everything it answers
/// behind an [`EdgeLayer`].
///
/// For a server of its own. An application that mounts [`ingestion_router`](crate::ingestion_router) among its own
/// routes keeps its own fallbacks, or takes [`not_found`] and [`method_not_allowed`] where it likes.
pub fn with_fallbacks(router: Router) -> Router {
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(EdgeLayer::default())
}

/// 404 `not_found`, as a fallback.
pub async fn not_found() -> Response {
    let error = ApiError::not_found("There is nothing at this path");
    metric::count_request(Route::None, error.status().as_u16(), error.code());
    error.into_response()
}

/// 405 `method_not_allowed`, as a fallback for methods; axum adds `Allow`.
pub async fn method_not_allowed() -> Response {
    let error = ApiError::method_not_allowed();
    metric::count_request(Route::None, error.status().as_u16(), error.code());
    error.into_response()
}
