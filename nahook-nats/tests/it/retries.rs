//! Retries that wait in the stream, in real time.

use std::time::Duration;

use async_nats::jetstream::stream;
use nahook_core::{Clock as _, SystemClock};
use nahook_nats::NatsSettings;
use nahook_queue::{DeliveryQueue as _, Next, Settled};
use nahook_testkit::run;
use nahook_testserver::NatsServer;
use tokio::time::Instant;

use crate::support::{
    connected, ids, lease_some, publish, published, reader, request, rounds, settle, settlement,
};

const PATIENCE: Duration = Duration::from_mins(1);

/// Every retry moves to the stream of retries at once.
fn settings() -> NatsSettings {
    let mut settings = NatsSettings::default();
    settings.keep_retries_for = Duration::ZERO;
    settings
}

/// Retries come at their time, with their attempts, whoever has the queue by then and whatever happened to the server.
#[test]
fn a_retry_outlives_its_process_and_its_server() {
    for _ in 0..rounds(1) {
        run(async {
            let server = NatsServer::start();
            let nats = connected(&server.url(), settings()).await;
            let slots = publish(&nats, 1, 30).await;
            let leased = lease_some(&nats.queue, 30, PATIENCE).await;
            assert_eq!(ids(&leased), published(&slots));
            let due_at = SystemClock.now().saturating_add(Duration::from_secs(4));
            settle(&nats.queue, &leased, Next::Retry(due_at)).await;
            assert!(
                reader::records(&server.url(), "NAHOOK_DELIVERIES")
                    .await
                    .is_empty(),
                "their record is done"
            );
            assert_eq!(
                reader::held(&server.url(), "NAHOOK_RETRIES").await.len(),
                30,
                "they wait in the stream of retries"
            );
            nats.close().await;
            drop(nats);
            server.kill();
            server.start_again();

            let nats = connected(&server.url(), settings()).await;
            let connected_at = SystemClock.now();
            loop {
                let batch = nats.queue.lease(&request(1, 100)).await.unwrap();
                if batch.deliveries.is_empty() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                }
                let now = SystemClock.now();
                assert!(now >= due_at, "they are not due yet");
                let late = now.saturating_since(due_at.max(connected_at));
                assert!(late < PATIENCE, "they are {late:?} late");
                let mut leased = batch.deliveries;
                leased.extend(lease_some(&nats.queue, 30 - leased.len(), PATIENCE).await);
                assert_eq!(ids(&leased), published(&slots));
                assert!(leased.iter().all(|leased| leased.attempts == 1));
                settle(&nats.queue, &leased, Next::Delivered).await;
                break;
            }
            until_empty(&server, "NAHOOK_RETRIES").await;
        });
    }
}

/// An earlier version kept retries under their second, in a stream without schedules.
#[test]
fn retry_of_an_earlier_version_comes_at_its_time() {
    run(async {
        let server = NatsServer::start();
        let nats = connected(&server.url(), settings()).await;
        let mut ids_of_all = Vec::new();
        for number in 0..70 {
            ids_of_all.extend(published(&publish(&nats, number, 1).await));
        }
        ids_of_all.sort();
        let fresh = reader::records(&server.url(), "NAHOOK_DELIVERIES").await;
        let leased = lease_some(&nats.queue, 70, PATIENCE).await;
        settle(&nats.queue, &leased, Next::Delivered).await;
        nats.close().await;
        drop(nats);
        server.delete_stream("NAHOOK_RETRIES");
        let client = async_nats::connect(server.url()).await.unwrap();
        let jetstream = async_nats::jetstream::new(client);
        let earlier = stream::Config {
            name: "NAHOOK_RETRIES".to_owned(),
            subjects: ["due", "at.*", "scheduled.*"]
                .map(|end| format!("nahook.retries.{end}"))
                .into(),
            retention: stream::RetentionPolicy::WorkQueue,
            discard: stream::DiscardPolicy::New,
            allow_direct: true,
            ..stream::Config::default()
        };
        jetstream.create_stream(earlier).await.unwrap();
        let due_at = SystemClock
            .now()
            .saturating_add(Duration::from_secs(3))
            .as_secs();
        // More than become scheduled messages in one step, and not all due in the same second.
        for (nth, record) in fresh.into_iter().enumerate() {
            let subject = format!("nahook.retries.at.{}", due_at + nth as u64 / 69);
            let sent = jetstream.publish(subject, record.body).await.unwrap();
            sent.await.unwrap();
        }

        let nats = connected(&server.url(), settings()).await;
        let again = lease_some(&nats.queue, 70, PATIENCE).await;
        assert!(SystemClock.now().as_secs() >= due_at, "not before its time");
        assert_eq!(ids(&again), ids_of_all);
        settle(&nats.queue, &again, Next::Delivered).await;
        until_empty(&server, "NAHOOK_RETRIES").await;
    });
}

