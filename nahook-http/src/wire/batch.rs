//! The bodies of batches.

use bytes::Bytes;
use nahook_core::EventTypeName;
use nahook_core::id::EndpointId;
use serde::Deserializer as _;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::fields::{fields_in, fields_of};
use super::send::{SendBody, parse_key, text_of};
use super::trigger::{TriggerBody, parse_metadata_field, parse_payload};
use super::{BodyError, ITEMS_MAX};

/// An item of a batch of Sends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SendItem {
    /// Endpoint to send to; absent if the given text is no id, and so no endpoint's.
    pub endpoint: Option<EndpointId>,
    /// Body of the item, as of a single Send.
    pub body: SendBody,
}

/// An item of a batch of Triggers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TriggerItem {
    /// The name of the event type.
    pub event_type: EventTypeName,
    /// Body of the item, as of a single Trigger.
    pub body: TriggerBody,
}

/// Finds the items of a batch: 1 to [`ITEMS_MAX`] values of whatever kind, none of which is interpreted.
pub fn parse_batch(body: &Bytes) -> Result<Vec<&RawValue>, BodyError> {
    let [items] = fields_of(body, ["items"])?;
    let items = items.ok_or(BodyError::Items)?;
    let mut json = serde_json::Deserializer::from_str(items.get());
    // Well-formed already: what fails is that it is no array.
    let items = json.deserialize_seq(ItemsVisitor);
    items.ok().flatten().ok_or(BodyError::Items)
}

/// Reads an item of a batch of Sends; its payload is a slice of `body`.
pub fn parse_send_item(
    item: &RawValue,
    body: &Bytes,
    payload_len_max: usize,
) -> Result<SendItem, BodyError> {
    let [endpoint, payload, key] = fields_in(item, ["endpointId", "payload", "idempotencyKey"])?;
    let endpoint = endpoint.and_then(text_of);
    let endpoint = endpoint.ok_or(BodyError::EndpointIdNotAString)?;
    Ok(SendItem {
        endpoint: EndpointId::new(&endpoint).ok(),
        body: SendBody {
            payload: parse_payload(payload, body, payload_len_max)?,
            idempotency_key: parse_key(key)?,
        },
    })
}

/// Reads an item of a batch of Triggers; its payload is a slice of `body`.
pub fn parse_trigger_item(
    item: &RawValue,
    body: &Bytes,
    payload_len_max: usize,
) -> Result<TriggerItem, BodyError> {
    let [event_type, payload, metadata] = fields_in(item, ["eventType", "payload", "metadata"])?;
    let event_type = event_type.and_then(text_of);
    let event_type = event_type.ok_or(BodyError::EventTypeNotAString)?;
    Ok(TriggerItem {
        event_type: EventTypeName::new(&event_type).map_err(BodyError::EventTypeName)?,
        body: TriggerBody {
            payload: parse_payload(payload, body, payload_len_max)?,
            metadata: parse_metadata_field(metadata)?,
        },
    })
}

/// Collects an array's values; `None` if they are none or too many.
struct ItemsVisitor;

impl<'a> Visitor<'a> for ItemsVisitor {
    type Value = Option<Vec<&'a RawValue>>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while items.len() < ITEMS_MAX
            && let Some(item) = seq.next_element()?
        {
            items.push(item);
        }
        let is_whole = seq.next_element::<IgnoredAny>()?.is_none();
        Ok((is_whole && !items.is_empty()).then_some(items))
    }
}
