//! Headers of a delivery's request, besides those of any.

use http::{HeaderName, HeaderValue};

/// Id of the event, by the Standard Webhooks specification.
pub const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
/// Seconds since 1970 at which the request was signed.
pub const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
/// Signatures, with a space between them.
pub const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
/// Id of the delivery.
pub const DELIVERY_ID: HeaderName = HeaderName::from_static("nahook-delivery-id");
/// Name of the event's type; absent where a payload was sent to the endpoint directly.
pub const EVENT_TYPE: HeaderName = HeaderName::from_static("nahook-event-type");
/// Number of the attempt, counted from 1.
pub const ATTEMPT: HeaderName = HeaderName::from_static("nahook-attempt");

/// Value of `user-agent`.
pub const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("nahook/", env!("CARGO_PKG_VERSION")));
