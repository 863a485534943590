//! Answers to requests that do not reach the handler.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use thiserror::Error;

use crate::{BodyError, SeenIdsError, VerifyError};

/// Reason why a request was refused, and its answer.
///
/// Every answer by the layer and the extractors has it among its extensions, so that an outer layer can log it. What the
/// sender sees is a status and `{"error":{"code":…,"message":…}}`.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The webhook is not verified.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The body is not what the handler takes.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The same webhook is being handled at this moment.
    #[error("the webhook is being handled already")]
    InProgress,
    /// The store of seen ids does not answer.
    #[error(transparent)]
    SeenIds(#[from] SeenIdsError),
    /// An extractor was used on a route without [`VerifyLayer`](crate::VerifyLayer).
    #[error("the route does not verify webhooks")]
    NoVerifyLayer,
}

impl Refusal {
    /// Status of the answer.
    pub fn status(&self) -> StatusCode {
        self.parts().0
    }

    /// Name of the reason, for programs.
    pub fn code(&self) -> &'static str {
        self.parts().1
    }

    /// Makes the answer.
    pub fn response<B: From<Bytes>>(self) -> Response<B> {
        // Neither codes nor messages have characters that JSON escapes.
        let body = format!(
            r#"{{"error":{{"code":"{}","message":"{self}"}}}}"#,
            self.code()
        );
        let mut response = Response::new(B::from(Bytes::from(body)));
        *response.status_mut() = self.status();
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response.extensions_mut().insert(self);
        response
    }

    fn parts(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Verify(error) => match error {
                VerifyError::MissingHeader(_) => (StatusCode::UNAUTHORIZED, "missing_header"),
                VerifyError::MalformedHeader(_) => (StatusCode::BAD_REQUEST, "malformed_header"),
                VerifyError::UnsupportedSignature => {
                    (StatusCode::UNAUTHORIZED, "unsupported_signature")
                }
                VerifyError::TooOld => (StatusCode::UNAUTHORIZED, "too_old"),
                VerifyError::TooNew => (StatusCode::UNAUTHORIZED, "too_new"),
                VerifyError::BodyTooLarge { .. } => {
                    (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large")
                }
                VerifyError::BodyUnreadable => (StatusCode::BAD_REQUEST, "body_unreadable"),
                VerifyError::BodyNotText => (StatusCode::BAD_REQUEST, "body_not_text"),
                VerifyError::SignatureMismatch => (StatusCode::UNAUTHORIZED, "signature_mismatch"),
            },
            Self::Body(BodyError::NotJson { .. }) => (StatusCode::BAD_REQUEST, "body_not_json"),
            Self::Body(BodyError::UnexpectedShape { .. }) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "unexpected_shape")
            }
            Self::InProgress => (StatusCode::CONFLICT, "in_progress"),
            Self::SeenIds(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Self::NoVerifyLayer => (StatusCode::INTERNAL_SERVER_ERROR, "not_verified"),
        }
    }
}
