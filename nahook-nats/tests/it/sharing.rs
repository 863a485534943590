//! Several processes on one queue, and what is left when one of them ends.

use std::collections::HashSet;
use std::time::Duration;

use nahook_core::{Clock as _, SystemClock};
use nahook_nats::{Nats, NatsSettings};
use nahook_queue::{DeliveryQueue as _, LeaseRequest, Next};
use nahook_testkit::declare::nth_endpoint_id;
use nahook_testkit::run;
use nahook_testserver::NatsServer;
use tokio::time::Instant;

use crate::support::{
    self, connected, ids, lease_some, publish, published, request, rounds, settle,
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

/// A process that comes when another has taken everything gets its share.
#[test]
fn a_late_process_gets_its_share() {
    run(async {
        let server = NatsServer::start();
        let early = connected(&server.url(), NatsSettings::default()).await;
        let mut all = Vec::new();
        for number in 0..400 {
            all.extend(published(&publish(&early, number, 5).await));
        }
        early.queue.caught_up().await.unwrap();
        let mut done = work(&early, 10).await;
        let late = connected(&server.url(), NatsSettings::default()).await;
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
