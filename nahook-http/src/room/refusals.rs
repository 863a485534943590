//! Refused requests in the log: one line a source and minute, however many there are.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nahook_core::id::WorkspaceId;
use tokio::time::Instant;

use super::network;
use crate::metric;

/// Time for which one line stands for all that follow from the same source.
const INTERVAL: Duration = Duration::from_mins(1);
/// Number of sources that are remembered. Beyond it nothing is logged of new ones until some are forgotten.
const SOURCES_MAX: usize = 1_024;

/// Source of refused requests.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Source {
    /// A caller of this workspace.
    Workspace(WorkspaceId),
    /// Somebody at this address, without a valid key.
    Address(IpAddr),
}

impl Source {
    /// The caller's workspace, if the caller is known.
    pub(crate) fn of(workspace: Option<WorkspaceId>, address: IpAddr) -> Self {
        workspace.map_or_else(|| Self::Address(network(address)), Self::Workspace)
    }
}

/// Sources of which a refusal was logged lately, and the number of those since.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<HashMap<Source, (Instant, u64)>>);

impl Refusals {
    /// Decides about a refusal. Returns the number of refusals of the same source that were not logged before this one, or
    /// `None` if this is not to be logged either.
    pub(crate) fn log(&self, source: Source) -> Option<u64> {
        let now = Instant::now();
        let mut sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.len() >= SOURCES_MAX && !sources.contains_key(&source) {
            sources.retain(|_, (since, _)| now.duration_since(*since) < INTERVAL);
        }
        let is_full = sources.len() >= SOURCES_MAX;
        let unlogged = match sources.get_mut(&source) {
            Some((since, unlogged)) if now.duration_since(*since) < INTERVAL => {
                *unlogged += 1;
                None
            }
            Some(entry) => Some(std::mem::replace(entry, (now, 0)).1),
            None if is_full => None,
            None => {
                sources.insert(source, (now, 0));
                Some(0)
            }
        };
        if unlogged.is_none() {
            metric::refusal_unlogged();
        }
        unlogged
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_refusal_a_minute_is_logged_of_a_source() {
        let refusals = Refusals::default();
        let (one, other) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let (one, other) = (Source::of(None, one), Source::of(None, other));
        assert_eq!(refusals.log(one), Some(0));
        for _ in 0..5 {
            assert_eq!(refusals.log(one), None);
        }
        assert_eq!(refusals.log(other), Some(0));
        advance(INTERVAL).await;
        assert_eq!(refusals.log(one), Some(5));
        assert_eq!(refusals.log(one), None);
        assert_eq!(refusals.log(other), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn sources_are_bounded() {
        let refusals = Refusals::default();
        let source = |number: u32| Source::of(None, number.to_be_bytes().into());
        let logged = (0..5_000).filter(|number| refusals.log(source(*number)).is_some());
        assert_eq!(logged.count(), SOURCES_MAX);
        advance(INTERVAL).await;
        assert_eq!(refusals.log(source(5_000)), Some(0));
        assert_eq!(refusals.0.lock().unwrap().len(), 1);
    }

    #[test]
    fn addresses_of_one_network_are_one_source() {
        let source = |text: &str| Source::of(None, text.parse().unwrap());
        assert_eq!(source("2001:db8::1"), source("2001:db8::2"));
        assert_ne!(source("2001:db8:0:1::1"), source("2001:db8::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
    }
}
