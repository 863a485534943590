//! The axum extractors.

use axum_core::extract::FromRequestParts;
use axum_core::response::{IntoResponse, Response};
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::{RawWebhook, Refusal, Webhook};

/// Rejects with 500 on a route without [`VerifyLayer`](crate::VerifyLayer).
impl<S: Sync> FromRequestParts<S> for RawWebhook {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let verified = parts.extensions.get::<Self>();
        verified.cloned().ok_or(Refusal::NoVerifyLayer)
    }
}

/// Rejects with 400 what is not JSON, with 422 what is no `T`, and with 500 on a route without
/// [`VerifyLayer`](crate::VerifyLayer).
impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Webhook<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let raw = RawWebhook::from_request_parts(parts, state).await?;
        Ok(raw.json()?)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.response()
    }
}
