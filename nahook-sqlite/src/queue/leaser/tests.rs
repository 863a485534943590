use nahook_core::id::{EndpointId, MessageId};
use nahook_queue::WorkerId;
use nahook_testkit::ManualClock;

use super::*;

/// The rows of two endpoints and of an event, and a delivery of it with each of these endpoints, statuses and due times. Those without
/// a status are its record.
fn leaser_of(deliveries: &[(i64, Option<u8>, Option<i64>)]) -> (Leaser, ManualClock) {
    let connection = crate::schema::empty();
    connection
        .execute_batch(
            "INSERT INTO nahook_workspace (row, id, name, payload_len_max, created_at) VALUES (1, 'ws', 'w', 1, 1);
             INSERT INTO nahook_environment VALUES (1, 'env_1', 1, 'e', 'e', 1, 1, 1, NULL);
             INSERT INTO nahook_endpoint (row, id, workspace, environment, url, kind, config, metadata, secret,
                 is_active, created_at, updated_at)
             VALUES (1, 'ep_1', 1, 1, '', 0, '{}', '{}', '', 1, 1, 1), (2, 'ep_2', 1, 1, '', 0, '{}', '{}', '', 1, 1, 1);
             INSERT INTO nahook_event (seq, id, workspace, accepted_at, width, payload)
                 VALUES (1, x'00000000000000000000000000000001', 1, 1, 2, x'7b7d')",
        )
        .unwrap();
    let mut record = vec![None; deliveries.len()];
    for (ordinal, (endpoint, status, due_at)) in (0_i64..).zip(deliveries) {
        if status.is_none() {
            record[usize::try_from(ordinal).unwrap()] = Some(*endpoint);
            continue;
        }
        connection
            .execute(
                "INSERT INTO nahook_delivery (key, endpoint, status, due_at, attempts) VALUES ((1 << 20) + ?1, ?2, ?3, ?4, 0)",
                params![ordinal, endpoint, status, due_at],
            )
            .unwrap();
    }
    let record = serde_json::to_string(&record).unwrap();
    let insert = "INSERT INTO nahook_record (event, endpoints) VALUES (1, ?1)";
    connection.execute(insert, [record]).unwrap();
    let queue = Arc::new(Queue::new(LeaseToken(0), 100));
    find_waiting(&connection, &queue).unwrap();
    queue.count_fresh(&connection).unwrap();
    let clock = ManualClock::default();
    let leaser = Leaser {
        connection,
        queue,
        clock: Arc::new(clock.clone()),
        events: Events::default(),
        names: Names::default(),
    };
    (leaser, clock)
}

const FRESH: Option<u8> = None;
const PENDING: Option<u8> = Some(0);
const RETRY: Option<u8> = Some(1);

fn request(max: usize) -> LeaseRequest {
    LeaseRequest {
        per_endpoint_max: 10,
        ..LeaseRequest::new(WorkerId(1), max, Duration::from_mins(1))
    }
}

/// The ordinals of what is leased.
fn leased(leaser: &mut Leaser, max: usize) -> Vec<u32> {
    let batch = leaser.lease(&request(max)).unwrap();
    ordinals(&batch)
}

fn ordinals(batch: &LeaseBatch) -> Vec<u32> {
    let deliveries = batch.deliveries.iter();
    let ordinals = deliveries.map(|it| it.lease.delivery.ordinal(it.message).unwrap());
    ordinals.collect()
}

/// Takes the endpoint whose turn it is out of its ring.
fn candidate(state: &mut super::super::QueueState) -> Candidate {
    for endpoint in state.take_unplaced() {
        state.place(endpoint, Some(1));
    }
    let room = BatchRoom::new(&request(1), [], []);
    state.candidates(WorkerId(1), 1, &room).remove(0)
}

/// Makes the leaser read again what the file has of the endpoint.
fn doubt(leaser: &Leaser, endpoint: i64) {
    leaser.queue.state().note_work(endpoint);
}

