//! The names of the store's metrics, recorded through the [`metrics`](https://docs.rs/metrics) facade: whoever embeds the
//! store picks the exporter.

/// Counter: look-ups of subscribers and keys, by labels [`CACHE`] and [`RESULT`].
pub const LOOKUPS: &str = "nahook_cache_lookups_total";
/// Histogram: how long ago an answer from a cache was last known to be true, in seconds, by label [`CACHE`].
pub const HIT_AGE: &str = "nahook_cache_hit_age_seconds";
/// Counter: changes that have emptied the caches, or parts of them.
pub const INVALIDATIONS: &str = "nahook_cache_invalidations_total";
/// Histogram: how many triggers shared a statement.
pub const PUBLISH_GROUP: &str = "nahook_postgres_publish_group";
/// Counter: statements that publish and have failed.
pub const PUBLISH_ERRORS: &str = "nahook_postgres_publish_errors_total";
/// Counter: how often the connection that hears of changes was lost.
pub const LISTENER_LOSSES: &str = "nahook_postgres_listener_losses_total";
/// Counter: how often the rate limiter has asked the database.
pub const LIMITER_LEASES: &str = "nahook_postgres_limiter_leases_total";
/// Counter: events that were deleted for their age.
pub const FORGOTTEN_EVENTS: &str = "nahook_postgres_forgotten_events_total";
/// Counter: processes that were taken for dead, and whose records others have taken over.
pub const LOST_PROCESSES: &str = "nahook_postgres_lost_processes_total";

/// Label: `callers` or `subscribers`.
pub const CACHE: &str = "cache";
/// Label: `hit` or `miss`.
pub const RESULT: &str = "result";

/// Describes every metric to the recorder that is installed.
pub fn describe() {
    use metrics::{Unit, describe_counter, describe_histogram};
    describe_counter!(
        LOOKUPS,
        Unit::Count,
        "Look-ups of subscribers and keys, answered from the caches or not"
    );
    describe_histogram!(
        HIT_AGE,
        Unit::Seconds,
        "How long ago an answer from a cache was last known to be true"
    );
    describe_counter!(
        INVALIDATIONS,
        Unit::Count,
        "Changes that have emptied the caches, or parts of them"
    );
    describe_histogram!(
        PUBLISH_GROUP,
        Unit::Count,
        "Triggers that shared a statement"
    );
    describe_counter!(
        PUBLISH_ERRORS,
        Unit::Count,
        "Statements that publish and have failed"
    );
    describe_counter!(
        LISTENER_LOSSES,
        Unit::Count,
        "How often the connection that hears of changes was lost"
    );
    describe_counter!(
        LIMITER_LEASES,
        Unit::Count,
        "How often the rate limiter has asked the database"
    );
    describe_counter!(
        FORGOTTEN_EVENTS,
        Unit::Count,
        "Events that were deleted for their age"
    );
    describe_counter!(
        LOST_PROCESSES,
        Unit::Count,
        "Processes that were taken for dead, and whose records others have taken over"
    );
}
