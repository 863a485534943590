//! The names of the queue's metrics, recorded through the [`metrics`](https://docs.rs/metrics) facade: whoever embeds the
//! queue picks the exporter.

/// Counter: records that were sent, by label [`FATE`].
pub const RECORDS: &str = "nahook_nats_records_total";
/// Histogram: deliveries in a record that was sent.
pub const RECORD_DELIVERIES: &str = "nahook_nats_record_deliveries";
/// Counter: deliveries whose entry the delivery log has lost; the deliveries themselves are not affected.
pub const LOG_LOST: &str = "nahook_nats_log_lost_total";
/// Counter: times that the store did not take entries of the delivery log, which are tried again.
pub const LOG_DELAYED: &str = "nahook_nats_log_delayed_total";
/// Counter: entries of the delivery log that the store refuses or that cannot be read.
pub const LOG_REFUSED: &str = "nahook_nats_log_refused_total";

/// Counter: messages of the streams that were not signed with the store's key, and were not taken.
pub const UNAUTHENTIC: &str = "nahook_nats_unauthentic_total";

/// Label: `stored`, `refused`, or `unclear` where no answer came.
pub const FATE: &str = "fate";

/// Describes every metric to the recorder that is installed.
pub fn describe() {
    use metrics::{Unit, describe_counter, describe_histogram};
    describe_counter!(RECORDS, Unit::Count, "Records sent, by what became of them");
    describe_histogram!(
        RECORD_DELIVERIES,
        Unit::Count,
        "Deliveries in a record that was sent"
    );
    describe_counter!(
        UNAUTHENTIC,
        Unit::Count,
        "Messages of the streams that were not signed with the store's key, and were not taken"
    );
    describe_counter!(
        LOG_LOST,
        Unit::Count,
        "Deliveries whose entry the delivery log has lost"
    );
    describe_counter!(
        LOG_DELAYED,
        Unit::Count,
        "Times that the store did not take entries of the delivery log"
    );
    describe_counter!(
        LOG_REFUSED,
        Unit::Count,
        "Entries of the delivery log that the store refuses or that cannot be read"
    );
}
