//! Publishing in turns with delivering, while deliveries lag.
//!
//! Accepting an event takes little beside delivering it to a thousand endpoints, so ingestion that is never held back takes the machine to
//! itself, and the backlog grows as fast as callers like. While deliveries lag, something is being published for a part of the time only.
//! Time is shared and not the number of calls, because it is the same on every back end, whatever is scarce there.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::HashMap;
use nahook_core::id::WorkspaceId;
use nahook_core::{Delivery, DeliveryPublisher, Event, FailureKind, Outcome};
use nahook_queue::Tally;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

/// Share of the time in which something is being published.
const SHARE: f64 = 0.3;
/// Upper bound on the time that is saved up while nothing is published.
const SAVED_MAX: Duration = Duration::from_millis(60);
/// Least time that an event waits at the gate before it looks again.
const WAIT_MIN: Duration = Duration::from_millis(1);

/// Upper bound on the deliveries that are being published at a time: what has begun goes on when the gate closes.
const UNDER_WAY_MAX: u32 = 8_192;

/// Deliveries that a workspace may publish in each period without waiting: who asks for little is not held back by those who ask for
/// much.
const FREE: usize = 64;
const PERIOD: Duration = Duration::from_millis(200);

/// Upper bound on the workspaces told apart in a period; those beyond it wait.
const WORKSPACES_MAX: usize = 4_096;

/// The gate that publishing passes. Clones are the same gate.
#[derive(Clone, Debug)]
pub struct PublishGate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    is_sharing: AtomicBool,
    under_way: Semaphore,
    account: Mutex<Account>,
    began: Instant,
    published: AtomicU64,
    used: Mutex<Used>,
}

/// Account of the time for publishing, in seconds: it grows by the share, and is drawn on while something is published.
#[derive(Debug)]
struct Account {
    credit: f64,
    counted_until: Instant,
    under_way: usize,
}

impl Account {
    fn new(now: Instant) -> Self {
        Self {
            credit: SAVED_MAX.as_secs_f64(),
            counted_until: now,
            under_way: 0,
        }
    }

    fn count(&mut self, now: Instant) {
        let seconds = now.duration_since(self.counted_until).as_secs_f64();
        let spent = if self.under_way > 0 { 1.0 } else { 0.0 };
        let credit = self.credit + seconds * (SHARE - spent);
        self.credit = credit.min(SAVED_MAX.as_secs_f64());
        self.counted_until = now;
    }

    /// Begins to publish, or returns the time until it may unless others publish.
    fn begin(&mut self, now: Instant) -> Result<(), Duration> {
        self.count(now);
        if self.credit <= 0.0 {
            let wait = Duration::from_secs_f64(-self.credit / SHARE);
            return Err(wait.max(WAIT_MIN));
        }
        self.under_way += 1;
        Ok(())
    }

    fn end(&mut self, now: Instant) {
        self.count(now);
        self.under_way -= 1;
    }
}

/// A publication that draws on the account, until it is dropped.
struct Publishing<'a>(&'a PublishGate);

impl Drop for Publishing<'_> {
    fn drop(&mut self) {
        self.0.account().end(Instant::now());
    }
}

/// Deliveries that workspaces have published in a period.
#[derive(Debug, Default)]
struct Used {
    period: u128,
    by_workspace: HashMap<WorkspaceId, usize>,
}

impl Default for PublishGate {
    fn default() -> Self {
        Self(Arc::new(Inner {
            is_sharing: AtomicBool::new(false),
            under_way: Semaphore::new(UNDER_WAY_MAX as usize),
            account: Mutex::new(Account::new(Instant::now())),
            began: Instant::now(),
            published: AtomicU64::new(0),
            used: Mutex::default(),
        }))
    }
}

impl PublishGate {
    /// Opens the gate for a part of the time only, or for good.
    pub fn share(&self, is_sharing: bool) {
        self.0.is_sharing.store(is_sharing, Ordering::Relaxed);
    }

    /// Returns true while the gate is open for a part of the time only.
    pub fn is_sharing(&self) -> bool {
        self.0.is_sharing.load(Ordering::Relaxed)
    }

    /// Returns the number of deliveries that were queued through it.
    pub fn published(&self) -> u64 {
        self.0.published.load(Ordering::Relaxed)
    }

    /// Returns true if the workspace has published so little that this does not wait.
    fn is_free(&self, workspace: WorkspaceId, deliveries: usize) -> bool {
        if deliveries > FREE {
            return false;
        }
        let period = self.0.began.elapsed().as_millis() / PERIOD.as_millis();
        let mut used = self.0.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.period != period {
            used.period = period;
            used.by_workspace.clear();
        }
        let room = WORKSPACES_MAX - used.by_workspace.len().min(WORKSPACES_MAX);
        if room == 0 && !used.by_workspace.contains_key(&workspace) {
            return false;
        }
        let published = used.by_workspace.entry(workspace).or_default();
        if *published + deliveries > FREE {
            return false;
        }
        *published += deliveries;
        true
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.0
            .account
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for time to publish.
    async fn opened(&self) -> Publishing<'_> {
        loop {
            let begun = self.account().begin(Instant::now());
            match begun {
                Err(wait) if self.is_sharing() => sleep(wait).await,
                Ok(()) => return Publishing(self),
                // Nobody is held back any more.
                Err(_) => {
                    self.account().under_way += 1;
                    return Publishing(self);
                }
            }
        }
    }
}

