//! Order in which endpoints are served.

use std::collections::{BTreeMap, VecDeque};

use nahook_core::id::{EndpointId, WorkspaceId};

/// Serves workspaces in turn, and within each its endpoints, beginning behind the ones that were served last.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns {
    workspace: Option<WorkspaceId>,
    /// By workspace, the endpoint served last.
    endpoints: BTreeMap<WorkspaceId, EndpointId>,
}

impl Turns {
    /// Offers each of these endpoints, one after the other and around, to `serve`, which returns true if it has served the
    /// endpoint and false if there is nothing more to be done for it. Ends when all are done or so many were served.
    pub(super) fn go_round(
        &mut self,
        waiting: impl IntoIterator<Item = (WorkspaceId, EndpointId)>,
        max: usize,
        mut serve: impl FnMut(WorkspaceId, EndpointId) -> bool,
    ) {
        let mut by_workspace: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (workspace, endpoint) in waiting {
            by_workspace.entry(workspace).or_default().push(endpoint);
        }
        self.endpoints
            .retain(|workspace, _| by_workspace.contains_key(workspace));
        let rings = by_workspace.into_iter().map(|(workspace, mut ring)| {
            ring.sort_unstable();
            let last = self.endpoints.get(&workspace);
            let next = ring.partition_point(|id| last.is_some_and(|last| id <= last));
            ring.rotate_left(next);
            (workspace, VecDeque::from(ring))
        });
        let mut rings: VecDeque<_> = rings.collect();
        let next = rings.partition_point(|(id, _)| self.workspace.is_some_and(|last| *id <= last));
        rings.rotate_left(next);
        let mut served = 0;
        while served < max
            && let Some((workspace, mut ring)) = rings.pop_front()
        {
            while let Some(endpoint) = ring.pop_front() {
                if serve(workspace, endpoint) {
                    served += 1;
                    self.workspace = Some(workspace);
                    self.endpoints.insert(workspace, endpoint);
                    ring.push_back(endpoint);
                    rings.push_back((workspace, ring));
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn workspaces_and_their_endpoints_take_turns() {
        let (a, b) = (WorkspaceId::from_bits(1), WorkspaceId::from_bits(2));
        let id = |nth: u128| EndpointId::from_bits(nth);
        let waiting = [(a, id(3)), (a, id(1)), (b, id(2)), (a, id(4))];
        let mut turns = Turns::default();
        let mut served = Vec::new();
        for max in [3, 2, 1] {
            turns.go_round(waiting, max, |_, endpoint| {
                served.push(endpoint);
                true
            });
        }
        assert_eq!(served, [1, 2, 3, 2, 4, 2].map(id));
    }

    #[test]
    fn workspace_that_is_cut_off_goes_on_where_it_was() {
        let (a, b) = (WorkspaceId::from_bits(1), WorkspaceId::from_bits(2));
        let id = |nth: u128| EndpointId::from_bits(nth);
        let waiting: Vec<_> = (0..6).map(|n| (a, id(n))).chain([(b, id(9))]).collect();
        let mut turns = Turns::default();
        let mut served: HashMap<EndpointId, usize> = HashMap::new();
        for _ in 0..6 {
            let mut left = HashMap::from([(a, 2), (b, 1)]);
            turns.go_round(waiting.clone(), 10, |workspace, endpoint| {
                let left = left.get_mut(&workspace).unwrap();
                let has_room = *left > 0;
                *left -= usize::from(has_room);
                *served.entry(endpoint).or_default() += usize::from(has_room);
                has_room
            });
        }
        assert!((0..6).all(|nth| served[&id(nth)] == 2), "{served:?}");
        assert_eq!(served[&id(9)], 6);
    }
}
