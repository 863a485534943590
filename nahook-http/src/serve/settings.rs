//! The numbers of a server.

use std::time::Duration;

use ipnet::IpNet;
use nahook_supervision::Loop;

/// Bounds on the time that clients take and the resources that they hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServeSettings {
    /// Upper bound on open connections. Beyond it a new one takes the place of another: of the one that has been without a
    /// request for longest, those first on which nobody has shown a valid key or token. Three quarters of it at most
    /// have a request under way that has shown one; further ones are answered 503 with `Retry-After`. A third of the process's
    /// limit of open files may lower it: half of that limit is for connections to receivers, the rest for the store and the
    /// queue.
    pub connections_max: usize,
    /// Upper bound on the connections of one client address: one IPv4 address, or 64 bits of an IPv6 one. A quarter of all if
    /// absent. Proxies that are trusted have no such bound, but their clients' requests under way do.
    pub connections_per_address_max: Option<usize>,
    /// Proxies that are believed about the address of their client, in `X-Forwarded-For` or else `Forwarded`.
    pub trusted_proxies: Vec<IpNet>,
    /// Loop that accepts the connections.
    pub accept_loop: Loop,
    /// Upper bound on a head's duration, from the connection's first instant to the head's last byte, and for later requests
    /// from the head's first byte; the connection is closed then.
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
    /// Upper bound on the time that the server waits for a client that does not take its answer, for each
    /// [`write_len_min`](Self::write_len_min) bytes of it.
    pub write_timeout: Duration,
    /// Bytes of answers that a client has to take within [`write_timeout`](Self::write_timeout).
    pub write_len_min: usize,
    /// Upper bound on the time that requests in flight get to finish when the server stops.
    pub stop_timeout: Duration,
}

impl Default for ServeSettings {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            connections_per_address_max: None,
            trusted_proxies: Vec::new(),
            accept_loop: Loop::HttpAccept,
            head_timeout: Duration::from_secs(10),
            head_len_max: 32 * 1024,
            idle_timeout: Duration::from_secs(150),
            linger_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            write_len_min: 30 * 1024,
            stop_timeout: Duration::from_secs(10),
        }
    }
}

impl ServeSettings {
    /// The upper bound on open connections in a process that may have `files_max` files open; at least one.
    pub(super) fn connections_within(&self, files_max: usize) -> usize {
        self.connections_max.min(files_max / 3).max(1)
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
    fn connections_take_a_third_of_the_files() {
        let settings = ServeSettings::default();
        for (files_max, connections) in [
            (usize::MAX, 4_096),
            (65_536, 4_096),
            (4_096, 1_365),
            (1_024, 341),
            (3, 1),
            (0, 1),
        ] {
            assert_eq!(settings.connections_within(files_max), connections);
        }
    }
}
