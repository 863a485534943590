//! The body of a Send, and its answer.

use std::borrow::Cow;

use bytes::Bytes;
use nahook_core::{IdempotencyKey, Payload, Sent};
use serde_json::value::RawValue;

use super::BodyError;
use super::fields::fields_of;
use super::receipt::write_sent_fields;
use super::trigger::parse_payload;

/// Body of a Send.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SendBody {
    /// The caller's own bytes, a slice of the body.
    pub payload: Payload,
    /// The caller's key for it, if there is one.
    pub idempotency_key: Option<IdempotencyKey>,
}

/// Reads the body of a Send whose payload may have `payload_len_max` bytes, with the care that
/// [`parse_trigger`](super::parse_trigger) takes.
pub fn parse_send(body: &Bytes, payload_len_max: usize) -> Result<SendBody, BodyError> {
    let [payload, key] = fields_of(body, ["payload", "idempotencyKey"])?;
    Ok(SendBody {
        payload: parse_payload(payload, body, payload_len_max)?,
        idempotency_key: parse_key(key)?,
    })
}

/// The key in a field; none if there is no field, or `null` in it.
pub(super) fn parse_key(field: Option<&RawValue>) -> Result<Option<IdempotencyKey>, BodyError> {
    let Some(raw) = field.filter(|raw| raw.get() != "null") else {
        return Ok(None);
    };
    let text = text_of(raw).ok_or(BodyError::IdempotencyKeyNotAString)?;
    IdempotencyKey::new(&text)
        .map(Some)
        .map_err(|_| BodyError::IdempotencyKeyLength)
}

/// The text that is meant; `None` for what is no string, or escapes what is not a character.
pub(super) fn text_of(raw: &RawValue) -> Option<Cow<'_, str>> {
    if raw.get().contains('\\') {
        serde_json::from_str(raw.get()).ok().map(Cow::Owned)
    } else {
        serde_json::from_str(raw.get()).ok().map(Cow::Borrowed)
    }
}

/// Appends the answer to a Send as JSON: `{"deliveryId","idempotencyKey","status":"accepted"}` (contract, section 1).
pub fn write_sent(sent: &Sent, out: &mut Vec<u8>) {
    out.push(b'{');
    write_sent_fields(sent, out);
    out.push(b'}');
}
