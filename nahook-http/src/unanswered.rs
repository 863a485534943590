//! Reports a request that was not answered: its client is gone, or a panic came between.

/// The status of an answer that nobody was left to read; it is logged and counted, and never sent.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// The status and the code, for whoever is being dropped without having answered.
pub(crate) fn unanswered() -> (u16, &'static str) {
    if std::thread::panicking() {
        (500, "internal_error")
    } else {
        (CLIENT_CLOSED_REQUEST, "canceled")
    }
}
