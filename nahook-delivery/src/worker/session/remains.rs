//! Cleans up after a session that died: ends its leases at once, so that no delivery waits a minute for them to expire.

use std::sync::Arc;

use nahook_queue::{Attempt, Next, Settled, Settlement};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::Done;
use crate::transport::Transport;
use crate::worker::Worker;
use crate::worker::attempt::Ended;
use crate::worker::ledger::{Hold, Ledger};
use crate::worker::observe;
use crate::worker::settling::{Pending, settle};

pub(super) struct Remains<T> {
    pub(super) worker: Arc<Worker<T>>,
    pub(super) jobs: JoinSet<Done>,
    pub(super) ledger: Ledger,
    pub(super) pending: Vec<Pending>,
}

impl<T: Transport + 'static> Remains<T> {
    /// Settles attempts that have ended as they went, and gives back everything else. Best effort: what cannot be settled
    /// now is offered again when its lease ends.
    pub(super) async fn wind_up(mut self) {
        self.ledger.cut_off_attempts();
        let timeout_of_jobs = 2 * self.worker.settings.bookkeeping_timeout;
        // Calls that are under way are waited for: what they lease is to be given back, too.
        let _ = timeout(timeout_of_jobs, self.take_jobs()).await;
        for hold in self.ledger.cut_off_all() {
            self.finish(hold, None, Next::Release);
        }
        for pending in &mut self.pending {
            if let Some(entry) = self.ledger.get_mut(pending.hold) {
                pending.settlement.lease = entry.lease;
            }
        }
        if !self.pending.is_empty() {
            let timeout = self.worker.settings.bookkeeping_timeout;
            let pending = std::mem::take(&mut self.pending);
            let answers = settle(&self.worker.queue, pending, timeout).await;
            self.settled(answers);
        }
    }

    async fn take_jobs(&mut self) {
        while let Some(done) = self.jobs.join_next().await {
            match done {
                Ok(Done::Attempted(hold, _, Ended::Attempted(attempted))) => {
                    self.finish(hold, Some(attempted.attempt), attempted.next);
                }
                Ok(Done::Leased(_, _, Ok(batch))) => {
                    for delivery in batch.deliveries {
                        self.ledger.admit(delivery, Instant::now());
                    }
                }
                Ok(Done::Settled(answers) | Done::SettledAgain(answers)) => self.settled(answers),
                _ => {}
            }
        }
    }

    /// Tells of what the queue has taken, and keeps the rest.
    fn settled(&mut self, answers: Vec<(Pending, Option<Settled>)>) {
        for (pending, answer) in answers {
            match answer {
                Some(Settled::Done) => {
                    if let Some(entry) = self.ledger.get_mut(pending.hold) {
                        let events = &self.worker.events;
                        observe::settled(events, &entry.delivery, &pending.settlement);
                    }
                }
                Some(Settled::LeaseLost) => {}
                None => self.pending.push(pending),
            }
        }
    }

    fn finish(&mut self, hold: Hold, attempt: Option<Attempt>, next: Next) {
        if let Some(lease) = self.ledger.settling(hold) {
            let settlement = Settlement {
                lease,
                attempt,
                next,
            };
            self.pending.push(Pending {
                hold,
                settlement,
                failures: 0,
            });
        }
    }
}
