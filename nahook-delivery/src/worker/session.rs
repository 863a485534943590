//! One run of a worker: a loop that never waits for anything but the next thing to happen.
//!
//! Everything that takes time is a job of its own: leasing (one at a time), looking endpoints up, attempts, settling
//! (one batch at a time, so that what ends meanwhile forms the next), settling again what failed, extending, reporting.

mod leasing;
mod remains;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use nahook_control::{EndpointDirectory, HealthReport};
use nahook_core::StoreError;
use nahook_core::id::EndpointId;
use nahook_queue::{
    Attempt, DeliveryQueue, Lease, LeaseBatch, LeaseRequest, Next, Settled, Settlement, Slots,
    WorkerId,
};
use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinSet, yield_now};
use tokio::time::{Instant, sleep_until};

use self::leasing::Leasing;
use self::remains::Remains;
use super::attempt::{Attempted, Ended};
use super::calls::{LookUp, bounded};
use super::health::Health;
use super::ledger::{Hold, Ledger};
use super::local::{LocalLack, Pause};
use super::observe::{self, AttemptMetrics, InFlightGauge};
use super::request::Addressees;
use super::settling::{Pending, backoff, settle};
use super::{Worker, WorkerReport};
use crate::transport::{LocalCause, Transport};

/// Time that an ended attempt waits for others to be settled with it, while most attempts still run: a commit that settles a
/// hundred costs hardly more than one that settles ten.
const GATHERING: Duration = Duration::from_millis(2);

/// While fewer are held than this, nothing waits to be settled with others.
const FEW: usize = 16;

pub(super) struct Session<T: Transport + 'static> {
    pub(super) id: WorkerId,
    pub(super) worker: Arc<Worker<T>>,
    pub(super) jobs: JoinSet<Done>,
    pub(super) ledger: Ledger,
    pub(super) slots: Slots,
    leasing: Leasing,
    pub(super) addressees: Addressees,
    pub(super) lack: LocalLack,
    pub(super) metrics: Arc<AttemptMetrics>,
    pub(super) stage: Stage,
    pub(super) report: WorkerReport,
    /// To be settled with the next batch.
    outbox: Vec<Pending>,
    /// Then at the latest.
    outbox_until: Instant,
    settling: bool,
    /// The queue failed to take these; they are tried again at `stuck_until`.
    stuck: Vec<Pending>,
    stuck_until: Instant,
    settling_again: usize,
    extending: bool,
    tick_at: Instant,
    health: Health,
    gauge: InFlightGauge,
    /// It has ended as it was asked to.
    is_done: bool,
}

