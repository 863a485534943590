use std::time::Duration;

use nahook_core::Payload;
use nahook_core::id::MessageId;
use nahook_queue::Place;
use nahook_testkit::declare::{endpoint_id, workspace_id};

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_000);
const NONE: [i64; 0] = [];

fn at(millis: u64) -> Timestamp {
    NOW.saturating_add(Duration::from_millis(millis))
}

fn delivery(ordinal: u32) -> DeliveryId {
    DeliveryId::nth(MessageId::from_parts(NOW, 0), ordinal)
}

fn request(max: usize) -> LeaseRequest {
    LeaseRequest::new(WorkerId(1), max, Duration::from_secs(1))
}

/// Notes a lease of a row by the first worker.
fn hold(ledger: &LeaseLedger, token: u64, ordinal: u32, endpoint: &str) -> Lease {
    let lease = Lease {
        delivery: delivery(ordinal),
        token: LeaseToken(token),
    };
    let held = Held::new(WorkerId(1), endpoint_id(endpoint), NOW, ordinal.into());
    ledger.hold(lease, held);
    lease
}

/// Takes in a record with one delivery for each of these endpoints.
fn take(ledger: &LeaseLedger, record: i64, workspace: &str, endpoints: &[&str]) {
    let message = MessageId::from_parts(NOW, record.unsigned_abs().into());
    let event = Arc::new(EventFields {
        message,
        workspace: workspace_id(workspace),
        event_type: None,
        accepted_at: NOW,
        payload: Payload::from_stored(b"{}".to_vec().into()),
    });
    let deliveries = (0..).zip(endpoints).map(|(ordinal, endpoint)| {
        let endpoint = endpoint_id(endpoint);
        let place = Place {
            workspace: event.workspace,
            endpoint,
            due_at: NOW,
            is_retry: false,
        };
        let in_hand = InHand {
            key: record + i64::from(ordinal),
            endpoint,
            endpoint_row: 1,
            event: Arc::clone(&event),
        };
        (DeliveryId::nth(message, ordinal), place, in_hand)
    });
    ledger.with_taken(|taken| taken.take(record, 1, 2, deliveries, NOW));
}

fn lease(ledger: &LeaseLedger, request: &LeaseRequest) -> Vec<DeliveryId> {
    let mut room = BatchRoom::of(request);
    let leased = ledger.lease(request, request.max, &mut room, NOW);
    leased.iter().map(|leased| leased.lease.delivery).collect()
}

#[test]
fn nothing_is_left_of_leases_that_have_expired() {
    let ledger = LeaseLedger::default();
    for ordinal in 0..2 {
        hold(&ledger, 1, ordinal, "ep_1");
    }
    ledger.hold_together(LeaseToken(1), 2);
    ledger.room(&request(1), NOW);
    let state = ledger.state();
    assert!(state.leases.is_empty() && state.together.is_empty());
}

#[test]
fn tokens_are_over_once_all_their_leases_have_ended() {
    let ledger = LeaseLedger::default();
    let leases = [7, 8, 9].map(|row| (hold(&ledger, 1, row, "ep_1"), row));
    ledger.hold_together(LeaseToken(1), 3);
    for (lease, row) in leases {
        assert_eq!(ledger.over(), []);
        assert_eq!(ledger.key(lease), Some(row.into()));
        ledger.end(lease);
        assert_eq!(ledger.key(lease), None);
        // It has ended, and counts once.
        ledger.end(lease);
    }
    assert_eq!(ledger.over(), [LeaseToken(1)]);
    assert_eq!(ledger.over(), [], "it was told");
}

#[test]
fn rows_and_records_go_first_in_turn() {
    let ledger = LeaseLedger::default();
    let first = [(); 4].map(|()| ledger.rows_go_first());
    assert_eq!(first, [true, false, true, false]);
}

#[test]
fn ledger_is_idle_while_nobody_asks() {
    let ledger = LeaseLedger::default();
    assert!(ledger.is_idle());
    ledger.rows_go_first();
    assert!(!ledger.is_idle());
    assert!(ledger.is_idle(), "nobody has asked since");
}

#[test]
fn rows_are_due_from_the_first_instant_that_was_told() {
    let ledger = LeaseLedger::default();
    assert_eq!(ledger.next_due(NOW), None);
    for millis in [20, 10, 30] {
        ledger.note_next_row(at(millis));
    }
    assert_eq!(ledger.next_due(NOW), Some(at(10)));
    let due = [9, 10, 11].map(|millis| ledger.are_rows_due(at(millis)));
    assert_eq!(due, [false, true, true]);
    // What the database says counts.
    ledger.set_next_row(Some(at(2_000)));
    assert_eq!(ledger.next_due(NOW), Some(at(2_000)));
    take(&ledger, 1, "ws_a", &["ep_1"]);
    assert_eq!(lease(&ledger, &request(1)).len(), 1);
    assert_eq!(
        ledger.next_due(NOW),
        Some(at(1_000)),
        "a lease in hand expires"
    );
    ledger.set_next_row(None);
    assert!(!ledger.are_rows_due(at(5_000)));
}

