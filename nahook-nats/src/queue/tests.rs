//! Decisions about held records, without a server.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Subject;
use nahook_core::id::DeliveryId;
use nahook_core::{Event, Timestamp};
use nahook_queue::{Lease, LeaseRequest, LeaseToken, WorkerId};
use nahook_testkit::declare::{self, nth_endpoint_id};

use super::progress::{Kept, Progress, RecordKey};
use super::state::{Admission, State};
use crate::layout::Source;
use crate::record::{Entry, Item};

const NOW: Timestamp = Timestamp::from_millis(1_712_345_678_901);
const LEASE: Duration = Duration::from_mins(1);

fn key(sequence: u64) -> RecordKey {
    RecordKey {
        source: Source::Deliveries,
        sequence,
        stored_at: 1_000 + sequence,
    }
}

fn event() -> Arc<Event> {
    Arc::new(declare::event("ws_shop", "order.paid", 1, NOW))
}

fn id(ordinal: u32) -> DeliveryId {
    DeliveryId::nth(event().id, ordinal)
}

/// Takes in a record with these of the event's deliveries, by ordinal and number of attempts.
fn admit(state: &mut State, key: RecordKey, ack: &str, deliveries: &[(u32, u32)]) -> Admission {
    let items = deliveries.iter().map(|(ordinal, attempts)| Item {
        delivery: id(*ordinal),
        endpoint: nth_endpoint_id(*ordinal as usize),
        attempts: *attempts,
        due_at: None,
    });
    let entry = Entry {
        event: event(),
        items: items.collect(),
    };
    state.admit(key, Subject::from(ack), vec![entry], 100, NOW)
}

fn lease(state: &mut State, max: usize, now: Timestamp) -> Vec<Lease> {
    let request = LeaseRequest {
        per_endpoint_max: 10,
        ..LeaseRequest::new(WorkerId(1), max, LEASE)
    };
    state.scheduler.reclaim_expired(now);
    state.scheduler.lease(&request, now)
}

fn noted(len: u32, settled: &[u32], kept: &[(u32, u32)]) -> Progress {
    let mut progress = Progress::of(len);
    for place in settled {
        progress.settle(*place);
    }
    for (place, attempts) in kept {
        let (attempts, due_at) = (*attempts, NOW);
        progress.keep(*place, Kept { attempts, due_at });
    }
    progress
}

#[test]
fn record_is_acknowledged_with_its_last_delivery_and_by_its_own_subject() {
    let mut state = State::default();
    admit(&mut state, key(1), "ack.1", &[(0, 0), (1, 0)]);
    admit(&mut state, key(2), "ack.2", &[(2, 0)]);
    assert_eq!(state.close(id(0)), None);
    assert_eq!(state.close(id(0)), None, "settled twice is settled once");
    assert_eq!(state.close(id(2)), Some(Subject::from("ack.2")));
    assert_eq!(state.bytes, 100, "those of the other");
    assert_eq!(state.close(id(1)), Some(Subject::from("ack.1")));
    assert!(state.records.is_empty() && state.slots.is_empty() && state.bytes == 0);
}

#[test]
fn redelivered_record_is_acknowledged_by_its_newest_subject() {
    let mut state = State::default();
    admit(&mut state, key(1), "ack.old", &[(0, 0)]);
    let again = admit(&mut state, key(1), "ack.new", &[(0, 0)]);
    assert_eq!(again, Admission::AlreadyHeld);
    assert_eq!(state.close(id(0)), Some(Subject::from("ack.new")));
}

#[test]
fn of_two_copies_the_one_with_more_attempts_stays() {
    for (first, second, stays) in [(0, 1, 2), (1, 0, 1), (1, 1, 1)] {
        let mut state = State::default();
        admit(&mut state, key(1), "ack.1", &[(9, 0), (0, first)]);
        admit(&mut state, key(2), "ack.2", &[(8, 0), (7, 0), (0, second)]);
        assert_eq!(state.slots[&id(0)].record, key(stays));
        let (other, place) = if stays == 1 { (2, 2) } else { (1, 1) };
        assert_eq!(state.superseded, [(key(other), place)]);
    }
}

#[test]
fn record_of_a_stream_made_again_is_another_record() {
    let mut state = State::default();
    state.learn(key(1), &noted(1, &[0], &[]), NOW);
    let known = admit(&mut state, key(1), "ack.1", &[(0, 0)]);
    assert_eq!(known, Admission::Complete);
    let later = RecordKey {
        stored_at: 7_000,
        ..key(1)
    };
    let other = admit(&mut state, later, "ack.2", &[(0, 0)]);
    assert_eq!(other, Admission::Admitted);
    let retry = RecordKey {
        source: Source::Retries,
        ..key(1)
    };
    let other = admit(&mut state, retry, "ack.3", &[(1, 0)]);
    assert_eq!(other, Admission::Admitted);
}

