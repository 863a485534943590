//! Spans of the worker. Their names are stable, and they hold no payload, no secret and no URL.

use std::panic::{AssertUnwindSafe, catch_unwind};

use nahook_queue::{LeasedDelivery, WorkerId};
use tracing::field::Empty;
use tracing::{Span, debug_span};

const TARGET: &str = "nahook";

/// A call that leases deliveries.
pub(super) fn lease(worker: WorkerId, max: usize) -> Span {
    made(|| debug_span!(target: TARGET, "nahook.lease", worker = worker.0, max))
}

/// A request to an endpoint.
pub(super) fn attempt(delivery: &LeasedDelivery, number: u32) -> Span {
    made(|| {
        debug_span!(
            target: TARGET,
            "nahook.attempt",
            message_id = %delivery.message,
            delivery_id = %delivery.lease.delivery,
            endpoint_id = %delivery.endpoint,
            workspace_id = %delivery.workspace,
            attempt = number,
            outcome = Empty,
            status_code = Empty,
        )
    })
}

/// A call that settles deliveries.
pub(super) fn settle(deliveries: usize) -> Span {
    made(|| debug_span!(target: TARGET, "nahook.settle", deliveries))
}

/// Makes a span; none if the subscriber panics.
fn made(make: impl FnOnce() -> Span) -> Span {
    catch_unwind(AssertUnwindSafe(make)).unwrap_or_else(|_| Span::none())
}
