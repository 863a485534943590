//! The numbers of a server.

use std::time::Duration;

/// How long clients may take and how much they may take up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "settings are made with a literal"
)]
pub struct ServeSettings {
    /// How many connections are open at most; further clients wait to be accepted.
    pub connections_max: usize,
    /// How long a request's head may take from its first byte to its last; the connection is closed then.
    pub head_timeout: Duration,
    /// How many bytes a request's head may have; 431 above.
    pub head_len_max: usize,
    /// How long a connection may be without a request. Published clients keep theirs for 90 s and more, and a request that
    /// is sent just as the server closes is lost (contract, section 5).
    pub idle_timeout: Duration,
    /// How long to go on dropping what a refused client still sends, at most: closing at once would make its system throw
    /// away the answer that it has not read yet.
    pub linger_timeout: Duration,
    /// How long a client may take none of its answer.
    pub write_timeout: Duration,
    /// How long requests in flight may take to finish when the server stops.
    pub stop_timeout: Duration,
}

impl Default for ServeSettings {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            head_timeout: Duration::from_secs(10),
            head_len_max: 32 * 1024,
            idle_timeout: Duration::from_mins(2),
            linger_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            stop_timeout: Duration::from_secs(10),
        }
    }
}
