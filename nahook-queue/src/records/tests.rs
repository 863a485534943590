use nahook_core::id::{MessageId, WorkspaceId};

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_000);

fn endpoint(number: u128) -> EndpointId {
    EndpointId::from_bits(number)
}

fn id(record: i64, ordinal: u32) -> DeliveryId {
    DeliveryId::nth(
        MessageId::from_bits(u128::from(record.unsigned_abs()) << 32),
        ordinal,
    )
}

/// Takes in a record with one delivery for each of these endpoints.
fn take(taken: &mut TakenRecords<()>, record: i64, endpoints: &[u128]) {
    take_bytes(taken, record, 10, endpoints);
}

fn take_bytes(taken: &mut TakenRecords<()>, record: i64, bytes: usize, endpoints: &[u128]) {
    let place = |number: &u128| Place {
        workspace: WorkspaceId::from_bits(1),
        endpoint: endpoint(*number),
        due_at: NOW,
        is_retry: false,
    };
    let deliveries = (0..).zip(endpoints);
    let deliveries = deliveries.map(|(ordinal, number)| (id(record, ordinal), place(number), ()));
    taken.take(record, 1, bytes, deliveries.collect::<Vec<_>>(), NOW);
}

fn lease(taken: &mut TakenRecords<()>, max: usize, now: Timestamp) -> Vec<Lease> {
    let request = LeaseRequest::new(WorkerId(1), max, Duration::from_mins(1));
    taken.lease(&request, max, &mut BatchRoom::of(&request), |_| 0, now)
}

/// Records to the endpoints 1 and 2 until the audience is full.
fn full() -> TakenRecords<()> {
    let mut taken = TakenRecords::default();
    for record in 0..i64::try_from(AUDIENCE_MAX / 2).unwrap() {
        assert_eq!(taken.full(), Some(Vec::new()));
        take(&mut taken, record, &[1, 2]);
    }
    assert_eq!(taken.full(), Some(vec![1]));
    taken
}

#[test]
fn a_full_audience_takes_records_again_once_an_endpoint_has_nothing_left() {
    let mut taken = full();
    // All of the second endpoint's are delivered, and none of the first's.
    for record in 0..i64::try_from(AUDIENCE_MAX / 2).unwrap() {
        taken.is_row(id(record, 1));
        take(&mut taken, 10_000 + record, &[1]);
    }
    take(&mut taken, 20_000, &[1, 2]);
    taken.is_row(id(20_000, 1));
    assert_eq!(taken.full(), Some(vec![1]));
    assert_eq!(lease(&mut taken, 0, NOW), []);
    // Nothing of the first was ever leased: all of it becomes rows.
    assert_eq!(taken.full(), Some(Vec::new()));
    assert_eq!(taken.leaving(NOW).len(), AUDIENCE_MAX + 1);
}

#[test]
fn a_full_audience_takes_records_again_once_half_of_it_is_left() {
    let mut taken = full();
    for record in 0..i64::try_from((AUDIENCE_MAX - AUDIENCE_LOW) / 2).unwrap() {
        assert_eq!(taken.full(), Some(vec![1]), "{record}");
        taken.is_row(id(record, 0));
        taken.is_row(id(record, 1));
    }
    assert_eq!(taken.full(), Some(Vec::new()));
}

#[test]
fn an_endpoint_that_has_nothing_left_gets_more_where_there_is_room() {
    let mut taken = full();
    for record in 0..i64::try_from(AUDIENCE_MAX / 2).unwrap() {
        taken.is_row(id(record, 1));
        if record % 2 == 0 {
            // The second is one of the audience still.
            take(&mut taken, 10_000 + record, &[1]);
        }
    }
    assert_eq!(taken.full(), Some(vec![1]));
    assert_eq!(lease(&mut taken, 0, NOW), []);
    assert_eq!(taken.full(), Some(Vec::new()));
    assert_eq!(taken.leaving(NOW), []);
}

