//! The names of the metrics of the server itself.

/// Counter: lines of the server's log that were dropped because nobody read them in time.
pub(crate) const LOG_LINES_LOST: &str = "nahook_log_lines_lost_total";
/// Counter: entries that the buffer before the delivery log has dropped, for lack of room or because the store refused them; with
/// a queue on NATS only. Their deliveries are in the log once they have been attempted.
pub(crate) const LOG_DROPPED: &str = "nahook_log_dropped_total";
/// Gauge: entries that wait in the buffer before the delivery log; with a queue on NATS only.
pub(crate) const LOG_WAITING: &str = "nahook_log_waiting";

/// Describes every metric to the recorder that is installed.
pub(crate) fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge};
    describe_counter!(
        LOG_LINES_LOST,
        Unit::Count,
        "Lines of the server's log that were dropped"
    );
    describe_counter!(
        LOG_DROPPED,
        Unit::Count,
        "Entries that the buffer before the delivery log has dropped"
    );
    describe_gauge!(
        LOG_WAITING,
        Unit::Count,
        "Entries that wait in the buffer before the delivery log"
    );
}
