//! Delivery lag: the time that deliveries wait for this machine, and not for their receivers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use foldhash::HashMap;
use nahook_core::id::WorkspaceId;
use nahook_queue::{LeasedDelivery, Next, Settlement};

/// Attempts that took longer say nothing of this machine: whoever receives them may be what is waited for.
const PROMPT: Duration = Duration::from_millis(500);

/// Upper bound on the workspaces told apart; those beyond it are not counted.
const WORKSPACES_MAX: usize = 4_096;

/// Measures how long deliveries waited before their first attempt, where the receiver took that attempt promptly: a receiver that hangs
/// has a backlog of its own, whatever the machine does. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct DeliveryLag(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    waits: HashMap<WorkspaceId, Waits>,
    ended: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Waits {
    count: u32,
    total: Duration,
}

/// What [`DeliveryLag`] has counted since it was last asked.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct LagReport {
    /// Mean wait of all that count; `None` if there was none.
    pub mean: Option<Duration>,
    /// Mean wait of the workspace that waited least: where that is long, every workspace waits.
    pub least: Option<Duration>,
    /// Deliveries that ended, in whatever way.
    pub ended: u64,
}

impl DeliveryLag {
    /// Counts a settlement that the queue has recorded.
    pub(super) fn settled(&self, delivery: &LeasedDelivery, settlement: &Settlement) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match settlement.next {
            Next::Delivered | Next::Failed | Next::DeadLetter => counts.ended += 1,
            Next::Retry(_) | Next::Release => return,
        }
        if let (Next::Delivered, 0, Some(attempt)) =
            (settlement.next, delivery.attempts, &settlement.attempt)
            && attempt.duration <= PROMPT
            && (counts.waits.len() < WORKSPACES_MAX
                || counts.waits.contains_key(&delivery.workspace))
        {
            let waits = counts.waits.entry(delivery.workspace).or_default();
            waits.count = waits.count.saturating_add(1);
            waits.total += attempt.started_at.saturating_since(delivery.accepted_at);
        }
    }

    /// Returns the counts, and begins anew.
    pub fn take(&self) -> LagReport {
        let counts = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut all = Waits::default();
        let mut least = None;
        for waits in counts.waits.values() {
            all.count = all.count.saturating_add(waits.count);
            all.total += waits.total;
            least = least.into_iter().chain(waits.mean()).min();
        }
        LagReport {
            mean: all.mean(),
            least,
            ended: counts.ended,
        }
    }
}

impl Waits {
    fn mean(self) -> Option<Duration> {
        self.total.checked_div(self.count)
    }
}

#[cfg(test)]
mod tests {
    use nahook_core::id::{DeliveryId, EndpointId, MessageId};
    use nahook_core::{Event, Payload, Timestamp};
    use nahook_queue::{Attempt, Lease, LeaseToken};

    use super::*;

    /// Settles a delivery of the workspace that waited so long and whose attempt took so long.
    fn settle(lag: &DeliveryLag, workspace: &str, wait: u64, took: u64, attempts: u32, next: Next) {
        let accepted_at = Timestamp::from_millis(1_000_000);
        let lease = Lease {
            delivery: DeliveryId::nth(MessageId::from_bits(7), 0),
            token: LeaseToken(1),
        };
        let (message, workspace) = (MessageId::from_bits(7), WorkspaceId::new(workspace));
        let payload = Payload::new("{}").unwrap();
        let event = Event::direct(payload, message, workspace.unwrap(), None, accepted_at);
        let delivery = LeasedDelivery::new(lease, &event, EndpointId::from_bits(1), attempts);
        let attempt = Attempt::answered(
            accepted_at.saturating_add(Duration::from_millis(wait)),
            Duration::from_millis(took),
            204,
        );
        let settlement = Settlement {
            lease,
            attempt: Some(attempt),
            next,
        };
        lag.settled(&delivery, &settlement);
    }

    #[test]
    fn prompt_first_attempts_count_and_no_others() {
        let lag = DeliveryLag::default();
        assert_eq!(lag.take(), LagReport::default());
        settle(&lag, "a", 100, 10, 0, Next::Delivered);
        settle(&lag, "a", 300, 500, 0, Next::Delivered);
        let slow = 501;
        settle(&lag, "a", 90_000, slow, 0, Next::Delivered);
        settle(&lag, "a", 90_000, 10, 1, Next::Delivered);
        settle(&lag, "a", 90_000, 10, 0, Next::DeadLetter);
        settle(&lag, "a", 90_000, 10, 0, Next::Retry(Timestamp::default()));
        let mean = Some(Duration::from_millis(200));
        let expected = LagReport {
            mean,
            least: mean,
            ended: 5,
        };
        assert_eq!(lag.take(), expected);
        assert_eq!(lag.take(), LagReport::default(), "it begins anew");
    }

    #[test]
    fn workspace_that_waits_least_tells_of_the_machine() {
        let lag = DeliveryLag::default();
        for _ in 0..3 {
            settle(&lag, "a", 40_000, 10, 0, Next::Delivered);
        }
        settle(&lag, "b", 20, 10, 0, Next::Delivered);
        let report = lag.take();
        assert_eq!(report.least, Some(Duration::from_millis(20)));
        assert_eq!(report.mean, Some(Duration::from_millis(30_005)));
    }
}
