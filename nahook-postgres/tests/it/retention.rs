//! Forgetting what is old: events with their deliveries, and idempotency keys.

use std::sync::Arc;
use std::time::Duration;

use nahook_control::{ApplyMode, Catalog};
use nahook_core::id::DeliveryId;
use nahook_core::{Clock, Delivery, DeliveryPublisher};
use nahook_postgres::{PostgresSettings, PostgresStore};
use nahook_queue::{
    Attempt, DeliveryQueue, DeliveryRecorder, DeliveryState, LogEntry, Next, Settlement,
};
use nahook_testkit::declare::{deliveries, endpoint_id, event, single_send};
use nahook_testkit::{ManualClock, publish_each};
use nahook_testserver::PostgresServer;

use crate::support::{self, client, connect, count, leasable, request, settings, shop, until};

const WEEK: Duration = Duration::from_hours(7 * 24);

/// A shop of so many endpoints in a store that looks all the time for what has passed its time.
async fn forgetful(endpoints: usize) -> (String, ManualClock, PostgresStore) {
    forgetful_with(endpoints, |_| {}).await
}

async fn forgetful_with(
    endpoints: usize,
    change: impl FnOnce(&mut PostgresSettings),
) -> (String, ManualClock, PostgresStore) {
    let url = PostgresServer::shared().create_database();
    let clock = ManualClock::default();
    let mut settings = settings(2).with_clock(clock.clone());
    settings.retention_interval = Duration::from_millis(20);
    change(&mut settings);
    let store = connect(&url, settings).await;
    let declared = store.apply(&shop(endpoints), ApplyMode::Commit).await;
    declared.unwrap();
    (url, clock, store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_old_and_settled_is_forgotten() {
    let (url, clock, store) = forgetful(2).await;
    let endpoints = [endpoint_id("ep_0"), endpoint_id("ep_1")];
    let publish_now = async |number| {
        let event = event("ws_shop", "order.paid", number, clock.now());
        let mut slots = deliveries(&event, &endpoints);
        store.publish(&event, &mut slots).await;
        assert_eq!(support::outcomes(&slots), ["published"; 2]);
        slots
    };
    // One whose deliveries are settled, one of which a delivery waits, and a young one.
    publish_now(1).await;
    let batch = store.lease(&request(10)).await.unwrap();
    let settlements: Vec<_> = batch
        .deliveries
        .iter()
        .map(|leased| Settlement {
            lease: leased.lease,
            attempt: Some(Attempt::answered(
                clock.now(),
                Duration::from_millis(1),
                200,
            )),
            next: Next::Delivered,
        })
        .collect();
    store.settle(&settlements).await.unwrap();
    let waiting = publish_now(2).await;
    let batch = store.lease(&request(1)).await.unwrap();
    let settlement = Settlement::unattempted(batch.deliveries[0].lease, Next::Failed);
    store.settle(&[settlement]).await.unwrap();
    clock.advance(WEEK + Duration::from_hours(1));
    let young = publish_now(3).await;
    let client = client(&url).await;
    let count = async |table| count(&client, table).await;
    until("the old one is gone", || async {
        count("event").await == 2
    })
    .await;
    assert_eq!(support::rows(&url).await, 4);
    assert_eq!(count("attempt").await, 0);
    assert_eq!(
        leasable(&store).await,
        [waiting[1].id(), young[0].id(), young[1].id()]
    );
}

/// Their ids say nothing of the time, so that they sort behind all others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_brought_along_is_forgotten_when_it_is_old() {
    let (url, clock, store) = forgetful(1).await;
    let entry = |id: String| {
        let delivery: DeliveryId = id.parse().unwrap();
        let mut event = event("ws_shop", "order.paid", 1, clock.now());
        event.id = delivery.message_if_first();
        LogEntry {
            event: Arc::new(event),
            delivery,
            endpoint: endpoint_id("ep_0"),
            attempts: 0,
            attempt: None,
            state: DeliveryState::Delivered,
            at: clock.now(),
        }
    };
    // More than one statement looks at, all of the same instant.
    let old: Vec<_> = (0..1_201)
        .map(|number| entry(format!("del_old_{number:04}")))
        .collect();
    store.record(&old).await.unwrap();
    clock.advance(WEEK + Duration::from_hours(1));
    let young = [entry("del_0".to_owned())];
    store.record(&young).await.unwrap();
    let client = client(&url).await;
    let count = async |table| count(&client, table).await;
    until("the old ones are gone", || async {
        count("event").await == 1
    })
    .await;
    assert_eq!(count("delivery").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_in_a_queue_elsewhere_is_kept() {
    let (url, clock, store) = forgetful(1).await;
    let accepted = clock.now();
    let entry = |number, state| {
        let event = Arc::new(event("ws_shop", "order.paid", number, accepted));
        LogEntry {
            delivery: DeliveryId::nth(event.id, 0),
            event,
            endpoint: endpoint_id("ep_0"),
            attempts: 0,
            attempt: None,
            state,
            at: accepted,
        }
    };
    let later = accepted.saturating_add(Duration::from_hours(24 * 30));
    let states = [
        DeliveryState::Pending,
        DeliveryState::Retry(later),
        DeliveryState::Failed,
    ];
    let entries: Vec<_> = (1..)
        .zip(states)
        .map(|(number, state)| entry(number, state))
        .collect();
    store.record(&entries).await.unwrap();
    clock.advance(WEEK + Duration::from_hours(1));
    let client = client(&url).await;
    let left = async || {
        let query = "SELECT status FROM nahook.delivery ORDER BY status";
        let rows = client.query(query, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect::<Vec<i16>>()
    };
    until("the settled one is gone", async || left().await.len() < 3).await;
    assert_eq!(left().await, [0, 1]);
    let entries = [
        entry(1, DeliveryState::Delivered),
        entry(2, DeliveryState::DeadLetter),
    ];
    store.record(&entries).await.unwrap();
    until("all are gone", async || left().await.is_empty()).await;
}

/// Two deliveries of an event that have failed and are old, of which the latter is changed like this after the statement that
/// deletes has chosen them. Answers what was in the queue before, and a store that forgets nothing.
async fn changed_while_it_is_being_forgotten(
    change: &str,
) -> (String, Vec<Delivery>, PostgresStore) {
    let (url, clock, store) = forgetful(2).await;
    let endpoints = [endpoint_id("ep_0"), endpoint_id("ep_1")];
    let event = event("ws_shop", "order.paid", 1, clock.now());
    let mut slots = deliveries(&event, &endpoints);
    store.publish(&event, &mut slots).await;
    let batch = store.lease(&request(2)).await.unwrap();
    let failed = batch
        .deliveries
        .iter()
        .map(|leased| Settlement::unattempted(leased.lease, Next::Failed));
    store.settle(&failed.collect::<Vec<_>>()).await.unwrap();
    let (mut other, observer) = (client(&url).await, client(&url).await);
    let changing = other.transaction().await.unwrap();
    let change = format!(
        "UPDATE nahook.delivery SET {change} WHERE key = (SELECT max(key) FROM nahook.delivery)"
    );
    changing.batch_execute(&change).await.unwrap();
    clock.advance(WEEK + Duration::from_hours(1));
    until("it waits to forget them", || async {
        let waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database()
            AND wait_event_type = 'Lock' AND query LIKE '%looked_at%'";
        !observer.query(waiting, &[]).await.unwrap().is_empty()
    })
    .await;
    changing.commit().await.unwrap();
    // Ends once what was underway has.
    store.close().await.unwrap();
    let store = connect(&url, settings(1).with_clock(clock)).await;
    (url, slots, store)
}

/// As the store queues it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_queued_again_while_it_is_being_forgotten_is_kept() {
    let again = "status = 0, due_at = 1, wake_at = NULL, lease_token = NULL, updated_at = 1";
    let (url, slots, store) = changed_while_it_is_being_forgotten(again).await;
    assert_eq!(leasable(&store).await, [slots[1].id()]);
    assert_eq!(support::rows(&url).await, 2);
}

/// As the recorder notes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_elsewhere_again_while_it_is_being_forgotten_is_kept() {
    let again = "status = 1, recorded_retry_at = 1, updated_at = 1";
    let (url, _, _) = changed_while_it_is_being_forgotten(again).await;
    assert_eq!(support::rows(&url).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_exactly_a_week_old_is_kept() {
    let (url, clock, store) = forgetful(1).await;
    for number in [1, 2] {
        clock.advance(Duration::from_nanos(number - 1));
        let event = event("ws_shop", "order.paid", number, clock.now());
        let mut slots = deliveries(&event, &[endpoint_id("ep_0")]);
        store.publish(&event, &mut slots).await;
    }
    let settled = "UPDATE nahook.delivery SET due_at = NULL, status = 2";
    support::spread(&url).await;
    client(&url).await.batch_execute(settled).await.unwrap();
    clock.advance(WEEK);
    until("the older one is gone", || async {
        support::rows(&url).await < 2
    })
    .await;
    assert_eq!(support::rows(&url).await, 1);
}

/// Old events that wait in the way of one that does not, and more of them than one statement looks at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_in_nobodys_way() {
    let (url, clock, _store) = forgetful(1).await;
    let client = client(&url).await;
    // The last of them is settled.
    let many = "SET search_path = nahook;
        INSERT INTO event (seq, id, workspace, event_type, accepted_at, payload)
            SELECT n, lpad(to_hex(n), 32, '0')::uuid, 1, 1, 0, '{}' FROM generate_series(1, 1201) n;
        INSERT INTO delivery (key, endpoint, due_at, attempts, status)
            SELECT seq << 20, 1, 0, 0, 0 FROM event;
        UPDATE delivery SET due_at = NULL, status = 2 WHERE key = (SELECT max(key) FROM delivery)";
    client.batch_execute(many).await.unwrap();
    clock.advance(WEEK + Duration::from_hours(1));
    until("the last one is gone", || async {
        count(&client, "event").await == 1_200
    })
    .await;
}

/// Each event takes so long to delete that a statement has no time for as many as it begins with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_too_long_to_forget_is_forgotten_in_smaller_steps() {
    let impatient = |settings: &mut PostgresSettings| {
        settings.statement_timeout = Duration::from_millis(500);
    };
    let (url, clock, _store) = forgetful_with(1, impatient).await;
    let client = client(&url).await;
    let slow = "SET search_path = nahook;
        INSERT INTO event (seq, id, workspace, event_type, accepted_at, payload)
            SELECT n, lpad(to_hex(n), 32, '0')::uuid, 1, 1, 0, '{}' FROM generate_series(1, 6) n;
        CREATE FUNCTION staged() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            PERFORM pg_sleep(0.1); RETURN OLD; END $$;
        CREATE TRIGGER staged BEFORE DELETE ON event FOR EACH ROW EXECUTE FUNCTION staged()";
    client.batch_execute(slow).await.unwrap();
    clock.advance(WEEK + Duration::from_hours(1));
    until("all are gone", || async {
        count(&client, "event").await == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_go_in_their_time_and_not_before() {
    let day = Duration::from_hours(24);
    // Entries go after keys: where those of the beginning are gone, keys have been looked at.
    let (url, clock, store) = forgetful_with(1, |settings| {
        settings.audit_retention = day.saturating_sub(Duration::from_nanos(2));
    })
    .await;
    let client = client(&url).await;
    let keys = async || count(&client, "idempotency_key").await;
    for (number, key) in [(1, "one"), (2, "other")] {
        let endpoint = endpoint_id("ep_0");
        let mut slots = [single_send(
            "ws_shop",
            endpoint,
            Some(key),
            number,
            clock.now(),
        )];
        publish_each(&store, &mut slots).await;
        clock.advance((day / 2).saturating_sub(Duration::from_nanos(2 - number)));
    }
    until("keys have been looked at", || async {
        count(&client, "audit_entry").await == 0
    })
    .await;
    assert_eq!(keys().await, 2);
    clock.advance(Duration::from_nanos(1));
    until("one has run out", || async { keys().await < 2 }).await;
    assert_eq!(keys().await, 1);
}
