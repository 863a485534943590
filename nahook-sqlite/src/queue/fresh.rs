//! Events that were just queued: known to the leasing thread without reading the file.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::events::EventFields;
use foldhash::HashMap;

/// Upper bound on the bytes of payloads kept in memory.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes that an event counts for besides its payload.
const OVERHEAD: usize = 512;

/// Events that have not been leased by then wait for an endpoint that does not keep up: they make room for others.
const AGE_MAX: Duration = Duration::from_secs(10);

/// Events of which deliveries were just queued.
#[derive(Debug, Default)]
pub(super) struct FreshEvents {
    events: HashMap<i64, FreshEvent>,
    /// In the order of queueing; some may be gone.
    order: VecDeque<i64>,
    bytes: usize,
}

#[derive(Debug)]
struct FreshEvent {
    event: Arc<EventFields>,
    /// Number of its deliveries that have yet to be leased.
    left: usize,
}

impl FreshEvents {
    /// Keeps the event until so many of its deliveries have been leased, if there is room.
    pub(super) fn add(&mut self, seq: i64, deliveries: usize, event: impl FnOnce() -> EventFields) {
        if let Some(waiting) = self.events.get_mut(&seq) {
            waiting.left += deliveries;
            return;
        }
        let event = event();
        self.forget_old(&event);
        let len = len_of(&event);
        if self.bytes + len > BYTES_MAX {
            return;
        }
        self.bytes += len;
        self.order.push_back(seq);
        let waiting = FreshEvent {
            event: Arc::new(event),
            left: deliveries,
        };
        self.events.insert(seq, waiting);
    }

    /// The event, for one of its deliveries that is leased.
    pub(super) fn take(&mut self, seq: i64) -> Option<Arc<EventFields>> {
        let waiting = self.events.get_mut(&seq)?;
        waiting.left = waiting.left.saturating_sub(1);
        if waiting.left > 0 {
            return Some(Arc::clone(&waiting.event));
        }
        self.remove(seq)
    }

    fn forget_old(&mut self, newest: &EventFields) {
        while let Some(seq) = self.order.front() {
            match self.events.get(seq) {
                Some(FreshEvent { event, .. })
                    if newest.accepted_at.saturating_since(event.accepted_at) <= AGE_MAX =>
                {
                    return;
                }
                Some(_) => {
                    let seq = *seq;
                    self.remove(seq);
                }
                None => {}
            }
            self.order.pop_front();
        }
    }

    fn remove(&mut self, seq: i64) -> Option<Arc<EventFields>> {
        let removed = self.events.remove(&seq)?;
        self.bytes -= len_of(&removed.event);
        Some(removed.event)
    }
}

fn len_of(event: &EventFields) -> usize {
    event.payload.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use nahook_core::id::{MessageId, WorkspaceId};
    use nahook_core::{Payload, Timestamp};

    use super::*;

    fn known(at: u64, len: usize) -> EventFields {
        EventFields {
            message: MessageId::from_bits(7),
            workspace: WorkspaceId::new("ws").unwrap(),
            event_type: None,
            accepted_at: Timestamp::from_millis(at),
            payload: Payload::from_stored(Bytes::from(vec![b' '; len])),
        }
    }

    #[test]
    fn an_event_is_there_for_each_of_its_deliveries_once() {
        let mut events = FreshEvents::default();
        events.add(1, 1, || known(0, 10));
        events.add(1, 1, || panic!("known already"));
        assert!(events.take(1).is_some());
        assert!(events.take(1).is_some());
        assert!(events.take(1).is_none());
        assert_eq!(events.bytes, 0);
    }

    #[test]
    fn events_are_bounded_and_old_ones_make_room() {
        let mut events = FreshEvents::default();
        for seq in 0..3 {
            events.add(seq, 1, || known(0, BYTES_MAX / 2 - OVERHEAD));
        }
        assert!(events.take(2).is_none(), "there is room for two");
        assert_eq!(events.bytes, 16 * 1024 * 1024);
        assert!(events.take(1).is_some());
        events.add(3, 1, || known(10_001, 1));
        assert!(events.take(0).is_none() && events.take(3).is_some());
        assert_eq!((events.bytes, events.order.len()), (0, 1));
    }

    #[test]
    fn an_event_without_payload_takes_room_too() {
        let mut events = FreshEvents::default();
        events.add(1, 1, || known(0, 0));
        assert_eq!(events.bytes, 512);
        events.add(2, 1, || known(0, 10));
        assert_eq!(events.bytes, 1_034);
    }
}
