//! The errors of the API, all of them (contract, section 1).

use std::borrow::Cow;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use nahook_core::id::DeliveryId;
use nahook_core::{FailureKind, SendError, TriggerError};
use serde::Serialize;

use crate::Refused;
use crate::metric::Crowding;
use crate::problem::Problem;
use crate::shortage::Shortage;
use crate::wire::BodyError;

/// An answer that says no: `{"error":{"code","message"}}` with its status and headers. An event that is turned away for a
/// [`Shortage`](crate::Shortage) has `"deliveryIds":[]` besides.
///
/// The message is for people and names nothing of the inside; programs read the code.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ApiError {
    problem: Problem,
    message: Cow<'static, str>,
    retry_after: Option<Duration>,
    /// True if the body has an empty list of deliveries.
    lists_none: bool,
}

impl ApiError {
    /// 400 `invalid_api_key`: the key is bound to one endpoint.
    pub fn invalid_api_key() -> Self {
        Self::new(
            Problem::KeyScope,
            "This API key is bound to one endpoint and cannot trigger events",
        )
    }

    /// 400 `validation_error`: something in the request is not as it must be.
    pub fn validation(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Problem::Invalid, message)
    }

    /// 401 `unauthorized`: the key is missing, malformed, unknown or revoked; which, is not told.
    pub fn unauthorized() -> Self {
        Self::new(Problem::Unauthorized, "Missing or invalid API key")
    }

    /// 401 `unauthorized`, of a management token.
    pub fn unauthorized_token() -> Self {
        Self::new(Problem::Unauthorized, "Missing or invalid management token")
    }

    /// 403 `token_disabled`: the key is switched off.
    pub fn token_disabled() -> Self {
        Self::new(Problem::Disabled, "This key or token is disabled")
    }

    /// 403 `token_read_only`: the token reads only, and the operation changes something.
    pub fn token_read_only() -> Self {
        Self::new(Problem::ReadOnly, "This token reads only")
    }

    /// 404 `not_found`.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Problem::Missing, message)
    }

    /// 405 `method_not_allowed`; `Allow` is the router's to set.
    pub fn method_not_allowed() -> Self {
        Self::new(Problem::Method, "This route does not take that method")
    }

    /// 408 `request_timeout`: the body did not arrive in time; nothing was begun.
    pub fn request_timeout() -> Self {
        Self::new(
            Problem::TooSlow,
            "The request body did not arrive in time; nothing was queued",
        )
    }

    /// 408 `request_timeout`: the head did not arrive in time.
    pub(crate) fn slow_head() -> Self {
        Self::new(
            Problem::TooSlow,
            "The request's headers did not arrive in time",
        )
    }

    /// 413 `payload_too_large`: the payload, or the body around it, is over what the plan allows.
    pub fn payload_too_large(payload_len_max: usize) -> Self {
        Self::new(
            Problem::TooLarge,
            format!("The payload exceeds the limit of {payload_len_max} bytes"),
        )
    }

    /// 413 `payload_too_large`, of a body that is longer than any payload and what goes with it.
    pub(crate) fn body_too_large(len_max: usize) -> Self {
        Self::new(
            Problem::TooLarge,
            format!("The request body exceeds the limit of {len_max} bytes"),
        )
    }

    /// 409 `endpoint_disabled`: nothing is sent to an endpoint that is switched off.
    pub fn endpoint_disabled() -> Self {
        Self::new(
            Problem::EndpointDisabled,
            "The endpoint is disabled; nothing was queued",
        )
    }

    /// `unconfirmed`: the queue may hold the delivery. 503 where repeating the request is safe because of its idempotency
    /// key; else 409, which no client repeats by itself.
    pub fn unconfirmed(delivery: DeliveryId, is_keyed: bool) -> Self {
        if is_keyed {
            let message = "The queue did not confirm in time; repeat the request with the same idempotency key";
            Self::new(Problem::UnconfirmedKey, message)
        } else {
            let message = format!("The queue did not confirm in time; {delivery} may still arrive");
            Self::new(Problem::Unconfirmed, message)
        }
    }

    /// 429 `rate_limited`.
    pub fn rate_limited(retry_after: Duration) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(Problem::RateLimited, "Rate limit exceeded")
        }
    }

    /// 503 `unavailable` because of what all workspaces together have taken, with the time after which to ask again.
    pub fn overloaded(retry_after: Duration) -> Self {
        let message = "The server has as much work as it may have; nothing was begun";
        Self {
            retry_after: Some(retry_after),
            ..Self::new(Problem::Unavailable, message)
        }
    }

    /// 503 `unavailable`, or 429 `rate_limited` for a client or a workspace that has more than its share: too much is
    /// under way at once.
    pub(crate) fn crowded(crowding: Crowding) -> Self {
        match crowding {
            Crowding::Address => Self::new(
                Problem::RateLimited,
                "Too many requests of this client are under way",
            ),
            Crowding::Workspace => Self::new(
                Problem::RateLimited,
                "Too many requests of this workspace are under way",
            ),
            Crowding::Connections | Crowding::Requests => {
                Self::unavailable("The server is busy; nothing was queued")
            }
        }
    }

    /// 500 `internal_error`: a defect of ours.
    pub fn internal() -> Self {
        Self::new(Problem::Internal, "Something went wrong on our side")
    }

    /// 503 `unavailable`: something needed is down; nothing was queued.
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Problem::Unavailable, message)
    }

    /// 503 `unavailable`: no new events are taken for now; nothing was queued.
    pub(crate) fn short_of(shortage: Shortage, retry_after: Duration) -> Self {
        Self {
            retry_after: Some(retry_after),
            // For programs that read the list and not the status.
            lists_none: true,
            ..Self::new(Problem::Unavailable, shortage.message())
        }
    }

    /// 504 `ingest_timeout`: the deadline passed and nothing was queued.
    pub fn ingest_timeout() -> Self {
        Self::new(
            Problem::Timeout,
            "The event was not queued in time; it is safe to retry",
        )
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.problem.status()
    }

    /// The code that programs read.
    pub fn code(&self) -> &'static str {
        self.problem.code()
    }

    /// The message for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The value of `Retry-After`.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after.map(whole_seconds)
    }

    pub(crate) fn new(problem: Problem, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            problem,
            message: message.into(),
            retry_after: problem.retry_after(),
            lists_none: false,
        }
    }

    /// The body: also what a batch shows for an item.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Envelope<'a> {
            error: Fields<'a>,
            #[serde(rename = "deliveryIds", skip_serializing_if = "Option::is_none")]
            delivery_ids: Option<[&'a str; 0]>,
        }
        #[derive(Serialize)]
        struct Fields<'a> {
            code: &'a str,
            message: &'a str,
        }
        let envelope = Envelope {
            error: Fields {
                code: self.code(),
                message: &self.message,
            },
            delivery_ids: self.lists_none.then_some([]),
        };
        // Strings always serialize.
        serde_json::to_vec(&envelope).unwrap_or_default()
    }
}