#[test]
fn lease_ends_at_its_instant_and_not_before() {
    let mut state = State::default();
    admit(&mut state, key(1), "ack.1", &[(0, 0)]);
    let first = lease(&mut state, 1, NOW);
    let end = NOW.saturating_add(LEASE);
    let before = Timestamp::from_nanos(end.as_nanos() - 1);
    assert_eq!(lease(&mut state, 1, before), []);
    let second = lease(&mut state, 1, end);
    assert_eq!(second.len(), 1);
    assert!(
        state.begin_settling(first[0]).is_none(),
        "the lease is lost"
    );
    assert!(state.begin_settling(second[0]).is_some());
    assert!(state.begin_settling(second[0]).is_none(), "by one only");
    let long_after = end.saturating_add(LEASE * 2);
    assert_eq!(lease(&mut state, 1, long_after), [], "it is being settled");
}

#[test]
fn lease_is_released_only_by_its_holder() {
    let mut state = State::default();
    admit(&mut state, key(1), "ack.1", &[(0, 0)]);
    let held = lease(&mut state, 1, NOW)[0];
    let other = Lease {
        token: LeaseToken(held.token.0 + 1),
        ..held
    };
    state.scheduler.release(other);
    assert_eq!(lease(&mut state, 1, NOW), []);
    state.scheduler.release(held);
    assert_eq!(lease(&mut state, 1, NOW).len(), 1);
}

#[test]
fn notes_of_others_settle_what_nobody_settles_here() {
    let mut state = State::default();
    admit(
        &mut state,
        key(1),
        "ack.1",
        &[(0, 0), (1, 0), (2, 5), (3, 0)],
    );
    let leased = lease(&mut state, 1, NOW)[0];
    assert_eq!(leased.delivery, id(0));
    assert!(state.begin_settling(leased).is_some());
    let ack = state.learn(key(1), &noted(4, &[0, 1], &[(2, 4), (3, 2)]), NOW);
    assert_eq!(ack, None, "some is left");
    assert!(
        state.slots.contains_key(&id(0)),
        "it is settled by its holder"
    );
    assert!(!state.slots.contains_key(&id(1)));
    assert_eq!(state.slots[&id(2)].attempts, 5, "old news");
    assert_eq!(state.slots[&id(3)].attempts, 2);
    assert_eq!(state.close(id(0)), None);
    let ack = state.learn(key(1), &noted(4, &[2, 3], &[]), NOW);
    assert_eq!(ack, Some(Subject::from("ack.1")));
}

#[test]
fn replaced_consumer_gets_no_acknowledgement_of_the_old_one() {
    let mut state = State::default();
    admit(&mut state, key(1), "ack.1", &[(0, 0)]);
    let retry = RecordKey {
        source: Source::Retries,
        ..key(2)
    };
    admit(&mut state, retry, "ack.2", &[(1, 1)]);
    state.forget_acks(Source::Deliveries);
    assert_eq!(state.close(id(0)), Some(Subject::from("")));
    assert_eq!(state.close(id(1)), Some(Subject::from("ack.2")));
}

#[test]
fn records_that_were_begun_are_not_given_back() {
    let mut state = State::default();
    for sequence in 1..=4_u32 {
        let record = key(u64::from(sequence));
        admit(
            &mut state,
            record,
            "ack",
            &[(2 * sequence, 0), (2 * sequence + 1, 0)],
        );
    }
    let leased = lease(&mut state, 1, NOW)[0];
    let begun = state.slots[&leased.delivery].record;
    assert_eq!(begun, key(1));
    state.close(id(8));
    assert_eq!(state.untouched(100), [key(3), key(2)], "the newest first");
    assert_eq!(state.untouched(3), [key(3)], "no more than asked for");
}

#[test]
fn note_on_one_copy_leaves_the_other() {
    let mut state = State::default();
    admit(&mut state, key(1), "ack.1", &[(0, 0)]);
    admit(&mut state, key(2), "ack.2", &[(0, 1)]);
    assert_eq!(state.learn(key(1), &noted(1, &[0], &[]), NOW), None);
    assert_eq!(state.slots[&id(0)].record, key(2));
}

