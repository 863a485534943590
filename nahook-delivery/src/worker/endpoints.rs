//! Bounds the deliveries in flight per endpoint, so that no endpoint costs another its turn.
//!
//! An endpoint of which nothing is known begins with a few. Success while it makes use of its bound adds one, failure halves
//! the bound, a failure that took long leaves one. And endpoints that take long, succeeding or not, share half of the
//! worker: however many hang, the other half serves those that answer.

use std::collections::VecDeque;
use std::time::Duration;

use foldhash::{HashMap, HashMapExt as _};
use nahook_core::id::EndpointId;
use tokio::time::Instant;

use super::settings::WorkerSettings;

/// Time after which slow endpoints that had to stand back are offered again.
const TURN: Duration = Duration::from_millis(50);
/// Time for which an endpoint without deliveries in flight is remembered if it had earned more than the initial bound …
const GROWN_MEMORY: Duration = Duration::from_secs(10);
/// … and if it was slow.
const SLOW_MEMORY: Duration = Duration::from_mins(10);
/// Upper bound on the slow endpoints remembered without deliveries in flight.
const SLOW_REMEMBERED_MAX: usize = 4_096;

/// Bounds of the next lease request.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Bounds {
    pub(super) per_endpoint_max: usize,
    pub(super) exceptions: Vec<(EndpointId, usize)>,
    /// Instant at which time alone makes these bounds wider.
    pub(super) wider_at: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Endpoints {
    known: HashMap<EndpointId, Known>,
    /// Attempts in the order of their beginning, to find those that take long; some may be over.
    begun: VecDeque<(Instant, EndpointId, u64)>,
    /// The slow endpoint that was served last when there was no room for all.
    turn: Option<EndpointId>,
}

#[derive(Debug)]
struct Known {
    in_flight: usize,
    allowance: usize,
    slow: bool,
    paused_until: Option<Instant>,
    used_at: Instant,
}

impl Endpoints {
    pub(super) fn new() -> Self {
        Self {
            known: HashMap::new(),
            begun: VecDeque::new(),
            turn: None,
        }
    }

    /// A delivery for it was leased.
    pub(super) fn enter(&mut self, id: EndpointId, now: Instant, settings: &WorkerSettings) {
        let known = self.known.entry(id).or_insert(Known {
            in_flight: 0,
            allowance: settings.per_endpoint_initial,
            slow: false,
            paused_until: None,
            used_at: now,
        });
        known.in_flight += 1;
        known.used_at = now;
    }

    /// A delivery for it was settled, or its lease was lost.
    pub(super) fn leave(&mut self, id: EndpointId, now: Instant, settings: &WorkerSettings) {
        if let Some(known) = self.known.get_mut(&id) {
            known.in_flight = known.in_flight.saturating_sub(1);
            known.used_at = now;
            if known.is_forgettable(settings) {
                self.known.remove(&id);
            }
        }
    }

    /// An attempt begins, known by its number from now on.
    pub(super) fn begin(&mut self, id: EndpointId, number: u64, now: Instant) {
        self.begun.push_back((now, id, number));
    }

    /// An attempt is over.
    pub(super) fn learn(
        &mut self,
        id: EndpointId,
        succeeded: bool,
        duration: Duration,
        settings: &WorkerSettings,
    ) {
        let Some(known) = self.known.get_mut(&id) else {
            return;
        };
        known.slow = duration >= settings.slow_after;
        known.allowance = if succeeded {
            // Half of it in use counts as at its bound: of those that end together, each adds one.
            let was_limited = known.in_flight * 2 >= known.allowance;
            (known.allowance + usize::from(was_limited)).min(settings.per_endpoint_max)
        } else if known.slow {
            1
        } else {
            (known.allowance / 2).max(1)
        };
    }

    /// Nothing is to be leased for it until then.
    pub(super) fn pause(&mut self, id: EndpointId, until: Instant) {
        if let Some(known) = self.known.get_mut(&id) {
            known.paused_until = Some(until);
        }
    }

