//! Several processes on one queue, and what is left when one of them ends.

use std::collections::HashSet;
use std::time::Duration;

use nahook_core::{Clock as _, SystemClock};
use nahook_nats::{Nats, NatsSettings};
use nahook_queue::{DeliveryQueue as _, LeaseRequest, Next};
use nahook_testkit::declare::nth_endpoint_id;
use nahook_testkit::{ManualClock, run};
use nahook_testserver::NatsServer;
use tokio::time::{Instant, timeout};

use crate::support::{
    self, connected, ids, lease_some, publish, published, reader, request, rounds, settle,
};

const PATIENCE: Duration = Duration::from_mins(1);

fn settings() -> NatsSettings {
    let mut settings = NatsSettings::default();
    settings.ack_wait = Duration::from_secs(2);
    settings
}

/// A process that ends without a word in the middle of a record: what it had settled does not come again, everything else
/// does, a kept retry with its attempt and not before its time.
#[test]
fn a_crash_in_the_middle_of_a_record_repeats_what_was_not_settled() {
    for _ in 0..rounds(1) {
        run(async {
            let server = NatsServer::start();
            let dying = connected(&server.url(), settings()).await;
            let slots = publish(&dying, 1, 100).await;
            assert_eq!(published(&slots).len(), 100);
            let leased = lease_some(&dying.queue, 100, PATIENCE).await;
            let due_at = SystemClock.now().saturating_add(Duration::from_secs(8));
            settle(&dying.queue, &leased[..40], Next::Delivered).await;
            settle(&dying.queue, &leased[40..50], Next::Failed).await;
            settle(&dying.queue, &leased[50..60], Next::Retry(due_at)).await;
            drop(dying);

            // Long enough for the record to be the first thing that the other gets, before it has read any note.
            tokio::time::sleep(settings().ack_wait * 3 / 2).await;
            let other = connected(&server.url(), settings()).await;
            let again = lease_some(&other.queue, 40, PATIENCE).await;
            assert_eq!(
                ids(&again),
                ids(&leased[60..]),
                "those that were leased and not settled"
            );
            assert!(again.iter().all(|leased| leased.attempts == 0));
            assert!(SystemClock.now() < due_at, "the retries have to wait");
            settle(&other.queue, &again, Next::Delivered).await;
            let retried = lease_some(&other.queue, 10, PATIENCE).await;
            assert!(SystemClock.now() >= due_at, "not before its time");
            assert_eq!(ids(&retried), ids(&leased[50..60]));
            assert!(retried.iter().all(|leased| leased.attempts == 1));
            settle(&other.queue, &retried, Next::Delivered).await;
            tokio::time::sleep(2 * settings().ack_wait).await;
            let more = other
                .queue
                .lease(&request(1, 100))
                .await
                .unwrap()
                .deliveries;
            assert_eq!(more, [], "all of it is settled");
        });
    }
}

/// The server is killed right after everything was settled, so that it may not have kept the acknowledgements: nothing comes
/// again, because the notes say that it is settled.
#[test]
fn what_was_settled_stays_settled_when_the_server_is_killed() {
    for _ in 0..rounds(1) {
        run(async {
            let server = NatsServer::start();
            let nats = connected(&server.url(), settings()).await;
            for number in 0..50 {
                publish(&nats, number, 10).await;
            }
            let leased = lease_some(&nats.queue, 500, PATIENCE).await;
            assert_eq!(leased.len(), 500);
            for leased in leased.chunks(25) {
                settle(&nats.queue, leased, Next::Delivered).await;
            }
            server.kill();
            drop(nats);
            server.start_again();
            let other = connected(&server.url(), settings()).await;
            let again = lease_some(&other.queue, 1, 3 * settings().ack_wait).await;
            assert_eq!(ids(&again), [], "all of it was settled");
            let slots = publish(&other, 1_000, 3).await;
            let leased = lease_some(&other.queue, 3, PATIENCE).await;
            assert_eq!(ids(&leased), published(&slots), "the queue goes on");
        });
    }
}

