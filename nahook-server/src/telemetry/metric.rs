//! The names of the metrics of the server itself.

/// Counter: lines of the server's log that were dropped because nobody read them in time.
pub(crate) const LOG_LINES_LOST: &str = "nahook_log_lines_lost_total";
/// Gauge: seconds that deliveries to endpoints that answer promptly have lately waited before their first attempt.
pub(crate) const DELIVERY_LAG: &str = "nahook_delivery_lag_seconds";
/// Gauge: bytes that are free on the disk of a store in a file.
pub(crate) const DISK_FREE: &str = "nahook_disk_free_bytes";
/// Gauge: 1 while ingestion is held back so that deliveries get at least half of the machine, else 0.
pub(crate) const INGESTION_SHARED: &str = "nahook_ingestion_shared";
/// Describes every metric to the recorder that is installed.
pub(crate) fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge};
    describe_gauge!(
        DELIVERY_LAG,
        Unit::Seconds,
        "Wait of deliveries before their first attempt"
    );
    describe_gauge!(
        DISK_FREE,
        Unit::Bytes,
        "Bytes that are free on the disk of a store in a file"
    );
    describe_gauge!(
        INGESTION_SHARED,
        "1 while ingestion is held back in favour of deliveries"
    );
    describe_counter!(
        LOG_LINES_LOST,
        Unit::Count,
        "Lines of the server's log that were dropped"
    );
    nahook_embed::metric::describe();
}
