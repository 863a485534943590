//! Backlogs of workspaces, as they were counted last.
//!
//! Counting takes a few steps in an index for each endpoint. So pages of a workspace share a count, do not wait for one that takes long, and
//! begin another only after a pause that is many times as long as the last one took: the cost is bounded whatever the number of endpoints.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nahook_core::id::WorkspaceId;
use nahook_core::{Causes, Timestamp};
use nahook_queue::{DeliverySearch, DeliveryStats, StatsQuery};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// Number up to which deliveries of one status are counted.
pub(crate) const COUNTED_MAX: u64 = 10_000;
/// Time for which a page waits for a count that is under way …
const PATIENCE: Duration = Duration::from_millis(50);
/// … and the same where none is known yet.
const FIRST_PATIENCE: Duration = Duration::from_millis(500);
/// Pause after a count, as a multiple of what it took.
const PAUSE_FACTOR: u32 = 20;
/// Time after which a count that nobody has asked for is forgotten.
const KEPT_FOR: Duration = Duration::from_mins(10);

/// A count of a workspace's deliveries that are not settled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Backlog {
    /// Number of them by status, and since when the first is due.
    pub(crate) stats: DeliveryStats,
    /// Time at which they were counted.
    pub(crate) at: Timestamp,
}

/// The latest counts, by workspace; a clone is a handle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backlogs(Arc<Mutex<HashMap<WorkspaceId, Entry>>>);

#[derive(Debug)]
struct Entry {
    counted: watch::Sender<Option<Backlog>>,
    counting: JoinHandle<()>,
    /// Instant before which they are not counted again.
    next_at: Instant,
    asked_at: Instant,
}

impl Backlogs {
    /// Returns the count that was made last, without making one.
    pub(crate) fn known(&self, workspace: &WorkspaceId) -> Option<Backlog> {
        *self.entries().get(workspace)?.counted.borrow()
    }

    /// Returns the latest count: the present one, unless counting takes long or fails. `None` if there is none yet.
    pub(crate) async fn latest(
        &self,
        workspace: WorkspaceId,
        search: &Arc<dyn DeliverySearch>,
        now: Timestamp,
    ) -> Option<Backlog> {
        let mut counted = self.begin(workspace, search, now);
        let patience = match *counted.borrow() {
            Some(_) => PATIENCE,
            None => FIRST_PATIENCE,
        };
        // Whatever comes of it, the page shows what is known then.
        let _ = timeout(patience, counted.changed()).await;
        *counted.borrow()
    }

    /// Begins a count unless one is under way or the pause after the last is not over. Returns where it is told; there is nothing to wait for
    /// during a pause.
    fn begin(
        &self,
        workspace: WorkspaceId,
        search: &Arc<dyn DeliverySearch>,
        now: Timestamp,
    ) -> watch::Receiver<Option<Backlog>> {
        let asked_at = Instant::now();
        let mut entries = self.entries();
        entries.retain(|_, entry| asked_at.duration_since(entry.asked_at) < KEPT_FOR);
        let count = || tokio::spawn(self.clone().count(workspace, Arc::clone(search), now));
        let entry = entries.entry(workspace).or_insert_with(|| Entry {
            counted: watch::Sender::default(),
            counting: count(),
            next_at: asked_at,
            asked_at,
        });
        entry.asked_at = asked_at;
        let mut counted = entry.counted.subscribe();
        if entry.counting.is_finished() {
            if entry.next_at <= asked_at {
                entry.counting = count();
            } else {
                counted.mark_changed();
            }
        }
        counted
    }

    async fn count(self, workspace: WorkspaceId, search: Arc<dyn DeliverySearch>, now: Timestamp) {
        let query = StatsQuery {
            workspace,
            endpoint: None,
            count_max: COUNTED_MAX,
            is_unsettled_only: true,
        };
        let began = Instant::now();
        let stats = search.stats(&query).await;
        let ended = Instant::now();
        if let Some(entry) = self.entries().get_mut(&workspace) {
            let took = ended.duration_since(began);
            entry.next_at = ended + took.saturating_mul(PAUSE_FACTOR);
            // Pages that wait go on if it has failed, too.
            entry.counted.send_modify(|known| match stats {
                Ok(stats) => *known = Some(Backlog { stats, at: now }),
                Err(error) => {
                    let error = Causes(&error).to_string();
                    tracing::warn!(error, "what waits in a workspace could not be counted");
                }
            });
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<WorkspaceId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
