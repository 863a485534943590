//! The metrics, all of them; whoever embeds this picks the exporter.

use std::time::Duration;

use crate::shortage::Shortage;
use crate::tally::Tally;
use metrics::{Label, histogram};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};

/// Answers by `route`, `status` and `code`; the code of a success is `accepted`, or `ok`
/// where nothing was to be queued.
pub const REQUESTS: &str = "nahook_http_requests_total";
/// Events let in, by how their fan-out went: `outcome` is `queued` (to every subscriber), `partial`, `failed` (to
/// none) or `unsubscribed` (there is none).
pub const TRIGGERS: &str = "nahook_triggers_total";
/// Deliveries of events that were let in, by `outcome`: `published`, or the failure's code.
pub const DELIVERIES: &str = "nahook_deliveries_total";
/// Events let in although the rate limiter did not answer.
pub const LIMITER_BYPASSES: &str = "nahook_limiter_bypasses_total";
/// Seconds from a Trigger's arrival to its answer.
pub const TRIGGER_DURATION: &str = "nahook_trigger_duration_seconds";
/// Sends that were accepted, by `outcome`: `queued`, or `replayed` where their key stood for an earlier one.
pub const SENDS: &str = "nahook_sends_total";
/// Seconds from a Send's or a batch's arrival to its answer, by `route`.
pub const INGESTION_DURATION: &str = "nahook_ingestion_duration_seconds";
/// Calls that were refused because the machine is short of something, by `cause`: `backlog`, `disk`, `memory` or `queue`.
pub const PRESSURE_REFUSALS: &str = "nahook_pressure_refusals_total";
/// Connections that are open.
pub const CONNECTIONS: &str = "nahook_http_connections";
/// Times that no connection could be accepted because of the system: no descriptors, no memory.
pub const ACCEPT_FAILURES: &str = "nahook_http_accept_failures_total";
/// Calls refused because something scarce was used up, by `kind` and by `share`: `workspace` if it was the caller's own share of
/// it, `all` if it was what all workspaces share.
pub const BUDGET_REFUSALS: &str = "nahook_budget_refusals_total";
/// Amount that is held of something scarce, by `kind`: bytes, or calls under way.
pub const BUDGET_HELD: &str = "nahook_budget_held";

/// Connections that were closed to make room for others, by `reason`: as many were open as may be in all (`connections`) or of one
/// client address (`address`).
pub const CONNECTIONS_EVICTED: &str = "nahook_http_connections_evicted_total";
/// Connections that were refused because none could be closed to make room.
pub const CONNECTIONS_REFUSED: &str = "nahook_http_connections_refused_total";

/// Refused requests without a line of their own in the log: one of the same caller or address stands for a minute's.
pub const REFUSALS_UNLOGGED: &str = "nahook_http_refusals_unlogged_total";

/// Tells the installed recorder what the metrics mean. Call it once, after installing one.
pub fn describe() {
    describe_counter!(REQUESTS, "Answers by route, status and code");
    describe_counter!(TRIGGERS, "Events let in, by how their fan-out went");
    describe_counter!(DELIVERIES, "Deliveries by what became of queueing them");
    describe_counter!(
        LIMITER_BYPASSES,
        "Events let in although the rate limiter did not answer"
    );
    describe_histogram!(
        TRIGGER_DURATION,
        Unit::Seconds,
        "From a Trigger's arrival to its answer"
    );
    describe_counter!(SENDS, "Sends that were accepted, by what came of them");
    describe_histogram!(
        INGESTION_DURATION,
        Unit::Seconds,
        "From a Send's or a batch's arrival to its answer"
    );
    describe_counter!(
        PRESSURE_REFUSALS,
        "Calls that were refused because the machine is short of something"
    );
    describe_gauge!(CONNECTIONS, "Connections that are open");
    describe_counter!(
        ACCEPT_FAILURES,
        "Times that no connection could be accepted because of the system"
    );
    describe_counter!(
        BUDGET_REFUSALS,
        "Calls refused because something scarce was used up"
    );
    describe_gauge!(BUDGET_HELD, "Amount that is held of something scarce");
    describe_counter!(
        CONNECTIONS_EVICTED,
        "Connections that were closed to make room for others"
    );
    describe_counter!(
        REFUSALS_UNLOGGED,
        "Refused requests without a line of their own in the log"
    );
    describe_counter!(
        CONNECTIONS_REFUSED,
        "Connections that were refused because none could be closed to make room"
    );
}

