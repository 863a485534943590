//! Endpoints in the order of their turns: workspaces take turns, and within each its endpoints.

use std::collections::VecDeque;

use foldhash::HashMap;

/// Endpoints by workspace, each once. All go by their rows' numbers.
#[derive(Debug, Default)]
pub(super) struct Rings {
    by_workspace: HashMap<i64, VecDeque<i64>>,
    /// The workspaces that have any.
    turns: VecDeque<i64>,
}

/// What becomes of an endpoint whose turn it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Offer {
    /// It leaves the ring.
    Takes,
    /// It stays.
    Passes,
    /// It stays, and so do the others of its workspace.
    Ends,
}

impl Rings {
    /// Puts an endpoint at the end of its workspace's ring.
    pub(super) fn push(&mut self, workspace: i64, endpoint: i64) {
        let ring = self.by_workspace.entry(workspace).or_default();
        if ring.is_empty() {
            self.turns.push_back(workspace);
        }
        ring.push_back(endpoint);
    }

    /// Offers endpoints in turn, each once at most, until `max` of them have left.
    pub(super) fn go_round(&mut self, max: usize, mut offer: impl FnMut(i64, i64) -> Offer) {
        let (mut taken, mut done) = (0, Vec::new());
        // Of a workspace that comes round, those that have passed are not asked again.
        let mut passed: HashMap<i64, usize> = HashMap::default();
        while taken < max
            && let Some(workspace) = self.turns.pop_front()
        {
            let ring = self.by_workspace.entry(workspace).or_default();
            let passed = passed.entry(workspace).or_default();
            let mut has_taken = false;
            while !has_taken
                && *passed < ring.len()
                && let Some(endpoint) = ring.pop_front()
            {
                match offer(workspace, endpoint) {
                    Offer::Takes => {
                        has_taken = true;
                        taken += 1;
                    }
                    Offer::Passes => {
                        *passed += 1;
                        ring.push_back(endpoint);
                    }
                    Offer::Ends => {
                        ring.push_front(endpoint);
                        break;
                    }
                }
            }
            if ring.is_empty() {
                self.by_workspace.remove(&workspace);
            } else if has_taken {
                self.turns.push_back(workspace);
            } else {
                done.push(workspace);
            }
        }
        self.turns.extend(done);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rings() -> Rings {
        let mut rings = Rings::default();
        for endpoint in 10..14 {
            rings.push(1, endpoint);
        }
        rings.push(2, 20);
        rings
    }

    #[test]
    fn workspaces_take_turns_and_keep_their_places() {
        let mut rings = rings();
        let mut taken = |max| {
            let mut taken = Vec::new();
            rings.go_round(max, |_, endpoint| {
                taken.push(endpoint);
                Offer::Takes
            });
            taken
        };
        assert_eq!(taken(3), [10, 20, 11]);
        assert_eq!(taken(9), [12, 13]);
        assert_eq!(taken(9), [0; 0]);
        assert!(rings.by_workspace.is_empty() && rings.turns.is_empty());
    }

    #[test]
    fn endpoints_that_pass_are_offered_once_and_stay() {
        let mut rings = rings();
        let mut offered = Vec::new();
        rings.go_round(9, |_, endpoint| {
            offered.push(endpoint);
            if endpoint % 2 == 0 {
                Offer::Passes
            } else {
                Offer::Takes
            }
        });
        assert_eq!(offered, [10, 11, 20, 12, 13]);
        let mut left = Vec::new();
        rings.go_round(9, |_, endpoint| {
            left.push(endpoint);
            Offer::Takes
        });
        left.sort_unstable();
        assert_eq!(left, [10, 12, 20]);
    }

    #[test]
    fn workspace_that_ends_is_asked_no_further_and_holds_no_other_back() {
        let mut rings = rings();
        let mut offered = Vec::new();
        rings.go_round(9, |workspace, endpoint| {
            offered.push(endpoint);
            if workspace == 1 {
                Offer::Ends
            } else {
                Offer::Takes
            }
        });
        assert_eq!(offered, [10, 20]);
    }
}
