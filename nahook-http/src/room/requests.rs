//! Requests of known callers that are under way.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use nahook_core::id::WorkspaceId;

use super::{give_back, lock, network};
use crate::metric::Crowding;

/// Requests of known callers that are under way, and their bounds.
pub(crate) struct Requests {
    len_max: usize,
    /// Upper bound on those of one client address that come through a proxy.
    share: usize,
    counts: Mutex<Counts>,
}

impl Requests {
    pub(super) fn new(len_max: usize, share: usize) -> Self {
        Self {
            len_max,
            share,
            counts: Mutex::default(),
        }
    }

    /// Counts a request of a known caller. `proxied` is the address of its client if a proxy passed it on. An error says which
    /// bound it would exceed.
    pub(super) fn begin(
        self: &Arc<Self>,
        workspace: WorkspaceId,
        proxied: Option<IpAddr>,
    ) -> Result<UnderWay, Crowding> {
        let mut counts = lock(&self.counts);
        if counts.under_way >= self.len_max {
            return Err(Crowding::Requests);
        }
        let of_workspace = Holder::Workspace(workspace);
        if counts.of(of_workspace) >= self.len_max.div_ceil(2) {
            return Err(Crowding::Workspace);
        }
        let of_address = proxied.map(|address| Holder::Address(network(address)));
        if of_address.is_some_and(|holder| counts.of(holder) >= self.share) {
            return Err(Crowding::Address);
        }
        counts.under_way += 1;
        let holders = [Some(of_workspace), of_address];
        for holder in holders.into_iter().flatten() {
            *counts.by_holder.entry(holder).or_default() += 1;
        }
        Ok(UnderWay {
            requests: Arc::clone(self),
            holders,
        })
    }
}

#[derive(Default)]
struct Counts {
    under_way: usize,
    by_holder: HashMap<Holder, usize>,
}

impl Counts {
    fn of(&self, holder: Holder) -> usize {
        self.by_holder.get(&holder).copied().unwrap_or(0)
    }
}

/// One that has a share of the requests under way.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
enum Holder {
    Address(IpAddr),
    Workspace(WorkspaceId),
}

/// The place of a known caller's request among those under way, until dropped.
pub(crate) struct UnderWay {
    requests: Arc<Requests>,
    holders: [Option<Holder>; 2],
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut counts = lock(&self.requests.counts);
        counts.under_way -= 1;
        for holder in self.holders.into_iter().flatten() {
            give_back(&mut counts.by_holder, holder);
        }
    }
}
