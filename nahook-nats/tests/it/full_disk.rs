//! A disk that is full under the server: nats-server 2.14 answers nothing that it cannot write, and the stream that it was for stores
//! nothing more until the server starts again.

use std::fs;
use std::time::Duration;

use nahook_core::{Clock as _, DeliveryPublisher as _, SystemClock};
use nahook_nats::{NatsSettings, NotPublishable};
use nahook_queue::Next;
use nahook_testkit::declare::payload;
use nahook_testkit::run;
use nahook_testserver::{NatsOptions, SmallDisk};
use tokio::time::timeout;

use crate::publishable::{PATIENCE, until_publishable};
use crate::support::{connected, ids, lease_some, order, outcomes, publish, published, settle};

#[test]
fn full_disk_is_reported_until_a_record_is_stored() {
    let Some(disk) = SmallDisk::mount(8) else {
        return;
    };
    run(async {
        let options = NatsOptions::new().jetstream("max_file_store: 4GB");
        let server = options.store(&disk.path().join("store")).start();
        let nats = connected(&server.url(), NatsSettings::default()).await;
        let mut slots = publish(&nats, 1, 1).await;
        assert_eq!(nats.check_publishable().await, Ok(()));
        disk.fill();
        let (mut event, mut lost) = order(2, 1, SystemClock.now());
        event.payload = payload(&format!("{{\"x\":\"{}\"}}", "x".repeat(100 << 10)));
        let publishing = nats.publisher.publish(&event, &mut lost);
        let _ = timeout(Duration::from_millis(500), publishing).await;
        assert_eq!(outcomes(&lost), ["unconfirmed"]);
        until_publishable(&nats, Err(NotPublishable::NotStored)).await;
        // Before its first event, a process knows no better than to try.
        let other = connected(&server.url(), NatsSettings::default()).await;
        let not_stored = Err(NotPublishable::NotStored);
        assert_eq!(other.check_publishable().await, not_stored);
        fs::remove_file(disk.ballast()).unwrap();
        server.stop();
        server.start_again();
        until_publishable(&nats, Ok(())).await;
        until_publishable(&other, Ok(())).await;
        slots.extend(publish(&nats, 3, 1).await);
        let leased = lease_some(&nats.queue, 2, PATIENCE).await;
        assert_eq!(ids(&leased), published(&slots));
        settle(&nats.queue, &leased, Next::Delivered).await;
    });
}
