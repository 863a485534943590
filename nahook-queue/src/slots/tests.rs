#![expect(
    clippy::disallowed_methods,
    reason = "only differences of instants count"
)]

use super::*;
use crate::queue::WorkerId;

const QUICK: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(15);
const LEASE: Duration = Duration::from_mins(1);
const NANOSECOND: Duration = Duration::from_nanos(1);

/// Forty slots: of all, a workspace may have 28, its slow endpoints 15, those without a success 10, both 17, slow ones without a
/// success 5.
const SETTINGS: SlotSettings = SlotSettings {
    slots: 40,
    per_endpoint_max: 8,
    per_endpoint_initial: 4,
    slow_after: Duration::from_secs(1),
};

fn id(nth: usize) -> EndpointId {
    EndpointId::new(&format!("ep_{nth:05}")).unwrap()
}

fn workspace(nth: usize) -> WorkspaceId {
    WorkspaceId::new(&format!("ws_{nth}")).unwrap()
}

/// Slots whose time is told by the test; everything belongs to one workspace unless said otherwise.
struct Rig {
    slots: Slots,
    now: Instant,
}

impl Rig {
    fn new() -> Self {
        Self {
            slots: Slots::new(SETTINGS),
            now: Instant::now(),
        }
    }

    fn enter(&mut self, of: usize, nth: usize, count: usize) {
        for _ in 0..count {
            self.slots.enter(workspace(of), id(nth), self.now);
        }
    }

    fn leave(&mut self, nth: usize, count: usize) {
        for _ in 0..count {
            self.slots.leave(id(nth), self.now);
        }
    }

    /// Gives the endpoint so many deliveries in flight, each of which has ended that way and is not settled yet.
    fn ended(&mut self, nth: usize, count: usize, succeeded: bool, duration: Duration) {
        self.enter(0, nth, count);
        for _ in 0..count {
            self.slots.learn(id(nth), succeeded, duration);
        }
    }

    /// Makes the endpoint one with a success, and leaves nothing in flight.
    fn prove(&mut self, nth: usize, duration: Duration) {
        self.ended(nth, 1, true, duration);
        self.leave(nth, 1);
    }

    /// Gives the workspace a success of its endpoint with the same number.
    fn succeed(&mut self, nth: usize) {
        self.enter(nth, nth, 1);
        self.slots.learn(id(nth), true, QUICK);
    }

    /// Has the workspace earn so many slots in the present period.
    fn earn(&mut self, nth: usize, count: usize) {
        self.request(1);
        let of = self.slots.workspaces.get_mut(&workspace(nth));
        of.unwrap().earned = count;
    }

    fn request(&mut self, free: usize) -> LeaseRequest {
        self.asked(free).0
    }

    fn asked(&mut self, free: usize) -> (LeaseRequest, Option<Instant>) {
        self.slots.request(WorkerId(1), free, LEASE, self.now)
    }

    fn bound(&mut self, nth: usize) -> usize {
        let request = self.request(40);
        listed(&request, nth).unwrap_or(request.per_endpoint_max)
    }

    fn known(&self) -> Vec<EndpointId> {
        let mut known: Vec<_> = self.slots.endpoints.keys().copied().collect();
        known.sort_unstable();
        known
    }
}

fn listed(request: &LeaseRequest, nth: usize) -> Option<usize> {
    let mut exceptions = request.exceptions.iter();
    let found = exceptions.find(|(other, _)| *other == id(nth));
    found.map(|(_, bound)| *bound)
}

#[test]
fn unknown_workspace_gets_little_and_a_request_leaves_a_quarter() {
    let (request, wider_at) = Rig::new().asked(40);
    let expected = LeaseRequest {
        per_endpoint_max: 4,
        per_workspace_max: 4,
        ..LeaseRequest::new(WorkerId(1), 30, LEASE)
    };
    assert_eq!((request, wider_at), (expected, None));
    let mut rig = Rig::new();
    rig.slots.settings.slots = 768;
    assert_eq!(rig.request(768).per_workspace_max, 24);
    for free in 1..8 {
        let request = Rig::new().request(free);
        assert!(request.max >= 1 && request.max <= free && request.per_workspace_max == 1);
    }
}