/// 429 to a workspace that has used up its share, 503 where all together have used up what there is.
impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        if !refused.is_own_share {
            return Self::overloaded(refused.retry_after);
        }
        Self {
            retry_after: Some(refused.retry_after),
            ..Self::new(Problem::RateLimited, refused.kind.refusal())
        }
    }
}

/// Maps the engine's errors of a trigger to those of the API.
impl From<&TriggerError> for ApiError {
    fn from(error: &TriggerError) -> Self {
        match error {
            TriggerError::DeadlineExceeded => Self::ingest_timeout(),
            TriggerError::LimiterUnavailable(_) => {
                Self::unavailable("The rate limiter is unavailable; nothing was queued")
            }
            TriggerError::NotWorkspaceScoped(_) => Self::invalid_api_key(),
            TriggerError::PayloadTooLarge { len_max, .. } => Self::payload_too_large(*len_max),
            TriggerError::RateLimited { retry_after } => Self::rate_limited(*retry_after),
            TriggerError::StoreUnavailable(_) => {
                Self::unavailable("The subscription store is unavailable; nothing was queued")
            }
            TriggerError::UnknownEventType => Self::not_found("Event type not found"),
            _ => Self::internal(),
        }
    }
}

/// Maps the engine's errors of a send to those of the API.
impl From<&SendError> for ApiError {
    fn from(error: &SendError) -> Self {
        match error {
            SendError::DeadlineExceeded => Self::ingest_timeout(),
            SendError::EndpointDisabled => Self::endpoint_disabled(),
            SendError::LimiterUnavailable(_) => {
                Self::unavailable("The rate limiter is unavailable; nothing was queued")
            }
            SendError::PayloadTooLarge { len_max, .. } => Self::payload_too_large(*len_max),
            SendError::QueueRefused(FailureKind::PayloadTooLarge) => {
                Self::new(Problem::TooLarge, FailureKind::PayloadTooLarge.message())
            }
            SendError::QueueRefused(_) => {
                Self::unavailable(FailureKind::QueueUnavailable.message())
            }
            SendError::RateLimited { retry_after } => Self::rate_limited(*retry_after),
            SendError::StoreUnavailable(_) => {
                Self::unavailable("The endpoints cannot be looked up; nothing was queued")
            }
            SendError::Unconfirmed { delivery, is_keyed } => {
                Self::unconfirmed(*delivery, *is_keyed)
            }
            SendError::UnknownEndpoint => Self::not_found("Endpoint not found"),
            _ => Self::internal(),
        }
    }
}

/// Maps the parser's errors to those of the API.
impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::PayloadTooLarge { len_max, .. } => Self::payload_too_large(len_max),
            other => Self::validation(other.to_string()),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let json = HeaderValue::from_static("application/json");
        let mut response = (
            self.status(),
            [(header::CONTENT_TYPE, json)],
            self.to_json(),
        )
            .into_response();
        let headers = response.headers_mut();
        if let Some(wait) = self.retry_after_seconds() {
            headers.insert(header::RETRY_AFTER, wait.into());
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Rounded up, at least 1: clients parse nothing else, and a zero would make them ask again at once.
fn whole_seconds(wait: Duration) -> u64 {
    let started = u64::from(wait.subsec_nanos() > 0);
    wait.as_secs().saturating_add(started).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_rounded_up_to_whole_seconds() {
        for (wait, seconds) in [
            (Duration::ZERO, 1),
            (Duration::from_nanos(1), 1),
            (Duration::from_secs(1), 1),
            (Duration::from_nanos(1_000_000_001), 2),
            (Duration::from_mins(1), 60),
            (Duration::MAX, u64::MAX),
        ] {
            assert_eq!(whole_seconds(wait), seconds, "{wait:?}");
        }
    }

    #[test]
    fn a_message_is_escaped() {
        let error = ApiError::validation("a \"quoted\"\nword");
        assert_eq!(
            error.to_json(),
            br#"{"error":{"code":"validation_error","message":"a \"quoted\"\nword"}}"#
        );
    }

    #[test]
    fn event_that_is_turned_away_lists_no_delivery() {
        let error = ApiError::short_of(Shortage::Disk, Duration::from_secs(30));
        let json: serde_json::Value = serde_json::from_slice(&error.to_json()).unwrap();
        assert_eq!(json["deliveryIds"], serde_json::json!([]));
        assert_eq!(json["error"]["code"], "unavailable");
    }
}
