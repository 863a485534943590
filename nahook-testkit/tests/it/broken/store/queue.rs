//! Broken leases and settlements.

use std::time::Duration;

use nahook_core::StoreError;
use nahook_queue::{
    Backlog, DeliveryQueue, Lease, LeaseBatch, LeaseRequest, Next, Settled, Settlement, WorkerId,
};

use super::{Broken, Bug::*};

#[async_trait::async_trait]
impl DeliveryQueue for Broken {
    async fn lease(&self, request: &LeaseRequest) -> Result<LeaseBatch, StoreError> {
        let mut request = request.clone();
        let max = request.max;
        match self.bug {
            ForgetsBounds => request.per_endpoint_max = 1_000_000,
            ForgetsExceptions => request.exceptions.clear(),
            ForgetsWorkspaces => {
                request.per_workspace_max = usize::MAX;
                request.workspaces.clear();
            }
            ListsEverything => {
                for bounds in &mut request.workspaces {
                    bounds.unlisted_max = bounds.max;
                }
            }
            ForgetsTheMost => request.max += 1,
            ServesFirstComeFirst | PrefersFresh | PrefersRetries if max < 100 => {
                request.max = 1_000_000;
            }
            _ => {}
        }
        let mut batch = self.inner.lease(&request).await?;
        let leased = &mut batch.deliveries;
        match self.bug {
            ServesFirstComeFirst => leased.sort_by_key(|leased| leased.lease.delivery),
            PrefersFresh => leased.sort_by_key(|leased| leased.attempts),
            PrefersRetries => leased.sort_by_key(|leased| std::cmp::Reverse(leased.attempts)),
            HoldsOthersBack if !request.workspaces.is_empty() => {
                let named = |id| request.workspaces.iter().any(|it| it.workspace == id);
                leased.retain(|leased| named(leased.workspace));
            }
            ForgetsAttempts => leased.iter_mut().for_each(|leased| leased.attempts = 0),
            _ => {}
        }
        if request.max > max && !self.has(ForgetsTheMost) {
            let rest = leased.split_off(leased.len().min(max));
            let releases: Vec<_> = rest
                .into_iter()
                .map(|leased| Settlement::unattempted(leased.lease, Next::Release))
                .collect();
            self.inner.settle(&releases).await?;
        }
        let mut memory = self.memory.lock().unwrap();
        if self.has(LeasesTwice) && leased.is_empty() {
            leased.clone_from(&memory.leased);
        }
        memory.leased.clone_from(leased);
        if self.has(TellsNoDueTime) {
            batch.next_due = None;
        }
        Ok(batch)
    }

    async fn extend(&self, leases: &[Lease], duration: Duration) -> Result<Vec<bool>, StoreError> {
        if self.has(OnlySaysItExtends) {
            return Ok(vec![true; leases.len()]);
        }
        let duration = if self.has(ExtendsByALease) {
            Duration::from_secs(30)
        } else {
            duration
        };
        self.inner.extend(leases, duration).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, StoreError> {
        let mut settlements = settlements.to_vec();
        for settlement in &mut settlements {
            settlement.next = match (settlement.next, self.bug) {
                (Next::Retry(_), RetriesAtOnce) => Next::Release,
                (Next::Retry(_), RetriesNever) => Next::DeadLetter,
                (Next::Release, LosesReleased) => Next::Failed,
                (next, _) => next,
            };
        }
        let mut settled = self.inner.settle(&settlements).await?;
        if self.has(SettlesStaleLeases) {
            settled.fill(Settled::Done);
        }
        let is_retry = |settlement: &Settlement| matches!(settlement.next, Next::Retry(_));
        let is_end = |settlement: &Settlement| settlement.next == Next::Delivered;
        if self.has(WakesForNoRetry) && settlements.iter().any(is_retry)
            || self.has(WakesForNoRoom) && settlements.iter().any(is_end)
        {
            let nothing = LeaseRequest::new(WorkerId(9), 0, Duration::ZERO);
            let silent = self.inner.lease(&nothing).await?.generation;
            self.memory.lock().unwrap().silent = Some(silent);
        }
        if self.has(SettlesAllOrNone) && settled.contains(&Settled::LeaseLost) {
            settled.fill(Settled::LeaseLost);
        }
        Ok(settled)
    }

    async fn changed(&self, generation: u64) {
        if self.has(NeverWakes) {
            std::future::pending::<()>().await;
        }
        self.inner.changed(generation).await;
        let silent = self.memory.lock().unwrap().silent;
        if let Some(silent) = silent {
            self.inner.changed(silent).await;
        }
    }

    async fn backlog(&self, count_max: u64) -> Result<Backlog, StoreError> {
        let mut backlog = self.inner.backlog(count_max).await?;
        match self.bug {
            CountsWithoutBound => backlog = self.inner.backlog(u64::MAX).await?,
            ForgetsTheOldest => backlog.oldest_due_at = None,
            _ => {}
        }
        Ok(backlog)
    }
}