/// A worker keeps what it has leased and settles it although the server was killed and started meanwhile.
#[test]
fn a_lease_outlives_the_server() {
    for _ in 0..rounds(1) {
        run(async {
            let server = NatsServer::start();
            let nats = connected(&server.url(), settings()).await;
            let slots = publish(&nats, 1, 20).await;
            let leased = lease_some(&nats.queue, 20, PATIENCE).await;
            server.kill();
            let first = [support::settlement(&leased[0], Next::Delivered)];
            let unanswered = nats.queue.settle(&first).await;
            assert!(unanswered.is_err(), "nobody can have confirmed it");
            server.start_again();
            settle(&nats.queue, &leased, Next::Delivered).await;
            let again = lease_some(&nats.queue, 1, 3 * settings().ack_wait).await;
            assert_eq!(ids(&again), [], "all {} are settled", slots.len());
        });
    }
}

/// As long as a process lives, nobody else gets what it has, however long it takes.
#[test]
fn a_process_that_lives_keeps_what_it_has() {
    run(async {
        let server = NatsServer::start();
        let nats = connected(&server.url(), settings()).await;
        publish(&nats, 1, 20).await;
        let leased = lease_some(&nats.queue, 10, PATIENCE).await;
        let other = connected(&server.url(), settings()).await;
        let theirs = lease_some(&other.queue, 1, 4 * settings().ack_wait).await;
        assert_eq!(ids(&theirs), [], "the whole record is the first one's");
        settle(&nats.queue, &leased, Next::Delivered).await;
        nats.close().await;
        let theirs = lease_some(&other.queue, 10, settings().ack_wait / 2).await;
        assert_eq!(theirs.len(), 10, "what is given back is there at once");
        assert!(ids(&theirs).iter().all(|id| !ids(&leased).contains(id)));
    });
}

/// A stream that is made again begins to count at 1 again: what was noted of the old one is not taken for the new one's.
#[test]
fn a_stream_made_again_is_not_mistaken_for_the_old_one() {
    run(async {
        let server = NatsServer::start();
        let nats = connected(&server.url(), settings()).await;
        publish(&nats, 1, 4).await;
        let leased = lease_some(&nats.queue, 4, PATIENCE).await;
        settle(&nats.queue, &leased, Next::Delivered).await;
        let client = async_nats::connect(server.url()).await.unwrap();
        let jetstream = async_nats::jetstream::new(client);
        jetstream.delete_stream("NAHOOK_DELIVERIES").await.unwrap();
        let mut slots = Vec::new();
        while published(&slots).is_empty() {
            slots = publish(&nats, 2, 4).await;
        }
        let leased = lease_some(&nats.queue, 4, PATIENCE).await;
        assert_eq!(ids(&leased), published(&slots));
    });
}

/// A record of the old stream is settled without an acknowledgement to the new one, which would take another record with the
/// same number off.
#[test]
fn settling_what_a_deleted_stream_held_takes_nothing_off_the_new_one() {
    run(async {
        let server = NatsServer::start();
        let nats = connected(&server.url(), settings()).await;
        publish(&nats, 1, 4).await;
        let old = lease_some(&nats.queue, 4, PATIENCE).await;
        server.delete_stream("NAHOOK_DELIVERIES");
        let mut slots = Vec::new();
        while published(&slots).is_empty() {
            slots = publish(&nats, 2, 4).await;
        }
        let new = lease_some(&nats.queue, 4, PATIENCE).await;
        assert_eq!(ids(&new), published(&slots));
        settle(&nats.queue, &old, Next::Delivered).await;
        drop(nats);
        let other = connected(&server.url(), settings()).await;
        let again = lease_some(&other.queue, 4, PATIENCE).await;
        assert_eq!(ids(&again), published(&slots), "they were never settled");
    });
}

/// Nobody wakes workers that wait, each of which would ask again and again.
#[test]
fn nothing_changes_in_a_queue_that_is_left_alone() {
    run(async {
        let server = NatsServer::start();
        let nats = connected(&server.url(), settings()).await;
        for number in 1..4 {
            publish(&nats, number, 1).await;
        }
        nats.queue.caught_up().await.unwrap();
        let batch = nats.queue.lease(&request(1, 10)).await.unwrap();
        assert_eq!(batch.deliveries.len(), 3);
        let changed = nats.queue.changed(batch.generation);
        assert!(timeout(settings().ack_wait, changed).await.is_err());
        publish(&nats, 4, 1).await;
        let changed = nats.queue.changed(batch.generation);
        assert!(timeout(PATIENCE, changed).await.is_ok());
    });
}

