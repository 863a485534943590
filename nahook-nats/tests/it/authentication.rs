//! Records that were not signed with the store's key are set aside, whoever may publish them.

use std::time::Duration;

use nahook_core::{Clock as _, SystemClock};
use nahook_nats::{Authentication, Nats, NatsSettings};
use nahook_queue::Next;
use nahook_testkit::run;
use nahook_testserver::{NatsOptions, NatsServer};
use tokio::time::Instant;

use crate::support::{self, connected, lease_some, publish};

const PATIENCE: Duration = Duration::from_mins(1);
const KEY: [u8; 32] = [7; 32];
/// What somebody would like to be delivered, signed with an endpoint's secret.
const FORGED: &str = r#"{"format":1,"events":[{"message":"msg_01htqw311n000000001r000000","workspace":"ws_shop",
    "accepted_at":1712345678901234567,"payload":{"forged":true},
    "deliveries":[["del_01htqw311n000000001r000001","ep_0"]]}]}"#;

fn settings(authentication: Authentication) -> NatsSettings {
    let mut settings = NatsSettings::default();
    settings.ack_wait = Duration::from_secs(2);
    settings.authentication = authentication;
    settings
}

async fn opened(server: &NatsServer, authentication: Authentication) -> Nats {
    connected(&server.url(), settings(authentication)).await
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn forged_record_is_a_dead_letter_and_ours_is_delivered() {
    run(async {
        let server = NatsOptions::new().start();
        let nats = opened(&server, Authentication::default().with_key(&KEY)).await;
        support::reader::send(&server.url(), "nahook.deliveries", FORGED).await;
        // One of another store, or of a key that was drawn anew.
        let other = opened(&server, Authentication::default().with_key(&[8; 32])).await;
        publish(&other, 1, 1).await;
        publish(&nats, 2, 1).await;
        let leased = lease_some(&nats.queue, 1, PATIENCE).await;
        let payload = leased[0].payload.as_bytes();
        assert!(!payload.windows(6).any(|part| part == b"forged"));
        // A retry that waits for its schedule is signed as well.
        let retry = Next::Retry(SystemClock.now().saturating_add(Duration::from_secs(62)));
        support::settle(&nats.queue, &leased, retry).await;
        until("the forged are dead letters", || {
            server.messages("NAHOOK_DEAD_LETTERS") == Some(2)
        })
        .await;
        until("nothing waits", || {
            server.messages("NAHOOK_DELIVERIES") == Some(0)
        })
        .await;
        let again = lease_some(&nats.queue, 1, 3 * PATIENCE).await;
        assert_eq!(again[0].lease.delivery, leased[0].lease.delivery);
        assert_eq!(server.messages("NAHOOK_DEAD_LETTERS"), Some(2));
    });
}

#[test]
fn progress_that_was_noted_with_the_key_counts_and_a_forged_note_does_not() {
    run(async {
        let server = NatsOptions::new().start();
        let authentication = Authentication::default().with_key(&KEY);
        let nats = opened(&server, authentication.clone()).await;
        publish(&nats, 1, 2).await;
        let leased = lease_some(&nats.queue, 2, PATIENCE).await;
        support::settle(&nats.queue, &leased[..1], Next::Delivered).await;
        until("it is noted", || {
            server.messages("NAHOOK_PROGRESS") >= Some(1)
        })
        .await;
        // Whoever believed it would take the other delivery for settled.
        let notes = support::reader::records(&server.url(), "NAHOOK_PROGRESS").await;
        let original = String::from_utf8(notes[0].body.to_vec()).unwrap();
        let forged = original.replace("[[0,0]]", "[[0,1]]");
        let forged = forged.replace("[[1,1]]", "[[0,1]]");
        assert_ne!(forged, original);
        support::reader::send(&server.url(), "nahook.progress", forged).await;
        drop(nats);
        let next = opened(&server, authentication).await;
        let left = lease_some(&next.queue, 1, PATIENCE).await;
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].lease.delivery, leased[1].lease.delivery);
    });
}

#[test]
fn unsigned_record_from_before_the_key_is_delivered_until_then() {
    run(async {
        let server = NatsOptions::new().start();
        let before = opened(&server, Authentication::default()).await;
        publish(&before, 1, 1).await;
        drop(before);
        let until = SystemClock.now().saturating_add(Duration::from_hours(1));
        let authentication = Authentication::default().accept_unsigned_until(until);
        let nats = opened(&server, authentication.with_key(&KEY)).await;
        assert_eq!(lease_some(&nats.queue, 1, PATIENCE).await.len(), 1);
    });
}
