//! The check that something can be queued now, and the capacity of records.

use std::time::Duration;

use async_nats::jetstream;
use nahook_core::{Clock as _, DeliveryPublisher as _, SystemClock};
use nahook_nats::{Authentication, ConnectError, Nats, NatsSettings, NotPublishable, connect};
use nahook_queue::{DeliveryQueue as _, Next};
use nahook_testkit::declare::payload;
use nahook_testkit::run;
use nahook_testserver::{NatsOptions, NatsServer};
use tokio::time::Instant;

use crate::support::proxy::Proxy;
use crate::support::{
    connected, ids, lease_some, order, outcomes, publish, published, reader, request, settle,
};

pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until the check gives this answer.
pub(crate) async fn until_publishable(nats: &Nats, expected: Result<(), NotPublishable>) {
    let end = Instant::now() + PATIENCE;
    let mut found = nats.check_publishable().await;
    while found != expected {
        assert!(Instant::now() < end, "{found:?} and not {expected:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
        found = nats.check_publishable().await;
    }
}

#[test]
fn check_stores_nothing_once_a_record_is_stored() {
    run(async {
        let server = NatsServer::start();
        let mut settings = NatsSettings::default();
        let nats = connected(&server.url(), settings.clone()).await;
        assert_eq!(outcomes(&publish(&nats, 1, 1).await), ["published"]);
        settings.publishes = false;
        let worker = connected(&server.url(), settings).await;
        for _ in 0..10 {
            assert_eq!(nats.check_publishable().await, Ok(()));
            assert_eq!(worker.check_publishable().await, Ok(()));
        }
        let stored = [1, 0, 0, 0];
        let streams = ["DELIVERIES", "RETRIES", "PROGRESS", "DEAD_LETTERS"];
        for (stream, count) in streams.into_iter().zip(stored) {
            let messages = server.messages(&format!("NAHOOK_{stream}"));
            assert_eq!(messages, Some(count), "{stream}");
        }
    });
}

/// A process that has published nothing yet has the stream store one record without events, which the next worker removes.
#[test]
fn first_check_stores_a_record_that_is_no_delivery() {
    run(async {
        let server = NatsServer::start();
        let mut settings = NatsSettings::default();
        settings.authentication = Authentication::default().with_key(&[7; 32]);
        let nats = connected(&server.url(), settings).await;
        for _ in 0..10 {
            assert_eq!(nats.check_publishable().await, Ok(()));
        }
        assert_eq!(server.messages("NAHOOK_DELIVERIES"), Some(1));
        assert!(
            reader::held(&server.url(), "NAHOOK_DELIVERIES")
                .await
                .is_empty()
        );
        nats.queue.caught_up().await.unwrap();
        let leased = nats.queue.lease(&request(1, 1)).await.unwrap();
        assert!(leased.deliveries.is_empty());
        let give_up = Instant::now() + PATIENCE;
        while server.messages("NAHOOK_DELIVERIES") != Some(0) {
            assert!(Instant::now() < give_up, "nobody acknowledges it");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(server.messages("NAHOOK_DEAD_LETTERS"), Some(0));
    });
}

#[test]
fn full_stream_is_reported() {
    run(async {
        let server = NatsServer::start();
        for (prefix, bytes_max, records_max) in
            [("bytes", Some(20_000), None), ("records", None, Some(3))]
        {
            let mut settings = NatsSettings::default().with_prefix(prefix);
            settings.bytes_max = bytes_max;
            settings.records_max = records_max;
            let nats = connected(&server.url(), settings.clone()).await;
            let mut slots = publish(&nats, 0, 1).await;
            assert_eq!(nats.check_publishable().await, Ok(()));
            while outcomes(&slots).last() != Some(&"queue_unavailable") {
                slots.extend(publish(&nats, slots.len() as u64, 1).await);
            }
            assert_eq!(nats.check_publishable().await, Err(NotPublishable::Full));
            // Of another process none was refused: it sees the limits.
            let other = connected(&server.url(), settings).await;
            assert_eq!(
                other.check_publishable().await,
                Err(NotPublishable::Full),
                "{prefix}"
            );
            let leased = lease_some(&nats.queue, published(&slots).len(), PATIENCE).await;
            settle(&nats.queue, &leased, Next::Delivered).await;
            until_publishable(&other, Ok(())).await;
            let again = publish(&nats, 1_000, 1).await;
            assert_eq!(outcomes(&again), ["published"]);
            assert_eq!(nats.check_publishable().await, Ok(()), "one is stored");
        }
    });
}

/// A stream that drops its oldest messages is never full.
#[test]
fn full_stream_of_notes_is_no_reason_not_to_deliver() {
    run(async {
        let server = NatsServer::start();
        let mut settings = NatsSettings::default();
        settings.publishes = false;
        settings.progress_bytes_max = 1_000;
        let nats = connected(&server.url(), settings).await;
        assert_eq!(nats.check_publishable().await, Ok(()));
    });
}

/// The account has no room, which the limits of the stream do not show: somebody else has taken it.
#[test]
fn full_account_is_reported_until_there_is_room() {
    run(async {
        let server = NatsOptions::new().jetstream("max_file_store: 8MB").start();
        let mut settings = NatsSettings::default();
        settings.dead_letters_bytes_max = 1 << 20;
        settings.progress_bytes_max = 1 << 20;
        let nats = connected(&server.url(), settings.clone()).await;
        let jetstream = jetstream::new(reader::client(&server.url()).await);
        let theirs = jetstream::stream::Config {
            name: "THEIRS".to_owned(),
            subjects: vec!["theirs".to_owned()],
            ..jetstream::stream::Config::default()
        };
        jetstream.create_stream(theirs).await.unwrap();
        for len in [900 << 10, 9 << 10, 1] {
            let takes = async || {
                let sent = jetstream.publish("theirs", vec![b'x'; len].into());
                sent.await.unwrap().await.is_ok()
            };
            while takes().await {}
        }
        // None of its events was refused: it finds out.
        assert_eq!(nats.check_publishable().await, Err(NotPublishable::Full));
        assert!(!nats.is_full(), "no event was refused");
        assert_eq!(outcomes(&publish(&nats, 1, 1).await), ["queue_unavailable"]);
        assert!(nats.is_full());
        assert_eq!(nats.check_publishable().await, Err(NotPublishable::Full));
        server.delete_stream("THEIRS");
        until_publishable(&nats, Ok(())).await;
    });
}

#[test]
fn missing_stream_and_lost_server_are_reported() {
    run(async {
        let server = NatsServer::start();
        let proxy = Proxy::to(&server.url()).await;
        let nats = connected(&proxy.url, NatsSettings::default()).await;
        server.delete_stream("NAHOOK_DELIVERIES");
        let missing = nats.check_publishable().await;
        assert_eq!(missing, Err(NotPublishable::NoStream));
        // The next trigger has it made again.
        assert_eq!(outcomes(&publish(&nats, 1, 1).await), ["published"]);
        until_publishable(&nats, Ok(())).await;
        server.freeze();
        let silent = tokio::time::timeout(PATIENCE, nats.check_publishable()).await;
        assert_eq!(silent, Ok(Err(NotPublishable::Silent)));
        server.thaw();
        until_publishable(&nats, Ok(())).await;
        proxy.cut_off();
        until_publishable(&nats, Err(NotPublishable::NoConnection)).await;
        proxy.mend();
        until_publishable(&nats, Ok(())).await;
    });
}

/// Somebody else's stream has taken the subject.
#[test]
fn stream_of_somebody_else_is_reported() {
    run(async {
        let server = NatsServer::start();
        let nats = connected(&server.url(), NatsSettings::default()).await;
        server.delete_stream("NAHOOK_DELIVERIES");
        let client = async_nats::connect(server.url()).await.unwrap();
        let theirs = jetstream::stream::Config {
            name: "THEIRS".to_owned(),
            subjects: vec!["nahook.deliveries".to_owned()],
            ..jetstream::stream::Config::default()
        };
        let jetstream = jetstream::new(client);
        jetstream.create_stream(theirs).await.unwrap();
        let taken = nats.check_publishable().await;
        assert_eq!(taken, Err(NotPublishable::NoStream));
    });
}

/// Whatever a server takes at most: what fits is queued, retried and delivered, and what does not is refused.
#[test]
fn small_messages_carry_what_fits() {
    run(async {
        for max_payload in [4 << 10, 16 << 10, 64 << 10] {
            let server = NatsOptions::new().max_payload(max_payload).start();
            let mut settings = NatsSettings::default();
            settings.log = true;
            settings.keep_retries_for = Duration::ZERO;
            let nats = connected(&server.url(), settings).await;
            let filled = |len: u32| payload(&format!("{{\"x\":\"{}\"}}", "x".repeat(len as usize)));
            let mut slots = Vec::new();
            for (number, len) in [(1, 0), (2, max_payload / 2), (3, max_payload - 1_600)] {
                let (mut event, mut some) = order(number, 150, SystemClock.now());
                event.payload = filled(len);
                nats.publisher.publish(&event, &mut some).await;
                assert_eq!(
                    outcomes(&some),
                    ["published"; 150],
                    "{len} of {max_payload}"
                );
                slots.extend(some);
            }
            // Together: they must not share more than fits.
            let publishing = (10..40).map(|number| {
                let nats = nats.clone();
                tokio::spawn(async move { publish(&nats, number, 3).await })
            });
            for task in publishing.collect::<Vec<_>>() {
                let some = task.await.unwrap();
                assert_eq!(outcomes(&some), ["published"; 3]);
                slots.extend(some);
            }
            for (number, len) in [(50, max_payload - 300), (51, max_payload), (52, 1 << 20)] {
                let (mut event, mut some) = order(number, 2, SystemClock.now());
                event.payload = filled(len);
                nats.publisher.publish(&event, &mut some).await;
                assert_eq!(outcomes(&some), ["payload_too_large"; 2]);
            }
            let count = published(&slots).len();
            let leased = lease_some(&nats.queue, count, PATIENCE).await;
            let soon = SystemClock.now().saturating_add(Duration::from_secs(1));
            settle(&nats.queue, &leased, Next::Retry(soon)).await;
            let again = lease_some(&nats.queue, count, PATIENCE).await;
            assert_eq!(ids(&again), published(&slots));
            settle(&nats.queue, &again, Next::DeadLetter).await;
            let dead = reader::held(&server.url(), "NAHOOK_DEAD_LETTERS").await;
            assert_eq!(dead.len(), count);
        }
    });
}

#[test]
fn server_that_takes_too_little_is_refused_in_words() {
    run(async {
        let server = NatsOptions::new().max_payload(1 << 10).start();
        let refused = connect(&server.url(), NatsSettings::default()).await;
        let Err(error @ ConnectError::MaxPayload { .. }) = refused else {
            panic!("{refused:?}");
        };
        let told = error.to_string();
        assert!(
            told.contains("max_payload") && told.contains("1024"),
            "{told}"
        );
        let server = NatsOptions::new().max_payload(2 << 10).start();
        let nats = connected(&server.url(), NatsSettings::default()).await;
        assert_eq!(outcomes(&publish(&nats, 1, 1).await), ["published"]);
    });
}