#[test]
fn workspace_may_hold_eleven_sixteenths_of_what_others_leave() {
    let mut rig = Rig::new();
    for (nth, held, free, room) in [
        (0, 1, 39, 27),
        (1, 30, 10, 0),
        (2, 10, 20, 11),
        (3, 1, 1, 1),
    ] {
        rig.enter(nth, nth, held);
        // More than an equal part has to be earned.
        rig.earn(nth, 40);
        let bounds = rig.request(free).bounds_of(workspace(nth));
        assert_eq!(bounds.max, room, "{held} held, {free} free");
    }
    let unknown = rig.request(16).bounds_of(workspace(9));
    assert_eq!((unknown.max, unknown.unlisted_max), (2, 2));
}

#[test]
fn workspaces_that_take_all_they_may_leave_some_slots() {
    let mut rig = Rig::new();
    rig.slots.settings.slots = 768;
    let mut free = 768;
    for nth in 0..12 {
        assert!(free >= 1, "nothing for the {nth}th");
        rig.enter(nth, nth, 1);
        free -= 1;
        for _ in 0..200 {
            let more = rig.request(free).bounds_of(workspace(nth)).max;
            assert!(more <= free);
            rig.enter(nth, nth, more);
            free -= more;
        }
    }
}

#[test]
fn more_than_an_equal_part_is_earned_by_successes() {
    let mut rig = Rig::new();
    for nth in 0..4 {
        rig.succeed(nth);
    }
    let room = |rig: &mut Rig| rig.request(27).bounds_of(workspace(0)).max;
    // Ten are an equal part, of which it holds one.
    let of_one = |rig: &Rig| rig.slots.workspaces[&workspace(0)].earned;
    for nth in 0..4 {
        assert_eq!(rig.request(36).bounds_of(workspace(nth)).max, 9);
    }
    rig.enter(0, 0, 9);
    assert_eq!(room(&mut rig), 0);
    for _ in 0..100 {
        rig.slots.learn(id(0), true, QUICK);
    }
    // A third more at a time.
    assert_eq!((of_one(&rig), room(&mut rig)), (14, 4));
    // What is not used for two periods is not earned any more.
    for expected in [10, 10, 0] {
        rig.now += PERIOD;
        rig.request(36);
        assert_eq!(of_one(&rig), expected);
    }
}

#[test]
fn attempts_that_are_stuck_leave_as_many_slots_free() {
    let mut rig = Rig::new();
    for nth in 0..3 {
        rig.succeed(nth);
        rig.earn(nth, 40);
    }
    let room = |rig: &mut Rig| rig.request(27).bounds_of(workspace(1)).max;
    rig.enter(0, 0, 9);
    assert_eq!(room(&mut rig), 19);
    for number in 0..10 {
        rig.slots.begin(id(0), number, rig.now);
    }
    rig.slots.mark_slow(rig.now + LONG, |_| true);
    // Seventeen more than the ten that are stuck.
    assert_eq!(room(&mut rig), 17);
    // The part that each has are three, of which it holds one: nine of 32 of an equal one.
    let stuck = rig.slots.offer(5);
    assert_eq!(rig.slots.workspaces[&workspace(1)].room(stuck), 2);
    rig.leave(0, 10);
    assert_eq!(rig.slots.offer(5).stuck, 0);
}

#[test]
fn endpoints_without_a_success_share_a_quarter() {
    let mut rig = Rig::new();
    rig.enter(0, 0, 1);
    // Nine are left, of which the one that is being tried may have three more.
    let request = rig.request(39);
    assert_eq!(listed(&request, 0), Some(4));
    assert_eq!(request.bounds_of(workspace(0)).unlisted_max, 6);
    for nth in 1..10 {
        rig.enter(0, nth, 1);
    }
    let request = rig.request(30);
    assert_eq!(request.bounds_of(workspace(0)).unlisted_max, 0);
    assert!((0..10).all(|nth| listed(&request, nth) == Some(0)));
    assert_eq!(request.bounds_of(workspace(0)).max, 18);
}

