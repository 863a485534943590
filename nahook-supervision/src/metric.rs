//! The names of the supervisor's metrics, recorded through the [`metrics`](https://docs.rs/metrics) facade: whoever embeds it
//! picks the exporter.

/// Counter: loops that ended without being asked to and were started again, by label [`LOOP`].
pub const LOOP_FAILURES: &str = "nahook_loop_failures_total";

/// Label: the loop's name, as `/readyz` shows it.
pub const LOOP: &str = "loop";

/// Describes every metric to the recorder that is installed.
pub fn describe() {
    metrics::describe_counter!(
        LOOP_FAILURES,
        metrics::Unit::Count,
        "Loops that ended without being asked to and were started again"
    );
}