/// A job that is over.
pub(super) enum Done {
    Attempted(Hold, EndpointId, Ended),
    Changed,
    Extended(Vec<Lease>, Instant, Result<Vec<bool>, StoreError>),
    Leased(LeaseRequest, Instant, Result<LeaseBatch, StoreError>),
    LookedUp(Vec<Hold>, LookUp),
    Reported(Vec<HealthReport>, Result<(), StoreError>),
    Settled(Vec<(Pending, Option<Settled>)>),
    SettledAgain(Vec<(Pending, Option<Settled>)>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stage {
    Working,
    /// Attempts may go on until then.
    Finishing(Instant),
    /// Only settling may go on, until then.
    Closing(Instant),
}

impl<T: Transport + 'static> Session<T> {
    /// A session under an id of its own.
    pub(super) fn new(worker: Arc<Worker<T>>) -> Self {
        let now = Instant::now();
        #[expect(clippy::cast_possible_truncation, reason = "64 random bits are enough")]
        let id = WorkerId(worker.ids.random() as u64);
        Self {
            id,
            slots: Slots::new(worker.settings.slots()),
            worker,
            jobs: JoinSet::new(),
            ledger: Ledger::default(),
            leasing: Leasing::new(now),
            addressees: Addressees::default(),
            lack: LocalLack::default(),
            metrics: Arc::new(AttemptMetrics::new()),
            stage: Stage::Working,
            report: WorkerReport::default(),
            outbox: Vec::new(),
            outbox_until: now,
            settling: false,
            stuck: Vec::new(),
            stuck_until: now,
            settling_again: 0,
            extending: false,
            tick_at: now,
            health: Health::new(now),
            gauge: InFlightGauge::default(),
            is_done: false,
        }
    }

    /// Works until `stop` resolves and what was begun is settled.
    pub(super) async fn run(
        &mut self,
        stop: impl Future<Output = ()> + Send,
    ) -> Result<(), JobPanicked> {
        let mut stop = pin!(stop);
        loop {
            let now = Instant::now();
            self.start_jobs(now);
            if self.is_over(now) {
                self.report.unsettled = self.ledger.len() as u64;
                self.is_done = true;
                return Ok(());
            }
            let wake_at = self.wake_at(now);
            // In this order, and not in a random one, a run can be repeated; a job that is over never keeps a time or the stop waiting.
            tokio::select! {
                biased;
                () = &mut stop, if self.stage == Stage::Working => self.stop(),
                () = sleep_until(wake_at) => self.on_time().await?,
                Some(done) = self.jobs.join_next() => self.take_all(done)?,
            }
        }
    }

    fn start_jobs(&mut self, now: Instant) {
        self.start_leasing(now);
        self.start_settling(now);
        self.start_extending(now);
        self.start_reporting(now);
        self.gauge.show(self.ledger.len());
    }

    /// Takes what is over, all of it, so that attempts that ended together are settled together.
    fn take_all(&mut self, first: Result<Done, JoinError>) -> Result<(), JobPanicked> {
        let mut next = Some(first);
        while let Some(done) = next {
            match done {
                Ok(done) => self.take(done),
                // What it was about will never be heard of.
                Err(error) if error.is_panic() => return Err(JobPanicked),
                // It was cut off, by us.
                Err(_) => {}
            }
            next = self.jobs.try_join_next();
        }
        Ok(())
    }

    fn take(&mut self, done: Done) {
        match done {
            Done::Attempted(hold, endpoint, Ended::Attempted(attempted)) => {
                self.attempted(hold, endpoint, attempted);
            }
            Done::Attempted(hold, endpoint, Ended::NotMade(cause)) => {
                self.not_made(hold, endpoint, cause);
            }
            Done::Changed => self.leasing.changed(),
            Done::Extended(leases, since, answer) => self.extended(&leases, since, answer),
            Done::Leased(request, since, answer) => self.leased(&request, since, answer),
            Done::LookedUp(holds, look_up) => self.looked_up(holds, &look_up),
            Done::Reported(reports, answer) => {
                let events = &self.worker.events;
                self.health.reported(reports, answer, events);
            }
            Done::Settled(answers) => {
                self.settling = false;
                self.settled(answers);
            }
            Done::SettledAgain(answers) => {
                self.settling_again = 0;
                self.settled(answers);
            }
        }
    }

    fn wake_at(&self, now: Instant) -> Instant {
        let mut wake_at = now + Duration::from_hours(1);
        let mut consider = |at: Instant| wake_at = wake_at.min(at);
        match self.stage {
            Stage::Working => consider(self.leasing.wake_at(self.free() > 0)),
            Stage::Finishing(until) | Stage::Closing(until) => consider(until),
        }
        if !self.ledger.is_empty() && !self.extending {
            consider(self.tick_at);
        }
        if !self.outbox.is_empty() && !self.settling {
            consider(self.outbox_until);
        }
        if !self.stuck.is_empty() && self.settling_again == 0 {
            consider(self.stuck_until);
        }
        if let Some(at) = self.health.wake_at() {
            consider(at);
        }
        wake_at
    }

    async fn on_time(&mut self) -> Result<(), JobPanicked> {
        let now = Instant::now();
        match self.stage {
            Stage::Finishing(until) if now >= until => {
                // What has just ended, or is about to this instant, is settled as it went, and not given back.
                yield_now().await;
                if let Some(done) = self.jobs.try_join_next() {
                    self.take_all(done)?;
                }
                for hold in self.ledger.cut_off_all() {
                    self.finish(hold, None, Next::Release);
                }
                self.stage = Stage::Closing(now + self.worker.settings.stop_grace);
                self.stuck_until = now;
                self.health.hurry(now);
            }
            Stage::Working => self.leasing.on_time(now),
            _ => {}
        }
        Ok(())
    }

    fn stop(&mut self) {
        let now = Instant::now();
        self.leasing.stop();
        self.stage = Stage::Finishing(now + self.worker.settings.stop_timeout);
        self.stuck_until = now;
        self.health.hurry(now);
    }

    fn is_over(&self, now: Instant) -> bool {
        match self.stage {
            Stage::Working => false,
            Stage::Closing(until) if now >= until => true,
            _ => {
                let is_leasing = self.leasing.is_under_way();
                self.ledger.is_empty() && self.health.is_settled() && !is_leasing
            }
        }
    }

    fn attempted(&mut self, hold: Hold, endpoint: EndpointId, attempted: Attempted) {
        self.report.attempts += 1;
        let Attempted {
            workspace,
            attempt,
            next,
            health,
        } = attempted;
        let succeeded = next == Next::Delivered;
        self.lack.attempted(endpoint, attempt.status_code.is_some());
        self.slots.learn(endpoint, succeeded, attempt.duration);
        if let Some(state) = health {
            self.health.learn(endpoint, workspace, state);
        }
        self.finish(hold, Some(attempt), next);
    }

    /// Gives back what could not be attempted for a lack of this machine.
    fn not_made(&mut self, hold: Hold, endpoint: EndpointId, cause: LocalCause) {
        match self.lack.note(endpoint, cause, Instant::now()) {
            Pause::Worker(until) => self.leasing.pause(until),
            Pause::Endpoint(until) => self.slots.pause(endpoint, until.into_std()),
        }
        self.finish(hold, None, Next::Release);
    }

    /// Puts the end of a hold on the way to the queue, unless the hold is obsolete.
    pub(super) fn finish(&mut self, hold: Hold, attempt: Option<Attempt>, next: Next) {
        if let Some(lease) = self.ledger.settling(hold) {
            if self.outbox.is_empty() {
                self.outbox_until = Instant::now() + GATHERING;
            }
            let settlement = Settlement {
                lease,
                attempt,
                next,
            };
            self.outbox.push(Pending {
                hold,
                settlement,
                failures: 0,
            });
        }
    }

    fn start_settling(&mut self, now: Instant) {
        let is_time = self.stage != Stage::Working
            || self.ledger.len() < FEW
            || 2 * self.outbox.len() >= self.ledger.len()
            || now >= self.outbox_until;
        if !self.settling && !self.outbox.is_empty() && is_time {
            self.settling = true;
            let batch = std::mem::take(&mut self.outbox);
            self.spawn_settling(batch, Done::Settled);
        }
        if self.settling_again == 0 && !self.stuck.is_empty() && now >= self.stuck_until {
            self.settling_again = self.stuck.len();
            let batch = std::mem::take(&mut self.stuck);
            self.spawn_settling(batch, Done::SettledAgain);
        }
    }

    fn spawn_settling(
        &mut self,
        mut batch: Vec<Pending>,
        done: fn(Vec<(Pending, Option<Settled>)>) -> Done,
    ) {
        // The lease may have been renewed under another token since.
        for pending in &mut batch {
            if let Some(entry) = self.ledger.get_mut(pending.hold) {
                pending.settlement.lease = entry.lease;
            }
        }
        let worker = Arc::clone(&self.worker);
        self.jobs.spawn(async move {
            let timeout = worker.settings.bookkeeping_timeout;
            done(settle(&worker.queue, batch, timeout).await)
        });
    }

    fn settled(&mut self, answers: Vec<(Pending, Option<Settled>)>) {
        let now = Instant::now();
        for (mut pending, answer) in answers {
            if answer == Some(Settled::Done) {
                self.report.count(pending.settlement.next);
            }
            let Some(entry) = self.ledger.get_mut(pending.hold) else {
                continue;
            };
            if answer == Some(Settled::Done) {
                let events = &self.worker.events;
                observe::settled(events, &entry.delivery, &pending.settlement);
                let worker = &self.worker;
                worker.lag.settled(&entry.delivery, &pending.settlement);
                worker.tally.settled(&entry.delivery, &pending.settlement);
            }
            match answer {
                None => {
                    pending.failures += 1;
                    let at = now + backoff(pending.failures);
                    let is_first = self.stuck.is_empty();
                    self.stuck_until = if is_first {
                        at
                    } else {
                        at.min(self.stuck_until)
                    };
                    self.stuck.push(pending);
                    continue;
                }
                // It was leased to us once more meanwhile: that lease is to be ended as well.
                Some(_) if entry.lease != pending.settlement.lease => {
                    self.outbox.push(pending);
                    continue;
                }
                Some(Settled::LeaseLost) => {
                    self.report.leases_lost += 1;
                    observe::lease_lost(pending.hold.delivery, "settling");
                }
                Some(Settled::Done) => {}
            }
            self.close(pending.hold, now);
        }
        self.leasing.changed();
    }

    fn close(&mut self, hold: Hold, now: Instant) {
        if let Some(entry) = self.ledger.remove(hold) {
            let endpoint = entry.delivery.endpoint;
            self.slots.leave(endpoint, now.into_std());
        }
    }

    /// Returns the number of deliveries that may still be leased. Those that the queue refuses to settle are not counted, as
    /// long as they are no more than the worker would hold anyway: a fault in some rows must not bring everything to a halt.
    pub(super) fn free(&self) -> usize {
        let max = self.worker.settings.in_flight_max;
        let stuck = (self.stuck.len() + self.settling_again).min(max);
        max.saturating_sub(self.ledger.len().saturating_sub(stuck))
    }

    fn start_extending(&mut self, now: Instant) {
        if self.extending || now < self.tick_at {
            return;
        }
        let duration = self.worker.settings.lease_duration;
        self.tick_at = now + duration / 6;
        let leases = self.ledger.ending(now + duration / 2);
        if leases.is_empty() {
            return;
        }
        self.extending = true;
        let worker = Arc::clone(&self.worker);
        self.jobs.spawn(async move {
            let since = Instant::now();
            let extending = || worker.queue.extend(&leases, duration);
            // Soon enough to try again before the leases end.
            let answer = bounded(duration / 6, extending).await;
            Done::Extended(leases, since, answer)
        });
    }

    fn extended(
        &mut self,
        leases: &[Lease],
        since: Instant,
        answer: Result<Vec<bool>, StoreError>,
    ) {
        self.extending = false;
        match answer {
            Ok(held) => {
                for (lease, held) in leases.iter().zip(held) {
                    let until = held.then_some((since, self.worker.settings.lease_duration));
                    if self.ledger.extended(*lease, until) {
                        observe::lease_lost(lease.delivery, "extending");
                    }
                }
            }
            Err(error) => observe::call_failed("extend", &error, "extending again soon"),
        }
    }

    fn start_reporting(&mut self, now: Instant) {
        let Some(reports) = self.health.due(now) else {
            return;
        };
        let worker = Arc::clone(&self.worker);
        self.jobs.spawn(async move {
            let timeout = worker.settings.bookkeeping_timeout;
            let answer = bounded(timeout, || worker.directory.report(&reports)).await;
            Done::Reported(reports, answer)
        });
    }
}

/// A job of the session has panicked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct JobPanicked;

/// Leaves nothing to the end of its leases that can be settled now.
impl<T: Transport + 'static> Drop for Session<T> {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        self.leasing.stop();
        let mut pending = std::mem::take(&mut self.outbox);
        pending.append(&mut self.stuck);
        let remains = Remains {
            worker: Arc::clone(&self.worker),
            jobs: std::mem::take(&mut self.jobs),
            ledger: std::mem::take(&mut self.ledger),
            pending,
        };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(remains.wind_up());
        }
    }
}

impl WorkerReport {
    /// Adds what another session did.
    pub(super) fn add(&mut self, other: Self) {
        self.attempts += other.attempts;
        self.delivered += other.delivered;
        self.retried += other.retried;
        self.dead_lettered += other.dead_lettered;
        self.failed += other.failed;
        self.released += other.released;
        self.leases_lost += other.leases_lost;
        self.unsettled += other.unsettled;
    }

    fn count(&mut self, next: Next) {
        *match next {
            Next::DeadLetter => &mut self.dead_lettered,
            Next::Delivered => &mut self.delivered,
            Next::Failed => &mut self.failed,
            Next::Release => &mut self.released,
            Next::Retry(_) => &mut self.retried,
        } += 1;
    }
}