/// Bound that has been reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Crowding {
    /// Connections of one client address, or its requests through a proxy.
    Address,
    /// Connections.
    Connections,
    /// Requests of known callers under way.
    Requests,
    /// Requests under way of one workspace.
    Workspace,
}

/// Which route answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Route {
    Management,
    None,
    Send,
    SendBatch,
    Trigger,
    TriggerBatch,
}

impl Route {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Management => "management",
            Self::None => "none",
            Self::Send => "send",
            Self::SendBatch => "send_batch",
            Self::Trigger => "trigger",
            Self::TriggerBatch => "trigger_batch",
        }
    }
}

pub(crate) fn count_request(route: Route, status: u16, code: &'static str) {
    if let (Route::Trigger, 202, "accepted") = (route, status, code) {
        // By far the most frequent one: a key made of constants is hashed once and for all.
        counter!(REQUESTS, "route" => "trigger", "status" => "202", "code" => "accepted")
            .increment(1);
        return;
    }
    let labels = vec![
        Label::from_static_parts("route", route.as_str()),
        Label::from_static_parts("status", status_text(status)),
        Label::from_static_parts("code", code),
    ];
    counter!(REQUESTS, labels).increment(1);
}

/// The statuses there are, without allocating.
const fn status_text(status: u16) -> &'static str {
    match status {
        200 => "200",
        201 => "201",
        202 => "202",
        204 => "204",
        207 => "207",
        400 => "400",
        401 => "401",
        403 => "403",
        404 => "404",
        405 => "405",
        408 => "408",
        409 => "409",
        413 => "413",
        414 => "414",
        429 => "429",
        431 => "431",
        499 => "499",
        500 => "500",
        503 => "503",
        504 => "504",
        505 => "505",
        _ => "other",
    }
}

pub(crate) fn observe_ingestion(route: Route, duration: Duration) {
    let histogram = match route {
        Route::Trigger => histogram!(TRIGGER_DURATION),
        other => histogram!(INGESTION_DURATION, "route" => other.as_str()),
    };
    histogram.record(duration.as_secs_f64());
}

pub(crate) fn count_sent(is_replay: bool, limiter_bypassed: bool) {
    let outcome = if is_replay { "replayed" } else { "queued" };
    counter!(SENDS, "outcome" => outcome).increment(1);
    if !is_replay {
        counter!(DELIVERIES, "outcome" => "published").increment(1);
    }
    if limiter_bypassed {
        counter!(LIMITER_BYPASSES).increment(1);
    }
}

pub(crate) fn count_receipt(tally: &Tally, limiter_bypassed: bool) {
    let published = tally.published;
    let outcome = match (published, tally.failures().next()) {
        (0, None) => "unsubscribed",
        (0, Some(_)) => "failed",
        (_, None) => "queued",
        (_, Some(_)) => "partial",
    };
    counter!(TRIGGERS, "outcome" => outcome).increment(1);
    if limiter_bypassed {
        counter!(LIMITER_BYPASSES).increment(1);
    }
    if published > 0 {
        counter!(DELIVERIES, "outcome" => "published").increment(count(published));
    }
    for (kind, failed) in tally.failures() {
        counter!(DELIVERIES, "outcome" => kind.code()).increment(count(failed));
    }
}

pub(crate) fn count_pressure(shortage: Shortage) {
    counter!(PRESSURE_REFUSALS, "cause" => shortage.name()).increment(1);
}

pub(crate) fn connection_opened() {
    gauge!(CONNECTIONS).increment(1);
}

pub(crate) fn connection_closed() {
    gauge!(CONNECTIONS).decrement(1);
}

pub(crate) fn accept_failed() {
    counter!(ACCEPT_FAILURES).increment(1);
}

pub(crate) fn count_budget_refusal(kind: &'static str, is_own_share: bool) {
    let share = if is_own_share { "workspace" } else { "all" };
    counter!(BUDGET_REFUSALS, "kind" => kind, "share" => share).increment(1);
}

pub(crate) fn set_budget_held(kind: &'static str, held: u64) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    gauge!(BUDGET_HELD, "kind" => kind).set(held as f64);
}

pub(crate) fn count_evicted(crowding: Crowding, connections: usize) {
    let reason = match crowding {
        Crowding::Address => "address",
        _ => "connections",
    };
    counter!(CONNECTIONS_EVICTED, "reason" => reason).increment(count(connections));
}

pub(crate) fn refusal_unlogged() {
    counter!(REFUSALS_UNLOGGED).increment(1);
}

pub(crate) fn connection_refused() {
    counter!(CONNECTIONS_REFUSED).increment(1);
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
