//! Due deliveries, as far as they are known without reading the file.

use foldhash::{HashMap, HashSet};
use nahook_core::Timestamp;

use super::pending::FirstFresh;
use super::state::QueueState;

/// Deliveries of one endpoint.
#[derive(Clone, Debug, Default)]
pub(crate) struct EndpointBacklog {
    pub(crate) endpoint: i64,
    /// Number of fresh ones that nobody has leased.
    pub(crate) fresh: u64,
    /// Place of the first of these.
    pub(crate) first_fresh: FirstFresh,
    /// The file may have pending rows.
    pub(crate) may_have_pending: bool,
    /// The file may have retries that are due.
    pub(crate) may_have_retries: bool,
    /// Keys of those that are leased, with the state in which the file has them.
    pub(crate) leased: HashMap<i64, Leased>,
}

/// State of a leased delivery in the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Leased {
    Fresh,
    Pending,
    Retry,
}

impl QueueState {
    /// What is known of these endpoints, or of all that may have something due.
    pub(crate) fn backlogs(
        &mut self,
        endpoints: Option<&[i64]>,
        now: Timestamp,
    ) -> Vec<EndpointBacklog> {
        self.reclaim_expired(now);
        let wanted: HashSet<i64> = endpoints.into_iter().flatten().copied().collect();
        let mut leased: HashMap<i64, HashMap<i64, Leased>> = HashMap::default();
        for held in self.ledger.leases.all() {
            if endpoints.is_none() || wanted.contains(&held.endpoint) {
                let state = match (held.kept.is_fresh, held.kept.attempts) {
                    (true, _) => Leased::Fresh,
                    (false, 0) => Leased::Pending,
                    (false, _) => Leased::Retry,
                };
                let of_endpoint = leased.entry(held.endpoint).or_default();
                of_endpoint.insert(held.kept.key, state);
            }
        }
        let mut backlog = |endpoint: i64| {
            let mut backlog = EndpointBacklog {
                endpoint,
                leased: leased.remove(&endpoint).unwrap_or_default(),
                ..EndpointBacklog::default()
            };
            if let Some(state) = self.endpoints.get(&endpoint) {
                let leased = backlog.leased.values();
                let leased = leased.filter(|state| **state == Leased::Fresh).count();
                backlog.fresh = state.fresh.saturating_sub(leased) as u64;
                backlog.first_fresh = state.pending.first_fresh();
                backlog.may_have_pending = state.pending.may_have_any();
                backlog.may_have_retries = state.may_have_retry;
            }
            backlog
        };
        if let Some(endpoints) = endpoints {
            return endpoints.iter().map(|it| backlog(*it)).collect();
        }
        let all = self.endpoints.keys().map(|it| backlog(*it));
        all.filter(EndpointBacklog::may_have_any).collect()
    }
}

impl EndpointBacklog {
    fn may_have_any(&self) -> bool {
        self.fresh > 0 || self.may_have_pending || self.may_have_retries
    }
}