    /// Marks endpoints slow whose attempts are running for long. `is_running` tells whether an attempt is.
    pub(super) fn mark_slow(
        &mut self,
        now: Instant,
        settings: &WorkerSettings,
        is_running: impl Fn(u64) -> bool,
    ) {
        while let Some((begun, id, number)) = self.begun.front().copied()
            && (now.duration_since(begun) >= settings.slow_after || !is_running(number))
        {
            self.begun.pop_front();
            if is_running(number)
                && let Some(known) = self.known.get_mut(&id)
            {
                known.slow = true;
            }
        }
    }

    /// The bounds for the next lease request while `held` deliveries are in flight.
    pub(super) fn bounds(
        &mut self,
        held: usize,
        now: Instant,
        settings: &WorkerSettings,
    ) -> Bounds {
        self.forget(now);
        let crowded = held > settings.in_flight_max / 2;
        let per_endpoint_max = if crowded {
            1
        } else {
            settings.per_endpoint_initial
        };
        let mut bounds = Bounds {
            per_endpoint_max,
            ..Bounds::default()
        };
        let mut slow = Vec::new();
        for (id, known) in &mut self.known {
            known.paused_until = known.paused_until.filter(|until| *until > now);
            if let Some(until) = known.paused_until {
                bounds.exceptions.push((*id, 0));
                bounds.widen_at(until);
            } else if known.slow {
                slow.push((*id, known.in_flight, known.allowance));
            } else if known.allowance != per_endpoint_max {
                bounds.exceptions.push((*id, known.allowance));
            }
        }
        self.share_among_slow(slow, &mut bounds, now, settings);
        bounds
    }

    /// Deals the room that slow endpoints have left: in equal shares, or one each and in turn.
    fn share_among_slow(
        &mut self,
        mut slow: Vec<(EndpointId, usize, usize)>,
        bounds: &mut Bounds,
        now: Instant,
        settings: &WorkerSettings,
    ) {
        let in_flight: usize = slow.iter().map(|(_, in_flight, _)| in_flight).sum();
        let mut room = settings.slow_max().saturating_sub(in_flight);
        let Some(share) = room.checked_div(slow.len()) else {
            return;
        };
        if share == 0 && room > 0 {
            bounds.widen_at(now + TURN);
            slow.sort_unstable();
            let next = slow.partition_point(|(id, ..)| Some(*id) <= self.turn);
            slow.rotate_left(next);
        }
        for (id, in_flight, allowance) in slow {
            let more = share
                .max(1)
                .min(room)
                .min(allowance.saturating_sub(in_flight));
            if share == 0 && more > 0 {
                self.turn = Some(id);
            }
            room -= more;
            bounds
                .exceptions
                .push((id, if more > 0 { in_flight + more } else { 0 }));
        }
    }

    /// Forgets endpoints that have had nothing in flight for long.
    fn forget(&mut self, now: Instant) {
        let slow = self.known.values().filter(|known| known.slow).count();
        let slow_memory = if slow > SLOW_REMEMBERED_MAX {
            GROWN_MEMORY
        } else {
            SLOW_MEMORY
        };
        self.known.retain(|_, known| {
            let memory = if known.slow {
                slow_memory
            } else {
                GROWN_MEMORY
            };
            let paused = known.paused_until.is_some_and(|until| until > now);
            known.in_flight > 0 || paused || now.duration_since(known.used_at) < memory
        });
    }
}

impl Known {
    /// Returns true if it may be forgotten as soon as nothing is in flight: a bound below the initial one, because of quick
    /// failures, is not worth remembering.
    fn is_forgettable(&self, settings: &WorkerSettings) -> bool {
        self.in_flight == 0
            && !self.slow
            && self.paused_until.is_none()
            && self.allowance <= settings.per_endpoint_initial
    }
}

impl Bounds {
    fn widen_at(&mut self, at: Instant) {
        self.wider_at = Some(self.wider_at.map_or(at, |other| other.min(at)));
    }
}

#[cfg(test)]
mod tests;
