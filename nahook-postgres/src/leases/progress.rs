//! How far leasing has come in each workspace that a batch's bounds cut off, so that none of its endpoints waits for ever.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use nahook_core::id::WorkspaceId;
use nahook_queue::BatchRoom;

/// The endpoint of each workspace that comes last in the order of a batch.
#[derive(Debug, Default)]
pub(crate) struct Progress(HashMap<WorkspaceId, (bool, i64)>);

impl Progress {
    /// Notes that the endpoint with this row was served, in a batch that began behind `after`.
    pub(crate) fn note(&mut self, workspace: WorkspaceId, row: i64, after: i64) {
        let place = (row <= after, row);
        let last = self.0.entry(workspace).or_insert(place);
        *last = place.max(*last);
    }
}

/// Places to go on at: by workspace, the row of the endpoint that was served last.
#[derive(Debug, Default)]
pub(super) struct Cursors {
    places: BTreeMap<WorkspaceId, i64>,
    /// The workspace whose turn it is to go on.
    turn: Option<WorkspaceId>,
}

impl Cursors {
    /// Takes in how far a batch has come. Returns the row behind which the next one begins, if a workspace was cut off: they
    /// take turns.
    pub(super) fn next(&mut self, room: &BatchRoom, progress: Progress) -> Option<i64> {
        // An endpoint that is not listed never has more room than one that is.
        let is_cut = |workspace| room.left(workspace, false) == 0;
        self.places.retain(|workspace, _| is_cut(*workspace));
        for (workspace, (_, row)) in progress.0 {
            if is_cut(workspace) {
                let place = self.places.entry(workspace).or_insert(row);
                // Another one's progress began at its first endpoint.
                if self.turn == Some(workspace) {
                    *place = row;
                }
            }
        }
        let behind = self.turn.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.places.range((behind, Bound::Unbounded)).next();
        let next = next.or_else(|| self.places.first_key_value());
        self.turn = next.map(|(workspace, _)| *workspace);
        next.map(|(_, row)| *row)
    }
}

#[cfg(test)]
mod tests {
    use nahook_queue::{LeaseRequest, WorkerId, WorkspaceBounds};

    use super::*;

    /// A batch that began behind `after`, in which workspaces were served up to these rows, and cut off.
    fn batch(after: i64, served: &[(u128, i64)]) -> (BatchRoom, Progress) {
        let mut progress = Progress::default();
        let mut request = LeaseRequest::new(WorkerId(1), 10, std::time::Duration::ZERO);
        for (workspace, row) in served {
            let workspace = WorkspaceId::from_bits(*workspace);
            progress.note(workspace, *row, after);
            request.workspaces.push(WorkspaceBounds {
                workspace,
                max: 1,
                unlisted_max: 0,
            });
        }
        (BatchRoom::of(&request), progress)
    }

    #[test]
    fn workspaces_that_are_cut_off_go_on_in_turn() {
        let mut cursors = Cursors::default();
        let mut next = |after, served: &[(u128, i64)]| {
            let (room, progress) = batch(after, served);
            cursors.next(&room, progress)
        };
        assert_eq!(next(0, &[(1, 10), (2, 110)]), Some(10));
        assert_eq!(next(10, &[(1, 20), (2, 110)]), Some(110));
        // The first one was served from its beginning.
        assert_eq!(next(110, &[(1, 10), (2, 120)]), Some(20));
        assert_eq!(next(20, &[(1, 30), (2, 110)]), Some(120));
        assert_eq!(next(120, &[(1, 10)]), Some(30));
        assert_eq!(next(30, &[]), None);
    }

    #[test]
    fn place_behind_the_beginning_comes_last() {
        let mut progress = Progress::default();
        let workspace = WorkspaceId::from_bits(1);
        for row in [7, 9, 2, 8] {
            progress.note(workspace, row, 5);
        }
        assert_eq!(progress.0[&workspace], (true, 2));
    }
}