/// A publisher behind the gate.
#[derive(Clone, Debug)]
pub(crate) struct Gated<P> {
    pub(crate) inner: P,
    pub(crate) gate: PublishGate,
    pub(crate) tally: Tally,
}

impl<P: DeliveryPublisher> DeliveryPublisher for Gated<P> {
    /// While it waits at the gate nothing is queued, and the slots say so.
    async fn publish(&self, event: &Event, deliveries: &mut [Delivery]) {
        if !self.gate.is_sharing() || self.gate.is_free(event.workspace, deliveries.len()) {
            self.inner.publish(event, deliveries).await;
            return self.count(event, deliveries);
        }
        mark_all(deliveries, FailureKind::QueueUnavailable);
        let weight = u32::try_from(deliveries.len()).unwrap_or(u32::MAX);
        let under_way = self
            .gate
            .0
            .under_way
            .acquire_many(weight.min(UNDER_WAY_MAX));
        // It is never closed.
        let _under_way = under_way.await;
        let _publishing = self.gate.opened().await;
        mark_all(deliveries, FailureKind::Unconfirmed);
        self.inner.publish(event, deliveries).await;
        self.count(event, deliveries);
    }
}

impl<P> Gated<P> {
    fn count(&self, event: &Event, deliveries: &[Delivery]) {
        let is_published = |slot: &&Delivery| slot.outcome() == Outcome::Published;
        let published = deliveries.iter().filter(is_published).count() as u64;
        let all = &self.gate.0.published;
        all.fetch_add(published, Ordering::Relaxed);
        if published > 0 {
            self.tally.accepted(event.workspace, event.accepted_at);
        }
    }
}

fn mark_all(deliveries: &mut [Delivery], kind: FailureKind) {
    for delivery in deliveries {
        delivery.mark_failed(kind);
    }
}

#[cfg(test)]
mod tests {
    use nahook_core::Clock as _;
    use nahook_testkit::declare::{deliveries, event, nth_endpoint_id, workspace_id};
    use nahook_testkit::{ManualClock, RecordingPublisher};
    use tokio::time::{advance, timeout};

    use super::*;

    fn gated() -> Gated<RecordingPublisher> {
        Gated {
            inner: RecordingPublisher::default(),
            gate: PublishGate::default(),
            tally: Tally::default(),
        }
    }

    /// Publishes the event with that number to so many endpoints; answers the first slot's outcome.
    async fn publish(gated: &Gated<RecordingPublisher>, number: u64, width: usize) -> Outcome {
        let event = event("ws", "a.b", number, ManualClock::default().now());
        let endpoints: Vec<_> = (0..width).map(nth_endpoint_id).collect();
        let mut slots = deliveries(&event, &endpoints);
        // Until the engine gives it up.
        let _ = timeout(Duration::from_millis(50), gated.publish(&event, &mut slots)).await;
        slots[0].outcome()
    }

    #[tokio::test(start_paused = true)]
    async fn event_that_waits_at_the_gate_is_not_queued() {
        let gated = gated();
        gated.gate.share(true);
        assert_eq!(publish(&gated, 1, 65).await, Outcome::Published);
        gated.gate.account().credit = -0.1;
        let nothing_queued = Outcome::Failed(FailureKind::QueueUnavailable);
        assert_eq!(publish(&gated, 2, 65).await, nothing_queued);
        assert_eq!(gated.inner.held().len(), 65);
        advance(Duration::from_millis(250)).await;
        assert_eq!(publish(&gated, 3, 65).await, Outcome::Published, "it waits");
        gated.gate.account().credit = -0.1;
        gated.gate.share(false);
        assert_eq!(publish(&gated, 4, 65).await, Outcome::Published);
        assert_eq!(gated.gate.published(), 3 * 65);
        assert_eq!(gated.gate.account().under_way, 0);
    }

    #[test]
    fn publishing_takes_its_share_of_the_time_however_long_each_takes() {
        for millis in [1, 20, 300] {
            let began = Instant::now();
            let (mut account, mut now) = (Account::new(began), began);
            let (took, mut busy) = (Duration::from_millis(millis), Duration::ZERO);
            while now.duration_since(began) < Duration::from_mins(1) {
                match account.begin(now) {
                    Ok(()) => {
                        now += took;
                        busy += took;
                        account.end(now);
                    }
                    Err(wait) => now += wait,
                }
            }
            let share = busy.as_secs_f64() / now.duration_since(began).as_secs_f64();
            assert!((0.28..0.32).contains(&share), "{millis} ms each: {share}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_little_does_not_wait() {
        let gated = gated();
        gated.gate.share(true);
        gated.gate.account().credit = -1_000.0;
        assert_eq!(publish(&gated, 1, 40).await, Outcome::Published);
        assert_eq!(publish(&gated, 2, 24).await, Outcome::Published);
        let (gate, workspace) = (&gated.gate, workspace_id("ws"));
        assert!(!gate.is_free(workspace, 1));
        assert!(gate.is_free(workspace_id("other"), 64));
        advance(PERIOD).await;
        assert!(
            gate.is_free(workspace, 1),
            "in the next period it may again"
        );
    }
}
