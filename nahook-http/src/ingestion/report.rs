//! What is told of a Trigger besides its answer: one line, and the metrics.

use axum::http::StatusCode;
use nahook_core::{Caller, EventTypeName, MessageId, Receipt};
use tokio::time::Instant;

use super::Tally;
use crate::metric::{self, Route};
use crate::{ApiError, RequestContext};

/// The code of a success.
const ACCEPTED: &str = "accepted";
/// The code where nobody was left to be answered.
const CANCELED: &str = "canceled";
/// What is logged as the status where there was no answer.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Fills up as a Trigger proceeds and is told when dropped: also when the client goes away in the middle.
///
/// It never holds a payload, a label or a secret.
pub(super) struct Report {
    context: RequestContext,
    caller: Option<Caller>,
    event_type: Option<EventTypeName>,
    payload_len: Option<usize>,
    fan_out: Option<Told>,
    answer: Option<(StatusCode, &'static str)>,
}

/// What is told of a receipt.
struct Told {
    message: MessageId,
    width: usize,
    tally: Tally,
    limiter_bypassed: bool,
}

impl Report {
    pub(super) fn new(context: RequestContext) -> Self {
        Self {
            context,
            caller: None,
            event_type: None,
            payload_len: None,
            fan_out: None,
            answer: None,
        }
    }

    pub(super) fn arrived(&self) -> Instant {
        self.context.arrived
    }

    pub(super) fn caller(&mut self, caller: Caller) {
        self.caller = Some(caller);
    }

    pub(super) fn event_type(&mut self, event_type: &EventTypeName) {
        self.event_type = Some(event_type.clone());
    }

    pub(super) fn payload_len(&mut self, len: usize) {
        self.payload_len = Some(len);
    }

    pub(super) fn accepted(&mut self, receipt: &Receipt) {
        let tally = Tally::of(receipt);
        metric::count_receipt(&tally, receipt.limiter_bypassed());
        self.fan_out = Some(Told {
            message: receipt.message(),
            width: receipt.deliveries().len(),
            tally,
            limiter_bypassed: receipt.limiter_bypassed(),
        });
        self.answer = Some((StatusCode::ACCEPTED, ACCEPTED));
    }

    pub(super) fn refused(&mut self, error: &ApiError) {
        self.answer = Some((error.status(), error.code()));
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        let duration = self.context.arrived.elapsed();
        let (status, code) = match self.answer {
            Some((status, code)) => (status.as_u16(), code),
            None if std::thread::panicking() => (500, "internal_error"),
            None => (CLIENT_CLOSED_REQUEST, CANCELED),
        };
        metric::count_request(Route::Trigger, status, code);
        metric::observe_trigger(duration);
        let (caller, fan_out) = (self.caller.as_ref(), self.fan_out.as_ref());
        tracing::info!(
            request = %self.context.id,
            workspace = caller.map(|c| display(c.workspace)),
            key = caller.map(|c| display(c.key)),
            event_type = self.event_type.as_ref().map(display),
            message_id = fan_out.map(|f| display(f.message)),
            status,
            code,
            payload_len = self.payload_len,
            width = fan_out.map(|f| f.width),
            queued = fan_out.map(|f| f.tally.published),
            failures = fan_out.map(|f| display(&f.tally)),
            limiter_bypassed = fan_out.map(|f| f.limiter_bypassed),
            duration_ms = duration.as_secs_f64() * 1_000.0,
            "trigger"
        );
    }
}
