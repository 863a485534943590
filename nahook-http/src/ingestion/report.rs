//! Reports an ingestion request to operators: one line, and the metrics.

use axum::http::StatusCode;
use nahook_core::admission::Caller;
use nahook_core::id::{EndpointId, MessageId};
use nahook_core::{EventTypeName, Receipt, Sent};
use tokio::time::Instant;

use super::items::Items;
use crate::metric::{self, Route};
use crate::tally::Tally;
use crate::unanswered::unanswered;
use crate::{ApiError, RequestContext};

/// The code of a success.
const ACCEPTED: &str = "accepted";
/// The code of a batch of which a part was refused.
const PARTIAL: &str = "partial";

/// Fills up as a request proceeds and is told when dropped: also when the client goes away in the middle.
///
/// It never holds a payload, a label, an idempotency key or a secret.
pub(super) struct Report {
    route: Route,
    context: RequestContext,
    caller: Option<Caller>,
    event_type: Option<EventTypeName>,
    endpoint: Option<EndpointId>,
    payload_len: Option<usize>,
    fan_out: Option<Told>,
    message: Option<MessageId>,
    is_replay: Option<bool>,
    items: Option<(usize, usize)>,
    answer: Option<(StatusCode, &'static str)>,
}

/// Facts about a receipt that are reported.
struct Told {
    width: usize,
    tally: Tally,
    limiter_bypassed: bool,
}

impl Told {
    /// Returns true if every delivery was queued, and by the rules.
    fn is_whole(&self) -> bool {
        self.tally.published == self.width && !self.limiter_bypassed
    }
}

impl Report {
    pub(super) fn new(route: Route, context: RequestContext) -> Self {
        Self {
            route,
            context,
            caller: None,
            event_type: None,
            endpoint: None,
            payload_len: None,
            fan_out: None,
            message: None,
            is_replay: None,
            items: None,
            answer: None,
        }
    }

    pub(super) fn arrived(&self) -> Instant {
        self.context.arrived
    }

    /// Notes the caller, who is known from now on.
    pub(super) fn caller(&mut self, caller: &Caller) -> Result<(), ApiError> {
        self.caller = Some(*caller);
        self.context.authenticate(caller.workspace)
    }

    pub(super) fn event_type(&mut self, event_type: &EventTypeName) {
        self.event_type = Some(event_type.clone());
    }

    pub(super) fn endpoint(&mut self, endpoint: EndpointId) {
        self.endpoint = Some(endpoint);
    }

    pub(super) fn payload_len(&mut self, len: usize) {
        self.payload_len = Some(len);
    }

    pub(super) fn triggered(&mut self, receipt: &Receipt) {
        self.fan_out = Some(Told {
            width: receipt.deliveries().len(),
            tally: Self::triggered_item(receipt),
            limiter_bypassed: receipt.limiter_bypassed(),
        });
        self.message = Some(receipt.message());
    }

    /// Counts an item's receipt.
    pub(super) fn triggered_item(receipt: &Receipt) -> Tally {
        let tally = Tally::of(receipt);
        metric::count_receipt(&tally, receipt.limiter_bypassed());
        tally
    }

    pub(super) fn sent(&mut self, sent: &Sent) {
        Self::sent_item(sent);
        self.is_replay = Some(sent.is_replay);
        self.message = (!sent.is_replay).then_some(sent.message);
    }

    /// Counts an item that was sent.
    pub(super) fn sent_item(sent: &Sent) {
        metric::count_sent(sent.is_replay, sent.limiter_bypassed);
    }

    pub(super) fn items(&mut self, items: &Items) {
        self.items = Some((items.len(), items.refusals()));
    }

    pub(super) fn accepted(&mut self, status: StatusCode) {
        let code = if status == StatusCode::MULTI_STATUS {
            PARTIAL
        } else {
            ACCEPTED
        };
        self.answer = Some((status, code));
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
            None => unanswered(),
        };
        metric::count_request(self.route, status, code);
        metric::observe_ingestion(self.route, duration);
        let (caller, fan_out) = (self.caller.as_ref(), self.fan_out.as_ref());
        // A refusal is news. What went well is in the delivery log and in the metrics, and a line for each of them and of
        // their attempts was 7 % of the server's time, and at 50,000 a second would be a terabyte a day.
        let went_well = matches!(status, 200..300)
            && code != PARTIAL
            && self.fan_out.as_ref().is_none_or(Told::is_whole);
        let unlogged = match status {
            _ if went_well => None,
            500 => Some(0),
            // The first of a minute stands for all of its caller's: a client that is refused does not fill the disk.
            _ => self.context.log_refusal(caller.map(|c| c.workspace)),
        };
        let address = self.context.address().filter(|_| !went_well);
        macro_rules! tell {
            ($level:ident) => {
                tracing::$level!(
                    request = %self.context.id,
                    client = address.map(display),
                    workspace = caller.map(|c| display(c.workspace)),
                    key = caller.map(|c| display(c.key)),
                    event_type = self.event_type.as_ref().map(display),
                    endpoint = self.endpoint.as_ref().map(display),
                    message_id = self.message.map(display),
                    status,
                    code,
                    payload_len = self.payload_len,
                    width = fan_out.map(|f| f.width),
                    queued = fan_out.map(|f| f.tally.published),
                    failures = fan_out.map(|f| display(&f.tally)),
                    replayed = self.is_replay,
                    items = self.items.map(|(len, _)| len),
                    items_refused = self.items.map(|(_, refused)| refused),
                    limiter_bypassed = fan_out.map(|f| f.limiter_bypassed),
                    unlogged = unlogged.filter(|count| *count > 0),
                    duration_ms = duration.as_secs_f64() * 1_000.0,
                    "{}",
                    self.route.as_str()
                )
            };
        }
        if unlogged.is_some() {
            tell!(info);
        } else {
            tell!(debug);
        }
    }
}