#[test]
fn what_a_lease_that_panics_had_taken_is_leased_by_the_next() {
    let (mut leaser, _) = leaser_of(&[(1, FRESH, None), (2, FRESH, None)]);
    let mut batch = leaser.lease(&request(1)).unwrap().deliveries;
    // The other endpoint is out of the ring, and nothing of it is leased.
    candidate(&mut leaser.queue.state());
    assert!(leased(&mut leaser, 2).is_empty());
    leaser.abandon(Taken {
        batch: batch.drain(..).map(|delivery| (0, delivery)).collect(),
        endpoints: vec![1, 2],
    });
    assert_eq!(leased(&mut leaser, 2).len(), 2);
}

#[test]
fn what_is_leased_is_not_leased_again_when_the_file_is_read_again() {
    for (status, due_at) in [(PENDING, None), (RETRY, Some(1))] {
        let (mut leaser, _) = leaser_of(&[(1, status, due_at); 4]);
        for ordinal in 0..3 {
            assert_eq!(leased(&mut leaser, 1), [ordinal], "{status:?}");
            doubt(&leaser, 1);
        }
        assert_eq!(leased(&mut leaser, 9), [3], "{status:?}");
        doubt(&leaser, 1);
        assert_eq!(leased(&mut leaser, 9), [0; 0], "{status:?}");
    }
}

#[test]
fn what_is_left_over_is_leased_by_the_next_without_a_change() {
    for (status, due_at) in [(FRESH, None), (PENDING, None), (RETRY, Some(1))] {
        let (mut leaser, _) = leaser_of(&[(1, status, due_at); 5]);
        assert_eq!(leased(&mut leaser, 2), [0, 1], "{status:?}");
        assert_eq!(leased(&mut leaser, 2), [2, 3], "{status:?}");
        assert_eq!(leased(&mut leaser, 2), [4], "{status:?}");
        assert_eq!(leased(&mut leaser, 2), [0; 0], "{status:?}");
    }
}

#[test]
fn what_is_at_its_bound_keeps_its_turn() {
    let (mut leaser, _) = leaser_of(&[(1, FRESH, None); 3]);
    let bounded = |per_endpoint_max| LeaseRequest {
        per_endpoint_max,
        ..request(9)
    };
    let batch = leaser.lease(&bounded(2)).unwrap();
    assert_eq!(ordinals(&batch), [0, 1]);
    assert_eq!(ordinals(&leaser.lease(&bounded(2)).unwrap()), [0; 0]);
    assert_eq!(ordinals(&leaser.lease(&bounded(3)).unwrap()), [2]);
}

#[test]
fn bound_of_its_own_counts_for_its_endpoint_alone() {
    let (mut leaser, _) = leaser_of(&[(1, FRESH, None), (1, FRESH, None), (2, FRESH, None)]);
    let id = |text: &str| EndpointId::new(text).unwrap();
    let request = LeaseRequest {
        exceptions: vec![(id("ep_1"), 1), (id("ep_unknown"), 0)],
        ..request(9)
    };
    let mut found = ordinals(&leaser.lease(&request).unwrap());
    found.sort_unstable();
    assert_eq!(found, [0, 2]);
}

#[test]
fn retries_and_the_rest_take_turns() {
    let row = |key, attempts| Due {
        key,
        attempts,
        is_fresh: false,
    };
    let pending = || vec![row(1, 0), row(2, 0)];
    let retries = || vec![row(7, 1), row(8, 1)];
    let candidate = |retry_is_next| Candidate {
        endpoint: 1,
        workspace: 1,
        is_listed: false,
        room: 9,
        retry_is_next,
        leased: 0,
    };
    for (retry_is_next, wanted, keys, next, has_more) in [
        (false, 9, &[1, 7, 2, 8][..], false, false),
        (true, 9, &[7, 1, 8, 2], true, false),
        (false, 1, &[1], true, true),
        (true, 1, &[7], false, true),
        (false, 3, &[1, 7, 2], true, true),
        (true, 3, &[7, 1, 8], false, false),
    ] {
        let mut candidate = candidate(retry_is_next);
        let chosen = choose(&mut candidate, wanted, pending(), retries());
        let found: Vec<_> = chosen.rows.iter().map(|due| due.key).collect();
        assert_eq!(found, keys);
        assert_eq!(candidate.retry_is_next, next, "{keys:?}");
        assert_eq!(chosen.has_more_retries, has_more, "{keys:?}");
    }
    let mut candidate = candidate(false);
    let chosen = choose(&mut candidate, 9, Vec::new(), retries());
    assert_eq!(chosen.rows, retries());
    let chosen = choose(&mut candidate, 9, pending(), Vec::new());
    assert_eq!(chosen.rows, pending());
}

