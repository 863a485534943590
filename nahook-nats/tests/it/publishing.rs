//! The way to the queue, with servers that refuse, stand still and end.

use std::collections::HashSet;
use std::time::Duration;

use nahook_core::{Clock as _, Delivery, DeliveryPublisher as _, SystemClock};
use nahook_nats::NatsSettings;
use nahook_testkit::declare::payload;
use nahook_testkit::run;
use nahook_testserver::{NatsOptions, NatsServer};
use tokio::time::Instant;

use crate::support::proxy::Proxy;
use crate::support::{
    connected, order, outcomes, publish, publish_until_taken, publish_within, reader, rounds,
};

#[test]
fn a_full_stream_refuses_and_holds_what_it_took() {
    for _ in 0..rounds(1) {
        run(async {
            let server = NatsServer::start();
            let mut settings = NatsSettings::default();
            settings.bytes_max = Some(64 << 10);
            let nats = connected(&server.url(), settings).await;
            let mut slots = Vec::new();
            for number in 0..40 {
                slots.extend(publish(&nats, number, 50).await);
            }
            let outcomes: HashSet<_> = outcomes(&slots).into_iter().collect();
            assert_eq!(outcomes, HashSet::from(["published", "queue_unavailable"]));
            expect_truth(&server, &slots).await;
        });
    }
}

#[test]
fn a_stream_with_its_most_records_refuses_at_once() {
    run(async {
        let server = NatsServer::start();
        let mut settings = NatsSettings::default();
        settings.records_max = Some(3);
        settings.publish_patience = Duration::from_mins(5);
        let nats = connected(&server.url(), settings).await;
        for number in 0..3 {
            assert_eq!(outcomes(&publish(&nats, number, 1).await), ["published"]);
        }
        let began = Instant::now();
        let refused = publish(&nats, 3, 1).await;
        assert_eq!(outcomes(&refused), ["queue_unavailable"]);
        assert!(
            began.elapsed() < Duration::from_mins(1),
            "a full stream is not tried again"
        );
        expect_truth(&server, &refused).await;
    });
}

/// The server's largest message bounds the records, and a payload that cannot fit is refused before it is sent.
#[test]
fn the_servers_largest_message_bounds_the_records() {
    run(async {
        let server = NatsOptions::new().max_payload(64 << 10).start();
        let nats = &connected(&server.url(), NatsSettings::default()).await;
        let wide = publish(nats, 1, 2_000).await;
        assert!(
            outcomes(&wide)
                .iter()
                .all(|outcome| *outcome == "published")
        );
        let (mut event, mut large) = order(2, 3, SystemClock.now());
        event.payload = payload(&format!("{{\"x\":\"{}\"}}", "x".repeat(64 << 10)));
        let (fits, mut sibling) = order(3, 3, SystemClock.now());
        tokio::join!(
            nats.publisher.publish(&event, &mut large),
            nats.publisher.publish(&fits, &mut sibling)
        );
        assert_eq!(outcomes(&large), ["payload_too_large"; 3]);
        assert_eq!(outcomes(&sibling), ["published"; 3]);
        let all = [wide, large, sibling].concat();
        expect_truth(&server, &all).await;
        // More than fit into a record wait for each other.
        let publishing = (4..44).map(|number| async move {
            let (mut event, mut slots) = order(number, 1, SystemClock.now());
            event.payload = payload(&format!("{{\"x\":\"{}\"}}", "x".repeat(20 << 10)));
            nats.publisher.publish(&event, &mut slots).await;
            outcomes(&slots)
        });
        for outcomes in futures_util::future::join_all(publishing).await {
            assert_eq!(outcomes, ["published"]);
        }
    });
}

/// Whatever is deleted underneath, nothing is claimed; what is published after is in the stream that was made again.
#[test]
fn a_stream_deleted_underneath_is_made_again() {
    for _ in 0..rounds(1) {
        run(async {
            let server = NatsServer::start();
            let nats = connected(&server.url(), NatsSettings::default()).await;
            assert_eq!(outcomes(&publish(&nats, 1, 2).await), ["published"; 2]);
            let client = async_nats::connect(server.url()).await.unwrap();
            let jetstream = async_nats::jetstream::new(client);
            jetstream.delete_stream("NAHOOK_DELIVERIES").await.unwrap();
            let slots = publish(&nats, 2, 2).await;
            assert_eq!(outcomes(&slots), ["published"; 2]);
            expect_truth(&server, &slots).await;
        });
    }
}

