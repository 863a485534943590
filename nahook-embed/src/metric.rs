//! The names of the metrics of a back end whose queue is not the store's.

/// Counter: entries that the buffer before the delivery log has dropped, for lack of room or because the store refused them; with
/// a queue on NATS only. Their deliveries are in the log once they have been attempted.
pub const LOG_DROPPED: &str = "nahook_log_dropped_total";
/// Gauge: entries that wait in the buffer before the delivery log; with a queue on NATS only.
pub const LOG_WAITING: &str = "nahook_log_waiting";

/// Describes them to the recorder that is installed.
pub fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge};
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