/// As above, if another process is the one that makes the stream again.
#[test]
fn settling_what_a_deleted_stream_held_takes_nothing_off_one_that_another_process_made() {
    run(async {
        let server = NatsServer::start();
        let nats = connected(&server.url(), settings()).await;
        publish(&nats, 1, 4).await;
        let old = lease_some(&nats.queue, 4, PATIENCE).await;
        assert_eq!(old.len(), 4);
        server.delete_stream("NAHOOK_DELIVERIES");
        let other = connected(&server.url(), settings()).await;
        let slots = publish(&other, 2, 4).await;
        let new = lease_some(&nats.queue, 4, PATIENCE).await;
        assert_eq!(ids(&new), published(&slots));
        settle(&nats.queue, &old, Next::Delivered).await;
        drop(nats);
        let again = lease_some(&other.queue, 4, PATIENCE).await;
        assert_eq!(ids(&again), published(&slots), "they were never settled");
    });
}

/// Notes that were dropped are not waited for.
#[test]
fn stream_of_notes_that_is_empty_again_delays_nothing() {
    run(async {
        let server = NatsServer::start();
        let before = connected(&server.url(), settings()).await;
        publish(&before, 1, 1).await;
        let leased = lease_some(&before.queue, 1, PATIENCE).await;
        settle(&before.queue, &leased, Next::Delivered).await;
        before.close().await;
        let client = async_nats::connect(server.url()).await.unwrap();
        let jetstream = async_nats::jetstream::new(client);
        let notes = jetstream.get_stream("NAHOOK_PROGRESS").await.unwrap();
        assert_eq!(notes.purge().await.unwrap().purged, 1);
        let mut settings = settings();
        settings.answer_timeout = 2 * PATIENCE;
        let nats = connected(&server.url(), settings).await;
        let slots = publish(&nats, 2, 1).await;
        let leased = lease_some(&nats.queue, 1, PATIENCE).await;
        assert_eq!(ids(&leased), published(&slots));
    });
}