#[test]
fn endpoints_that_may_keep_slots_for_long_have_half_of_all_and_a_part_beyond() {
    let mut rig = Rig::new();
    rig.slots.settings.slots = 768;
    let mut free = 768;
    let mut take_all = |rig: &mut Rig, nth| {
        for _ in 0..200 {
            let bounds = rig.request(free).bounds_of(workspace(nth));
            let more = bounds.max.min(bounds.unlisted_max);
            rig.enter(nth, nth, more);
            free -= more;
        }
        rig.slots.workspaces[&workspace(nth)].held
    };
    let held = [0, 1, 2, 3, 4, 5].map(|nth| take_all(&mut rig, nth));
    // A quarter of what others leave, then of what is lent or of an equal part, whichever is more.
    assert_eq!(held[0], 192);
    assert!(held.is_sorted_by(|more, less| more >= less), "{held:?}");
    assert!(
        held[1] <= 144 && held[2] <= 768 / 12 && held[5] <= 768 / 24,
        "{held:?}"
    );
    assert!(held[5] >= 768 / 24 - 1, "{held:?}");
}

#[test]
fn last_slots_are_for_workspaces_that_hold_little() {
    let mut rig = Rig::new();
    rig.slots.settings.slots = 768;
    rig.enter(0, 0, 20);
    for nth in 1..24 {
        rig.enter(nth, nth, 10);
    }
    // Half of an equal part are sixteen.
    for (free, of_much, of_little) in [(42, 6, 22), (30, 0, 18), (20, 0, 8), (12, 0, 0)] {
        let request = rig.request(free);
        let rooms = [0, 1].map(|nth| request.bounds_of(workspace(nth)).max);
        assert_eq!(rooms, [of_much, of_little], "{free} free");
        assert_eq!(request.bounds_of(workspace(24)).max, free / 8);
    }
}

#[test]
fn success_of_unknown_endpoints_widens_the_room_of_others() {
    let mut rig = Rig::new();
    for nth in 0..10 {
        rig.ended(nth, 1, true, QUICK);
    }
    // All that the workspace may take would be more than five eighths of forty.
    let bounds = rig.request(30).bounds_of(workspace(0));
    assert_eq!((bounds.max, bounds.unlisted_max), (18, 18));
    for nth in 10..30 {
        rig.enter(0, nth, 1);
    }
    assert_eq!(rig.request(10).bounds_of(workspace(0)).unlisted_max, 0);
    for nth in 0..30 {
        rig.slots.learn(id(nth), false, LONG);
        rig.leave(nth, 1);
    }
    // Thirty have failed: one may be good for four of them.
    rig.enter(0, 0, 1);
    let bounds = rig.request(39).bounds_of(workspace(0));
    assert!(bounds.unlisted_max <= 10, "{bounds:?}");
}

#[test]
fn proven_endpoints_are_listed_while_the_others_are_short_of_room() {
    let mut rig = Rig::new();
    rig.prove(0, QUICK);
    rig.enter(1, 99, 1);
    assert_eq!(listed(&rig.request(39), 0), None);
    for nth in 1..11 {
        rig.enter(0, nth, 1);
    }
    let request = rig.request(29);
    assert_eq!(listed(&request, 0), Some(4));
    // Three failures in a row, and it is like any other.
    rig.ended(0, 3, false, QUICK);
    rig.leave(0, 3);
    assert_eq!(listed(&rig.request(29), 0), None);
}

#[test]
fn slow_endpoints_with_a_success_go_before_those_without() {
    let mut rig = Rig::new();
    for nth in 0..4 {
        rig.ended(nth, 4, true, LONG);
        rig.leave(nth, 4);
    }
    for nth in 4..9 {
        rig.ended(nth, 1, false, LONG);
        rig.leave(nth, 1);
    }
    let request = rig.request(40);
    let sum = |range: std::ops::Range<usize>| range.filter_map(|nth| listed(&request, nth)).sum();
    let (proven, others): (usize, usize) = (sum(0..4), sum(4..9));
    // The fifteen are four for each but the last, and its bound is what is left.
    assert_eq!((proven, others), (12, 3));
    let mut rig = Rig::new();
    for nth in 4..9 {
        rig.ended(nth, 1, false, LONG);
        rig.leave(nth, 1);
    }
    let request = rig.request(40);
    assert!((4..9).all(|nth| listed(&request, nth) == Some(1)));
}

#[test]
fn bound_that_cut_a_batch_is_a_reason_to_ask_again() {
    let mut rig = Rig::new();
    let request = rig.request(40);
    let batch = [workspace(0); 5];
    rig.enter(0, 0, 5);
    assert!(rig.slots.leased(&request, &batch, 35));
    assert!(!rig.slots.leased(&request, &batch[..3], 35));
    assert!(!rig.slots.leased(&request, &[], 35));
    // Without room there is no reason.
    rig.enter(0, 0, 25);
    assert!(!rig.slots.leased(&request, &batch, 10));
    let all = [workspace(0); 30];
    assert!(rig.slots.leased(&request, &all, 10));
    assert!(!rig.slots.leased(&request, &all, 0));
}

