//! Decides when to lease, and keeps leased deliveries until their attempts begin.

use std::sync::Arc;
use std::time::Duration;

use nahook_control::EndpointTarget;
use nahook_core::{StoreError, Timestamp};
use nahook_queue::{DeliveryQueue, LeaseBatch, LeaseRequest, Next};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::{Done, Session, Stage};
use crate::transport::Transport;
use crate::worker::attempt::{Means, attempt, not_attempted};
use crate::worker::calls::{LookUp, bounded, look_up};
use crate::worker::contain::contain;
use crate::worker::ledger::{Admission, Hold, Phase};
use crate::worker::settling::backoff;
use crate::worker::{observe, spans};

/// Time for which nothing is leased for an endpoint that the directory cannot read.
const UNREADABLE_PAUSE: Duration = Duration::from_secs(10);
/// From how many empty answers in a row on the queue's announcements are taken with a grain of salt …
const EMPTY_MAX: u32 = 8;
/// … and how soon it is asked again then, at the earliest.
const EMPTY_PAUSE: Duration = Duration::from_millis(5);
/// Doublings of the pause, a millisecond at first, before it is asked again for deliveries that were due and not leased.
const DUE_DOUBLINGS_MAX: u32 = 7;

/// Reason shown to the tenant for a delivery that is abandoned without an attempt.
const DELETED: &str = "not attempted: the endpoint was deleted";
const DISABLED: &str = "not attempted: the endpoint is disabled";

/// Decides when to lease.
#[derive(Debug)]
pub(super) struct Leasing {
    /// There may be something to lease.
    wanted: bool,
    under_way: bool,
    /// Not before then: something failed, or announcements proved empty too often.
    not_before: Instant,
    /// Then at the latest.
    at: Instant,
    /// Waits for the queue to announce something.
    watch: Option<AbortHandle>,
    empty_in_a_row: u32,
    failures: u32,
}

impl Leasing {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            wanted: true,
            under_way: false,
            not_before: now,
            at: now,
            watch: None,
            empty_in_a_row: 0,
            failures: 0,
        }
    }

    pub(super) fn changed(&mut self) {
        self.wanted = true;
    }

    pub(super) fn on_time(&mut self, now: Instant) {
        self.wanted |= now >= self.at;
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.under_way
    }

    pub(super) fn stop(&mut self) {
        self.unwatch();
    }

    /// Returns the instant at which time alone is a reason to look again.
    pub(super) fn wake_at(&self, has_room: bool) -> Instant {
        let far = self.at + Duration::from_hours(1);
        match (self.under_way || !has_room, self.wanted) {
            (true, _) => far,
            (false, true) => self.not_before,
            (false, false) => self.at.max(self.not_before),
        }
    }

    fn unwatch(&mut self) {
        if let Some(watch) = self.watch.take() {
            watch.abort();
        }
    }

    /// Leases nothing until then.
    pub(super) fn pause(&mut self, until: Instant) {
        self.not_before = self.not_before.max(until);
        self.wanted = true;
    }

    fn pause_after_failure(&mut self, now: Instant) {
        self.failures += 1;
        self.not_before = now + backoff(self.failures);
        self.wanted = true;
    }
}