#[test]
fn a_full_audience_whose_endpoints_all_have_some_keeps_them() {
    let mut taken = full();
    assert_eq!(lease(&mut taken, 10, NOW).len(), 10);
    assert_eq!(taken.leaving(NOW), []);
}

#[test]
fn others_get_what_endpoints_do_not_take_soon() {
    for (is_shared, bytes, kept) in [
        (false, 0, 99),
        (true, 0, 2 * WINDOWS_KEPT_SHARED),
        (false, BYTES_MAX, 2 * WINDOWS_KEPT),
        (true, BYTES_MAX, 2 * WINDOWS_KEPT),
    ] {
        let mut taken = TakenRecords::default();
        taken.set_shared(is_shared);
        // That others are there does not change with what is in hand.
        taken.forget();
        take_bytes(&mut taken, 0, bytes, &[1]);
        for record in 1..100 {
            take(&mut taken, record, &[1]);
        }
        // Just taken: it had no chance yet.
        assert_eq!(lease(&mut taken, 1, NOW).len(), 1);
        assert_eq!(taken.leaving(NOW), []);
        taken.note_row(endpoint(1));
        let early = NOW.saturating_add(WINDOW / 2);
        assert_eq!(lease(&mut taken, 0, early), []);
        assert_eq!(taken.leaving(early), [], "the window is not over");
        // Two leases in a window leave the work of some windows here.
        let next = NOW.saturating_add(WINDOW);
        lease(&mut taken, 0, next);
        let left = 99 - taken.leaving(next).len();
        assert_eq!(left, kept, "{is_shared} {bytes}");
    }
}

#[test]
fn what_waits_behind_rows_is_leased_after_them() {
    let mut taken = TakenRecords::default();
    take(&mut taken, 1, &[1, 2]);
    let leased = lease(&mut taken, 1, NOW);
    let late = NOW.saturating_add(Duration::from_mins(1));
    let expired = taken.leaving(late);
    assert_eq!(expired, [leased[0].delivery]);
    let room = BatchRoom::of(&LeaseRequest::new(WorkerId(1), 10, Duration::ZERO));
    // It is not among the rows yet, all of which are leased.
    taken.note_all_rows_leased(&room, |_| 0);
    taken.is_row(expired[0]);
    // Another one for the same endpoint, and one for the other.
    take(&mut taken, 2, &[1, 2]);
    let others = lease(&mut taken, 10, late);
    assert_eq!(others.len(), 2, "those of the other endpoint");
    let second = [id(1, 1), id(2, 1)];
    assert!(others.iter().all(|lease| second.contains(&lease.delivery)));
    // The worker has as many of its rows as it may have: more may wait.
    taken.note_all_rows_leased(&room, |_| 10);
    assert_eq!(lease(&mut taken, 10, late), []);
    taken.note_all_rows_leased(&room, |_| 0);
    assert_eq!(lease(&mut taken, 10, late).len(), 1);
}

#[test]
fn a_record_is_finished_once_all_of_it_are_rows() {
    let mut taken = TakenRecords::default();
    take(&mut taken, 1, &[1, 2]);
    take(&mut taken, 2, &[]);
    assert_eq!(taken.finished(), [2]);
    taken.forget_finished(&[2]);
    taken.is_row(id(1, 0));
    assert_eq!((taken.finished(), taken.records()), (vec![], vec![1]));
    taken.is_row(id(1, 1));
    assert_eq!((taken.finished(), taken.bytes), (vec![1], 0));
    assert!(taken.audiences.is_empty() && taken.deliveries.is_empty());
}

#[test]
fn no_more_is_taken_than_there_is_room_for() {
    let mut taken = TakenRecords::default();
    take_bytes(&mut taken, 1, BYTES_MAX, &[1]);
    assert_eq!(taken.full(), None);
    taken.is_row(id(1, 0));
    assert!(taken.full().is_some());
}

