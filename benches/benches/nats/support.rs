//! Events, time and medians.

use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nahook_core::id::{EndpointId, EventTypeId, MessageId, WorkspaceId};
use nahook_core::{
    Clock as _, Delivery, Event, EventTypeName, IdSource as _, Metadata, NewEvent, Payload,
    RandomIds, SystemClock,
};

/// Size of the measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) round: Duration,
    pub(crate) rounds: usize,
    /// Number of concurrent callers, besides one alone.
    pub(crate) callers: usize,
    /// Least number of messages for a round of one message for each delivery.
    pub(crate) messages_max: usize,
    /// Number of deliveries drained.
    pub(crate) deliveries: usize,
}

impl Scale {
    pub(crate) const FULL: Self = Self {
        round: Duration::from_millis(700),
        rounds: 3,
        callers: 64,
        messages_max: 10_000,
        deliveries: 60_000,
    };
    /// Every path is walked, and nothing measured.
    pub(crate) const ONCE: Self = Self {
        round: Duration::ZERO,
        rounds: 1,
        callers: 2,
        messages_max: 100,
        deliveries: 500,
    };
}

/// A payload of 200 bytes.
fn payload() -> Payload {
    let json = format!("{{\"text\":\"{}\"}}", "x".repeat(200 - 11));
    Payload::new(Bytes::from(json)).expect("a payload")
}

/// An event as the engine makes it, and its slots.
pub(crate) fn event(endpoints: &[EndpointId]) -> (Event, Vec<Delivery>) {
    let now = SystemClock.now();
    let id = MessageId::from_parts(now, RandomIds.random());
    let new = NewEvent {
        event_type: EventTypeName::new("order.paid").expect("a name"),
        payload: payload(),
        metadata: Metadata::default(),
    };
    let workspace = WorkspaceId::from_bits(7);
    let event = Event::new(new, id, EventTypeId::from_bits(7), workspace, now);
    let slots = (0..)
        .zip(endpoints)
        .map(|(ordinal, endpoint)| Delivery::new(id, ordinal, *endpoint))
        .collect();
    (event, slots)
}

pub(crate) fn endpoints(width: usize) -> Vec<EndpointId> {
    (0..width)
        .map(|n| EndpointId::from_bits(n as u128))
        .collect()
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Measures how often a second a file can be appended to and synced.
pub(crate) fn fdatasync_rate() -> f64 {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut file = File::create(folder.path().join("probe")).expect("a file");
    let began = Instant::now();
    let mut count = 0_u32;
    while began.elapsed() < Duration::from_millis(300) {
        file.write_all(&[0; 4_096]).expect("a disk");
        file.sync_data().expect("a disk");
        count += 1;
    }
    f64::from(count) / began.elapsed().as_secs_f64()
}
