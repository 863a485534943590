//! Support of the clauses: an event, the possible outcomes of its deliveries, and their records in the log.

use std::sync::Arc;
use std::time::Duration;

use nahook_core::id::DeliveryId;
use nahook_core::{Delivery, Event, IdempotencyKey, Timestamp};
use nahook_queue::{
    Attempt, AttemptRecord, DeliveryLog, DeliveryRecord, DeliveryRecorder, DeliveryState, LogEntry,
};

use super::super::queue::{Shop, attempt};
use super::SECOND;
use crate::RecorderHarness;
use crate::declare::{deliveries, event, nth_endpoint_id, workspace_id};

/// An event's deliveries and what may become of them.
pub(super) struct Story {
    pub(super) event: Arc<Event>,
    slots: Vec<Delivery>,
}

impl Story {
    pub(super) fn of(event: Event, endpoints: &[usize]) -> Self {
        let endpoints: Vec<_> = endpoints.iter().map(|n| nth_endpoint_id(*n)).collect();
        let slots = deliveries(&event, &endpoints);
        Self {
            event: Arc::new(event),
            slots,
        }
    }

    pub(super) fn id(&self, nth: usize) -> DeliveryId {
        self.slots[nth].id()
    }

    pub(super) fn began(&self, number: u32) -> Timestamp {
        self.event.accepted_at.saturating_add(10 * number * SECOND)
    }

    pub(super) fn ended(&self, number: u32) -> Timestamp {
        self.began(number).saturating_add(SECOND)
    }

    pub(super) fn due(&self, number: u32) -> Timestamp {
        self.began(number).saturating_add(5 * SECOND)
    }

    pub(super) fn accepted(&self, nth: usize) -> LogEntry {
        LogEntry {
            event: Arc::clone(&self.event),
            delivery: self.id(nth),
            endpoint: self.slots[nth].endpoint(),
            attempts: 0,
            attempt: None,
            state: DeliveryState::Pending,
            at: self.event.accepted_at,
        }
    }

    pub(super) fn retried(&self, nth: usize, number: u32) -> LogEntry {
        self.ended_as(nth, number, DeliveryState::Retry(self.due(number)))
    }

    pub(super) fn ended_as(&self, nth: usize, number: u32, state: DeliveryState) -> LogEntry {
        LogEntry {
            attempts: number,
            attempt: Some(self.attempt(number)),
            state,
            at: self.ended(number),
            ..self.accepted(nth)
        }
    }

    /// Accepted, retried twice, delivered.
    pub(super) fn whole(&self, nth: usize) -> Vec<LogEntry> {
        vec![
            self.accepted(nth),
            self.retried(nth, 1),
            self.retried(nth, 2),
            self.ended_as(nth, 3, DeliveryState::Delivered),
        ]
    }

    pub(super) fn attempt(&self, number: u32) -> Attempt {
        let mut attempt = attempt(self.began(number));
        attempt.duration = Duration::from_millis(7 * u64::from(number));
        attempt
    }

    pub(super) fn attempt_record(&self, number: u32) -> AttemptRecord {
        AttemptRecord {
            number,
            attempt: self.attempt(number),
        }
    }
}

/// A delivery as the log shows it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shown {
    pub(super) record: DeliveryRecord,
    pub(super) attempts: Vec<AttemptRecord>,
}

impl Shown {
    /// The same without what tells one story from another: to compare them.
    pub(super) fn of(mut self, story: &Story) -> Self {
        let other = Story::of(
            event("ws_shop", "order.paid", 1, story.event.accepted_at),
            &[0],
        );
        self.record.id = other.id(0);
        self.record.idempotency_key = IdempotencyKey::of(other.id(0));
        self.record.message = other.event.id;
        self.record.metadata = other.event.metadata.clone();
        self
    }
}

pub(super) async fn record<H: RecorderHarness>(shop: &Shop<H>, entries: &[LogEntry]) {
    let recorded = shop.harness.recorder().record(entries).await;
    recorded.expect("the recorder can be asked");
}

pub(super) async fn shown<H: RecorderHarness>(shop: &Shop<H>, id: DeliveryId) -> Shown {
    let (log, workspace) = (shop.harness.log(), workspace_id("ws_shop"));
    let record = log.delivery(id, &workspace).await;
    let record = record.expect("the log can be asked");
    let attempts = log.attempts(id, &workspace).await;
    let attempts = attempts.expect("the log can be asked");
    Shown {
        record: record.expect("the log shows a delivery that was recorded"),
        attempts: attempts.expect("the log shows the attempts of a delivery that was recorded"),
    }
}

/// Every order of so many things.
pub(super) fn orders(count: usize) -> Vec<Vec<usize>> {
    let mut orders = vec![Vec::new()];
    for next in 0..count {
        orders = orders
            .into_iter()
            .flat_map(|order: Vec<usize>| {
                (0..=order.len()).map(move |at| {
                    let mut order = order.clone();
                    order.insert(at, next);
                    order
                })
            })
            .collect();
    }
    orders
}
