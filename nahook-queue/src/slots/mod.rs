//! Shares a worker's slots among workspaces, and each workspace's among its endpoints.
//!
//! A delivery holds a slot from its lease to its settlement, so whoever is slow pays with the slots that its attempts
//! keep. The bounds are shares of what a workspace could have: the free slots and those it holds itself.
//!
//! | of what other workspaces leave | at most |
//! | --- | --- |
//! | a workspace | 11/16 |
//! | its slow endpoints | 3/8 |
//! | its endpoints without a success, so far or lately | 1/4 |
//! | those of both kinds | 1/8 |
//!
//! Endpoints of either kind may keep their slots for long. Those of all workspaces together are lent as many slots as are free, and
//! a workspace 7/8 of what the others' leave of that. Where others' hold too many, it still has a part of its own for them, by the
//! number of workspaces that hold slots: 3/4 of an equal part, for those without a success 1/4.
//!
//! A workspace that has not had successes of late holds an equal part at most: beyond that each success earns one more slot, while
//! most of the others are in use. Receivers that stop answering can so take few slots more than they had. As long as attempts of
//! endpoints that had kept up are stuck, as many slots are left free, except by workspaces that hold less than 9/32 of an equal part.
//!
//! So some slots are always free for a workspace that comes later, and the last few are for those that hold none, or less than half
//! of an equal part. Room that nobody uses is lent, and taken back as attempts end. There is no I/O, no clock and no task here: time is
//! a parameter.

mod deal;
mod proven;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use foldhash::{HashMap, HashMapExt as _};
use nahook_core::id::{EndpointId, WorkspaceId};

use self::proven::Proven;
use crate::queue::LeaseRequest;

/// Time for which an endpoint without deliveries in flight is remembered if it had earned more than the initial bound …
const GROWN_MEMORY: Duration = Duration::from_secs(10);
/// … and if it was slow.
const SLOW_MEMORY: Duration = Duration::from_mins(10);
/// Upper bound on the slow endpoints remembered without deliveries in flight.
const SLOW_REMEMBERED_MAX: usize = 4_096;
/// Duration of a period.
const PERIOD: Duration = Duration::from_secs(1);
/// Number of failures in a row after which an endpoint counts as one without a success.
const FAILURES_MAX: u8 = 3;
/// Number of endpoints seen for the first time, lately, from which a workspace's unknown endpoints are judged.
const SAMPLE_MAX: usize = 512;

/// Numbers of a worker that its slots are shared by.
#[derive(Clone, Copy, Debug)]
pub struct SlotSettings {
    /// Number of slots.
    pub slots: usize,
    /// Upper bound for one endpoint that keeps up.
    pub per_endpoint_max: usize,
    /// Bound for an endpoint of which nothing is known.
    pub per_endpoint_initial: usize,
    /// Duration of an attempt from which its endpoint is a slow one.
    pub slow_after: Duration,
}

impl SlotSettings {
    /// Returns the number of slots that are kept for workspaces that hold none; twice as many are for those that hold little.
    fn kept(&self) -> usize {
        self.slots / 64
    }
}

/// A fraction.
type Share = (usize, usize);

/// Slots that workspaces share.
#[derive(Clone, Copy, Debug)]
struct Offer {
    /// All that there are.
    slots: usize,
    free: usize,
    /// Those of them that are for workspaces that hold none; twice as many are for those that hold little.
    kept: usize,
    /// Those that are held: with the free ones more than there are, where settlements are stuck.
    held: usize,
    /// Number that endpoints hold which are slow or without a success, of all workspaces.
    risky: usize,
    /// Number that are stuck: their attempts take long though their endpoints had kept up.
    stuck: usize,
    /// Number of workspaces that hold slots.
    active: usize,
    /// Number of workspaces that hold slots, or did lately.
    contending: usize,
    /// Number of other workspaces that hold no more, and will take slots as well.
    others: usize,
}

