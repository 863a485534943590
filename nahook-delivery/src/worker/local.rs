//! Attempts that could not be made for a lack of this machine: they cost the endpoint nothing, and are made later.
//!
//! While no descriptor or memory is left the whole worker pauses. What may be the endpoint's own doing, like a name that no
//! server can resolve, pauses that endpoint alone, and is forgiven for an hour: then its attempts count.

use std::time::Duration;

use foldhash::HashMap;
use nahook_core::id::EndpointId;
use tokio::time::Instant;

use super::observe;
use crate::transport::LocalCause;

/// For how long an endpoint's attempts are made for nothing if the cause may be its own.
const FORGIVEN_FOR: Duration = Duration::from_hours(1);
/// A pause lasts as long as the lack has lasted, within these bounds: at first one second, in the end half a minute.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// The whole worker pauses for less.
const WORKER_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Number of endpoints remembered before all are forgotten.
const REMEMBERED_MAX: usize = 10_000;
/// Least time between two log lines about a lack.
const TOLD_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct LocalLack {
    /// Since when an endpoint's attempts could not be made.
    endpoints: HashMap<EndpointId, Instant>,
    /// Since when none could be made.
    worker: Option<Instant>,
    told_at: Option<Instant>,
    untold: u64,
}

/// Scope of a pause and its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Pause {
    Worker(Instant),
    Endpoint(Instant),
}

impl LocalLack {
    /// Returns true if a lack that may be this endpoint's own doing is still put down to this machine.
    pub(super) fn is_forgiven(&self, endpoint: EndpointId, now: Instant) -> bool {
        let since = self.endpoints.get(&endpoint);
        since.is_none_or(|since| now.duration_since(*since) < FORGIVEN_FOR)
    }

    /// Notes that an attempt could not be made.
    pub(super) fn note(&mut self, endpoint: EndpointId, cause: LocalCause, now: Instant) -> Pause {
        self.tell(cause, now);
        if cause.is_certain() {
            let since = *self.worker.get_or_insert(now);
            let pause = now.duration_since(since).clamp(PAUSE_MIN, WORKER_PAUSE_MAX);
            return Pause::Worker(now + pause);
        }
        if self.endpoints.len() >= REMEMBERED_MAX {
            self.endpoints.clear();
        }
        let since = *self.endpoints.entry(endpoint).or_insert(now);
        Pause::Endpoint(now + now.duration_since(since).clamp(PAUSE_MIN, PAUSE_MAX))
    }

    /// Notes that an attempt was made, and whether the endpoint has answered it.
    pub(super) fn attempted(&mut self, endpoint: EndpointId, is_answered: bool) {
        self.worker = None;
        if is_answered {
            self.endpoints.remove(&endpoint);
        }
    }

    fn tell(&mut self, cause: LocalCause, now: Instant) {
        self.untold += 1;
        observe::count_not_made(cause);
        if self
            .told_at
            .is_none_or(|at| now.duration_since(at) >= TOLD_EVERY)
        {
            observe::not_made(cause, std::mem::take(&mut self.untold));
            self.told_at = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn endpoint(id: &str) -> EndpointId {
        EndpointId::new(id).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn lack_of_descriptors_pauses_the_worker_for_up_to_five_seconds() {
        let mut lack = LocalLack::default();
        let (a, start) = (endpoint("ep_a"), Instant::now());
        let mut note = |secs: u64| {
            lack.note(
                a,
                LocalCause::Descriptors,
                start + Duration::from_secs(secs),
            )
        };
        assert_eq!(note(0), Pause::Worker(start + SECOND));
        assert_eq!(note(3), Pause::Worker(start + 6 * SECOND));
        assert_eq!(note(3_600), Pause::Worker(start + 3_605 * SECOND));
        assert!(lack.is_forgiven(a, start + 9_999 * SECOND));
        lack.attempted(a, false);
        let later = start + 9_000 * SECOND;
        let pause = lack.note(a, LocalCause::Memory, later);
        assert_eq!(pause, Pause::Worker(later + SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn lack_that_may_be_the_endpoints_is_forgiven_for_an_hour() {
        let mut lack = LocalLack::default();
        let (a, b, start) = (endpoint("ep_a"), endpoint("ep_b"), Instant::now());
        assert!(lack.is_forgiven(a, start));
        let pause = lack.note(a, LocalCause::Resolver, start);
        assert_eq!(pause, Pause::Endpoint(start + SECOND));
        let later = start + 3_599 * SECOND;
        assert!(lack.is_forgiven(a, later));
        let pause = lack.note(a, LocalCause::Network, later);
        assert_eq!(pause, Pause::Endpoint(later + 30 * SECOND));
        let later = start + 3_600 * SECOND;
        assert!(!lack.is_forgiven(a, later) && lack.is_forgiven(b, later));
        // A failure without an answer proves nothing.
        lack.attempted(a, false);
        assert!(!lack.is_forgiven(a, later));
        lack.attempted(a, true);
        assert!(lack.is_forgiven(a, later));
    }
}
