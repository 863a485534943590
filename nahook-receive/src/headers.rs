//! The headers that Standard Webhooks signs, and the signatures.

use std::time::{Duration, SystemTime};

use http::HeaderMap;

use crate::VerifyError;

/// Upper bound on the length of a webhook id, so that a store of ids is bounded in bytes.
const ID_MAX: usize = 256;
const EVENT_TYPE: &str = "nahook-event-type";

struct Names {
    id: &'static str,
    timestamp: &'static str,
    signature: &'static str,
}

const STANDARD: Names = Names {
    id: "webhook-id",
    timestamp: "webhook-timestamp",
    signature: "webhook-signature",
};

/// Names from before the standard, with the same meaning.
const SVIX: Names = Names {
    id: "svix-id",
    timestamp: "svix-timestamp",
    signature: "svix-signature",
};

/// Headers of a webhook, well-formed and not verified.
#[derive(Debug)]
pub(crate) struct SignedHeaders<'h> {
    pub(crate) id: &'h str,
    /// Unix seconds, at most `i64::MAX`.
    pub(crate) timestamp: i64,
    /// Entries of the signature header, at least one of them of version `v1`.
    pub(crate) signatures: Vec<&'h str>,
    /// Not covered by the signature.
    pub(crate) event_type: Option<&'h str>,
}

impl<'h> SignedHeaders<'h> {
    pub(crate) fn read(headers: &'h HeaderMap) -> Result<Self, VerifyError> {
        let names = if !headers.contains_key(STANDARD.id) && headers.contains_key(SVIX.id) {
            SVIX
        } else {
            STANDARD
        };
        let id = single(headers, names.id)?;
        if !is_id(id) {
            return Err(VerifyError::MalformedHeader(names.id));
        }
        let timestamp = single(headers, names.timestamp)?;
        let timestamp =
            unix_seconds(timestamp).ok_or(VerifyError::MalformedHeader(names.timestamp))?;
        Ok(Self {
            id,
            timestamp,
            signatures: signatures(headers, names.signature)?,
            event_type: headers
                .get(EVENT_TYPE)
                .and_then(|value| value.to_str().ok()),
        })
    }

    pub(crate) fn check_age(
        &self,
        now: SystemTime,
        tolerance: Duration,
    ) -> Result<(), VerifyError> {
        // Timestamps are whole seconds, so the fraction of now is left out.
        let now = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let sent = self.timestamp.unsigned_abs();
        if Duration::from_secs(now.saturating_sub(sent)) > tolerance {
            Err(VerifyError::TooOld)
        } else if Duration::from_secs(sent.saturating_sub(now)) > tolerance {
            Err(VerifyError::TooNew)
        } else {
            Ok(())
        }
    }
}

/// Returns the value of a header that appears exactly once.
fn single<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<&'h str, VerifyError> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or(VerifyError::MissingHeader(name))?;
    match (value.to_str(), values.next()) {
        (Ok(value), None) => Ok(value),
        _ => Err(VerifyError::MalformedHeader(name)),
    }
}

/// Returns false for an id with a full stop: the signature is over `id.timestamp.body`, and the standard forbids it so
/// that nothing can move from one part to the next.
fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= ID_MAX && !id.contains('.')
}

/// Reads Unix seconds as a sender writes them. A sign or a leading zero would be a second way to write what was signed.
fn unix_seconds(text: &str) -> Option<i64> {
    let seconds = text.parse::<i64>().ok().filter(|seconds| *seconds >= 0)?;
    (seconds.to_string() == text).then_some(seconds)
}

fn signatures<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<Vec<&'h str>, VerifyError> {
    let mut signatures = Vec::new();
    for value in headers.get_all(name) {
        let value = value
            .to_str()
            .map_err(|_| VerifyError::MalformedHeader(name))?;
        signatures.extend(value.split(' ').filter(|entry| !entry.is_empty()));
    }
    if signatures.is_empty() {
        return Err(if headers.contains_key(name) {
            VerifyError::MalformedHeader(name)
        } else {
            VerifyError::MissingHeader(name)
        });
    }
    if signatures.iter().any(|entry| !entry.contains(',')) {
        return Err(VerifyError::MalformedHeader(name));
    }
    if !signatures.iter().any(|entry| entry.starts_with("v1,")) {
        return Err(VerifyError::UnsupportedSignature);
    }
    Ok(signatures)
}