#[test]
fn process_has_the_number_that_it_got_last_until_that_is_lost() {
    let ledger = LeaseLedger::default();
    assert_eq!(ledger.token(), None);
    ledger.register(7);
    take(&ledger, 1, "ws_a", &["ep_1"]);
    // An answer that comes late is about a number from before.
    ledger.lose(6);
    assert_eq!(ledger.token(), Some(7));
    assert_eq!(lease(&ledger, &request(1)).len(), 1);
    ledger.lose(7);
    assert_eq!(ledger.token(), None);
    assert!(ledger.with_taken(|taken| taken.records().is_empty()));
    take(&ledger, 2, "ws_a", &["ep_1"]);
    ledger.register(8);
    assert_eq!(lease(&ledger, &request(1)), [], "it begins with nothing");
}

#[test]
fn retry_goes_first_where_one_has_waited_for_a_fresh_delivery() {
    let ledger = LeaseLedger::default();
    let retry_first = |endpoint, is_retry, is_contested| {
        ledger.served(endpoint, is_retry, is_contested);
        let room = ledger.room(&request(1), NOW);
        assert_eq!(room.after, endpoint);
        room.retry_first
    };
    assert_eq!(retry_first(1, false, true), [1]);
    assert_eq!(retry_first(2, false, false), [1], "no retry waited");
    assert_eq!(retry_first(1, true, true), NONE, "it had its turn");
    assert_eq!(retry_first(1, false, true), [1]);
    assert_eq!(retry_first(1, false, false), NONE, "none waits any more");
    for endpoint in 0..=10_000 {
        ledger.served(endpoint, false, true);
    }
    assert_eq!(ledger.state().retry_first.len(), 10_000);
}

#[test]
fn batch_begins_where_the_one_before_was_cut_off() {
    let ledger = LeaseLedger::default();
    let workspace = workspace_id("ws_a");
    let request = LeaseRequest {
        per_workspace_max: 1,
        ..request(10)
    };
    let mut room = BatchRoom::of(&request);
    room.take(workspace, true, 1);
    let mut progress = Progress::default();
    progress.note(workspace, 7, 0);
    ledger.end_turn(&room, progress);
    assert_eq!(ledger.room(&request, NOW).after, 7);
}

#[test]
fn leases_of_rows_and_of_records_count_under_the_same_bounds() {
    let ledger = LeaseLedger::default();
    let [one, two] = ["ep_1", "ep_2"].map(endpoint_id);
    let request = LeaseRequest {
        per_endpoint_max: 2,
        exceptions: vec![(one, 4)],
        ..request(10)
    };
    for ordinal in [0, 1] {
        hold(&ledger, 1, ordinal, "ep_1");
    }
    let row = hold(&ledger, 1, 2, "ep_2");
    for record in 1..=3 {
        take(&ledger, 10 * record, "ws_a", &["ep_1", "ep_2"]);
    }
    // Two of the first, and one of the second.
    assert_eq!(lease(&ledger, &request).len(), 3);
    assert_eq!(lease(&ledger, &request), []);
    ledger.extend(row, NOW.saturating_add(Duration::from_mins(1)));
    // The rows of the first have expired.
    let room = ledger.room(&request, NOW);
    let rooms = room
        .endpoints
        .iter()
        .zip(room.rooms.iter().zip(room.listed));
    let rooms: HashMap<_, _> = rooms.collect();
    assert_eq!(
        rooms,
        HashMap::from([(&one, (&2, true)), (&two, (&0, false))])
    );
    assert_eq!(lease(&ledger, &request).len(), 1);
}

#[test]
fn attempts_from_records_are_told_by_workspace_and_endpoint() {
    let ledger = LeaseLedger::default();
    take(&ledger, 10, "ws_a", &["ep_1", "ep_2"]);
    take(&ledger, 20, "ws_b", &["ep_3"]);
    let keys = |workspace, endpoint: Option<&str>| {
        let endpoint = endpoint.map(endpoint_id);
        let mut keys = ledger.being_attempted(workspace_id(workspace), endpoint);
        keys.sort_unstable();
        keys
    };
    assert_eq!(keys("ws_a", None), NONE);
    let leased = lease(&ledger, &request(10));
    assert_eq!(keys("ws_a", None), [10, 11]);
    assert_eq!(keys("ws_a", Some("ep_2")), [11]);
    assert_eq!(keys("ws_b", None), [20]);
    assert_eq!(keys("ws_b", Some("ep_2")), NONE);
    assert!(leased.iter().all(|id| ledger.is_being_attempted(*id)));
    assert!(!ledger.is_being_attempted(delivery(9)));
}

#[test]
fn rows_wait_for_room_as_the_last_look_has_found() {
    let ledger = LeaseLedger::default();
    let room = BatchRoom::of(&request(1));
    for is_blocked in [false, true, false] {
        ledger.note_all_rows_leased(WorkerId(1), &room, is_blocked);
        assert_eq!(ledger.are_rows_blocked(), is_blocked);
    }
}
