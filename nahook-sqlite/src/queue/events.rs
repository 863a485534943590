//! The events that are being delivered: read once for many deliveries.

use std::sync::Arc;

use bytes::Bytes;
use foldhash::HashMap;
use nahook_core::id::{MessageId, WorkspaceId};
use nahook_core::{Event, EventTypeName, Payload, Timestamp};
use rusqlite::Connection;

use crate::row::{instant_at, maybe_parsed_at, message_at, parsed_at};

/// Upper bound on the bytes of payloads remembered; beyond it all are forgotten.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// Bytes that an event counts for besides its payload.
const OVERHEAD: usize = 512;

/// Events by number. They never change, so that nothing here grows stale.
#[derive(Debug, Default)]
pub(super) struct Events {
    known: HashMap<i64, Arc<EventFields>>,
    bytes: usize,
}

/// Fields of an event that its deliveries carry.
#[derive(Debug)]
pub(super) struct EventFields {
    pub(super) message: MessageId,
    pub(super) workspace: WorkspaceId,
    pub(super) event_type: Option<EventTypeName>,
    pub(super) accepted_at: Timestamp,
    pub(super) payload: Payload,
}

impl EventFields {
    /// Copies the fields out of an event that was just queued.
    pub(super) fn of(event: &Event) -> Self {
        Self {
            message: event.id,
            workspace: event.workspace,
            event_type: event
                .event_type
                .as_ref()
                .map(|event_type| event_type.name.clone()),
            accepted_at: event.accepted_at,
            payload: event.payload.clone(),
        }
    }
}

impl Events {
    pub(super) fn get(
        &mut self,
        connection: &Connection,
        seq: i64,
    ) -> rusqlite::Result<Arc<EventFields>> {
        if let Some(known) = self.known.get(&seq) {
            return Ok(Arc::clone(known));
        }
        let known = Arc::new(read(connection, seq)?);
        let len = known.payload.len() + OVERHEAD;
        if self.bytes + len > BYTES_MAX {
            self.known.clear();
            self.bytes = 0;
        }
        self.bytes += len;
        self.known.insert(seq, Arc::clone(&known));
        Ok(known)
    }
}

fn read(connection: &Connection, seq: i64) -> rusqlite::Result<EventFields> {
    connection
        .prepare_cached(
            "SELECT event.id, workspace.id, event_type.name, event.accepted_at, event.payload
             FROM nahook_event AS event JOIN nahook_workspace AS workspace ON workspace.row = event.workspace
             LEFT JOIN nahook_event_type AS event_type ON event_type.row = event.event_type
             WHERE event.seq = ?1",
        )?
        .query_row([seq], |row| {
            let payload: Vec<u8> = row.get(4)?;
            Ok(EventFields {
                message: message_at(row, 0)?,
                workspace: parsed_at(row, 1)?,
                event_type: maybe_parsed_at(row, 2)?,
                accepted_at: instant_at(row, 3)?,
                payload: Payload::from_stored(Bytes::from(payload)),
            })
        })
}
