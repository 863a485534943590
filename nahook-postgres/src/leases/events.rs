//! The events of leased deliveries: a wide one is fetched once and not once a delivery.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nahook_core::id::{EndpointId, MessageId, WorkspaceId};
use nahook_core::{EventTypeName, Payload, Timestamp};
use nahook_queue::{Lease, LeasedDelivery};
use tokio_postgres::Row;

use crate::error::PgError;
use crate::lender::Lent;
use crate::row::{Bits, instant_at, maybe_parsed_at, parsed_at, value_at};

const EVENTS: &str = "
SELECT e.seq, e.id, w.id, t.name, e.accepted_at, e.payload
FROM event e
JOIN workspace w ON w.row = e.workspace
LEFT JOIN event_type t ON t.row = e.event_type
WHERE e.seq = ANY($1) AND e.payload IS NOT NULL";

/// Upper bound on the bytes remembered, of payloads and their surroundings.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes that an event takes besides its payload, about.
const OVERHEAD: usize = 256;

/// Fields of an event that a worker needs.
#[derive(Debug)]
pub(crate) struct EventFields {
    pub(crate) message: MessageId,
    pub(crate) workspace: WorkspaceId,
    pub(crate) event_type: Option<EventTypeName>,
    pub(crate) accepted_at: Timestamp,
    pub(crate) payload: Payload,
}

impl EventFields {
    /// Reads the id, the workspace, the event type, the time and the payload, from that column on.
    pub(crate) fn at(row: &Row, first: usize) -> Result<Self, PgError> {
        Ok(Self {
            message: MessageId::from_bits(value_at::<Bits>(row, first)?.0),
            workspace: parsed_at(row, first + 1)?,
            event_type: maybe_parsed_at(row, first + 2)?,
            accepted_at: instant_at(row, first + 3)?,
            payload: Payload::from_stored(value_at::<Vec<u8>>(row, first + 4)?.into()),
        })
    }

    /// Makes the event's delivery to `endpoint`, of which so many attempts are settled.
    pub(crate) fn leased(
        &self,
        lease: Lease,
        endpoint: EndpointId,
        attempts: u32,
    ) -> LeasedDelivery {
        LeasedDelivery {
            lease,
            message: self.message,
            workspace: self.workspace,
            endpoint,
            event_type: self.event_type.clone(),
            payload: self.payload.clone(),
            attempts,
            accepted_at: self.accepted_at,
        }
    }
}

/// Events that were looked up, the latest of them.
#[derive(Debug, Default)]
pub(crate) struct Events {
    known: Mutex<EventCache>,
}

#[derive(Debug, Default)]
struct EventCache {
    events: HashMap<i64, Arc<EventFields>>,
    order: VecDeque<i64>,
    bytes: usize,
}

impl Events {
    /// The events with these numbers; one that is gone is left out.
    pub(crate) async fn find(
        &self,
        lent: &mut Lent,
        numbers: impl Iterator<Item = i64>,
    ) -> Result<HashMap<i64, Arc<EventFields>>, PgError> {
        let mut found = HashMap::new();
        let mut unknown = Vec::new();
        {
            let known = self.known();
            for number in numbers {
                match known.events.get(&number) {
                    Some(event) => {
                        found.insert(number, Arc::clone(event));
                    }
                    None => unknown.push(number),
                }
            }
        }
        if unknown.is_empty() {
            return Ok(found);
        }
        unknown.sort_unstable();
        unknown.dedup();
        let rows = lent.query(EVENTS, &[&unknown]).await?;
        let mut known = self.known();
        for row in &rows {
            let event = Arc::new(EventFields::at(row, 1)?);
            let number = value_at(row, 0)?;
            known.remember(number, &event);
            found.insert(number, event);
        }
        Ok(found)
    }

    fn known(&self) -> MutexGuard<'_, EventCache> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventCache {
    fn remember(&mut self, number: i64, event: &Arc<EventFields>) {
        if self.events.insert(number, Arc::clone(event)).is_some() {
            return;
        }
        self.order.push_back(number);
        self.bytes += event.payload.len() + OVERHEAD;
        while self.bytes > BYTES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            if let Some(event) = self.events.remove(&oldest) {
                self.bytes -= event.payload.len() + OVERHEAD;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nahook_testkit::declare::workspace_id;

    use super::*;

    /// Numbers of the events that are left of so many with payloads of this length, and the bytes that they take.
    fn left(events: i64, len: usize) -> (Vec<i64>, usize) {
        let mut known = EventCache::default();
        for number in 0..events {
            let event = EventFields {
                message: MessageId::from_parts(Timestamp::default(), 0),
                workspace: workspace_id("ws_a"),
                event_type: None,
                accepted_at: Timestamp::default(),
                payload: Payload::from_stored(vec![b' '; len].into()),
            };
            known.remember(number, &Arc::new(event));
        }
        let mut left: Vec<_> = known.events.into_keys().collect();
        left.sort_unstable();
        assert_eq!(known.order, left);
        (left, known.bytes)
    }

    #[test]
    fn the_oldest_events_make_room() {
        assert_eq!(left(4, 6 << 20), (vec![2, 3], (12 << 20) + 512));
        let half = (8 << 20) - 256;
        assert_eq!(left(3, half), (vec![1, 2], 16 << 20), "all the room");
        assert_eq!(left(3, half + 1).0, [2]);
    }
}
