use super::*;

fn settings() -> WorkerSettings {
    WorkerSettings {
        in_flight_max: 40,
        per_endpoint_max: 8,
        per_endpoint_initial: 4,
        ..WorkerSettings::default()
    }
}

fn id(nth: usize) -> EndpointId {
    EndpointId::new(&format!("ep_{nth:03}")).unwrap()
}

const QUICK: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(15);
const NANOSECOND: Duration = Duration::from_nanos(1);

/// Gives the endpoint `count` deliveries in flight, each of which has ended that way and is not settled yet.
fn ended(endpoints: &mut Endpoints, nth: usize, count: usize, succeeded: bool, duration: Duration) {
    let now = Instant::now();
    for _ in 0..count {
        endpoints.enter(id(nth), now, &settings());
    }
    for _ in 0..count {
        endpoints.learn(id(nth), succeeded, duration, &settings());
    }
}

fn bound(endpoints: &mut Endpoints, nth: usize) -> usize {
    let bounds = endpoints.bounds(0, Instant::now(), &settings());
    let exception = bounds
        .exceptions
        .iter()
        .find(|(other, _)| *other == id(nth));
    exception.map_or(bounds.per_endpoint_max, |(_, bound)| *bound)
}

#[tokio::test(start_paused = true)]
async fn nothing_known_means_the_initial_bound_and_no_poll() {
    let mut endpoints = Endpoints::new();
    let bounds = endpoints.bounds(0, Instant::now(), &settings());
    let expected = Bounds {
        per_endpoint_max: 4,
        ..Bounds::default()
    };
    assert_eq!(bounds, expected);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_endpoint_gets_one_at_a_time_in_a_crowd() {
    let mut endpoints = Endpoints::new();
    let mut per_endpoint_max = |held| {
        endpoints
            .bounds(held, Instant::now(), &settings())
            .per_endpoint_max
    };
    assert_eq!((per_endpoint_max(20), per_endpoint_max(21)), (4, 1));
}

#[tokio::test(start_paused = true)]
async fn success_at_the_bound_widens_it_up_to_the_maximum() {
    let mut endpoints = Endpoints::new();
    ended(&mut endpoints, 0, 4, true, QUICK);
    assert_eq!(bound(&mut endpoints, 0), 8);
    ended(&mut endpoints, 0, 4, true, QUICK);
    assert_eq!(bound(&mut endpoints, 0), 8);
    // One at a time is no reason to allow more.
    ended(&mut endpoints, 1, 1, true, QUICK);
    assert_eq!(bound(&mut endpoints, 1), 4);
}

#[tokio::test(start_paused = true)]
async fn quick_failures_halve_a_bound_and_a_long_one_leaves_one() {
    let mut endpoints = Endpoints::new();
    ended(&mut endpoints, 0, 1, false, QUICK);
    assert_eq!(bound(&mut endpoints, 0), 2);
    ended(&mut endpoints, 0, 5, false, QUICK);
    assert_eq!(bound(&mut endpoints, 0), 1);
    ended(&mut endpoints, 1, 4, true, QUICK);
    ended(&mut endpoints, 1, 1, false, LONG);
    for _ in 0..5 {
        endpoints.leave(id(1), Instant::now(), &settings());
    }
    assert_eq!(bound(&mut endpoints, 1), 1);
}

#[tokio::test(start_paused = true)]
async fn slow_endpoints_share_half_of_the_worker() {
    let mut endpoints = Endpoints::new();
    for nth in 0..5 {
        ended(&mut endpoints, nth, 4, true, LONG);
    }
    // Twenty in flight are all that slow endpoints may have, so none may have more.
    for nth in 0..5 {
        assert!(bound(&mut endpoints, nth) <= 4);
    }
    for nth in 0..5 {
        for _ in 0..4 {
            endpoints.leave(id(nth), Instant::now(), &settings());
        }
    }
    let total: usize = (0..5).map(|nth| bound(&mut endpoints, nth)).sum();
    assert_eq!(total, 20);
}

#[tokio::test(start_paused = true)]
async fn more_slow_endpoints_than_there_is_room_for_take_turns() {
    let mut endpoints = Endpoints::new();
    for nth in 0..50 {
        ended(&mut endpoints, nth, 1, false, LONG);
        endpoints.leave(id(nth), Instant::now(), &settings());
    }
    let mut offered = Vec::new();
    for _ in 0..5 {
        let now = Instant::now();
        let bounds = endpoints.bounds(0, now, &settings());
        assert_eq!(bounds.wider_at, Some(now + Duration::from_millis(50)));
        let mut turn: Vec<_> = bounds
            .exceptions
            .into_iter()
            .filter(|(_, more)| *more > 0)
            .collect();
        assert!(turn.len() == 20 && turn.iter().all(|(_, more)| *more == 1));
        offered.append(&mut turn);
    }
    // Five turns of twenty: everybody has had two.
    offered.sort_unstable();
    let twice: Vec<_> = (0..50)
        .flat_map(|nth| [(id(nth), 1), (id(nth), 1)])
        .collect();
    assert_eq!(offered, twice);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_runs_for_long_makes_its_endpoint_a_slow_one() {
    let mut endpoints = Endpoints::new();
    let settings = settings();
    let begun = Instant::now();
    for nth in 0..3 {
        endpoints.enter(id(nth), begun, &settings);
        endpoints.begin(id(nth), nth as u64, begun);
    }
    let is_slow = |endpoints: &Endpoints, nth| endpoints.known[&id(nth)].slow;
    let nearly = begun + settings.slow_after - Duration::from_millis(1);
    endpoints.mark_slow(nearly, &settings, |_| true);
    assert!((0..3).all(|nth| !is_slow(&endpoints, nth)));
    // The second one has ended meanwhile.
    endpoints.mark_slow(begun + settings.slow_after, &settings, |number| number != 1);
    assert_eq!(
        [0, 1, 2].map(|nth| is_slow(&endpoints, nth)),
        [true, false, true]
    );
    assert!(endpoints.begun.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_paused_endpoint_gets_nothing_until_its_pause_is_over() {
    let mut endpoints = Endpoints::new();
    let now = Instant::now();
    endpoints.enter(id(0), now, &settings());
    endpoints.pause(id(0), now + LONG);
    endpoints.leave(id(0), now, &settings());
    let bounds = endpoints.bounds(0, now, &settings());
    assert_eq!(bounds.exceptions, [(id(0), 0)]);
    assert_eq!(bounds.wider_at, Some(now + LONG));
    let bounds = endpoints.bounds(0, now + LONG, &settings());
    assert_eq!((bounds.exceptions, bounds.wider_at), (vec![], None));
}

#[tokio::test(start_paused = true)]
async fn endpoints_at_rest_are_forgotten() {
    let mut endpoints = Endpoints::new();
    let now = Instant::now();
    ended(&mut endpoints, 0, 1, true, QUICK);
    ended(&mut endpoints, 1, 1, false, QUICK);
    ended(&mut endpoints, 2, 4, true, QUICK);
    ended(&mut endpoints, 3, 1, false, LONG);
    for (nth, count) in [(0, 1), (1, 1), (2, 4), (3, 1)] {
        for _ in 0..count {
            endpoints.leave(id(nth), now, &settings());
        }
    }
    let mut known = |later| {
        endpoints.bounds(0, now + later, &settings());
        let mut known: Vec<_> = endpoints.known.keys().copied().collect();
        known.sort_unstable();
        known
    };
    let (grown, slow) = (Duration::from_secs(10), Duration::from_mins(10));
    assert_eq!(known(Duration::ZERO), [id(2), id(3)]);
    assert_eq!(known(grown.saturating_sub(NANOSECOND)), [id(2), id(3)]);
    assert_eq!(known(grown), [id(3)]);
    assert_eq!(known(slow.saturating_sub(NANOSECOND)), [id(3)]);
    assert_eq!(known(slow), []);
}

#[tokio::test(start_paused = true)]
async fn many_slow_endpoints_are_remembered_for_less_long() {
    for (count, remembered) in [(4_096, 4_096), (4_097, 0)] {
        let mut endpoints = Endpoints::new();
        let now = Instant::now();
        for nth in 0..count {
            ended(&mut endpoints, nth, 1, false, LONG);
            endpoints.leave(id(nth), now, &settings());
        }
        endpoints.bounds(0, now + Duration::from_secs(10), &settings());
        assert_eq!(endpoints.known.len(), remembered, "of {count}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_ends_at_its_instant_also_with_deliveries_in_flight() {
    let mut endpoints = Endpoints::new();
    let now = Instant::now();
    endpoints.enter(id(0), now, &settings());
    endpoints.pause(id(0), now + QUICK);
    let just_before = now + QUICK.saturating_sub(NANOSECOND);
    let bounds = endpoints.bounds(0, just_before, &settings());
    assert_eq!(bounds.exceptions, [(id(0), 0)]);
    let bounds = endpoints.bounds(0, now + QUICK, &settings());
    assert_eq!((bounds.exceptions, bounds.wider_at), (vec![], None));
}

#[tokio::test(start_paused = true)]
async fn the_next_pause_to_end_is_when_more_may_be_leased() {
    let mut endpoints = Endpoints::new();
    let now = Instant::now();
    for (nth, pause) in [(0, 2 * LONG), (1, LONG), (2, 3 * LONG)] {
        endpoints.enter(id(nth), now, &settings());
        endpoints.pause(id(nth), now + pause);
    }
    let bounds = endpoints.bounds(0, now, &settings());
    assert_eq!(bounds.wider_at, Some(now + LONG));
    assert_eq!(bounds.exceptions.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn half_of_a_bound_in_use_counts_as_all_of_it() {
    let mut endpoints = Endpoints::new();
    // Of four that may be, one in flight is less than half and two are half.
    ended(&mut endpoints, 0, 1, true, QUICK);
    assert_eq!(bound(&mut endpoints, 0), 4);
    ended(&mut endpoints, 1, 1, true, QUICK);
    endpoints.enter(id(1), Instant::now(), &settings());
    endpoints.learn(id(1), true, QUICK, &settings());
    assert_eq!(bound(&mut endpoints, 1), 5);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_as_long_as_the_limit_is_a_slow_one() {
    let mut endpoints = Endpoints::new();
    let slow_after = settings().slow_after;
    ended(
        &mut endpoints,
        0,
        1,
        true,
        slow_after.saturating_sub(NANOSECOND),
    );
    ended(&mut endpoints, 1, 1, true, slow_after);
    assert!(!endpoints.known[&id(0)].slow && endpoints.known[&id(1)].slow);
}

#[tokio::test(start_paused = true)]
async fn what_slow_endpoints_have_in_flight_is_taken_off_their_half() {
    let mut endpoints = Endpoints::new();
    // Two slow ones, of which one holds four: sixteen of twenty are left, eight each.
    for nth in 0..2 {
        ended(&mut endpoints, nth, 4, true, LONG);
    }
    for _ in 0..4 {
        endpoints.leave(id(1), Instant::now(), &settings());
    }
    // Each is bounded by the eight that an endpoint may have.
    assert_eq!(bound(&mut endpoints, 0), 8);
    assert_eq!(bound(&mut endpoints, 1), 8);
    // Eighteen more of a third one leave nothing for any of them.
    for _ in 0..18 {
        endpoints.enter(id(2), Instant::now(), &settings());
    }
    endpoints.learn(id(2), false, LONG, &settings());
    for nth in 0..3 {
        assert_eq!(bound(&mut endpoints, nth), 0, "{nth}");
    }
    // Only a settlement makes room, which is not to be waited for by time.
    let bounds = endpoints.bounds(0, Instant::now(), &settings());
    assert_eq!(bounds.wider_at, None);
}

#[tokio::test(start_paused = true)]
async fn endpoints_in_use_or_paused_are_not_forgotten() {
    let mut endpoints = Endpoints::new();
    let now = Instant::now();
    for nth in 0..2 {
        endpoints.enter(id(nth), now, &settings());
    }
    endpoints.pause(id(1), now + 2 * LONG);
    endpoints.leave(id(1), now, &settings());
    let mut is_known = |nth, later| {
        endpoints.bounds(0, now + later, &settings());
        endpoints.known.contains_key(&id(nth))
    };
    assert!(is_known(1, LONG), "as long as it is paused");
    assert!(!is_known(1, 2 * LONG), "the pause is over");
    assert!(
        is_known(0, Duration::from_hours(1)),
        "as long as it is used"
    );
}
