//! Endpoints that event types fan out to, as names and patterns say.

use std::collections::HashSet;

use nahook_control::{EventTypeRecord, Snapshot, SubscriberRecord};
use nahook_core::id::EndpointId;

/// Makes the endpoints whose patterns match a new event type its subscribers, in the order of the patterns.
pub(super) fn subscribe_matching(catalog: &mut Snapshot, event_type: &EventTypeRecord) {
    let mut seen = HashSet::new();
    for pattern in &catalog.patterns {
        if pattern.workspace == event_type.workspace
            && pattern.pattern.matches(&event_type.name)
            && seen.insert(pattern.endpoint)
        {
            catalog.subscribers.push(SubscriberRecord {
                workspace: event_type.workspace,
                event_type: event_type.id,
                endpoint: pattern.endpoint,
            });
        }
    }
}

/// Makes the endpoint a subscriber of what its names and patterns say. It keeps its place where it is one already.
pub(super) fn resubscribe(catalog: &mut Snapshot, endpoint: EndpointId) {
    let names = catalog.subscriptions.iter();
    let names: HashSet<_> = names
        .filter(|row| row.endpoint == endpoint)
        .map(|row| row.event_type)
        .collect();
    let patterns = catalog.patterns.iter();
    let patterns: Vec<_> = patterns.filter(|row| row.endpoint == endpoint).collect();
    let is_wanted = |event_type: &EventTypeRecord| {
        names.contains(&event_type.id)
            || patterns.iter().any(|row| {
                row.workspace == event_type.workspace && row.pattern.matches(&event_type.name)
            })
    };
    let wanted = catalog.event_types.iter().filter(|row| is_wanted(row));
    let mut wanted: Vec<_> = wanted.map(|row| (row.workspace, row.id)).collect();
    catalog.subscribers.retain(|row| {
        if row.endpoint != endpoint {
            return true;
        }
        let at = wanted.iter().position(|(_, id)| *id == row.event_type);
        at.map(|at| wanted.remove(at)).is_some()
    });
    let new = wanted
        .into_iter()
        .map(|(workspace, event_type)| SubscriberRecord {
            workspace,
            event_type,
            endpoint,
        });
    catalog.subscribers.extend(new);
}
