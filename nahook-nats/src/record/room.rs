//! Capacity of a record.

use nahook_core::Event;

use crate::authentication::HEADER_LEN;

use super::write::{ITEM_LEN_MAX, part_len};

/// Most bytes of a record besides its parts: the envelope of its body and the headers that it has once, those of a
/// retry that waits for its schedule included.
const FIXED_LEN_MAX: usize = 384 + HEADER_LEN;
/// Most bytes of one log entry without the text of its error. A record leaves room for them, so that it can be logged.
pub(crate) const LOG_ROW_LEN_MAX: usize = 384;
/// The least that a server must take: below, a record with long names leaves no room for a payload.
pub(crate) const MAX_PAYLOAD_MIN: usize = 2 << 10;

/// Room that the server's largest message leaves for the parts of a record, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room(usize);

impl Room {
    pub(crate) fn of(max_payload: usize) -> Self {
        Self(max_payload.saturating_sub(FIXED_LEN_MAX + LOG_ROW_LEN_MAX))
    }

    /// Number of the event's deliveries that fit into a record, as fresh ones or as retries.
    pub(crate) fn items(self, event: &Event) -> usize {
        match self.0.checked_sub(part_len(event, 1)) {
            Some(rest) => 1 + rest / ITEM_LEN_MAX,
            None => 0,
        }
    }

    pub(crate) fn len(self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::iter::repeat_n;

    use async_nats::header::{NATS_MESSAGE_ID, NATS_SCHEDULE, NATS_SCHEDULE_TARGET};
    use nahook_core::id::{DeliveryId, EndpointId, EventTypeId, WorkspaceId};
    use nahook_core::{EventTypeName, Timestamp};
    use nahook_testkit::declare;

    use super::super::{Item, body, headers, part_of};
    use super::*;

    fn long(start: &str, len: usize) -> String {
        start
            .chars()
            .chain(repeat_n('x', len - start.len()))
            .collect()
    }

    /// The longest names and numbers there are, in a record that waits for its schedule.
    #[test]
    fn full_record_is_no_longer_than_the_servers_largest_message() {
        let now = Timestamp::from_nanos(u64::MAX);
        let mut event = declare::event("ws_shop", "order.paid", 1, now);
        event.workspace = WorkspaceId::new(&long("ws_", 47)).expect("an id");
        if let Some(of) = &mut event.event_type {
            of.id = EventTypeId::new(&long("evt_", 47)).expect("an id");
            of.name = EventTypeName::new(&long("a.", 128)).expect("a name");
        }
        event.metadata = declare::metadata(&[("k", "\u{1}\u{2}"), ("", "")]);
        for max_payload in [MAX_PAYLOAD_MIN, 4 << 10, 16 << 10, 64 << 10, 1 << 20] {
            let items = Room::of(max_payload).items(&event);
            assert!(items > 0, "{max_payload}");
            let items: Vec<_> = (0..u32::try_from(items).expect("a few"))
                .map(|ordinal| Item {
                    delivery: DeliveryId::nth(event.id, ordinal),
                    endpoint: EndpointId::new(&long("ep_", 47)).expect("an id"),
                    attempts: u32::MAX,
                    due_at: Some(now),
                })
                .collect();
            let parts = [part_of(&event, &items)];
            let (body, offsets) = body(&parts);
            let mut headers = headers(parts.iter().zip(offsets));
            let first = DeliveryId::nth(event.id, 0);
            headers.insert(
                NATS_MESSAGE_ID,
                format!("dead-retry-{first}-{:x}", u64::MAX),
            );
            headers.insert(NATS_SCHEDULE, "@at 2024-04-05T19:34:38Z");
            headers.insert(NATS_SCHEDULE_TARGET, long("x", 64 + ".retries.due".len()));
            let headers: usize = headers
                .iter()
                .flat_map(|(name, values)| {
                    let values = values.iter();
                    values.map(|value| name.to_string().len() + 4 + value.as_str().len())
                })
                .sum();
            let len = body.len() + headers + "NATS/1.0\r\n\r\n".len();
            assert!(
                len + LOG_ROW_LEN_MAX <= max_payload,
                "{len} of {max_payload}"
            );
        }
    }
}