#[test]
fn counts_return_to_nothing() {
    let mut rig = Rig::new();
    for nth in 0..4 {
        rig.enter(0, nth, 3);
        rig.slots.begin(id(nth), nth as u64, rig.now);
    }
    rig.slots.mark_slow(rig.now + LONG, |number| number < 2);
    rig.slots.learn(id(0), true, LONG);
    rig.slots.learn(id(1), false, LONG);
    rig.slots.learn(id(2), true, QUICK);
    let of = &rig.slots.workspaces[&workspace(0)];
    assert_eq!(
        (of.held, of.slow, of.unproven, of.slow_unproven),
        (12, 6, 6, 3)
    );
    for nth in 0..4 {
        rig.leave(nth, 3);
    }
    let of = &rig.slots.workspaces[&workspace(0)];
    assert_eq!(
        (of.held, of.slow, of.unproven, of.slow_unproven),
        (0, 0, 0, 0)
    );
    for _ in 0..3 {
        rig.now += SLOW_MEMORY;
        rig.request(40);
    }
    assert!(rig.slots.workspaces.is_empty() && rig.slots.endpoints.is_empty());
}

#[test]
fn success_at_the_bound_widens_it_up_to_the_maximum() {
    let mut rig = Rig::new();
    rig.ended(0, 4, true, QUICK);
    assert_eq!(rig.bound(0), 8);
    rig.ended(0, 4, true, QUICK);
    assert_eq!(rig.bound(0), 8);
    // One at a time is no reason to allow more.
    rig.ended(1, 1, true, QUICK);
    assert_eq!(rig.bound(1), 4);
}

#[test]
fn half_of_a_bound_in_use_counts_as_all_of_it() {
    let mut rig = Rig::new();
    rig.ended(1, 1, true, QUICK);
    rig.enter(0, 1, 1);
    rig.slots.learn(id(1), true, QUICK);
    assert_eq!(rig.bound(1), 5);
}

#[test]
fn quick_failures_halve_a_bound_and_a_long_one_leaves_one() {
    let mut rig = Rig::new();
    rig.ended(0, 1, false, QUICK);
    assert_eq!(rig.bound(0), 2);
    rig.ended(0, 5, false, QUICK);
    rig.leave(0, 6);
    rig.enter(0, 0, 1);
    rig.slots.learn(id(0), false, QUICK);
    assert_eq!(rig.slots.endpoints[&id(0)].allowance, 2);
    rig.ended(1, 4, true, QUICK);
    rig.ended(1, 1, false, LONG);
    rig.leave(1, 5);
    assert_eq!(rig.bound(1), 1);
}

#[test]
fn slow_endpoints_share_three_eighths() {
    let mut rig = Rig::new();
    for nth in 0..5 {
        rig.ended(nth, 3, true, LONG);
    }
    // Fifteen in flight are all that slow endpoints may have, so none may have more.
    let request = rig.request(25);
    assert!((0..5).all(|nth| listed(&request, nth) == Some(0)));
    // Three more are left to endpoints without a success.
    assert_eq!(request.bounds_of(workspace(0)).unlisted_max, 3);
    for nth in 0..5 {
        rig.leave(nth, 3);
    }
    let total: usize = (0..5).map(|nth| rig.bound(nth)).sum();
    assert_eq!(total, 15);
}

#[test]
fn more_slow_endpoints_than_there_is_room_for_take_turns() {
    let mut rig = Rig::new();
    for nth in 0..30 {
        rig.ended(nth, 1, true, LONG);
        rig.leave(nth, 1);
    }
    let mut offered = Vec::new();
    for _ in 0..4 {
        let (request, wider_at) = rig.asked(40);
        assert_eq!(wider_at, Some(rig.now + Duration::from_millis(50)));
        let mut turn = request.exceptions;
        turn.retain(|(_, more)| *more > 0);
        assert!(turn.len() == 15 && turn.iter().all(|(_, more)| *more == 1));
        offered.append(&mut turn);
    }
    // Four turns of fifteen: everybody has had two.
    offered.sort_unstable();
    let twice: Vec<_> = (0..30)
        .flat_map(|nth| [(id(nth), 1), (id(nth), 1)])
        .collect();
    assert_eq!(offered, twice);
}

