//! The names of the store's metrics, recorded through the [`metrics`](https://docs.rs/metrics) facade: whoever embeds the
//! store picks the exporter.

/// Counter: look-ups of subscribers, keys and endpoints, by labels [`CACHE`] and [`RESULT`].
pub const LOOKUPS: &str = "nahook_sqlite_cache_lookups_total";
/// Counter: events that were deleted for their age.
pub const FORGOTTEN_EVENTS: &str = "nahook_sqlite_forgotten_events_total";

/// Label: `callers`, `endpoints` or `subscribers`.
pub const CACHE: &str = "cache";
/// Label: `hit` or `miss`.
pub const RESULT: &str = "result";

/// A value of [`RESULT`]: the store was asked.
pub const MISS: &str = "miss";

/// Describes every metric to the recorder that is installed.
pub fn describe() {
    metrics::describe_counter!(
        LOOKUPS,
        metrics::Unit::Count,
        "Look-ups of subscribers, keys and endpoints, answered from memory or not"
    );
    metrics::describe_counter!(
        FORGOTTEN_EVENTS,
        metrics::Unit::Count,
        "Events that were deleted for their age"
    );
}
