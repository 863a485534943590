//! A server of version 2.9 that was killed in a bad moment: the stream begins to count at 1 again, and its consumer is where
//! it was. Killed for real, it takes some fifty kills for that; here the stream's files are taken away.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot arrange what it needs has failed"
)]

mod support;

use std::fs;
use std::time::Duration;

use nahook_nats::NatsSettings;
use nahook_queue::{DeliveryQueue as _, Next};
use nahook_testkit::run;
use nahook_testserver::{NatsServer, NatsVersion};
use support::{connected, ids, lease_some, publish, published, request, settle};

const PATIENCE: Duration = Duration::from_secs(20);
const STREAM: &str = "NAHOOK_DELIVERIES";

fn settings() -> NatsSettings {
    let mut settings = NatsSettings::default();
    settings.ack_wait = Duration::from_secs(2);
    settings
}

/// Starts the server again on what it would find: no messages of the stream, and a consumer that has had all of them.
fn forget(server: &NatsServer) {
    server.stop();
    let messages = server
        .store()
        .join(format!("jetstream/$G/streams/{STREAM}/msgs"));
    for file in fs::read_dir(messages).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    server.start_again();
}

#[test]
fn a_process_that_comes_after_it_gets_what_is_published() {
    run(async {
        let server = NatsServer::start(NatsVersion::Debian);
        let nats = connected(&server.url(), settings()).await;
        for number in 0..20 {
            publish(&nats, number, 5).await;
        }
        let leased = lease_some(&nats.queue, 100, PATIENCE).await;
        settle(&nats.queue, &leased, Next::Delivered).await;
        drop(nats);
        forget(&server);
        let nats = connected(&server.url(), settings()).await;
        let slots = publish(&nats, 100, 3).await;
        let leased = lease_some(&nats.queue, 3, PATIENCE).await;
        assert_eq!(ids(&leased), published(&slots));
    });
}

/// Processes that were there before and go on: whatever is published next is delivered, and what was in hand is settled
/// without taking a new record with it that has come to the same place.
#[test]
fn processes_that_were_there_get_it_and_settle_nothing_of_it_by_mistake() {
    run(async {
        let server = NatsServer::start(NatsVersion::Debian);
        let publisher = connected(&server.url(), settings()).await;
        let nats = connected(&server.url(), settings()).await;
        for number in 0..20 {
            publish(&publisher, number, 5).await;
        }
        let mut leased = lease_some(&nats.queue, 100, PATIENCE).await;
        leased.sort_by_key(|leased| leased.lease.delivery);
        let of_first = leased.split_off(95);
        settle(&nats.queue, &leased, Next::Delivered).await;
        forget(&server);

        let mut slots = Vec::new();
        for number in 100.. {
            slots.extend(publish(&publisher, number, 1).await);
            if published(&slots).len() == 20 {
                break;
            }
        }
        let again = lease_some(&nats.queue, 20, PATIENCE).await;
        assert_eq!(ids(&again), published(&slots));
        assert_eq!(server.messages(STREAM), Some(20));
        settle(&nats.queue, &of_first, Next::Delivered).await;
        tokio::time::sleep(settings().ack_wait).await;
        assert_eq!(server.messages(STREAM), Some(20), "none of them is settled");
        settle(&nats.queue, &again, Next::Delivered).await;
        let more = nats.queue.lease(&request(1, 100)).await.unwrap();
        assert_eq!(more.deliveries, [], "nothing is left");
    });
}
