//! Compares what clients were told with what arrived.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::load::{Fate, Told};
use super::support::receiver::Arrival;

/// Lost deliveries that are named: after the first few, the number says it.
const LOST_SHOWN_MAX: u64 = 20;

/// Time from a kill until what was killed is back.
pub(crate) struct Outage {
    pub(crate) from: Instant,
    pub(crate) to: Instant,
}

impl Outage {
    /// Returns true if it lies between the two, where what was begun up to `slack` after it may still be its doing.
    pub(crate) fn is_between(&self, first: &Arrival, second: &Arrival, slack: Duration) -> bool {
        first.at <= self.to + slack && second.at >= self.from
    }
}

/// Numbers of a run.
#[derive(Default)]
pub(crate) struct Counts {
    accepted: u64,
    refused: u64,
    unanswered: u64,
    unanswered_but_delivered: u64,
    pub(crate) definitely_failed: u64,
    pub(crate) unconfirmed: u64,
    unconfirmed_but_delivered: u64,
    promised: u64,
    arrived: u64,
    pub(crate) repeated: u64,
    pub(crate) lost: u64,
    /// Number of deliveries that arrived, whether once or more often.
    pub(crate) distinct: usize,
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "requests: {} accepted, {} refused, {} unanswered ({} of them delivered); \
             deliveries: {} promised, {} definitely failed, {} unconfirmed ({} of them delivered), {} arrived, \
             {} repeated, lost={}",
            self.accepted,
            self.refused,
            self.unanswered,
            self.unanswered_but_delivered,
            self.promised,
            self.definitely_failed,
            self.unconfirmed,
            self.unconfirmed_but_delivered,
            self.arrived,
            self.repeated,
            self.lost,
        )
    }
}

impl Counts {
    /// Judges every arrival and every promise; panics at the first arrival that should not be.
    pub(crate) fn of(
        told: &Told,
        arrivals: &[Arrival],
        explains: impl Fn(&Arrival, &Arrival) -> bool,
    ) -> Self {
        let mut counts = Self {
            arrived: arrivals.len() as u64,
            ..Self::default()
        };
        let mut by_id: HashMap<&str, Vec<&Arrival>> = HashMap::new();
        let (mut markers, mut places) = (HashSet::new(), HashSet::new());
        for arrival in arrivals {
            let payload: Value = serde_json::from_slice(&arrival.body).unwrap();
            let marker = payload["marker"].as_u64().unwrap();
            judge(arrival, marker, told.get(&marker).unwrap_or(&Fate::Unknown));
            markers.insert(marker);
            places.insert((marker, arrival.path.trim_start_matches('/')));
            by_id
                .entry(arrival.header("nahook-delivery-id"))
                .or_default()
                .push(arrival);
        }
        for (marker, fate) in told {
            match fate {
                Fate::Accepted { ids, failures } => {
                    for (endpoint, code) in failures {
                        let unclear = may_be_queued(code);
                        let is_there = unclear && places.contains(&(*marker, endpoint));
                        counts.definitely_failed += u64::from(!unclear);
                        counts.unconfirmed += u64::from(unclear);
                        counts.unconfirmed_but_delivered += u64::from(is_there);
                    }
                    counts.accepted += 1;
                    counts.promised += ids.len() as u64;
                    let lost = ids.iter().filter(|id| !by_id.contains_key(id.as_str()));
                    for id in lost {
                        counts.lost += 1;
                        if counts.lost <= LOST_SHOWN_MAX {
                            println!("lost: {id} of {marker}");
                        }
                    }
                }
                Fate::Refused(_) => counts.refused += 1,
                Fate::Unknown => {
                    counts.unanswered += 1;
                    counts.unanswered_but_delivered += u64::from(markers.contains(marker));
                }
            }
        }
        counts.distinct = by_id.len();
        for (id, arrivals) in by_id {
            counts.repeated += arrivals.len() as u64 - 1;
            for pair in arrivals.windows(2) {
                assert_repeat(id, pair[0], pair[1], &explains);
            }
        }
        counts
    }
}

/// Returns true if a failure with this code says that the queue may hold the delivery.
fn may_be_queued(code: &str) -> bool {
    ["unconfirmed", "internal_error"].contains(&code)
}

/// Asserts that this delivery may have happened at all.
fn judge(arrival: &Arrival, marker: u64, fate: &Fate) {
    let id = arrival.header("nahook-delivery-id");
    match fate {
        Fate::Accepted { ids, failures } => {
            let endpoint = arrival.path.trim_start_matches('/');
            match failures.get(endpoint).map(String::as_str) {
                None => assert!(
                    ids.iter().any(|told| told == id),
                    "{id} of {marker} was not told"
                ),
                Some(unclear) if may_be_queued(unclear) => {}
                Some(definite) => panic!("{id} of {marker} was delivered and told as {definite}"),
            }
        }
        Fate::Refused(status) => panic!("{id} of {marker} was delivered and answered {status}"),
        Fate::Unknown => {}
    }
}

/// A repeat that nothing explains is a defect: nothing here ever fails or is slow.
fn assert_repeat(
    id: &str,
    first: &Arrival,
    second: &Arrival,
    explains: &impl Fn(&Arrival, &Arrival) -> bool,
) {
    assert!(
        explains(first, second),
        "{id} was delivered twice for no reason: {first:?} {second:?}"
    );
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
    assert_eq!(first.body, second.body);
}
