//! The names of the worker's metrics, recorded through the [`metrics`](https://docs.rs/metrics) facade: whoever embeds
//! the worker picks the exporter.

/// Counter: attempts that ended, by label [`OUTCOME`].
pub const ATTEMPTS: &str = "nahook_delivery_attempts_total";
/// Histogram: how long attempts took, in seconds, by label [`OUTCOME`].
pub const ATTEMPT_SECONDS: &str = "nahook_delivery_attempt_seconds";
/// Gauge: deliveries that workers of this process hold, being attempted or settled.
pub const IN_FLIGHT: &str = "nahook_delivery_in_flight";
/// Counter: leases that were lost to another worker before they were settled; each may mean a repeat.
pub const LEASES_LOST: &str = "nahook_delivery_leases_lost_total";
/// Counter: calls of the queue or the directory that failed, by label [`CALL`].
pub const BOOKKEEPING_ERRORS: &str = "nahook_delivery_bookkeeping_errors_total";
/// Counter: endpoints reported to be disabled.
pub const ENDPOINTS_DISABLED: &str = "nahook_delivery_endpoints_disabled_total";

/// Counter: attempts that were not made for a lack of this machine, by label [`CAUSE`]; none counts as its endpoint's.
pub const NOT_MADE: &str = "nahook_delivery_attempts_not_made_total";

/// Label: `delivered`, `failed` (to be retried, dead-lettered or given up), or `panicked`.
pub const OUTCOME: &str = "outcome";
/// Label: `extend`, `lease`, `look_up`, `report` or `settle`.
pub const CALL: &str = "call";
/// Label: `connections`, `descriptors`, `memory`, `network`, `ports`, `resolver` or `threads`.
pub const CAUSE: &str = "cause";

/// Describes every metric to the recorder that is installed.
pub fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_counter!(ATTEMPTS, Unit::Count, "Delivery attempts that ended");
    describe_histogram!(
        ATTEMPT_SECONDS,
        Unit::Seconds,
        "How long delivery attempts took"
    );
    describe_gauge!(
        IN_FLIGHT,
        Unit::Count,
        "Deliveries being attempted or settled"
    );
    describe_counter!(
        LEASES_LOST,
        Unit::Count,
        "Leases lost before they were settled"
    );
    describe_counter!(
        BOOKKEEPING_ERRORS,
        Unit::Count,
        "Failed calls of the queue or the directory"
    );
    describe_counter!(
        ENDPOINTS_DISABLED,
        Unit::Count,
        "Endpoints reported to be disabled"
    );
    describe_counter!(
        NOT_MADE,
        Unit::Count,
        "Attempts not made for a lack of this machine"
    );
}
