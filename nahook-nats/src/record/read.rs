//! Reading records.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use nahook_core::id::{DeliveryId, EndpointId, EventTypeId, MessageId, WorkspaceId};
use nahook_core::{
    Event, EventTypeName, EventTypeRef, IdempotencyKey, Metadata, Payload, Timestamp,
};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use thiserror::Error;

use super::entry::{Entry, FORMAT, Item};

/// A record that cannot be read. Its text names nothing of the payload.
#[derive(Debug, Error)]
pub(crate) enum Malformed {
    #[error("the record has format {0}, and this program knows formats up to {FORMAT}")]
    Newer(u32),
    #[error("the record was not signed with the store's key")]
    Unauthentic,
    #[error("the record is not what its format says")]
    Json(#[source] serde_json::Error),
    #[error("the record has an id, a name or labels that cannot be")]
    Value,
}

/// Members of every version of the format.
#[derive(Deserialize)]
struct Envelope {
    format: u32,
}

#[derive(Deserialize)]
struct Record<'a> {
    format: u32,
    #[serde(borrow)]
    events: Vec<Told<'a>>,
}

#[derive(Deserialize)]
struct Told<'a> {
    message: &'a str,
    workspace: &'a str,
    event_type: Option<&'a str>,
    event_type_name: Option<&'a str>,
    idempotency_key: Option<String>,
    accepted_at: u64,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    #[serde(borrow)]
    payload: &'a RawValue,
    deliveries: Vec<Row>,
}

struct Row(Item);

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RowVisitor;
        impl<'de> Visitor<'de> for RowVisitor {
            type Value = Row;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a delivery: its id, its endpoint's, its attempts, when it is due")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Row, A::Error> {
                use serde::de::Error as _;
                let mut text = |what| {
                    seq.next_element::<&'de str>()?
                        .ok_or_else(|| A::Error::custom(what))
                };
                let delivery: Result<DeliveryId, _> = text("no id")?.parse();
                let endpoint = EndpointId::new(text("no endpoint")?);
                let (Ok(delivery), Ok(endpoint)) = (delivery, endpoint) else {
                    return Err(A::Error::custom("not an id"));
                };
                let attempts: Option<u32> = seq.next_element()?;
                let due_at: Option<Option<u64>> = seq.next_element()?;
                // What a later version of the same format may add.
                while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {}
                Ok(Row(Item {
                    delivery,
                    endpoint,
                    attempts: attempts.unwrap_or_default(),
                    due_at: due_at.flatten().map(Timestamp::from_nanos),
                }))
            }
        }
        deserializer.deserialize_seq(RowVisitor)
    }
}

/// Reads a record's body. Payloads are parts of it, not copies.
pub(crate) fn read(body: &Bytes) -> Result<Vec<Entry>, Malformed> {
    let record: Record<'_> =
        serde_json::from_slice(body).map_err(|error| match serde_json::from_slice(body) {
            Ok(Envelope { format }) if format > FORMAT => Malformed::Newer(format),
            _ => Malformed::Json(error),
        })?;
    if record.format > FORMAT {
        return Err(Malformed::Newer(record.format));
    }
    record
        .events
        .into_iter()
        .map(|told| entry(told, body))
        .collect()
}

fn entry(told: Told<'_>, body: &Bytes) -> Result<Entry, Malformed> {
    fn checked<T, E>(value: Result<T, E>) -> Result<T, Malformed> {
        value.map_err(|_| Malformed::Value)
    }
    let message: MessageId = checked(told.message.parse())?;
    let workspace = checked(WorkspaceId::new(told.workspace))?;
    let key = told.idempotency_key.as_deref().map(IdempotencyKey::new);
    let payload = checked(Payload::from_raw(told.payload, body))?;
    let accepted_at = Timestamp::from_nanos(told.accepted_at);
    let key = checked(key.transpose())?;
    let mut event = Event::direct(payload, message, workspace, key, accepted_at);
    event.metadata = checked(Metadata::from_stored(told.metadata))?;
    event.event_type = match (told.event_type, told.event_type_name) {
        (Some(id), Some(name)) => Some(EventTypeRef {
            id: checked(EventTypeId::new(id))?,
            name: checked(EventTypeName::new(name))?,
        }),
        (None, None) => None,
        _ => return Err(Malformed::Value),
    };
    Ok(Entry {
        event: Arc::new(event),
        items: told.deliveries.into_iter().map(|Row(item)| item).collect(),
    })
}
