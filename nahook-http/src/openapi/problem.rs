//! The errors that operations answer with.

use serde_json::{Value, json};

/// A kind of error, by what the document says of it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Problem {
    Invalid,
    InvalidCursor,
    KeyScope,
    Unauthorized,
    Disabled,
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
}

impl Problem {
    pub(crate) const fn status(self) -> u16 {
        match self {
            Self::Invalid | Self::InvalidCursor | Self::KeyScope => 400,
            Self::Unauthorized => 401,
            Self::Disabled | Self::EndpointLimit => 403,
            Self::Missing => 404,
            Self::TooSlow => 408,
            Self::Conflict | Self::EndpointDisabled | Self::Unconfirmed => 409,
            Self::TooLarge => 413,
            Self::RateLimited => 429,
            Self::Unavailable | Self::UnconfirmedKey => 503,
            Self::Timeout => 504,
        }
    }

    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Invalid => "validation_error",
            Self::InvalidCursor => "invalid_cursor",
            Self::KeyScope => "invalid_api_key",
            Self::Unauthorized => "unauthorized",
            Self::Disabled => "token_disabled",
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
        }
    }

    /// Returns true if the answer has a `Retry-After`.
    pub(crate) const fn has_retry_after(self) -> bool {
        matches!(
            self,
            Self::RateLimited | Self::Unavailable | Self::UnconfirmedKey
        )
    }

    pub(crate) fn example(self) -> Value {
        json!({ "error": { "code": self.code(), "message": self.when() } })
    }
}
