//! Makes the bounds of a request for leases from what is known of workspaces and endpoints.

use std::time::{Duration, Instant};

use foldhash::{HashMap, HashMapExt as _};
use nahook_core::id::{EndpointId, WorkspaceId};

use super::{Offer, Slots, Workspace};
use crate::queue::{LeaseRequest, WorkerId, WorkspaceBounds};

/// Time after which slow endpoints that had to stand back are offered again.
const TURN: Duration = Duration::from_millis(50);
/// Upper bound on the proven endpoints without deliveries in flight that a request lists.
const LISTED_MAX: usize = 2_048;

/// Part of all slots that a workspace may take in one batch while it holds none.
const FIRST: usize = 32;

/// Endpoints of one workspace that share bounded room: each with its deliveries in flight and its own bound.
type Sharing = Vec<(EndpointId, usize, usize)>;

/// Those of one workspace by kind.
#[derive(Default)]
struct Kinds {
    slow_proven: Sharing,
    slow_unproven: Sharing,
    unproven: Sharing,
    /// They have bounds of their own that are not shared.
    proven: Vec<(EndpointId, usize)>,
}

impl Slots {
    /// Makes the next request while `free` slots are not in use. Returns with it the instant at which time alone makes its
    /// bounds wider.
    pub fn request(
        &mut self,
        worker: WorkerId,
        free: usize,
        duration: Duration,
        now: Instant,
    ) -> (LeaseRequest, Option<Instant>) {
        self.forget_idle(now);
        if self.period_ends.is_none_or(|at| at <= now) {
            self.period_ends = Some(now + super::PERIOD);
            self.workspaces
                .retain(|_, it| it.endpoints > 0 || it.peaks != [0; 2]);
            self.workspaces
                .values_mut()
                .for_each(Workspace::begin_period);
        }
        let alone = self.offer(free);
        let mut request = LeaseRequest {
            per_endpoint_max: self.settings.per_endpoint_initial,
            // A first share that is small, since any number may come at a time: the next request will know them.
            per_workspace_max: self.first_share(free),
            ..LeaseRequest::new(worker, (3 * free).div_ceil(4), duration)
        };
        let mut wider_at: Option<Instant> = None;
        let mut note_wider = |at| wider_at = Some(wider_at.map_or(at, |other| at.min(other)));
        let mut by_workspace: HashMap<WorkspaceId, Kinds> = HashMap::new();
        for (id, endpoint) in &self.endpoints {
            if let Some(until) = endpoint.paused_until {
                request.exceptions.push((*id, 0));
                note_wider(until);
                continue;
            }
            let (in_flight, allowance) = (endpoint.in_flight, endpoint.allowance);
            let kinds = by_workspace.entry(endpoint.workspace).or_default();
            match (endpoint.is_slow, endpoint.is_proven) {
                (true, true) => kinds.slow_proven.push((*id, in_flight, allowance)),
                (true, false) => kinds.slow_unproven.push((*id, in_flight, allowance)),
                (false, true) => kinds.proven.push((*id, allowance)),
                (false, false) => kinds.unproven.push((*id, in_flight, allowance)),
            }
        }
        let mut scarce = HashMap::new();
        let growing = self.workspaces.values();
        let growing = growing.filter(|it| it.is_growing(alone));
        let mut growing: Vec<_> = growing.map(|it| it.held).collect();
        growing.sort_unstable();
        for (id, kinds) in by_workspace {
            let Some(workspace) = self.workspaces.get_mut(&id) else {
                continue;
            };
            let offer = Offer {
                // Those that hold more have to wait for it.
                others: growing.partition_point(|held| *held <= workspace.held)
                    - usize::from(workspace.is_growing(alone)),
                ..alone
            };
            let (mut bounds, has_turns) = workspace.deal(id, kinds, offer, &mut request);
            if has_turns {
                note_wider(now + TURN);
            }
            if workspace.is_scarce(&bounds, free) {
                scarce.insert(id, 0_usize);
            }
            if workspace.held == 0 {
                bounds.max = bounds.max.min(request.per_workspace_max);
                bounds.unlisted_max = bounds.unlisted_max.min(bounds.max);
            }
            request.workspaces.push(bounds);
        }
        self.list_proven(scarce, &mut request);
        (request, wider_at)
    }

    /// Returns how many slots a workspace may take in one batch while it holds none.
    fn first_share(&self, free: usize) -> usize {
        let share = self.settings.slots / FIRST;
        let least = self.settings.per_endpoint_initial;
        share.max(least).min(free / 8).max(1)
    }