async fn until_empty(server: &NatsServer, stream: &str) {
    let end = Instant::now() + PATIENCE;
    while server.messages(stream) != Some(0) {
        assert!(Instant::now() < end, "something is left in {stream}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A record with deliveries that this process holds already is taken off its stream, and they are delivered once.
#[test]
fn second_copy_of_deliveries_is_settled_for_itself() {
    run(async {
        let server = NatsServer::start();
        let nats = connected(&server.url(), settings()).await;
        publish(&nats, 1, 3).await;
        let leased = lease_some(&nats.queue, 3, PATIENCE).await;
        let record = reader::records(&server.url(), "NAHOOK_DELIVERIES").await;
        reader::send(&server.url(), "nahook.retries.due", record[0].body.clone()).await;
        until_empty(&server, "NAHOOK_RETRIES").await;
        assert_eq!(server.messages("NAHOOK_DELIVERIES"), Some(1));
        settle(&nats.queue, &leased, Next::Delivered).await;
        until_empty(&server, "NAHOOK_DELIVERIES").await;
    });
}

/// A record that a note calls settled is acknowledged, whether the note is there before the record is taken or comes later.
#[test]
fn record_that_another_process_has_settled_is_acknowledged() {
    run(async {
        let server = NatsServer::start();
        for is_held in [false, true] {
            let nats = connected(&server.url(), settings()).await;
            let slots = publish(&nats, 1 + u64::from(is_held), 3).await;
            if is_held {
                assert_eq!(lease_some(&nats.queue, 3, PATIENCE).await.len(), 3);
            }
            let (sequence, stored_at) = reader::last(&server.url(), "NAHOOK_DELIVERIES").await;
            let note = format!(
                r#"{{"format":1,"records":[["deliveries",{sequence},{stored_at},3,[[0,2]],[]]]}}"#
            );
            reader::send(&server.url(), "nahook.progress", note).await;
            nats.queue.caught_up().await.unwrap();
            until_empty(&server, "NAHOOK_DELIVERIES").await;
            let left = nats.queue.lease(&request(1, 10)).await.unwrap();
            assert_eq!(left.deliveries, [], "{}", slots.len());
            nats.close().await;
        }
    });
}

/// The stream of notes drops the oldest: what was settled of a record that is still held is noted again.
#[test]
fn progress_of_a_held_record_is_noted_again() {
    run(async {
        let server = NatsServer::start();
        let nats = connected(&server.url(), settings()).await;
        publish(&nats, 1, 3).await;
        let leased = lease_some(&nats.queue, 3, PATIENCE).await;
        settle(&nats.queue, &leased[..1], Next::Delivered).await;
        let client = async_nats::connect(server.url()).await.unwrap();
        let jetstream = async_nats::jetstream::new(client);
        let notes = jetstream.get_stream("NAHOOK_PROGRESS").await.unwrap();
        notes.purge().await.unwrap();
        let end = Instant::now() + 3 * PATIENCE;
        while server.messages("NAHOOK_PROGRESS") == Some(0) {
            assert!(Instant::now() < end, "nothing is noted");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        drop(nats);
        let other = connected(&server.url(), settings()).await;
        let again = lease_some(&other.queue, 3, 3 * settings().ack_wait).await;
        assert_eq!(ids(&again), ids(&leased[1..]));
    });
}

/// A process that comes when another has taken everything gets its share.
#[test]
fn a_late_process_gets_its_share() {
    run(async {
        let server = NatsServer::start();
        // What is not given back in words stays with the first process.
        let mut settings = NatsSettings::default();
        settings.ack_wait = 5 * PATIENCE;
        let early = connected(&server.url(), settings.clone()).await;
        let mut all = Vec::new();
        for number in 0..400 {
            all.extend(published(&publish(&early, number, 5).await));
        }
        early.queue.caught_up().await.unwrap();
        let mut done = work(&early, 10).await;
        let late = connected(&server.url(), settings).await;
        late.queue.caught_up().await.unwrap();
        let end = Instant::now() + PATIENCE;
        let mut of_late = Vec::new();
        while of_late.len() < 500 && Instant::now() < end {
            of_late.extend(work(&late, 100).await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(of_late.len() >= 500, "{} of {}", of_late.len(), all.len());
        done.extend(of_late);
        let end = Instant::now() + PATIENCE;
        while done.len() < all.len() && Instant::now() < end {
            done.extend(work(&early, 500).await);
            done.extend(work(&late, 500).await);
        }
        done.sort();
        all.sort();
        assert_eq!(done, all, "everything once");
    });
}

async fn work(nats: &Nats, max: usize) -> Vec<nahook_core::id::DeliveryId> {
    let leased = nats.queue.lease(&request(1, max)).await.unwrap().deliveries;
    settle(&nats.queue, &leased, Next::Delivered).await;
    ids(&leased)
}

/// Each of the bounds of the window keeps what does not fit in the stream, for other processes.
#[test]
fn process_holds_no_more_than_its_window() {
    run(async {
        let server = NatsServer::start();
        let publishing = connected(&server.url(), NatsSettings::default()).await;
        for number in 0..20 {
            publish(&publishing, number, 1).await;
        }
        let backlog = publishing.queue.backlog(1_000).await.unwrap();
        assert_eq!(backlog.due, 20, "nobody has pulled any of them");
        for (bound, max) in [
            ("records", 1),
            ("records", 3),
            ("deliveries", 3),
            ("bytes", 3),
        ] {
            let mut settings = NatsSettings::default();
            match bound {
                "records" => settings.window_records_max = max,
                "deliveries" => settings.window_len_max = max,
                _ => settings.window_bytes_max = max,
            }
            let nats = connected(&server.url(), settings).await;
            nats.queue.caught_up().await.unwrap();
            let held = nats.queue.lease(&request(1, 100)).await.unwrap().deliveries;
            assert!((1..=max).contains(&held.len()), "{bound}: {}", held.len());
            nats.close().await;
        }
    });
}

/// A stream that nobody publishes to is made again by those who take from it.
#[test]
fn deleted_stream_of_retries_is_made_again() {
    run(async {
        let server = NatsServer::start();
        let nats = connected(&server.url(), settings()).await;
        nats.queue.caught_up().await.unwrap();
        server.delete_stream("NAHOOK_RETRIES");
        let end = Instant::now() + PATIENCE;
        while server.messages("NAHOOK_RETRIES").is_none() {
            assert!(Instant::now() < end, "it is not made again");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
}

/// A process with no room has no request at the server that would tell it: it finds out by its next one.
#[test]
fn stream_that_was_deleted_while_there_was_no_room_is_made_again() {
    run(async {
        let server = NatsServer::start();
        let mut settings = settings();
        settings.window_records_max = 1;
        let nats = connected(&server.url(), settings).await;
        publish(&nats, 1, 1).await;
        let leased = lease_some(&nats.queue, 1, PATIENCE).await;
        server.delete_stream("NAHOOK_DELIVERIES");
        settle(&nats.queue, &leased, Next::Delivered).await;
        let end = Instant::now() + PATIENCE;
        while server.messages("NAHOOK_DELIVERIES").is_none() {
            assert!(Instant::now() < end, "it is not made again");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
}

/// An endpoint that takes nothing fills all the room a process has: others are served all the same, and nothing is lost.
#[test]
fn an_endpoint_that_takes_all_the_room_does_not_hold_others_back() {
    run(async {
        let server = NatsServer::start();
        let mut settings = NatsSettings::default();
        settings.window_len_max = 200;
        settings.ack_wait = Duration::from_secs(1);
        let nats = connected(&server.url(), settings).await;
        let mut slow = HashSet::new();
        for number in 0..1_000 {
            slow.extend(published(&publish(&nats, number, 1).await));
        }
        let wide = publish(&nats, 5_000, 2).await;
        let to_other = wide[1].id();
        let bounded = LeaseRequest {
            exceptions: vec![(nth_endpoint_id(0), 1)],
            ..request(1, 100)
        };
        let end = Instant::now() + PATIENCE;
        let mut came = Vec::new();
        while !came.contains(&to_other) {
            assert!(
                Instant::now() < end,
                "the other endpoint's delivery has not come"
            );
            came.extend(ids(&nats.queue.lease(&bounded).await.unwrap().deliveries));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(
            came.len() <= 2,
            "one of the slow endpoint's at a time: {came:?}"
        );
    });
}

/// Deliveries that are put off again and again, each time in the same company, are there once others leave them room.
#[test]
fn what_is_put_off_twice_is_not_lost() {
    run(async {
        let server = NatsServer::start();
        let clock = ManualClock::default();
        let mut settings = NatsSettings::default().with_clock(clock.clone());
        settings.window_len_max = 100;
        settings.ack_wait = Duration::from_secs(1);
        let nats = connected(&server.url(), settings).await;
        let mut all = Vec::new();
        for number in 0..100 {
            all.extend(published(&publish(&nats, number, 1).await));
        }
        nats.queue.caught_up().await.unwrap();
        // The server's clock is far ahead, so what is put off comes back at once: two messages each time.
        let end = Instant::now() + PATIENCE;
        while reader::last_sequence(&server.url(), "NAHOOK_RETRIES").await < 6 {
            assert!(Instant::now() < end, "nothing is put off any more");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let due = nats.queue.lease(&request(1, 1_000)).await.unwrap();
        assert!(due.deliveries.len() <= 50, "half of them are put off");
        settle(&nats.queue, &due.deliveries, Next::Delivered).await;
        let mut came = ids(&due.deliveries);
        let end = Instant::now() + PATIENCE;
        while came.len() < all.len() {
            assert!(Instant::now() < end, "{} of {}", came.len(), all.len());
            // Again and again: some may have been put off once more meanwhile.
            clock.advance(Duration::from_hours(1));
            let leased = lease_some(&nats.queue, 1, Duration::from_secs(1)).await;
            assert!(leased.iter().all(|it| it.attempts == 0), "that was none");
            settle(&nats.queue, &leased, Next::Delivered).await;
            came.extend(ids(&leased));
        }
        came.sort();
        all.sort();
        assert_eq!(came, all);
    });
}