#[test]
fn retries_and_the_rest_take_turns_from_lease_to_lease() {
    let (mut leaser, _) = leaser_of(&[
        (1, PENDING, None),
        (1, PENDING, None),
        (1, RETRY, Some(1)),
        (1, RETRY, Some(1)),
    ]);
    let mut order = Vec::new();
    for _ in 0..4 {
        order.extend(leased(&mut leaser, 1));
    }
    assert_eq!(order, [0, 2, 1, 3]);
}

#[test]
fn retries_behind_what_is_settled_meanwhile_are_leased_by_the_next() {
    let (mut leaser, clock) = leaser_of(&[(1, RETRY, Some(1)); 3]);
    let mut candidate = {
        let mut state = leaser.queue.state();
        state.reclaim_expired(clock.now());
        state.begin_reading();
        for ordinal in 0..2 {
            let row = LeasedRow {
                key: (1 << 20) + i64::from(ordinal),
                attempts: 1,
                is_fresh: false,
            };
            let delivery = DeliveryId::nth(MessageId::from_bits(7), ordinal);
            let held = Held::new(WorkerId(1), 1, Timestamp::from_nanos(u64::MAX), row);
            let token = state.claim(delivery, held);
            state.end(Lease { delivery, token });
        }
        candidate(&mut state)
    };
    let mut batch = Batch::new();
    let has_more = leaser.lease_from(&mut candidate, 1, &request(1), clock.now(), &mut batch);
    assert!(has_more.unwrap() && batch.is_empty());
    {
        let mut state = leaser.queue.state();
        state.end_reading();
        state.enter(1);
    }
    assert_eq!(leased(&mut leaser, 9), [0, 1, 2]);
}

#[test]
fn retry_is_leased_when_it_is_due_and_not_before() {
    let now = ManualClock::default().now();
    let due_at = now.saturating_add(Duration::from_secs(5));
    let later = due_at.saturating_add(Duration::from_secs(5));
    let retries = [due_at, later].map(|at| (1, RETRY, Some(nanos(at))));
    let (mut leaser, clock) = leaser_of(&retries);
    for (at, found, next_due) in [
        (now, &[][..], Some(due_at)),
        (
            Timestamp::from_nanos(due_at.as_nanos() - 1),
            &[],
            Some(due_at),
        ),
        (due_at, &[0], Some(later)),
        (later, &[1], None),
    ] {
        clock.set(at);
        let batch = leaser.lease(&request(9)).unwrap();
        assert_eq!(ordinals(&batch), found);
        let expiry = due_at.saturating_add(Duration::from_mins(1));
        let is_leased = at >= due_at;
        let next_due = next_due.or(is_leased.then_some(expiry));
        assert_eq!(batch.next_due, next_due);
    }
}

#[test]
fn endpoint_that_cannot_be_read_holds_up_no_other_and_is_read_a_second_later() {
    for (status, due_at) in [(PENDING, None), (RETRY, Some(1))] {
        let (mut leaser, clock) = leaser_of(&[(1, PENDING, None), (2, status, due_at)]);
        let name_endpoint = "UPDATE nahook_endpoint SET id = ?1 WHERE row = 2";
        leaser.connection.execute(name_endpoint, ["no id"]).unwrap();
        let batch = leaser.lease(&request(9)).unwrap();
        assert_eq!(ordinals(&batch), [0], "{status:?}");
        let again_at = clock.now().saturating_add(Duration::from_secs(1));
        assert_eq!(batch.next_due, Some(again_at));
        assert_eq!(leased(&mut leaser, 9), [0; 0], "not at once");
        clock.set(again_at);
        assert!(leaser.lease(&request(9)).is_err(), "there is nothing else");
        leaser.connection.execute(name_endpoint, ["ep_2"]).unwrap();
        clock.advance(Duration::from_secs(1));
        assert_eq!(leased(&mut leaser, 9), [1], "{status:?}");
    }
}

