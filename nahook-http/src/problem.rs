//! Kinds of errors on the wire: the answers and the OpenAPI document are both made from this table.

use std::time::Duration;

use axum::http::StatusCode;

use serde_json::{Value, json};

/// Kind of error: its status, its code, its description and whether to try again.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Problem {
    Invalid,
    InvalidCursor,
    KeyScope,
    Unauthorized,
    Disabled,
    ReadOnly,
    EndpointLimit,
    Missing,
    TooSlow,
    Conflict,
    EndpointDisabled,
    Unconfirmed,
    TooLarge,
    RateLimited,
    Unavailable,
    UnconfirmedKey,
    Timeout,
    Method,
    HeadTooLarge,
    HttpVersion,
    Internal,
}

impl Problem {
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::Invalid | Self::InvalidCursor | Self::KeyScope => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Disabled | Self::ReadOnly | Self::EndpointLimit => StatusCode::FORBIDDEN,
            Self::Missing => StatusCode::NOT_FOUND,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict | Self::EndpointDisabled | Self::Unconfirmed => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable | Self::UnconfirmedKey => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::HttpVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Invalid => "validation_error",
            Self::InvalidCursor => "invalid_cursor",
            Self::KeyScope => "invalid_api_key",
            Self::Unauthorized => "unauthorized",
            Self::Disabled => "token_disabled",
            Self::ReadOnly => "token_read_only",
            Self::EndpointLimit => "application_endpoint_limit_reached",
            Self::Missing => "not_found",
            Self::TooSlow => "request_timeout",
            Self::Conflict => "conflict",
            Self::EndpointDisabled => "endpoint_disabled",
            Self::Unconfirmed | Self::UnconfirmedKey => "unconfirmed",
            Self::TooLarge => "payload_too_large",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::Timeout => "ingest_timeout",
            Self::Method => "method_not_allowed",
            Self::HeadTooLarge => "headers_too_large",
            Self::HttpVersion => "http_version_not_supported",
            Self::Internal => "internal_error",
        }
    }

    /// Condition under which it is answered.
    pub(crate) const fn when(self) -> &'static str {
        match self {
            Self::Invalid => "Something in the request is not as it must be",
            Self::InvalidCursor => "The cursor was not made for this list",
            Self::KeyScope => "The key is bound to one endpoint",
            Self::Unauthorized => "The secret is missing, malformed, unknown or revoked",
            Self::Disabled => "The key or token is switched off",
            Self::ReadOnly => "The token reads only",
            Self::EndpointLimit => "The application has as many endpoints as it may have",
            Self::Missing => "The workspace has no such thing, or the token belongs to another one",
            Self::TooSlow => "The body did not arrive in time",
            Self::Conflict => "It contradicts what exists",
            Self::EndpointDisabled => "The endpoint is switched off",
            Self::Unconfirmed => "The queue did not confirm; the delivery may still arrive",
            Self::UnconfirmedKey => {
                "The queue did not confirm; repeat the request with the same idempotency key"
            }
            Self::TooLarge => "The payload, or the body around it, is too large",
            Self::RateLimited => "The workspace or the key has spent what it may",
            Self::Unavailable => "Something needed is down",
            Self::Timeout => "Nothing was queued in time; it is safe to retry",
            Self::Method => "The route does not take that method",
            Self::HeadTooLarge => "The headers are too many or too long",
            Self::HttpVersion => "The server speaks HTTP/1.1",
            Self::Internal => "A defect of the server",
        }
    }

    /// Returns the time to wait before another try; an answer that knows better replaces it. `None` if the answer
    /// has no `Retry-After`.
    pub(crate) const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::RateLimited | Self::Unavailable | Self::UnconfirmedKey => {
                Some(Duration::from_secs(1))
            }
            Self::Invalid
            | Self::InvalidCursor
            | Self::KeyScope
            | Self::Unauthorized
            | Self::Disabled
            | Self::ReadOnly
            | Self::EndpointLimit
            | Self::Missing
            | Self::TooSlow
            | Self::Conflict
            | Self::EndpointDisabled
            | Self::Unconfirmed
            | Self::TooLarge
            | Self::Timeout
            | Self::Method
            | Self::HeadTooLarge
            | Self::HttpVersion
            | Self::Internal => None,
        }
    }

    pub(crate) fn example(self) -> Value {
        json!({ "error": { "code": self.code(), "message": self.when() } })
    }
}
