//! Webhooks that were verified.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::headers::SignedHeaders;
use crate::{BodyError, VerifyError};

/// A verified webhook with its body as it arrived.
///
/// [`VerifyLayer`](crate::VerifyLayer) puts it into the extensions of the request. With the feature `axum` it is an
/// extractor.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RawWebhook {
    /// `webhook-id`: the same for every attempt at delivering the webhook.
    pub id: String,
    /// Time at which the sender signed it.
    pub timestamp: SystemTime,
    /// Event type: the header `nahook-event-type`, or else the string `type` at the top of a JSON body.
    ///
    /// The header is not covered by the signature. If that matters to you, have the type in the body and read it there.
    pub event_type: Option<String>,
    /// The body.
    pub body: Bytes,
}

/// A verified webhook with its body as a `T`, read from JSON.
///
/// With the feature `axum` it is an extractor, for routes behind [`VerifyLayer`](crate::VerifyLayer).
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Webhook<T> {
    /// `webhook-id`: the same for every attempt at delivering the webhook.
    pub id: String,
    /// Time at which the sender signed it.
    pub timestamp: SystemTime,
    /// Event type; see [`RawWebhook::event_type`].
    pub event_type: Option<String>,
    /// The body.
    pub body: T,
    /// The body as it arrived.
    pub raw: Bytes,
}

impl RawWebhook {
    /// Reads the body as JSON.
    pub fn json<T: DeserializeOwned>(self) -> Result<Webhook<T>, BodyError> {
        let body = serde_json::from_slice(&self.body).map_err(|error| BodyError::new(&error))?;
        Ok(Webhook {
            id: self.id,
            timestamp: self.timestamp,
            event_type: self.event_type,
            body,
            raw: self.body,
        })
    }

    /// Makes a webhook of parts whose signature was found to match.
    pub(crate) fn verified(signed: &SignedHeaders<'_>, body: Bytes) -> Result<Self, VerifyError> {
        let since = Duration::from_secs(signed.timestamp.unsigned_abs());
        let timestamp = SystemTime::UNIX_EPOCH
            .checked_add(since)
            .ok_or(VerifyError::TooNew)?;
        let event_type = signed.event_type.map(str::to_owned);
        Ok(Self {
            id: signed.id.to_owned(),
            timestamp,
            event_type: event_type.or_else(|| type_in(&body)),
            body,
        })
    }
}

fn type_in(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Typed {
        r#type: String,
    }
    serde_json::from_slice::<Typed>(body)
        .ok()
        .map(|typed| typed.r#type)
}