impl<T: Transport + 'static> Session<T> {
    pub(super) fn start_leasing(&mut self, now: Instant) {
        let free = self.free();
        let leasing = &mut self.leasing;
        let may = self.stage == Stage::Working && free > 0 && !leasing.under_way;
        if !may || !leasing.wanted || now < leasing.not_before {
            return;
        }
        leasing.unwatch();
        leasing.under_way = true;
        leasing.wanted = false;
        let settings = &self.worker.settings;
        let ledger = &self.ledger;
        let at = now.into_std();
        self.slots
            .mark_slow(at, |number| ledger.is_attempting(number));
        let duration = settings.lease_duration;
        let (request, wider_at) = self.slots.request(self.id, free, duration, at);
        leasing.at = now + settings.poll_interval;
        if let Some(wider_at) = wider_at {
            leasing.at = leasing.at.min(wider_at.into());
        }
        let worker = Arc::clone(&self.worker);
        self.jobs.spawn(async move {
            let timeout = worker.settings.bookkeeping_timeout;
            let span = spans::lease(request.worker, request.max);
            let leasing = || worker.queue.lease(&request).instrument(span);
            let answer = bounded(timeout, leasing).await;
            Done::Leased(request, now, answer)
        });
    }

    pub(super) fn leased(
        &mut self,
        request: &LeaseRequest,
        since: Instant,
        answer: Result<LeaseBatch, StoreError>,
    ) {
        let now = Instant::now();
        self.leasing.under_way = false;
        let batch = match answer {
            Ok(batch) => batch,
            Err(error) => {
                observe::call_failed("lease", &error, "leasing again soon");
                self.leasing.pause_after_failure(now);
                return;
            }
        };
        let expires_at = since + self.worker.settings.lease_duration;
        let mut opening = Vec::with_capacity(batch.deliveries.len());
        let mut places = Vec::with_capacity(batch.deliveries.len());
        for delivery in batch.deliveries {
            let (workspace, endpoint) = (delivery.workspace, delivery.endpoint);
            places.push(workspace);
            match self.ledger.admit(delivery, expires_at) {
                Admission::Adopted => {}
                Admission::Replaced(hold) => opening.push(hold),
                Admission::New(hold) => {
                    self.slots.enter(workspace, endpoint, now.into_std());
                    opening.push(hold);
                }
            }
        }
        let may_have_more = self.slots.leased(request, &places, self.free());
        self.plan_next_lease(may_have_more, !places.is_empty(), batch.next_due, now);
        self.watch(batch.generation);
        if self.stage == Stage::Working {
            self.start_look_up(opening);
        } else {
            for hold in opening {
                self.finish(hold, None, Next::Release);
            }
        }
    }

    fn plan_next_lease(
        &mut self,
        may_have_more: bool,
        is_any: bool,
        next_due: Option<Timestamp>,
        now: Instant,
    ) {
        let leasing = &mut self.leasing;
        if is_any {
            leasing.empty_in_a_row = 0;
        } else {
            leasing.failures = 0;
            leasing.empty_in_a_row += 1;
            if leasing.empty_in_a_row > EMPTY_MAX {
                leasing.not_before = leasing.not_before.max(now + EMPTY_PAUSE);
            }
        }
        leasing.wanted |= may_have_more;
        if let Some(due) = next_due {
            let wait = due.saturating_since(self.worker.clock.now());
            // What is due by now was within no bound, or the store's clock is behind: leasing again at once would change nothing.
            let least = Duration::from_millis(1 << leasing.empty_in_a_row.min(DUE_DOUBLINGS_MAX));
            leasing.at = leasing.at.min(now + wait.max(least));
        }
    }

    /// Waits for the queue to announce something since that generation.
    fn watch(&mut self, generation: u64) {
        if self.stage != Stage::Working {
            return;
        }
        let worker = Arc::clone(&self.worker);
        let watch = self.jobs.spawn(async move {
            // A panic leaves the poll interval.
            if contain(async { worker.queue.changed(generation).await })
                .await
                .is_err()
            {
                std::future::pending::<()>().await;
            }
            Done::Changed
        });
        self.leasing.watch = Some(watch);
    }

    fn start_look_up(&mut self, opening: Vec<Hold>) {
        let mut ids = Vec::with_capacity(opening.len());
        for hold in &opening {
            ids.extend(
                self.ledger
                    .get_mut(*hold)
                    .map(|entry| entry.delivery.endpoint),
            );
        }
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            return;
        }
        let worker = Arc::clone(&self.worker);
        self.jobs.spawn(async move {
            let timeout = worker.settings.bookkeeping_timeout;
            let answer = look_up(&worker.directory, &ids, timeout).await;
            Done::LookedUp(opening, answer)
        });
    }

    pub(super) fn looked_up(&mut self, opening: Vec<Hold>, look_up: &LookUp) {
        let now = Instant::now();
        for endpoint in &look_up.failed {
            let until = now + UNREADABLE_PAUSE;
            self.slots.pause(*endpoint, until.into_std());
        }
        if look_up.is_down {
            self.leasing.pause_after_failure(now);
        } else {
            self.leasing.failures = 0;
        }
        for hold in opening {
            let Some(entry) = self.ledger.get_mut(hold) else {
                continue;
            };
            if entry.phase != Phase::Opening {
                continue;
            }
            match look_up.found.get(&entry.delivery.endpoint) {
                _ if self.stage != Stage::Working => self.finish(hold, None, Next::Release),
                None => self.finish(hold, None, Next::Release),
                Some(Some(target)) if target.is_active => {
                    let target = Arc::clone(target);
                    self.start_attempt(hold, target, now);
                }
                Some(found) => {
                    let reason = found.as_ref().map_or(DELETED, |_| DISABLED);
                    let attempt = not_attempted(self.worker.clock.now(), reason);
                    self.finish(hold, Some(attempt), Next::Failed);
                }
            }
        }
    }

    fn start_attempt(&mut self, hold: Hold, target: Arc<EndpointTarget>, now: Instant) {
        let Some(entry) = self.ledger.get_mut(hold) else {
            return;
        };
        let delivery = Arc::clone(&entry.delivery);
        let addressee = self.addressees.of(&target);
        self.slots
            .begin(delivery.endpoint, hold.number, now.into_std());
        let worker = Arc::clone(&self.worker);
        let metrics = Arc::clone(&self.metrics);
        let is_forgiven = self.lack.is_forgiven(delivery.endpoint, now);
        // On its way into a task a future is moved about many times, and this one has thousands of bytes.
        let task = self.jobs.spawn(Box::pin(async move {
            let means = Means {
                transport: &worker.transport,
                clock: &*worker.clock,
                ids: &*worker.ids,
                settings: &worker.settings,
                metrics: &metrics,
            };
            let ended = attempt(&means, &delivery, &target, &addressee, is_forgiven).await;
            Done::Attempted(hold, delivery.endpoint, ended)
        }));
        self.ledger.attempting(hold, task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn shorter_pause_does_not_end_a_longer_one() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut leasing = Leasing::new(now);
        for pause in [1, 3, 2] {
            leasing.pause(now + pause * second);
        }
        assert_eq!(leasing.wake_at(true), now + 3 * second);
    }
}
