//! Endpoints that have succeeded: a bounded number of them, those that were used lately.

use foldhash::HashMap;
use nahook_core::id::{EndpointId, WorkspaceId};

/// Upper bound on a generation: at least so many are remembered, and at most twice as many.
const GENERATION_MAX: usize = 32_768;

#[derive(Debug, Default)]
pub(super) struct Proven {
    young: HashMap<EndpointId, WorkspaceId>,
    old: HashMap<EndpointId, WorkspaceId>,
}

impl Proven {
    pub(super) fn contains(&self, id: &EndpointId) -> bool {
        self.young.contains_key(id) || self.old.contains_key(id)
    }

    pub(super) fn insert(&mut self, id: EndpointId, workspace: WorkspaceId) {
        if self.young.len() >= GENERATION_MAX && !self.young.contains_key(&id) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, workspace);
    }

    pub(super) fn remove(&mut self, id: &EndpointId) {
        self.young.remove(id);
        self.old.remove(id);
    }

    /// The endpoints with their workspaces, those used lately first; one may come twice.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&EndpointId, &WorkspaceId)> {
        self.young.iter().chain(&self.old)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_used_lately_are_remembered_and_their_number_is_bounded() {
        let workspace = WorkspaceId::from_bits(1);
        let mut proven = Proven::default();
        let id = |nth: usize| EndpointId::from_bits(nth as u128);
        for nth in 0..3 * GENERATION_MAX {
            proven.insert(id(nth), workspace);
            assert!(proven.contains(&id(nth)));
            assert!(proven.contains(&id(nth.saturating_sub(GENERATION_MAX - 1))));
        }
        assert!(proven.iter().count() <= 2 * GENERATION_MAX);
        proven.remove(&id(3 * GENERATION_MAX - 1));
        assert!(!proven.contains(&id(3 * GENERATION_MAX - 1)));
    }
}
