//! The names of the store's metrics, recorded through the [`metrics`](https://docs.rs/metrics) facade: whoever embeds the
//! store picks the exporter.

/// Counter: events that were deleted for their age.
pub const FORGOTTEN_EVENTS: &str = "nahook_sqlite_forgotten_events_total";

/// Describes every metric to the recorder that is installed.
pub fn describe() {
    metrics::describe_counter!(
        FORGOTTEN_EVENTS,
        metrics::Unit::Count,
        "Events that were deleted for their age"
    );
}
