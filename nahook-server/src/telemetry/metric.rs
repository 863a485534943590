//! The names of the metrics of the server itself.

/// Counter: lines of the server's log that were dropped because nobody read them in time.
pub(crate) const LOG_LINES_LOST: &str = "nahook_log_lines_lost_total";
/// Describes every metric to the recorder that is installed.
pub(crate) fn describe() {
    use metrics::{Unit, describe_counter};
    describe_counter!(
        LOG_LINES_LOST,
        Unit::Count,
        "Lines of the server's log that were dropped"
    );
    nahook_embed::metric::describe();
}
