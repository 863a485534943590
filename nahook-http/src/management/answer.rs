//! What is answered when all went well.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::ApiError;
use crate::openapi::Components;

/// An answer of one status.
pub(super) trait Answer: Send {
    /// Its status.
    const STATUS: StatusCode;

    /// The schema of its body, if it has one.
    fn schema(components: &mut Components) -> Option<Value>;

    /// The answer as bytes.
    fn into_answer(self) -> Response;
}

/// 200 with what was asked for.
pub(super) struct Found<T>(pub(super) T);

/// 200 with a bare list.
pub(super) struct Listed<T>(pub(super) Vec<T>);

/// 201 with what was made.
pub(super) struct Made<T>(pub(super) T);

/// 202 with what will be done.
pub(super) struct Accepted<T>(pub(super) T);

/// 204, nothing to say.
pub(super) struct Gone;

impl<T: Serialize + ToSchema + Send> Answer for Found<T> {
    const STATUS: StatusCode = StatusCode::OK;

    fn schema(components: &mut Components) -> Option<Value> {
        Some(components.reference::<T>())
    }

    fn into_answer(self) -> Response {
        json_answer(Self::STATUS, &self.0)
    }
}

impl<T: Serialize + ToSchema + Send> Answer for Listed<T> {
    const STATUS: StatusCode = StatusCode::OK;

    fn schema(components: &mut Components) -> Option<Value> {
        Some(json!({ "type": "array", "items": components.reference::<T>() }))
    }

    fn into_answer(self) -> Response {
        json_answer(Self::STATUS, &self.0)
    }
}

impl<T: Serialize + ToSchema + Send> Answer for Made<T> {
    const STATUS: StatusCode = StatusCode::CREATED;

    fn schema(components: &mut Components) -> Option<Value> {
        Some(components.reference::<T>())
    }

    fn into_answer(self) -> Response {
        json_answer(Self::STATUS, &self.0)
    }
}

impl<T: Serialize + ToSchema + Send> Answer for Accepted<T> {
    const STATUS: StatusCode = StatusCode::ACCEPTED;

    fn schema(components: &mut Components) -> Option<Value> {
        Some(components.reference::<T>())
    }

    fn into_answer(self) -> Response {
        json_answer(Self::STATUS, &self.0)
    }
}

impl Answer for Gone {
    const STATUS: StatusCode = StatusCode::NO_CONTENT;

    fn schema(_: &mut Components) -> Option<Value> {
        None
    }

    fn into_answer(self) -> Response {
        Self::STATUS.into_response()
    }
}

fn json_answer<T: Serialize>(status: StatusCode, body: &T) -> Response {
    let json = HeaderValue::from_static("application/json");
    match serde_json::to_vec(body) {
        Ok(bytes) => (status, [(header::CONTENT_TYPE, json)], bytes).into_response(),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written");
            ApiError::internal().into_response()
        }
    }
}