#[test]
fn tokens_are_never_given_again() {
    let mut taken = TakenRecords::default();
    take(&mut taken, 1, &[1]);
    let before = lease(&mut taken, 1, NOW);
    taken.forget();
    take(&mut taken, 1, &[1]);
    assert!(!taken.holds(before[0]), "it is in the hands of others");
    let again = lease(&mut taken, 1, NOW);
    assert!(again[0].token > before[0].token);
    // A store draws signed numbers.
    assert!(i64::try_from(before[0].token.0).is_err());
}

#[test]
fn record_that_is_in_hand_is_not_taken_again() {
    let mut taken = TakenRecords::default();
    take(&mut taken, 1, &[1]);
    take(&mut taken, 1, &[1]);
    assert_eq!((taken.bytes, taken.audiences[&1].count), (10, 1));
    taken.is_row(id(1, 0));
    take(&mut taken, 1, &[1]);
    assert_eq!(lease(&mut taken, 1, NOW), [], "it is finished");
}

#[test]
fn lease_lasts_until_it_expires_if_nobody_settles_it() {
    let mut taken = TakenRecords::default();
    take(&mut taken, 1, &[1, 2, 3]);
    let [extended, settling, left] = lease(&mut taken, 3, NOW).try_into().unwrap();
    let [late, later] = [1, 2].map(|minutes| NOW.saturating_add(Duration::from_mins(minutes)));
    assert!(taken.holds(left) && taken.is_leased(left.delivery));
    assert_eq!(taken.next_due(NOW), Some(late));
    assert!(taken.extend(extended, later));
    assert!(taken.begin_settling(settling));
    assert!(!taken.begin_settling(settling), "somebody does already");
    assert_eq!(taken.leaving(late), [left.delivery]);
    assert!(!taken.holds(left) && !taken.is_leased(left.delivery));
    assert!(!taken.extend(left, later) && !taken.begin_settling(left));
    assert!(taken.holds(extended) && taken.holds(settling));
    assert_eq!(taken.next_due(late), Some(later));
}

#[test]
fn leases_are_told_by_delivery_and_by_worker() {
    let mut taken = TakenRecords::default();
    take(&mut taken, 1, &[1, 2]);
    let leased = lease(&mut taken, 1, NOW)[0].delivery;
    let told: Vec<_> = taken.leased().collect();
    let [(delivery, place)] = told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(delivery, leased);
    let held: Vec<_> = taken.held_by(WorkerId(1)).collect();
    assert_eq!(held, [(place.endpoint, 1)]);
    assert_eq!(taken.held_by(WorkerId(2)).count(), 0);
}

#[test]
fn backlog_is_all_that_nobody_attempts() {
    let mut taken = TakenRecords::default();
    take(&mut taken, 1, &[1, 2, 3]);
    let leased = lease(&mut taken, 1, NOW);
    let of = |backlog: Backlog| (backlog.due, backlog.oldest_due_at);
    assert_eq!(of(taken.backlog(NOW)), (2, Some(NOW)));
    // It is to become a row, and waits as long as it is none.
    let late = NOW.saturating_add(Duration::from_mins(1));
    assert_eq!(of(taken.backlog(late)), (3, Some(NOW)));
    assert_eq!(lease(&mut taken, 2, late).len(), 2);
    assert_eq!(of(taken.backlog(late)), (1, Some(NOW)));
    taken.is_row(leased[0].delivery);
    assert_eq!(of(taken.backlog(late)), (0, None));
}

#[test]
fn others_get_all_that_waits_and_nothing_that_is_leased() {
    let mut taken = TakenRecords::default();
    take(&mut taken, 1, &[1, 2]);
    let leased = lease(&mut taken, 1, NOW)[0];
    taken.let_go();
    let leaving = taken.leaving(NOW);
    assert_eq!(leaving.len(), 1);
    assert_ne!(leaving[0], leased.delivery);
    assert!(taken.holds(leased));
    assert_eq!(lease(&mut taken, 1, NOW), []);
}