/// The slots of one worker, and what it knows of the endpoints that use them.
#[derive(Debug)]
pub struct Slots {
    settings: SlotSettings,
    endpoints: HashMap<EndpointId, Endpoint>,
    workspaces: HashMap<WorkspaceId, Workspace>,
    proven: Proven,
    /// Attempts in the order of their beginning, to find those that take long; some may be over.
    begun: VecDeque<(Instant, EndpointId, u64)>,
    period_ends: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Endpoint {
    workspace: WorkspaceId,
    in_flight: usize,
    /// Number of them that are stuck.
    stuck: usize,
    allowance: usize,
    is_slow: bool,
    /// It has succeeded, and neither failed slowly nor several times in a row since.
    is_proven: bool,
    failures_in_a_row: u8,
    paused_until: Option<Instant>,
    used_at: Instant,
}

/// Slots that a workspace holds, and what is known of it.
#[derive(Debug, Default)]
struct Workspace {
    held: usize,
    slow: usize,
    unproven: usize,
    slow_unproven: usize,
    stuck: usize,
    /// Number of slots that it has earned by successes.
    earned: usize,
    /// The most that it held at a success, in the present period and in the one before.
    peaks: [usize; 2],
    /// Number of its endpoints that are known.
    endpoints: usize,
    /// Of the endpoints that it used for the first time lately, those that succeeded in time …
    good: usize,
    /// … and the others.
    bad: usize,
    /// It reached a bound of its latest batch.
    is_hungry: bool,
    /// The slow endpoint that was offered last when there was no room for all: of the proven ones, and of the others.
    turns: [Option<EndpointId>; 2],
}

impl Slots {
    /// Slots that nothing holds.
    pub fn new(settings: SlotSettings) -> Self {
        Self {
            settings,
            endpoints: HashMap::new(),
            workspaces: HashMap::new(),
            proven: Proven::default(),
            begun: VecDeque::new(),
            period_ends: None,
        }
    }

    /// Takes a slot for a delivery that was leased.
    pub fn enter(&mut self, workspace: WorkspaceId, id: EndpointId, now: Instant) {
        if !self.endpoints.contains_key(&id) {
            let is_proven = self.proven.contains(&id);
            let of = self.workspaces.entry(workspace).or_default();
            of.endpoints += 1;
            if is_proven {
                of.judge(true);
            }
            let endpoint = Endpoint {
                workspace,
                in_flight: 0,
                stuck: 0,
                allowance: self.settings.per_endpoint_initial,
                is_slow: false,
                is_proven,
                failures_in_a_row: 0,
                paused_until: None,
                used_at: now,
            };
            self.endpoints.insert(id, endpoint);
        }
        self.change(&id, |endpoint| {
            endpoint.in_flight += 1;
            endpoint.used_at = now;
        });
    }

    /// Frees the slot of a delivery that was settled, or whose lease was lost.
    pub fn leave(&mut self, id: EndpointId, now: Instant) {
        self.change(&id, |endpoint| {
            endpoint.in_flight = endpoint.in_flight.saturating_sub(1);
            endpoint.stuck = endpoint.stuck.min(endpoint.in_flight);
            endpoint.used_at = now;
        });
        let endpoint = self.endpoints.get(&id);
        if endpoint.is_some_and(|endpoint| endpoint.is_forgettable(&self.settings)) {
            self.forget(&id);
        }
    }

    /// Notes that an attempt begins, known by its number from now on.
    pub fn begin(&mut self, id: EndpointId, number: u64, now: Instant) {
        self.begun.push_back((now, id, number));
    }

