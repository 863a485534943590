//! Turns, leases and what is known of an endpoint's deliveries.

use nahook_queue::LeaseRequest;

use super::*;

/// The endpoints whose turn it is; all are of one workspace.
fn turn(state: &mut QueueState) -> Vec<i64> {
    for endpoint in state.take_unplaced() {
        state.place(endpoint, Some(1));
    }
    let request = LeaseRequest::new(WorkerId(1), 10, std::time::Duration::ZERO);
    let candidates = state.candidates(WorkerId(1), 10, &BatchRoom::new(&request, [], []));
    candidates.iter().map(|it| it.endpoint).collect()
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// Leases the delivery 1 of the endpoint 7.
fn leased(state: &mut QueueState, is_fresh: bool) -> Lease {
    let row = LeasedRow {
        key: 1,
        attempts: 0,
        is_fresh,
    };
    let delivery = DeliveryId::from_bits(1);
    let token = state.claim(delivery, Held::new(WorkerId(1), 7, at(9), row));
    Lease { delivery, token }
}

/// Which of the known deliveries of the endpoint 7 are fresh.
fn known_fresh(state: &mut QueueState) -> Vec<bool> {
    let known = state.pending(7).first(9);
    known.iter().map(|due| due.is_fresh).collect()
}

#[test]
fn what_is_due_again_while_the_reader_passes_it_by_is_looked_at_again() {
    let mut state = QueueState::new(LeaseToken(0), 100);
    state.note_work(7);
    state.begin_reading();
    assert_eq!(turn(&mut state), [7]);
    // Settled and due again: what was read of it before must not be leased.
    let lease = leased(&mut state, false);
    state.end(lease);
    state.note_work_again(7);
    assert!(!state.is_free(1));
    assert_eq!(turn(&mut state), [7]);
    // The reader found nothing free. The next one does.
    state.end_reading();
    assert!(state.is_free(1));
    assert_eq!(turn(&mut state), [7]);
    assert!(turn(&mut state).is_empty());
}

#[test]
fn the_earliest_of_an_endpoints_alarms_rings_once() {
    let mut state = QueueState::new(LeaseToken(0), 100);
    for millis in [20, 30, 20, 10, 15] {
        state.note_work_at(7, at(millis));
        assert_eq!(state.alarms.len(), 1);
    }
    state.note_work_at(8, at(40));
    assert_eq!(state.next_due(), Some(at(10)));
    state.reclaim_expired(at(9));
    assert_eq!(state.next_due(), Some(at(10)));
    state.reclaim_expired(at(10));
    assert_eq!(state.next_due(), Some(at(40)));
    // The next one may be as late as it likes.
    state.note_work_at(7, at(50));
    state.reclaim_expired(at(40));
    assert_eq!(state.next_due(), Some(at(50)));
}

#[test]
fn what_is_queued_gives_its_endpoint_a_turn() {
    let mut state = QueueState::new(LeaseToken(0), 100);
    state.add_pending(7, 1);
    assert_eq!(turn(&mut state), [7]);
    assert_eq!(turn(&mut state), [0; 0]);
    state.add_fresh(8, 2);
    assert_eq!(turn(&mut state), [8]);
}

#[test]
fn what_was_read_and_leased_before_it_was_said_to_be_queued_is_known_once() {
    let mut state = QueueState::new(LeaseToken(0), 100);
    let lease = leased(&mut state, true);
    state.add_fresh(7, 1);
    assert!(state.pending(7).first(9).is_empty());
    state.release(lease);
    state.add(7, 1, true);
    assert_eq!(state.pending(7).first(9).len(), 1);
}

#[test]
fn fresh_deliveries_are_counted_until_something_has_become_of_them() {
    let mut state = QueueState::new(LeaseToken(0), 100);
    (1..=3).for_each(|key| state.add_fresh(7, key));
    let lease = leased(&mut state, true);
    state.pending(7).leased(1);
    let counts = |state: &QueueState| (state.fresh_len(), state.endpoints[&7].fresh);
    assert_eq!(counts(&state), (3, 3));
    // A row by another's doing, while it is leased: it is counted out once.
    state.became_row(7, 1);
    state.end(lease);
    assert_eq!(counts(&state), (2, 2));
    state.became_row(7, 2);
    assert_eq!(counts(&state), (1, 1));
    assert_eq!(known_fresh(&mut state), [false, true]);
}

#[test]
fn what_has_become_a_row_while_the_file_is_read_is_not_taken_for_fresh() {
    let mut state = QueueState::new(LeaseToken(0), 100);
    (1..=2).for_each(|key| state.add_fresh(7, key));
    state.note_work(7);
    state.begin_reading();
    let mark = state.pending(7).must_read(1).unwrap();
    // Read as fresh, and chosen so, before this.
    state.became_row(7, 1);
    let due = |key| Due {
        key,
        attempts: 0,
        is_fresh: true,
    };
    state.pending_read(7, mark, vec![due(1), due(2)], None);
    assert_eq!(known_fresh(&mut state), [false, true]);
    let lease = leased(&mut state, true);
    state.end_reading();
    state.end(lease);
    assert_eq!(state.fresh_len(), 1);
}

#[test]
fn what_nobody_has_leased_is_not_leased() {
    let state = QueueState::new(LeaseToken(0), 100);
    assert!(!state.is_leased(1, at(0)));
    assert!(state.leased_of(7, at(0)).is_empty());
}
