//! Tracks which parts of the network this machine reached lately.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// For how long a success shows that this machine is not the reason for what others fail with.
const SHOWS_FOR: Duration = Duration::from_mins(1);

/// Tells whether what fails now may be this machine's network: not while others get through.
#[derive(Debug, Default)]
pub(crate) struct Reach(Mutex<Latest>);

#[derive(Debug, Default)]
struct Latest {
    resolved_at: Option<Instant>,
    connected_at: Option<Instant>,
}

impl Reach {
    /// A name server has answered. `found` is empty if it knows no such name.
    pub(crate) fn resolved(&self, found: &[IpAddr]) {
        // `localhost` and its like are looked up in a file.
        if found.is_empty() || found.iter().any(|ip| !ip.to_canonical().is_loopback()) {
            self.latest().resolved_at = Some(Instant::now());
        }
    }

    /// A connection was made to that address, or refused by it.
    pub(crate) fn connected(&self, ip: IpAddr) {
        if !ip.to_canonical().is_loopback() {
            self.latest().connected_at = Some(Instant::now());
        }
    }

    /// Returns true if a name server has answered lately.
    pub(crate) fn has_resolved(&self) -> bool {
        is_recent(self.latest().resolved_at)
    }

    /// Returns true if another machine was reached lately.
    pub(crate) fn has_connected(&self) -> bool {
        is_recent(self.latest().connected_at)
    }

    fn latest(&self) -> MutexGuard<'_, Latest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_recent(at: Option<Instant>) -> bool {
    at.is_some_and(|at| at.elapsed() < SHOWS_FOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn success_shows_for_a_minute_that_the_network_is_up() {
        let reach = Reach::default();
        assert!(!reach.has_connected() && !reach.has_resolved());
        reach.connected([203, 0, 113, 1].into());
        reach.resolved(&[[203, 0, 113, 1].into()]);
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(reach.has_connected() && reach.has_resolved());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(!reach.has_connected() && !reach.has_resolved());
        reach.resolved(&[]);
        assert!(
            reach.has_resolved(),
            "that there is no such name is an answer"
        );
    }

    #[tokio::test]
    async fn this_machine_itself_shows_nothing() {
        let reach = Reach::default();
        reach.connected([127, 0, 0, 1].into());
        reach.resolved(&[[127, 0, 0, 1].into()]);
        reach.resolved(&["::1".parse().unwrap()]);
        assert!(!reach.has_connected() && !reach.has_resolved());
    }
}