    /// Notes that an attempt is over.
    pub fn learn(&mut self, id: EndpointId, succeeded: bool, duration: Duration) {
        let settings = self.settings;
        let is_slow = duration >= settings.slow_after;
        let Some(endpoint) = self.endpoints.get(&id) else {
            return;
        };
        let (workspace, was_proven) = (endpoint.workspace, endpoint.is_proven);
        self.change(&id, |endpoint| {
            endpoint.is_slow = is_slow;
            endpoint.allowance = if succeeded {
                // Half of it in use counts as at its bound: of those that end together, each adds one.
                let was_limited = endpoint.in_flight * 2 >= endpoint.allowance;
                (endpoint.allowance + usize::from(was_limited)).min(settings.per_endpoint_max)
            } else if is_slow {
                1
            } else {
                (endpoint.allowance / 2).max(1)
            };
            let failures = endpoint.failures_in_a_row.saturating_add(1);
            endpoint.failures_in_a_row = if succeeded { 0 } else { failures };
            endpoint.is_proven = succeeded
                || endpoint.is_proven && !is_slow && endpoint.failures_in_a_row < FAILURES_MAX;
        });
        let is_proven = self.endpoints.get(&id).is_some_and(|it| it.is_proven);
        if is_proven {
            self.proven.insert(id, workspace);
        } else {
            self.proven.remove(&id);
        }
        if succeeded && let Some(workspace) = self.workspaces.get_mut(&workspace) {
            workspace.earn();
        }
        let is_news = !was_proven || !is_proven;
        if let Some(workspace) = self.workspaces.get_mut(&workspace).filter(|_| is_news) {
            workspace.judge(succeeded && !is_slow);
        }
    }

    /// Leases nothing for the endpoint until then.
    pub fn pause(&mut self, id: EndpointId, until: Instant) {
        if let Some(endpoint) = self.endpoints.get_mut(&id) {
            endpoint.paused_until = Some(until);
        }
    }

    /// Marks endpoints slow whose attempts are running for long; `is_running` tells if an attempt is.
    pub fn mark_slow(&mut self, now: Instant, is_running: impl Fn(u64) -> bool) {
        while let Some((begun, id, number)) = self.begun.front().copied()
            && (now.duration_since(begun) >= self.settings.slow_after || !is_running(number))
        {
            self.begun.pop_front();
            if is_running(number) {
                self.change(&id, |endpoint| {
                    if endpoint.is_proven && !endpoint.is_slow {
                        endpoint.stuck = endpoint.in_flight;
                    }
                    endpoint.is_slow = true;
                });
            }
        }
    }

    /// Takes in the batch that a request brought, as the workspaces of its deliveries, once these have entered. Returns true if it
    /// reached a bound that is wider by now, so that asking again at once may find more.
    pub fn leased(&mut self, request: &LeaseRequest, batch: &[WorkspaceId], free: usize) -> bool {
        let mut counts: HashMap<WorkspaceId, usize> = HashMap::new();
        for workspace in batch {
            *counts.entry(*workspace).or_default() += 1;
        }
        for bounds in request.workspaces.iter().filter(|it| it.max > 0) {
            counts.entry(bounds.workspace).or_default();
        }
        // Less would be asked for by ever smaller parts, while what is settled wakes the worker in any case.
        let worthwhile = self.settings.slots / 64;
        let offer = self.offer(free);
        let mut may_have_more = batch.len() >= request.max && free > 4 * worthwhile;
        for (id, count) in counts {
            let bounds = request.bounds_of(id);
            let unlisted_max = Some(bounds.unlisted_max).filter(|max| *max > 0);
            if let Some(workspace) = self.workspaces.get_mut(&id) {
                workspace.is_hungry =
                    count >= bounds.max || unlisted_max.is_some_and(|max| count >= max);
                let least = worthwhile.min(workspace.held / 2);
                may_have_more |= workspace.is_hungry && workspace.room(offer) > least;
            }
        }
        may_have_more
    }

    /// Returns the offer to a workspace that holds slots, if no other takes any.
    fn offer(&self, free: usize) -> Offer {
        let workspaces = self.workspaces.values();
        Offer {
            slots: self.settings.slots,
            free,
            kept: self.settings.kept(),
            held: workspaces.clone().map(|it| it.held).sum(),
            risky: workspaces.clone().map(Workspace::risky).sum(),
            stuck: workspaces.clone().map(|it| it.stuck).sum(),
            active: workspaces.clone().filter(|it| it.held > 0).count(),
            contending: workspaces.filter(|it| it.is_contending()).count(),
            others: 0,
        }
    }