    /// Lists endpoints with a success where those that are not listed are short of room.
    fn list_proven(&self, mut scarce: HashMap<WorkspaceId, usize>, request: &mut LeaseRequest) {
        if scarce.is_empty() {
            return;
        }
        let (mut all, each) = (LISTED_MAX, LISTED_MAX / scarce.len());
        for (id, workspace) in self.proven.iter() {
            if let Some(listed) = scarce.get_mut(workspace)
                && *listed < each
                && !self.endpoints.contains_key(id)
            {
                *listed += 1;
                all -= 1;
                let bound = self.settings.per_endpoint_initial;
                request.exceptions.push((*id, bound));
            }
            if all == 0 {
                return;
            }
        }
    }
}

impl Workspace {
    /// Deals its room to its endpoints. Returns its own bounds, and true if some of them take turns.
    fn deal(
        &mut self,
        id: WorkspaceId,
        kinds: Kinds,
        offer: Offer,
        request: &mut LeaseRequest,
    ) -> (WorkspaceBounds, bool) {
        let room = self.room(offer);
        let (slow, unproven) = (self.slow_room(offer), self.unproven_room(offer));
        let (risky, of_both) = (self.risky_room(offer), self.slow_unproven_room(offer));
        let [turn, turn_unproven] = &mut self.turns;
        let exceptions = &mut request.exceptions;
        // Some are left to endpoints that have not been tried: the slow ones could keep them waiting for ever.
        let untried = unproven
            .min((risky / 8).max(1))
            .min(risky.saturating_sub(usize::from(self.slow == 0)));
        let most = slow.min(risky - untried);
        let (given, has_turns) = share(kinds.slow_proven, most, turn, exceptions);
        let mut unproven = unproven.min(risky - given);
        let of_both = of_both.min(slow - given).min(unproven - untried);
        let (given, unproven_has) = share(kinds.slow_unproven, of_both, turn_unproven, exceptions);
        unproven -= given;
        // Half of the others for those that are being tried, half for those that have not been.
        let half = (unproven - untried).div_ceil(2);
        unproven -= share(kinds.unproven, half, &mut None, exceptions).0;
        let bounds = WorkspaceBounds {
            workspace: id,
            max: room,
            unlisted_max: self.unlisted(unproven, offer.free).min(room),
        };
        let is_scarce = self.is_scarce(&bounds, offer.free);
        let usual = request.per_endpoint_max;
        let proven = kinds.proven.into_iter();
        exceptions.extend(proven.filter(|(_, bound)| is_scarce || *bound != usual));
        (bounds, has_turns || unproven_has)
    }

    /// Returns true if the room of endpoints that are not listed is so small that those with a success should be.
    fn is_scarce(&self, bounds: &WorkspaceBounds, free: usize) -> bool {
        bounds.unlisted_max < bounds.max.min(self.available(free) / 8)
    }

    /// Widens the room of endpoints without a success to that of endpoints of which nothing is known, by how many of those
    /// succeeded lately; but a sixteenth of what is available stays with those that have.
    fn unlisted(&self, room: usize, free: usize) -> usize {
        let widened = room * (self.good + self.bad + 1) / (self.bad + 1);
        let max = (self.available(free) * 5 / 8).saturating_sub(self.slow + self.unproven);
        widened.min(max.max(room))
    }
}

/// Deals room in equal shares, or one each and in turn. Returns how much was given, and true if some had to stand back.
fn share(
    mut sharing: Sharing,
    room: usize,
    turn: &mut Option<EndpointId>,
    exceptions: &mut Vec<(EndpointId, usize)>,
) -> (usize, bool) {
    let mut left = room;
    let Some(share) = room.checked_div(sharing.len()) else {
        return (0, false);
    };
    let has_turns = share == 0 && room > 0;
    if has_turns {
        sharing.sort_unstable();
        let next = sharing.partition_point(|(id, ..)| Some(*id) <= *turn);
        sharing.rotate_left(next);
    }
    for (id, in_flight, allowance) in sharing {
        let more = share
            .max(1)
            .min(left)
            .min(allowance.saturating_sub(in_flight));
        if has_turns && more > 0 {
            *turn = Some(id);
        }
        left -= more;
        exceptions.push((id, if more > 0 { in_flight + more } else { 0 }));
    }
    (room - left, has_turns)
}
