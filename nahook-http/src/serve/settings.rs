//! The numbers of a server.

use std::time::Duration;

/// Bounds on the time that clients take and the resources that they hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ServeSettings {
    /// Upper bound on open connections; further clients wait to be accepted. The process's limit of open files may lower it,
    /// see [`files_reserved`](Self::files_reserved).
    pub connections_max: usize,
    /// Open files of the process that connections never take, so that the store, the queue and the connections to
    /// receivers always get theirs: a quarter of the limit, and at least 64, if absent.
    pub files_reserved: Option<usize>,
    /// Upper bound on a head's duration from its first byte to its last; the connection is closed then.
    pub head_timeout: Duration,
    /// Upper bound on a request's head in bytes; 431 above.
    pub head_len_max: usize,
    /// Upper bound on the time that a connection may be without a request. .NET's client keeps an idle connection for up
    /// to 120 s and others for 90 s; the server waits longer than all of them, because a request that is sent just as the
    /// server closes is lost (contract, section 5).
    pub idle_timeout: Duration,
    /// Upper bound on dropping what a refused client still sends: closing at once would make its system throw away the
    /// answer that it has not read yet.
    pub linger_timeout: Duration,
    /// Upper bound on the time in which a client takes none of its answer.
    pub write_timeout: Duration,
    /// Upper bound on the time that requests in flight get to finish when the server stops.
    pub stop_timeout: Duration,
}

impl Default for ServeSettings {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            files_reserved: None,
            head_timeout: Duration::from_secs(10),
            head_len_max: 32 * 1024,
            idle_timeout: Duration::from_secs(150),
            linger_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            stop_timeout: Duration::from_secs(10),
        }
    }
}

/// The reserve of a process with few files.
const FILES_RESERVED_MIN: usize = 64;

impl ServeSettings {
    /// The upper bound on open connections in a process that may have `files_max` files open; at least one.
    pub(super) fn connections_within(&self, files_max: usize) -> usize {
        let reserved = self.files_reserved;
        let reserved = reserved.unwrap_or((files_max / 4).max(FILES_RESERVED_MIN));
        let left = files_max.saturating_sub(reserved);
        self.connections_max.min(left).max(1)
    }
}

/// Returns the number of files that this process may have open.
pub(super) fn files_max() -> usize {
    #[cfg(unix)]
    let limit = rlimit::Resource::NOFILE.get_soft().ok();
    #[cfg(not(unix))]
    let limit = None::<u64>;
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_a_quarter_of_the_files_and_at_least_64() {
        let settings = ServeSettings::default();
        for (files_max, connections) in [
            (usize::MAX, 4096),
            (65_536, 4096),
            (4_096, 3_072),
            (1_024, 768),
            (256, 192),
            (128, 64),
            (65, 1),
            (64, 1),
            (0, 1),
        ] {
            assert_eq!(settings.connections_within(files_max), connections);
        }
    }

    #[test]
    fn reserve_can_be_set() {
        let settings = ServeSettings {
            files_reserved: Some(1_000),
            ..ServeSettings::default()
        };
        assert_eq!(settings.connections_within(1_024), 24);
        assert_eq!(settings.connections_within(10_000), 4_096);
    }
}