    /// Changes what is known of an endpoint, and its workspace's counts with it.
    fn change(&mut self, id: &EndpointId, change: impl FnOnce(&mut Endpoint)) {
        if let Some(endpoint) = self.endpoints.get_mut(id)
            && let Some(workspace) = self.workspaces.get_mut(&endpoint.workspace)
        {
            workspace.count(endpoint, |count, held| *count -= held);
            change(endpoint);
            workspace.count(endpoint, |count, held| *count += held);
        }
    }

    fn forget(&mut self, id: &EndpointId) {
        if let Some(endpoint) = self.endpoints.remove(id)
            && let Some(workspace) = self.workspaces.get_mut(&endpoint.workspace)
        {
            workspace.endpoints -= 1;
        }
    }

    /// Forgets endpoints that have had nothing in flight for long.
    fn forget_idle(&mut self, now: Instant) {
        let slow = self.endpoints.values().filter(|it| it.is_slow).count();
        let slow_memory = if slow > SLOW_REMEMBERED_MAX {
            GROWN_MEMORY
        } else {
            SLOW_MEMORY
        };
        let mut idle = Vec::new();
        for (id, endpoint) in &mut self.endpoints {
            endpoint.paused_until = endpoint.paused_until.filter(|until| *until > now);
            let memory = if endpoint.is_slow {
                slow_memory
            } else {
                GROWN_MEMORY
            };
            let is_rested = now.duration_since(endpoint.used_at) >= memory;
            if endpoint.in_flight == 0 && endpoint.paused_until.is_none() && is_rested {
                idle.push(*id);
            }
        }
        for id in idle {
            self.forget(&id);
        }
    }
}

impl Endpoint {
    /// Returns true if it may be forgotten as soon as nothing is in flight: a bound below the initial one, because of quick
    /// failures, is not worth remembering.
    fn is_forgettable(&self, settings: &SlotSettings) -> bool {
        self.in_flight == 0
            && !self.is_slow
            && self.paused_until.is_none()
            && self.allowance <= settings.per_endpoint_initial
    }
}

/// Returns how much of `available` may be taken by whoever uses `used` of it to have a share, while so many others take as much:
/// what all of them leave is shared then.
fn part_of((part, of): Share, available: usize, least: usize, used: usize, others: usize) -> usize {
    let max = (part * available).div_ceil(of).max(least);
    (max.saturating_sub(used) * of).div_ceil(of + part * others)
}

impl Workspace {
    fn count(&mut self, endpoint: &Endpoint, change: impl Fn(&mut usize, usize)) {
        let held = endpoint.in_flight;
        change(&mut self.held, held);
        change(&mut self.stuck, endpoint.stuck);
        if endpoint.is_slow {
            change(&mut self.slow, held);
        }
        if !endpoint.is_proven {
            change(&mut self.unproven, held);
            if endpoint.is_slow {
                change(&mut self.slow_unproven, held);
            }
        }
    }

    /// Notes a success, which earns one more slot where most of the others are in use.
    fn earn(&mut self) {
        self.peaks[0] = self.peaks[0].max(self.held);
        self.earned = self.earned.max(self.held);
        self.earned += usize::from(4 * self.held >= 3 * self.earned);
    }

    /// Begins a period: what was not used in the two before is not earned any more.
    fn begin_period(&mut self) {
        let [present, before] = self.peaks;
        self.earned = self.earned.min(present.max(before));
        self.peaks = [0, present];
    }

    fn judge(&mut self, is_good: bool) {
        *(if is_good {
            &mut self.good
        } else {
            &mut self.bad
        }) += 1;
        if self.good + self.bad > SAMPLE_MAX {
            self.good /= 2;
            self.bad /= 2;
        }
    }