#[test]
fn record_that_is_given_back_takes_no_delivery_of_another_along() {
    let mut state = State::default();
    admit(&mut state, key(1), "ack.1", &[(0, 0)]);
    admit(&mut state, key(2), "ack.2", &[(0, 1)]);
    assert_eq!(state.let_go(key(1)), Some(Subject::from("ack.1")));
    assert_eq!((state.slots[&id(0)].record, state.bytes), (key(2), 100));
    assert_eq!(state.let_go(key(2)), Some(Subject::from("ack.2")));
    assert!(state.slots.is_empty() && state.bytes == 0);
}

#[test]
fn record_with_a_kept_retry_is_not_given_back() {
    let mut state = State::default();
    admit(&mut state, key(1), "ack.1", &[(0, 0), (1, 0)]);
    let (attempts, due_at) = (1, NOW);
    state.keep(id(0), Kept { attempts, due_at }, NOW);
    assert_eq!(state.untouched(100), []);
}

#[test]
fn delivery_that_comes_back_before_its_move_is_settled_stays() {
    for attempts in [0, 1] {
        let mut state = State::default();
        admit(&mut state, key(1), "ack.1", &[(0, 0)]);
        let leased = lease(&mut state, 1, NOW)[0];
        assert!(state.begin_settling(leased).is_some());
        state.moving.insert(id(0));
        admit(&mut state, key(2), "ack.2", &[(0, attempts)]);
        state.moving.remove(&id(0));
        let ack = state.close_moved(id(0), key(1), 0);
        assert_eq!(ack, Some(Subject::from("ack.1")));
        assert_eq!(state.slots[&id(0)].record, key(2));
        assert_eq!(state.superseded, [(key(1), 0)]);
        assert_eq!(state.settle_place(key(1), 0), None, "it is settled");
        assert_eq!(lease(&mut state, 1, NOW).len(), 1);
    }
}

#[test]
fn delivery_that_has_moved_is_gone() {
    let mut state = State::default();
    admit(&mut state, key(1), "ack.1", &[(0, 0)]);
    let ack = state.close_moved(id(0), key(1), 0);
    assert_eq!(ack, Some(Subject::from("ack.1")));
    assert!(state.slots.is_empty() && lease(&mut state, 1, NOW).is_empty());
}

/// A process reads its own notes too, and late.
#[test]
fn note_on_an_attempt_that_is_known_ends_no_lease() {
    let mut state = State::default();
    admit(&mut state, key(1), "ack.1", &[(0, 0)]);
    let (attempts, due_at) = (1, NOW);
    state.keep(id(0), Kept { attempts, due_at }, NOW);
    let leased = lease(&mut state, 1, NOW)[0];
    assert_eq!(state.learn(key(1), &noted(1, &[], &[(0, 1)]), NOW), None);
    assert_eq!(lease(&mut state, 1, NOW), []);
    assert!(state.begin_settling(leased).is_some());
}

#[test]
fn lease_that_is_extended_while_being_settled_lasts_if_that_fails() {
    let mut state = State::default();
    admit(&mut state, key(1), "ack.1", &[(0, 0)]);
    let held = lease(&mut state, 1, NOW)[0];
    assert!(state.begin_settling(held).is_some());
    let later = NOW.saturating_add(2 * LEASE);
    assert!(state.scheduler.extend(held, later));
    assert_eq!(lease(&mut state, 1, later), [], "it is being settled");
    state.scheduler.stop_settling(held);
    let before = Timestamp::from_nanos(later.as_nanos() - 1);
    assert_eq!(lease(&mut state, 1, before), []);
    assert_eq!(lease(&mut state, 1, later).len(), 1);
}

#[test]
fn nothing_is_left_of_a_retry_that_is_settled() {
    let mut state = State::default();
    admit(&mut state, key(1), "ack.1", &[(0, 0)]);
    for attempts in 1..3 {
        let due_at = NOW.saturating_add(LEASE * attempts);
        state.keep(id(0), Kept { attempts, due_at }, NOW);
        assert_eq!(state.scheduler.next_due(NOW), Some(due_at));
        assert_eq!(lease(&mut state, 1, due_at).len(), 1);
        assert_eq!(
            state.scheduler.next_due(due_at),
            Some(due_at.saturating_add(LEASE))
        );
    }
    // Another process may settle it while it waits here.
    let (attempts, due_at) = (3, NOW.saturating_add(9 * LEASE));
    state.keep(id(0), Kept { attempts, due_at }, NOW);
    assert_eq!(state.close(id(0)), Some(Subject::from("ack.1")));
    assert_eq!(state.scheduler.next_due(NOW), None);
    assert_eq!(state.scheduler.longest(), None);
}
