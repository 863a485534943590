//! Settling many deliveries together without one of them spoiling it for the others.

use std::time::Duration;

use nahook_core::{StoreError, StoreErrorKind};
use nahook_queue::{DeliveryQueue, Settled, Settlement};
use tracing::Instrument as _;

use super::calls::bounded;
use super::ledger::Hold;
use super::{observe, spans};

/// A settlement on its way to the queue.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) hold: Hold,
    pub(super) settlement: Settlement,
    /// Number of times that the queue failed to take it.
    pub(super) failures: u32,
}

/// Returns the time to wait before a settlement that failed so often is tried again: 100 ms, doubling, at most 5 s.
pub(super) fn backoff(failures: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(100);
    const LAST: Duration = Duration::from_secs(5);
    let doublings = failures.saturating_sub(1).min(10);
    LAST.min(FIRST * (1 << doublings))
}

/// A queue that is out of reach is not bothered with smaller batches until this many rounds have failed: then the
/// batch itself may be the reason.
const SUSPICIOUS_FAILURES: u32 = 3;

/// Settles `batch`, and tells for each what the queue said; `None` where it failed.
///
/// If the queue refuses a batch it is halved until the settlement at fault stands alone. While nothing at all gets
/// through, this stops after about as many calls as finding one culprit takes.
pub(super) async fn settle(
    queue: &impl DeliveryQueue,
    batch: Vec<Pending>,
    timeout: Duration,
) -> Vec<(Pending, Option<Settled>)> {
    let patience = 2 * (batch.len().checked_ilog2().unwrap_or_default() + 1);
    let mut done = Vec::with_capacity(batch.len());
    let mut failures_in_a_row = 0;
    let mut parts = vec![batch];
    while let Some(mut part) = parts.pop() {
        if part.is_empty() {
            continue;
        }
        match settle_part(queue, &part, timeout).await {
            Ok(answers) => {
                failures_in_a_row = 0;
                done.extend(part.into_iter().zip(answers.into_iter().map(Some)));
            }
            Err(error) => {
                failures_in_a_row += 1;
                observe::call_failed("settle", &error, "settling again");
                let suspicious = error.kind() == StoreErrorKind::Internal
                    || part
                        .iter()
                        .any(|pending| pending.failures >= SUSPICIOUS_FAILURES);
                if part.len() > 1 && suspicious && failures_in_a_row <= patience {
                    let second_half = part.split_off(part.len() / 2);
                    parts.push(second_half);
                    parts.push(part);
                    continue;
                }
                done.extend(part.into_iter().map(|pending| (pending, None)));
                if failures_in_a_row > patience || !suspicious {
                    let rest = parts.drain(..).flatten();
                    done.extend(rest.map(|pending| (pending, None)));
                }
            }
        }
    }
    done
}

async fn settle_part(
    queue: &impl DeliveryQueue,
    part: &[Pending],
    timeout: Duration,
) -> Result<Vec<Settled>, StoreError> {
    let settlements: Vec<_> = part
        .iter()
        .map(|pending| pending.settlement.clone())
        .collect();
    let span = spans::settle(settlements.len());
    let answers = bounded(timeout, || queue.settle(&settlements).instrument(span)).await?;
    if answers.len() == part.len() {
        Ok(answers)
    } else {
        Err(StoreError::internal("not one answer per settlement"))
    }
}

#[cfg(test)]
mod tests;