    /// Returns the number of slots that other workspaces leave to it.
    fn available(&self, free: usize) -> usize {
        free + self.held
    }

    /// Returns how many more slots it may take to use `share` of what others leave, where it uses `used`.
    fn more(&self, share: Share, used: usize, least: usize, offer: Offer) -> usize {
        let available = self.available(offer.free);
        part_of(share, available, least, used, offer.others)
    }

    /// Returns how many slots its slow endpoints may hold even where other workspaces' hold too many: three quarters of an equal
    /// part.
    fn guaranteed(&self, offer: Offer) -> usize {
        let active = offer.active + usize::from(self.held == 0);
        3 * offer.slots / (4 * active.max(2))
    }

    /// Returns true if it holds slots, or had a success in the present period or the one before.
    fn is_contending(&self) -> bool {
        self.held > 0 || self.peaks != [0; 2]
    }

    /// Returns the number of slots that it may take now.
    fn room(&self, offer: Offer) -> usize {
        let kept = match self.held {
            0 => 0,
            // Less than half of an equal part.
            held if 2 * offer.active * held < offer.slots => offer.kept,
            _ => 3 * offer.kept,
        };
        let contending = offer.contending + usize::from(!self.is_contending());
        let equal = offer
            .slots
            .max(offer.free + offer.held)
            .div_ceil(contending);
        let earned = self.earned.max(equal).saturating_sub(self.held);
        let unstuck = offer.free.saturating_sub(offer.stuck);
        self.more((11, 16), self.held, 1, offer)
            .max(equal.div_ceil(2).saturating_sub(self.held))
            .min(earned)
            .min(unstuck)
            .max((9 * equal / 32).saturating_sub(self.held))
            .min(offer.free.saturating_sub(kept))
    }

    /// Returns how many of those endpoints may take that are slow or without a success: they may keep them for long.
    fn risky_room(&self, offer: Offer) -> usize {
        let guaranteed = self.guaranteed(offer).max(1).saturating_sub(self.risky());
        self.lent(offer).max(guaranteed).min(self.room(offer))
    }

    /// Returns how many slots such endpoints may take of those that all workspaces have for them, which are no more than
    /// the others.
    fn lent(&self, offer: Offer) -> usize {
        let left = offer.free.saturating_sub(offer.risky) / 2;
        part_of((7, 8), left + self.risky(), 0, self.risky(), offer.others)
    }

    /// Returns how many its slow endpoints may take.
    fn slow_room(&self, offer: Offer) -> usize {
        let guaranteed = self.guaranteed(offer).saturating_sub(self.slow);
        self.more((3, 8), self.slow, 1, offer)
            .max(guaranteed)
            .min(self.risky_room(offer))
    }

    /// Returns how many endpoints without a success may take.
    fn unproven_room(&self, offer: Offer) -> usize {
        let guaranteed = self.guaranteed(offer).div_ceil(3);
        let room = self
            .lent(offer)
            .max(guaranteed.saturating_sub(self.unproven));
        // At least two, so that slow ones, which have at most half of it, leave one.
        self.more((1, 4), self.unproven, 2, offer)
            .min(room)
            .min(self.risky_room(offer))
    }

    /// Returns how many endpoints that are slow and without a success may take.
    fn slow_unproven_room(&self, offer: Offer) -> usize {
        self.more((1, 8), self.slow_unproven, 1, offer)
            .min(self.unproven_room(offer))
            .min(self.slow_room(offer))
    }

    /// Returns how many slots those endpoints hold that are slow or without a success.
    fn risky(&self) -> usize {
        self.slow + self.unproven - self.slow_unproven
    }

    /// Returns true if it would take more slots, and may.
    fn is_growing(&self, offer: Offer) -> bool {
        self.is_hungry && self.room(offer) > 0 && self.risky_room(offer) > 0
    }
}

#[cfg(test)]
mod tests;
