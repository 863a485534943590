//! Spans of the engine. Their names are stable, and they hold no payload.

use tracing::{Span, debug_span};

use crate::{Event, EventTypeName, Scope};

const TARGET: &str = "nahook";

/// A trigger, or the events of a batch that are of one type.
pub(super) fn trigger(scope: &Scope, event_type: &EventTypeName, events: usize) -> Span {
    let workspace = &scope.workspace;
    debug_span!(target: TARGET, "nahook.trigger", workspace_id = %workspace, %event_type, events)
}

/// A batch of sends, or one.
pub(super) fn send(scope: &Scope, sends: usize) -> Span {
    debug_span!(target: TARGET, "nahook.send", workspace_id = %scope.workspace, sends)
}

/// A call of the publisher.
pub(super) fn publish(event: &Event, deliveries: usize) -> Span {
    debug_span!(target: TARGET, "nahook.publish", message_id = %event.id, deliveries)
}