async fn until_empty(server: &NatsServer, stream: &str) {
    let end = Instant::now() + PATIENCE;
    while !reader::records(&server.url(), stream).await.is_empty() {
        assert!(Instant::now() < end, "something is left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Retries of many events that are due together share records, none with more deliveries than the settings permit.
#[test]
fn retries_share_records_that_are_bounded() {
    run(async {
        let server = NatsServer::start();
        let mut settings = settings();
        settings.record_len_max = 4;
        let nats = connected(&server.url(), settings).await;
        for number in 0..4 {
            publish(&nats, number, 3).await;
        }
        for number in 4..8 {
            publish(&nats, number, 1).await;
        }
        let leased = lease_some(&nats.queue, 16, PATIENCE).await;
        let due_at = SystemClock.now().saturating_add(Duration::from_hours(1));
        settle(&nats.queue, &leased, Next::Retry(due_at)).await;
        let records = reader::records(&server.url(), "NAHOOK_RETRIES").await;
        let lens = records.iter().map(|record| {
            let len = record.headers.get("Nahook-Deliveries").unwrap();
            len.as_str().parse::<usize>().unwrap()
        });
        // In the order of the events: 3, 3, 3 and 3 with one more, and the last three.
        let mut lens: Vec<_> = lens.collect();
        lens.sort_unstable();
        assert_eq!(lens, [3, 3, 3, 3, 4]);
    });
}

/// An attempt without a next step leaves the delivery to be attempted again; an end without an attempt is an end.
#[test]
fn settlement_may_have_an_attempt_or_a_next_step_alone() {
    run(async {
        let server = NatsServer::start();
        let nats = connected(&server.url(), settings()).await;
        publish(&nats, 1, 1).await;
        let leased = lease_some(&nats.queue, 1, PATIENCE).await;
        let settled = settlement(&leased[0], Next::Release);
        assert_eq!(
            nats.queue.settle(&[settled]).await.unwrap(),
            [Settled::Done]
        );
        let leased = lease_some(&nats.queue, 1, PATIENCE).await;
        assert_eq!(leased[0].attempts, 1);
        let mut settled = settlement(&leased[0], Next::Failed);
        settled.attempt = None;
        assert_eq!(
            nats.queue.settle(&[settled]).await.unwrap(),
            [Settled::Done]
        );
        until_empty(&server, "NAHOOK_DELIVERIES").await;
    });
}

#[test]
fn dead_letters_are_kept() {
    run(async {
        let server = NatsServer::start();
        let nats = connected(&server.url(), NatsSettings::default()).await;
        let slots = publish(&nats, 1, 5).await;
        let leased = lease_some(&nats.queue, 5, PATIENCE).await;
        settle(&nats.queue, &leased, Next::DeadLetter).await;
        let dead = reader::held(&server.url(), "NAHOOK_DEAD_LETTERS").await;
        let mut dead: Vec<_> = dead.iter().map(|held| held.delivery).collect();
        dead.sort();
        assert_eq!(dead, published(&slots));
    });
}

/// The worker may stop while it waits for a server that does not answer.
#[test]
fn settlement_that_was_given_up_can_be_made_again() {
    run(async {
        let server = NatsServer::start();
        let nats = connected(&server.url(), settings()).await;
        let slots = publish(&nats, 1, 3).await;
        let leased = lease_some(&nats.queue, 3, PATIENCE).await;
        assert_eq!(ids(&leased), published(&slots));
        let due_at = SystemClock.now().saturating_add(Duration::from_hours(1));
        let retries: Vec<_> = leased
            .iter()
            .map(|leased| settlement(leased, Next::Retry(due_at)))
            .collect();
        tokio::task::block_in_place(|| server.freeze());
        let settling = nats.queue.settle(&retries);
        let given_up = tokio::time::timeout(Duration::from_millis(200), settling).await;
        assert!(given_up.is_err(), "a frozen server has answered");
        tokio::task::block_in_place(|| server.thaw());
        // The leases are as if nobody had tried.
        let delivered: Vec<_> = leased
            .iter()
            .map(|leased| settlement(leased, Next::Delivered))
            .collect();
        let settled = nats.queue.settle(&delivered).await;
        assert_eq!(settled.unwrap(), [Settled::Done; 3]);
        until_empty(&server, "NAHOOK_DELIVERIES").await;
    });
}