#[test]
fn attempt_that_runs_for_long_makes_its_endpoint_a_slow_one() {
    let mut rig = Rig::new();
    for nth in 0..3 {
        rig.enter(0, nth, 1);
        rig.slots.begin(id(nth), nth as u64, rig.now);
    }
    let slow = |rig: &Rig| [0, 1, 2].map(|nth| rig.slots.endpoints[&id(nth)].is_slow);
    let nearly = rig.now + SETTINGS.slow_after.saturating_sub(NANOSECOND);
    rig.slots.mark_slow(nearly, |_| true);
    assert_eq!(slow(&rig), [false; 3]);
    // The second one has ended meanwhile.
    rig.slots
        .mark_slow(rig.now + SETTINGS.slow_after, |number| number != 1);
    assert_eq!(slow(&rig), [true, false, true]);
    assert!(rig.slots.begun.is_empty());
}

#[test]
fn attempt_as_long_as_the_limit_is_a_slow_one() {
    let mut rig = Rig::new();
    let slow_after = SETTINGS.slow_after;
    rig.ended(0, 1, true, slow_after.saturating_sub(NANOSECOND));
    rig.ended(1, 1, true, slow_after);
    assert!(!rig.slots.endpoints[&id(0)].is_slow && rig.slots.endpoints[&id(1)].is_slow);
}

#[test]
fn paused_endpoint_gets_nothing_until_its_pause_is_over() {
    let mut rig = Rig::new();
    rig.prove(0, QUICK);
    for (nth, pause) in [(0, 2 * LONG), (1, LONG), (2, 3 * LONG)] {
        rig.enter(0, nth, 1);
        rig.slots.pause(id(nth), rig.now + pause);
    }
    rig.leave(0, 1);
    let (request, wider_at) = rig.asked(38);
    assert_eq!(wider_at, Some(rig.now + LONG));
    assert_eq!(
        (request.exceptions.len(), listed(&request, 0)),
        (3, Some(0))
    );
    rig.now += 2 * LONG;
    assert_ne!(rig.bound(0), 0);
    assert_eq!(rig.bound(2), 0);
}

#[test]
fn endpoints_at_rest_are_forgotten() {
    let mut rig = Rig::new();
    let cases = [
        (0, 1, true, QUICK),
        (1, 1, false, QUICK),
        (2, 4, true, QUICK),
        (3, 1, false, LONG),
    ];
    for (nth, count, succeeded, duration) in cases {
        rig.ended(nth, count, succeeded, duration);
        rig.leave(nth, count);
    }
    let start = rig.now;
    let mut known = |later| {
        rig.now = start + later;
        rig.request(40);
        rig.known()
    };
    let (grown, slow) = (Duration::from_secs(10), Duration::from_mins(10));
    assert_eq!(known(Duration::ZERO), [id(2), id(3)]);
    assert_eq!(known(grown.saturating_sub(NANOSECOND)), [id(2), id(3)]);
    assert_eq!(known(grown), [id(3)]);
    assert_eq!(known(slow.saturating_sub(NANOSECOND)), [id(3)]);
    assert_eq!(known(slow), []);
}

#[test]
fn many_slow_endpoints_are_remembered_for_less_long() {
    for (count, remembered) in [(4_096, 4_096), (4_097, 0)] {
        let mut rig = Rig::new();
        for nth in 0..count {
            rig.ended(nth, 1, false, LONG);
            rig.leave(nth, 1);
        }
        rig.now += Duration::from_secs(10);
        rig.request(40);
        assert_eq!(rig.known().len(), remembered, "of {count}");
    }
}

#[test]
fn endpoints_in_use_or_paused_are_not_forgotten() {
    let mut rig = Rig::new();
    rig.enter(0, 0, 1);
    rig.enter(0, 1, 1);
    let start = rig.now;
    rig.slots.pause(id(1), start + 2 * LONG);
    rig.leave(1, 1);
    for (later, known) in [(LONG, 2), (2 * LONG, 1), (Duration::from_hours(1), 1)] {
        rig.now = start + later;
        rig.request(39);
        assert_eq!(rig.known().len(), known, "{later:?}");
    }
}
