//! Retries that wait in the stream, in real time: as scheduled messages, and moved by the processes.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot arrange what it needs has failed"
)]

mod support;

use std::time::Duration;

use nahook_core::{Clock as _, SystemClock};

use nahook_nats::NatsSettings;
use nahook_queue::{DeliveryQueue as _, Next};
use nahook_testkit::run;
use nahook_testserver::{NatsServer, NatsVersion};
use support::{connected, ids, lease_some, publish, published, reader, request, rounds_of, settle};

const PATIENCE: Duration = Duration::from_secs(20);

/// Every retry moves to the stream of retries at once.
fn settings(scheduled: bool) -> NatsSettings {
    let mut settings = NatsSettings::default();
    settings.keep_retries_for = Duration::ZERO;
    settings.scheduled_messages = scheduled;
    settings
}

/// Retries come at their time, with their attempts, whoever has the queue by then and whatever happened to the server.
fn a_retry_outlives_its_process_and_its_server(version: NatsVersion, scheduled: bool) {
    run(async {
        let server = NatsServer::start(version);
        let nats = connected(&server.url(), settings(scheduled)).await;
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

        let nats = connected(&server.url(), settings(scheduled)).await;
        loop {
            let batch = nats.queue.lease(&request(1, 100)).await.unwrap();
            if batch.deliveries.is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            }
            let now = SystemClock.now();
            assert!(now >= due_at, "they are not due yet");
            let late = now.saturating_since(due_at);
            assert!(late < Duration::from_secs(10), "they are {late:?} late");
            let mut leased = batch.deliveries;
            leased.extend(lease_some(&nats.queue, 30 - leased.len(), PATIENCE).await);
            assert_eq!(ids(&leased), published(&slots));
            assert!(leased.iter().all(|leased| leased.attempts == 1));
            settle(&nats.queue, &leased, Next::Delivered).await;
            break;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(
            reader::records(&server.url(), "NAHOOK_RETRIES")
                .await
                .is_empty(),
            "nothing waits any more"
        );
    });
}

#[test]
fn scheduled_messages_bring_retries_back() {
    for version in rounds_of([NatsVersion::Newest]) {
        a_retry_outlives_its_process_and_its_server(version, true);
    }
}

#[test]
fn processes_bring_retries_back_where_schedules_are_not_wanted() {
    a_retry_outlives_its_process_and_its_server(NatsVersion::Newest, false);
}

/// Asked for scheduled messages, Debian's server says nothing and has none.
#[test]
fn processes_bring_retries_back_where_there_are_no_schedules() {
    for version in rounds_of([NatsVersion::Debian]) {
        a_retry_outlives_its_process_and_its_server(version, true);
    }
}

/// Two processes that move the same retries do not double them.
#[test]
fn retries_that_two_processes_move_come_once() {
    for version in [NatsVersion::Debian, NatsVersion::Newest] {
        run(async {
            let server = NatsServer::start(version);
            let first = connected(&server.url(), settings(false)).await;
            let second = connected(&server.url(), settings(false)).await;
            let slots = publish(&first, 1, 200).await;
            let leased = lease_some(&first.queue, 200, PATIENCE).await;
            let now = SystemClock.now();
            for (n, leased) in leased.iter().enumerate() {
                let wait = Duration::from_millis(1_000 + 10 * n as u64);
                let due_at = now.saturating_add(wait);
                settle(
                    &first.queue,
                    std::slice::from_ref(leased),
                    Next::Retry(due_at),
                )
                .await;
            }
            // Both look for what is due, and both take what comes.
            let mut again = Vec::new();
            let end = tokio::time::Instant::now() + PATIENCE;
            while again.len() < 200 && tokio::time::Instant::now() < end {
                for nats in [&first, &second] {
                    let batch = nats.queue.lease(&request(1, 500)).await.unwrap();
                    settle(&nats.queue, &batch.deliveries, Next::Delivered).await;
                    again.extend(batch.deliveries);
                }
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            for nats in [&first, &second] {
                again.extend(nats.queue.lease(&request(1, 500)).await.unwrap().deliveries);
            }
            assert_eq!(ids(&again), published(&slots), "each once");
        });
    }
}

#[test]
fn dead_letters_are_kept() {
    for version in [NatsVersion::Debian, NatsVersion::Newest] {
        run(async {
            let server = NatsServer::start(version);
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
}