#[test]
fn what_nobody_receives_is_leased_by_the_next() {
    let (mut leaser, _) = leaser_of(&[(1, FRESH, None), (1, PENDING, None)]);
    let batch = leaser.lease(&request(9)).unwrap();
    assert_eq!(ordinals(&batch), [0, 1]);
    let generation = batch.generation;
    leaser.give_back(Ok(batch));
    assert_ne!(leaser.queue.generation.get(), generation, "others are told");
    assert_eq!(leased(&mut leaser, 9), [0, 1]);
}

#[test]
fn lease_that_has_run_out_is_leased_anew() {
    for status in [FRESH, PENDING] {
        let (mut leaser, clock) = leaser_of(&[(1, status, None)]);
        assert_eq!(leased(&mut leaser, 9), [0]);
        clock.advance(Duration::from_nanos(59_999_999_999));
        assert_eq!(leased(&mut leaser, 9), [0; 0], "{status:?}");
        clock.advance(Duration::from_nanos(1));
        assert_eq!(leased(&mut leaser, 9), [0], "{status:?}");
    }
}

#[test]
fn delivery_that_becomes_a_row_while_the_file_is_read_is_found_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let settings = SqliteSettings::server();
    let mut writer = crate::connection::open_writer(&path, &settings).unwrap();
    crate::connection::set_up_writer(&writer, &settings).unwrap();
    crate::schema::migrate(&mut writer, crate::schema::MIGRATIONS).unwrap();
    let event = "INSERT INTO nahook_workspace (row, id, name, payload_len_max, created_at) VALUES (1, 'ws', 'w', 1, 1);
        INSERT INTO nahook_event (seq, id, workspace, accepted_at, width) VALUES (1, x'01', 1, 1, 1)";
    writer.execute_batch(event).unwrap();
    let queue = Arc::new(Queue::new(LeaseToken(0), 100));
    let leaser = Leaser::open(&path, &settings, queue).unwrap();
    let (writer, mut at) = (Arc::new(std::sync::Mutex::new(writer)), 0);
    // By another connection, behind each step that SQLite takes.
    loop {
        let record = "DELETE FROM nahook_delivery; INSERT INTO nahook_record VALUES (1, '[1, 1, 1]');
            INSERT INTO nahook_delivery (key, endpoint, status, attempts) VALUES ((1 << 20) + 1, 1, 0, 0)";
        writer.lock().unwrap().execute_batch(record).unwrap();
        let (mut steps, other) = (0, Arc::clone(&writer));
        let make_rows = move || {
            if steps == at {
                crate::record::make_rows(&other.lock().unwrap(), 1, 9).unwrap();
            }
            steps += 1;
            false
        };
        leaser
            .connection
            .progress_handler(1, Some(make_rows))
            .unwrap();
        let (due, until) = leaser.read_pending(1, i64::MIN, 9).unwrap();
        let none: Option<fn() -> bool> = None;
        leaser.connection.progress_handler(1, none).unwrap();
        let ordinals: Vec<_> = due.iter().map(|due| split_key(due.key).1).collect();
        assert_eq!(
            (ordinals, until),
            (vec![0, 1, 2], None),
            "behind {at} steps"
        );
        let is_reached = crate::record::fresh(&writer.lock().unwrap(), 1, 9)
            .unwrap()
            .is_empty();
        if !is_reached {
            break;
        }
        at += 1;
    }
    assert!(at > 50, "{at}");
}
