//! Kinds of errors on the wire: the answers and the OpenAPI document are both made from this table.

use std::time::Duration;

use axum::http::StatusCode;

use serde_json::{Value, json};

/// Makes the kinds, and from each row its status, its code, the seconds of its `Retry-After` if it has one, and its description.
macro_rules! problems {
    ($($kind:ident $status:ident $code:literal $(retry $secs:literal)?, $when:literal;)+) => {
        /// Kind of error.
        #[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
        pub(crate) enum Problem {
            $($kind),+
        }

        impl Problem {
            pub(crate) const fn status(self) -> StatusCode {
                match self {
                    $(Self::$kind => StatusCode::$status),+
                }
            }

            pub(crate) const fn code(self) -> &'static str {
                match self {
                    $(Self::$kind => $code),+
                }
            }

            /// Condition under which it is answered.
            pub(crate) const fn when(self) -> &'static str {
                match self {
                    $(Self::$kind => $when),+
                }
            }

            /// Returns the time to wait before another try; an answer that knows better replaces it. `None` if the answer
            /// has no `Retry-After`.
            pub(crate) fn retry_after(self) -> Option<Duration> {
                let secs: &[u64] = match self {
                    $(Self::$kind => &[$($secs)?]),+
                };
                secs.first().copied().map(Duration::from_secs)
            }
        }
    };
}

problems! {
    Invalid BAD_REQUEST "validation_error", "Something in the request is not as it must be";
    InvalidCursor BAD_REQUEST "invalid_cursor", "The cursor was not made for this list";
    KeyScope BAD_REQUEST "invalid_api_key", "The key is bound to one endpoint";
    Unauthorized UNAUTHORIZED "unauthorized",
        "The secret is missing, malformed, unknown or revoked";
    Disabled FORBIDDEN "token_disabled", "The key or token is switched off";
    ReadOnly FORBIDDEN "token_read_only", "The token reads only";
    EndpointLimit FORBIDDEN "application_endpoint_limit_reached",
        "The application has as many endpoints as it may have";
    Missing NOT_FOUND "not_found",
        "The workspace has no such thing, or the token belongs to another one";
    TooSlow REQUEST_TIMEOUT "request_timeout", "The body did not arrive in time";
    Conflict CONFLICT "conflict", "It contradicts what exists";
    EndpointDisabled CONFLICT "endpoint_disabled", "The endpoint is switched off";
    Unconfirmed CONFLICT "unconfirmed", "The queue did not confirm; the delivery may still arrive";
    TooLarge PAYLOAD_TOO_LARGE "payload_too_large",
        "The payload, or the body around it, is too large";
    RateLimited TOO_MANY_REQUESTS "rate_limited" retry 1,
        "The workspace or the key has spent what it may";
    Unavailable SERVICE_UNAVAILABLE "unavailable" retry 1, "Something needed is down";
    UnconfirmedKey SERVICE_UNAVAILABLE "unconfirmed" retry 1,
        "The queue did not confirm; repeat the request with the same idempotency key";
    Timeout GATEWAY_TIMEOUT "ingest_timeout", "Nothing was queued in time; it is safe to retry";
    Method METHOD_NOT_ALLOWED "method_not_allowed", "The route does not take that method";
    HeadTooLarge REQUEST_HEADER_FIELDS_TOO_LARGE "headers_too_large",
        "The headers are too many or too long";
    HttpVersion HTTP_VERSION_NOT_SUPPORTED "http_version_not_supported",
        "The server speaks HTTP/1.1";
    Internal INTERNAL_SERVER_ERROR "internal_error", "A defect of the server";
}

impl Problem {
    pub(crate) fn example(self) -> Value {
        json!({ "error": { "code": self.code(), "message": self.when() } })
    }
}
