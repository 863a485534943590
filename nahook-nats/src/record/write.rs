//! Writing records.

use std::io::Write as _;
use std::ops::Range;

use nahook_core::id::{MessageId, WorkspaceId};
use nahook_core::{Event, EventTypeName, EventTypeRef};

use super::entry::{FORMAT, Item};

/// An event with some of its deliveries, as JSON: a piece of a record's body.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) json: Vec<u8>,
    /// Position of the payload in it.
    pub(crate) payload: Range<usize>,
    pub(crate) message: MessageId,
    pub(crate) event_type: Option<EventTypeName>,
    pub(crate) workspace: WorkspaceId,
    /// Number of its deliveries.
    pub(crate) len: usize,
    /// Ordinal of its first delivery.
    pub(crate) first_ordinal: u32,
}

/// Most bytes of a delivery: two ids, a count, an instant, and what stands between them.
pub(super) const ITEM_LEN_MAX: usize = 30 + 47 + 10 + 20 + 10;
/// Most bytes of the members of an event besides its names, payload, metadata and deliveries.
const MEMBERS_LEN_MAX: usize = 200;
/// Most bytes of the headers of an event besides its names.
const HEADERS_LEN_MAX: usize = 112;
/// Most bytes of an idempotency key besides six for each of its own.
const KEY_LEN: usize = 24;

/// Most bytes of a part of this event with this many deliveries, its headers included.
pub(crate) fn part_len(event: &Event, items: usize) -> usize {
    // A character of a label takes six bytes at most.
    let labels: usize = event
        .metadata
        .as_map()
        .iter()
        .map(|(key, value)| 6 * (key.len() + value.len()) + 6)
        .sum();
    let key = event.idempotency_key.as_ref();
    let key = key.map_or(0, |key| 6 * key.as_str().len() + KEY_LEN);
    // The workspace and the event type's name are in the headers as well.
    let of_type = event.event_type.as_ref();
    let of_type = of_type.map_or(0, |of| of.id.as_str().len() + 2 * of.name.as_str().len());
    let names = of_type + 2 * event.workspace.as_str().len();
    let members = MEMBERS_LEN_MAX + HEADERS_LEN_MAX + names + labels + key;
    members + event.payload.len() + items.saturating_mul(ITEM_LEN_MAX)
}

impl Part {
    /// The bytes that the part takes of a record, at most: its own, and the headers that tell of it.
    pub(crate) fn len_max(&self) -> usize {
        let name = self
            .event_type
            .as_ref()
            .map_or(0, |name| name.as_str().len());
        // And the comma behind it.
        self.json.len() + 1 + HEADERS_LEN_MAX + name + self.workspace.as_str().len()
    }
}

/// Writes the event with these deliveries.
pub(crate) fn part_of(event: &Event, items: &[Item]) -> Part {
    let mut json = Vec::with_capacity(event.payload.len() + 512 + 72 * items.len());
    // Writing to memory cannot fail, and the labels are text.
    let _ = write!(
        json,
        r#"{{"message":"{}","workspace":"{}","#,
        event.id, event.workspace,
    );
    if let Some(EventTypeRef { id, name }) = &event.event_type {
        let _ = write!(json, r#""event_type":"{id}","event_type_name":"{name}","#);
    }
    if let Some(key) = &event.idempotency_key {
        json.extend_from_slice(br#""idempotency_key":"#);
        let _ = serde_json::to_writer(&mut json, key.as_str());
        json.push(b',');
    }
    let _ = write!(
        json,
        r#""accepted_at":{},"metadata":"#,
        event.accepted_at.as_nanos(),
    );
    let _ = serde_json::to_writer(&mut json, event.metadata.as_map());
    json.extend_from_slice(br#","payload":"#);
    let start = json.len();
    json.extend_from_slice(event.payload.as_bytes());
    let payload = start..json.len();
    json.extend_from_slice(br#","deliveries":["#);
    for (nth, item) in items.iter().enumerate() {
        json.extend_from_slice(if nth == 0 { b"[\"" } else { b",[\"" });
        item.delivery.write_to(&mut json);
        json.extend_from_slice(b"\",\"");
        json.extend_from_slice(item.endpoint.as_str().as_bytes());
        json.push(b'"');
        match item.due_at {
            Some(due_at) => {
                let _ = write!(json, ",{},{}", item.attempts, due_at.as_nanos());
            }
            None if item.attempts > 0 => {
                let _ = write!(json, ",{}", item.attempts);
            }
            None => {}
        }
        json.push(b']');
    }
    json.extend_from_slice(b"]}");
    Part {
        json,
        payload,
        message: event.id,
        event_type: event.event_type.as_ref().map(|of| of.name.clone()),
        workspace: event.workspace,
        len: items.len(),
        first_ordinal: items
            .first()
            .and_then(|item| item.delivery.ordinal(event.id))
            .unwrap_or_default(),
    }
}

/// Puts parts together to a record's body, and tells where each is in it.
pub(crate) fn body<'a>(parts: impl IntoIterator<Item = &'a Part>) -> (Vec<u8>, Vec<usize>) {
    let mut body = format!(r#"{{"format":{FORMAT},"events":["#).into_bytes();
    let mut offsets = Vec::new();
    for part in parts {
        if !offsets.is_empty() {
            body.push(b',');
        }
        offsets.push(body.len());
        body.extend_from_slice(&part.json);
    }
    body.extend_from_slice(b"]}");
    (body, offsets)
}