/// The server removes the files of a deleted stream after it has answered, and takes those of a new one of the same name along.
#[test]
fn deleted_stream_is_not_made_again_at_once() {
    run(async {
        let server = NatsServer::start();
        let nats = connected(&server.url(), NatsSettings::default()).await;
        let client = async_nats::connect(server.url()).await.unwrap();
        let jetstream = async_nats::jetstream::new(client);
        let before = SystemClock.now();
        jetstream.delete_stream("NAHOOK_DELIVERIES").await.unwrap();
        let slots = publish(&nats, 1, 2).await;
        assert_eq!(outcomes(&slots), ["published"; 2]);
        let stream = jetstream.get_stream("NAHOOK_DELIVERIES").await.unwrap();
        let created = stream.cached_info().created.unix_timestamp_nanos();
        let pause = created - i128::from(before.as_nanos());
        assert!(pause >= 500_000_000, "after {pause} ns");
    });
}

/// A server that stands still across the deadline: what was sent is unconfirmed, what was not is taken back, and once it goes
/// on nothing turns up that was reported as not queued.
#[test]
fn a_frozen_server_leaves_unconfirmed_what_was_sent_and_nothing_else() {
    for _ in 0..rounds(1) {
        run(async {
            let server = NatsServer::start();
            let mut settings = NatsSettings::default();
            settings.records_in_flight = 2;
            let nats = connected(&server.url(), settings).await;
            assert_eq!(outcomes(&publish(&nats, 1, 1).await), ["published"]);
            server.freeze();
            let mut publishing = Vec::new();
            for number in 2..12 {
                let nats = nats.clone();
                publishing.push(tokio::spawn(async move {
                    publish_within(&nats, number, Duration::from_secs(1)).await
                }));
                // Not all of them are to share the first record: the first ones go out alone and take both places.
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
            let mut slots = Vec::new();
            for task in publishing {
                slots.extend(task.await.unwrap());
            }
            let outcomes: HashSet<_> = outcomes(&slots).into_iter().collect();
            assert_eq!(
                outcomes,
                HashSet::from(["unconfirmed", "queue_unavailable"])
            );
            server.thaw();
            let after = publish_until_taken(&nats, 100).await;
            slots.extend(after);
            expect_truth(&server, &slots).await;
        });
    }
}

/// Acknowledgements that never come, although the connection lasts, do not stop what is published later.
#[test]
fn a_record_that_nobody_answers_holds_later_ones_up_for_a_while_only() {
    run(async {
        let server = NatsServer::start();
        let mut settings = NatsSettings::default();
        settings.records_in_flight = 2;
        let nats = connected(&server.url(), settings).await;
        // Instead of the stream somebody listens who says nothing.
        let client = async_nats::connect(server.url()).await.unwrap();
        let jetstream = async_nats::jetstream::new(client.clone());
        let stream = jetstream.get_stream("NAHOOK_DELIVERIES").await.unwrap();
        let config = stream.cached_info().config.clone();
        let _silent = client.subscribe("nahook.deliveries").await.unwrap();
        client.flush().await.unwrap();
        jetstream.delete_stream("NAHOOK_DELIVERIES").await.unwrap();
        let mut slots = Vec::new();
        // On a busy machine one may be withdrawn before it was sent.
        let mut number = 0;
        while outcomes(&slots) != ["unconfirmed"; 10] {
            slots.retain(|slot| outcomes(std::slice::from_ref(slot)) == ["unconfirmed"]);
            slots.extend(publish_within(&nats, number, Duration::from_millis(200)).await);
            number += 1;
            assert!(number < 20, "{:?}", outcomes(&slots));
        }
        jetstream.create_stream(config).await.unwrap();
        let later = publish_within(&nats, 100, Duration::from_secs(30)).await;
        assert_eq!(outcomes(&later), ["published"; 5]);
    });
}

/// The server takes a record, and the connection that its answer would come by is gone: it is told as unconfirmed, and never
/// sent a second time.
#[test]
fn record_of_unclear_fate_is_not_sent_again() {
    run(async {
        let server = NatsServer::start();
        let proxy = Proxy::to(&server.url()).await;
        let mut settings = NatsSettings::default();
        // The server must not hide it by dropping what comes twice.
        settings.duplicate_window = Duration::from_millis(100);
        let nats = connected(&proxy.url, settings).await;
        let mut slots = publish_until_taken(&nats, 0).await;
        // The line may be cut before the record is on its way, which is then sent once it is mended.
        let mut is_unclear_and_held = false;
        for number in 1..10 {
            tokio::task::block_in_place(|| server.freeze());
            let publishing = {
                let nats = nats.clone();
                tokio::spawn(async move { publish(&nats, number << 20, 5).await })
            };
            tokio::time::sleep(Duration::from_millis(100)).await;
            proxy.cut_off();
            tokio::task::block_in_place(|| server.thaw());
            tokio::time::sleep(Duration::from_millis(200)).await;
            proxy.mend();
            let some = publishing.await.unwrap();
            let is_unclear = outcomes(&some) == ["unconfirmed"; 5];
            slots.extend(publish_until_taken(&nats, (number << 20) + 1).await);
            let held = reader::held(&server.url(), "NAHOOK_DELIVERIES").await;
            let is_held = held.iter().any(|held| held.delivery == some[0].id());
            slots.extend(some);
            expect_truth(&server, &slots).await;
            is_unclear_and_held = is_unclear && is_held;
            if is_unclear_and_held {
                break;
            }
        }
        assert!(is_unclear_and_held, "it was never put to the test");
    });
}

/// The server is killed while triggers run: whatever it acknowledged is there when it is back, and what was reported as not
/// queued is not.
#[test]
fn a_killed_server_has_what_it_acknowledged() {
    for _ in 0..rounds(1) {
        run(async {
            let server = NatsServer::start();
            let nats = connected(&server.url(), NatsSettings::default()).await;
            let publishing: Vec<_> = (0..4_u64)
                .map(|task| {
                    let nats = nats.clone();
                    tokio::spawn(async move {
                        let mut slots = Vec::new();
                        let end = Instant::now() + Duration::from_millis(1_500);
                        let mut number = task << 20;
                        while Instant::now() < end {
                            slots.extend(
                                publish_within(&nats, number, Duration::from_secs(1)).await,
                            );
                            number += 1;
                        }
                        slots
                    })
                })
                .collect();
            tokio::time::sleep(Duration::from_millis(200)).await;
            server.kill();
            tokio::time::sleep(Duration::from_millis(200)).await;
            server.start_again();
            let mut slots = Vec::new();
            for task in publishing {
                slots.extend(task.await.unwrap());
            }
            slots.extend(publish_until_taken(&nats, 9 << 20).await);
            let published = outcomes(&slots)
                .iter()
                .filter(|outcome| **outcome == "published")
                .count();
            assert!(published > 100, "there was load: {published} published");
            expect_truth(&server, &slots).await;
        });
    }
}

/// Publications that share records share none that has more deliveries than the settings permit, and each record has an id of its
/// own.
#[test]
fn shared_records_are_bounded_and_have_ids() {
    run(async {
        let server = NatsServer::start();
        let mut settings = NatsSettings::default();
        settings.record_len_max = 10;
        let nats = connected(&server.url(), settings).await;
        let publishing = (0..20).map(|number| publish(&nats, number, 5));
        for slots in futures_util::future::join_all(publishing).await {
            assert_eq!(outcomes(&slots), ["published"; 5]);
        }
        let records = reader::records(&server.url(), "NAHOOK_DELIVERIES").await;
        assert!(records.len() < 20, "some share a record");
        let mut ids = HashSet::new();
        for record in &records {
            let header = |name: &str| record.headers.get(name).unwrap().to_string();
            let deliveries: usize = header("Nahook-Deliveries").parse().unwrap();
            assert!(deliveries <= 10, "{deliveries}");
            ids.insert(header("Nats-Msg-Id"));
        }
        assert_eq!(ids.len(), records.len());
    });
}

async fn expect_truth(server: &NatsServer, slots: &[Delivery]) {
    let held = reader::held(&server.url(), "NAHOOK_DELIVERIES").await;
    let mut times = std::collections::HashMap::new();
    for held in held {
        *times.entry(held.delivery).or_insert(0_usize) += 1;
    }
    assert!(
        times.values().all(|times| *times == 1),
        "nothing is held twice"
    );
    for (slot, outcome) in slots.iter().zip(outcomes(slots)) {
        let is_held = times.contains_key(&slot.id());
        match outcome {
            "published" => assert!(is_held, "{} was acknowledged", slot.id()),
            "unconfirmed" | "internal_error" => {}
            definite => assert!(!is_held, "{} was reported as {definite}", slot.id()),
        }
    }
}
