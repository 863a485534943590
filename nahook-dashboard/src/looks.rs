//! Looks of live views, which all views of a workspace share.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nahook_core::Timestamp;
use nahook_core::id::WorkspaceId;

/// Pause between two looks.
pub(crate) const PAUSE: Duration = Duration::from_secs(2);

/// The latest look at each workspace: a number that differs when something has changed.
#[derive(Debug, Default)]
pub(crate) struct Looks(Mutex<HashMap<WorkspaceId, (Timestamp, u64)>>);

impl Looks {
    /// Returns what was seen, unless that is too long ago.
    pub(crate) fn known(&self, workspace: &WorkspaceId, now: Timestamp) -> Option<u64> {
        let looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, state) = looks.get(workspace)?;
        (now.saturating_since(*at) < PAUSE).then_some(*state)
    }

    /// Keeps what was seen.
    pub(crate) fn keep(&self, workspace: WorkspaceId, now: Timestamp, state: u64) {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        looks.retain(|_, (at, _)| now.saturating_since(*at) < PAUSE);
        looks.insert(workspace, (now, state));
    }
}
