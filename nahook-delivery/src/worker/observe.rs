//! Logs, metrics and events of the worker: one wide line per attempt, no payload, no secret, no URL.
//!
//! A panic of whoever takes them ends here: observing is no part of the work.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nahook_core::Causes;
use nahook_core::id::{DeliveryId, EndpointId, WorkspaceId};
use nahook_queue::{Attempt, LeasedDelivery, Next, Settlement};
use tracing::Span;

use super::events::EventSender;
use super::judgement::NoAnswer;
use super::{WorkerReport, metric};
use crate::transport::{LocalCause, OutboundResponse};

/// Metrics of attempts, looked up once.
pub(super) struct AttemptMetrics {
    delivered: OutcomeMetrics,
    failed: OutcomeMetrics,
    panicked: OutcomeMetrics,
}

struct OutcomeMetrics {
    attempts: metrics::Counter,
    seconds: metrics::Histogram,
}

impl AttemptMetrics {
    pub(super) fn new() -> Self {
        let of = |outcome: &'static str| OutcomeMetrics {
            attempts: metrics::counter!(metric::ATTEMPTS, metric::OUTCOME => outcome),
            seconds: metrics::histogram!(metric::ATTEMPT_SECONDS, metric::OUTCOME => outcome),
        };
        Self {
            delivered: of(DELIVERED),
            failed: of(FAILED),
            panicked: of(PANICKED),
        }
    }

    fn of(&self, outcome: &'static str) -> &OutcomeMetrics {
        match outcome {
            DELIVERED => &self.delivered,
            PANICKED => &self.panicked,
            _ => &self.failed,
        }
    }
}

const DELIVERED: &str = "delivered";
const FAILED: &str = "failed";
const PANICKED: &str = "panicked";

/// Runs `tell`, and drops a panic of it, which the panic hook has reported.
fn quietly(tell: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(tell));
}

/// The attempt's outcome as metrics count it.
pub(super) fn outcome(answer: &Result<OutboundResponse, NoAnswer>) -> &'static str {
    match answer {
        Ok(OutboundResponse { status, .. }) if (200..300).contains(status) => DELIVERED,
        Err(NoAnswer::Panicked) => PANICKED,
        _ => FAILED,
    }
}

/// An attempt is over.
pub(super) fn attempted(
    delivery: &LeasedDelivery,
    number: u32,
    attempt: &Attempt,
    next: Next,
    outcome: &'static str,
    span: &Span,
    metrics: &AttemptMetrics,
) {
    quietly(|| {
        span.record("outcome", outcome);
        span.record("status_code", attempt.status_code);
        span.in_scope(|| tell_attempt(delivery, number, attempt, next, outcome, metrics));
    });
}

fn tell_attempt(
    delivery: &LeasedDelivery,
    number: u32,
    attempt: &Attempt,
    next: Next,
    outcome: &'static str,
    metrics: &AttemptMetrics,
) {
    let metrics = metrics.of(outcome);
    metrics.attempts.increment(1);
    metrics.seconds.record(attempt.duration.as_secs_f64());
    let (step, retry_in_ms) = match next {
        Next::DeadLetter => ("dead_letter", None),
        Next::Delivered => ("delivered", None),
        Next::Failed => ("failed", None),
        Next::Release => ("release", None),
        Next::Retry(at) => {
            let ended_at = attempt.started_at.saturating_add(attempt.duration);
            ("retry", Some(millis(at.saturating_since(ended_at))))
        }
    };
    // What was delivered is in the delivery log and in the metrics; a failure is news.
    macro_rules! tell {
        ($level:ident) => {
            tracing::$level!(
                message_id = %delivery.message,
                delivery_id = %delivery.lease.delivery,
                endpoint_id = %delivery.endpoint,
                workspace_id = %delivery.workspace,
                event_type = delivery.event_type.as_ref().map(tracing::field::display),
                attempt = number,
                status_code = attempt.status_code,
                duration_ms = millis(attempt.duration),
                outcome,
                error = attempt.error,
                next = step,
                retry_in_ms,
                "attempt"
            )
        };
    }
    if next == Next::Delivered {
        tell!(debug);
    } else {
        tell!(info);
    }
}

/// A call of the queue or the directory failed, and what is done about it.
pub(super) fn call_failed(call: &'static str, error: &(dyn Error + 'static), remedy: &'static str) {
    quietly(|| {
        metrics::counter!(metric::BOOKKEEPING_ERRORS, metric::CALL => call).increment(1);
        let error = Causes(error);
        tracing::warn!(call, %error, remedy, "bookkeeping failed");
    });
}

/// Somebody else may attempt this delivery, too.
pub(super) fn lease_lost(delivery: DeliveryId, when: &'static str) {
    quietly(|| {
        metrics::counter!(metric::LEASES_LOST).increment(1);
        tracing::warn!(delivery_id = %delivery, when, "lease lost");
    });
}

/// The queue has recorded what becomes of a delivery.
pub(super) fn settled(events: &EventSender, delivery: &LeasedDelivery, settlement: &Settlement) {
    quietly(|| events.settled(delivery, settlement));
}

/// The directory has disabled an endpoint.
pub(super) fn disabled(events: &EventSender, workspace: WorkspaceId, endpoint: EndpointId) {
    quietly(|| {
        metrics::counter!(metric::ENDPOINTS_DISABLED).increment(1);
        tracing::warn!(endpoint_id = %endpoint, workspace_id = %workspace, "endpoint disabled");
        events.disabled(workspace, endpoint);
    });
}

/// An attempt could not be made for a lack of this machine.
pub(super) fn count_not_made(cause: LocalCause) {
    quietly(|| {
        metrics::counter!(metric::NOT_MADE, metric::CAUSE => cause.name()).increment(1);
    });
}

/// So many attempts could not be made since this was told last.
pub(super) fn not_made(cause: LocalCause, attempts: u64) {
    quietly(|| tracing::warn!(%cause, attempts, "attempts not made, and no endpoint is blamed"));
}

/// A worker has stopped as it was asked to.
pub(super) fn stopped(report: &WorkerReport) {
    quietly(|| tracing::info!(?report, "worker stopped"));
}

/// A session of the worker has ended without having been asked to.
pub(super) fn session_failed(reason: &'static str) {
    quietly(|| tracing::error!(reason, "the worker failed and starts again"));
}

/// One worker's part of the gauge.
#[derive(Debug, Default)]
pub(super) struct InFlightGauge {
    shown: usize,
}

impl InFlightGauge {
    pub(super) fn show(&mut self, count: usize) {
        if count != self.shown {
            let change = as_f64(count) - as_f64(self.shown);
            self.shown = count;
            quietly(|| metrics::gauge!(metric::IN_FLIGHT).increment(change));
        }
    }
}

impl Drop for InFlightGauge {
    fn drop(&mut self) {
        self.show(0);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few hundred")]
fn as_f64(count: usize) -> f64 {
    count as f64
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
