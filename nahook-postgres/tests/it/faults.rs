//! The partial failures of the Trigger page, each staged on a real server. Those of a whole server are in `servers`.

use std::time::Duration;

use nahook_control::{ApplyMode, Catalog, KeyHash, KeyStore};
use nahook_core::{
    Clock, Delivery, DeliveryPublisher, FailureKind, Outcome, StoreErrorKind, SystemClock,
};
use nahook_queue::DeliveryLog;
use nahook_testkit::declare::{Workspace, deliveries, endpoint_id, single_send, workspace_id};
use nahook_testkit::publish_each;

use crate::support::proxy::Proxy;
use crate::support::{
    client, connect, execute, leasable, order, outcomes, publish, rows, settings, shop_store,
    until, until_locked,
};

/// Makes writing a record with a delivery for `ep_1` do this.
async fn on_ep_1(url: &str, action: &str) {
    let body = format!(
        "SET search_path = nahook;
         CREATE OR REPLACE FUNCTION nahook.staged() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF (SELECT row FROM nahook.endpoint WHERE id = 'ep_1') = ANY (NEW.endpoints) THEN {action} END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER staged BEFORE INSERT ON nahook.record FOR EACH ROW EXECUTE FUNCTION nahook.staged()"
    );
    client(url).await.batch_execute(&body).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_listed_sqlstate_leaves_nothing() {
    // What one event may be to blame for: others that shared the statement are tried again.
    let divisible = [
        ("23503", "queue_unavailable"),
        ("54000", "payload_too_large"),
        ("21000", "queue_unavailable"),
        ("22000", "queue_unavailable"),
        ("22001", "queue_unavailable"),
        ("22003", "queue_unavailable"),
        ("22021", "queue_unavailable"),
        ("22P02", "queue_unavailable"),
        ("22P05", "queue_unavailable"),
        ("23000", "queue_unavailable"),
        ("23502", "queue_unavailable"),
        ("23505", "queue_unavailable"),
        ("23514", "queue_unavailable"),
        ("23P01", "queue_unavailable"),
        ("40001", "queue_unavailable"),
        ("40P01", "queue_unavailable"),
        ("55P03", "queue_unavailable"),
        ("57014", "queue_unavailable"),
        ("P0001", "queue_unavailable"),
    ];
    let whole = [
        "0A000", "25006", "26000", "3F000", "42501", "42703", "42883", "42P01", "53000", "53100",
        "53200", "53400", "55006",
    ];
    let (url, store) = shop_store(3).await;
    on_ep_1(&url, "NULL;").await;
    let client = client(&url).await;
    let raise = async |code: &str| {
        let body = format!(
            "CREATE OR REPLACE FUNCTION nahook.staged() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF (SELECT row FROM nahook.endpoint WHERE id = 'ep_1') = ANY (NEW.endpoints) THEN
                     RAISE EXCEPTION 'staged' USING ERRCODE = '{code}'; END IF;
                 RETURN NEW;
             END $$"
        );
        client.batch_execute(&body).await.unwrap();
    };
    let (mut number, mut queued) = (0, 0);
    for (code, kind) in divisible {
        raise(code).await;
        number += 1;
        let deliveries = publish(&store, number, 3).await;
        assert_eq!(outcomes(&deliveries), [kind; 3], "{code}");
        let other = publish(&store, 100 + number, 1).await;
        assert_eq!(outcomes(&other), ["published"], "{code}");
        queued += 1;
        assert_eq!(rows(&url).await, queued, "{code}");
    }
    for code in whole {
        raise(code).await;
        number += 1;
        let deliveries = publish(&store, number, 3).await;
        assert_eq!(outcomes(&deliveries), ["queue_unavailable"; 3], "{code}");
        assert_eq!(rows(&url).await, queued, "{code}");
    }
    // What is not listed claims nothing.
    for code in ["XX000", "58030", "08006", "40003", "57P01"] {
        raise(code).await;
        number += 1;
        let deliveries = publish(&store, number, 3).await;
        assert!(
            deliveries.iter().all(Delivery::may_be_queued),
            "{code}: {:?}",
            outcomes(&deliveries)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_trigger_costs_those_it_shared_a_statement_with_nothing() {
    let (url, store) = shop_store(3).await;
    on_ep_1(&url, "RAISE EXCEPTION 'staged' USING ERRCODE = '23514';").await;
    let publishing = (0..12).map(|number| {
        let store = store.clone();
        // Every third one names the endpoint that fails.
        tokio::spawn(
            async move { publish(&store, number, if number % 3 == 0 { 2 } else { 1 }).await },
        )
    });
    for (number, published) in futures_util::future::join_all(publishing)
        .await
        .into_iter()
        .enumerate()
    {
        let published = published.unwrap();
        let expected: &[_] = if number % 3 == 0 {
            &["queue_unavailable"; 2]
        } else {
            &["published"]
        };
        assert_eq!(outcomes(&published), expected, "{number}");
    }
    assert_eq!(leasable(&store).await.len(), 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_time_out_is_definite_and_only_its_own() {
    let (url, _) = shop_store(3).await;
    on_ep_1(&url, "PERFORM pg_sleep(60);").await;
    let mut settings = settings(1);
    settings.statement_timeout = Duration::from_millis(400);
    let store = connect(&url, settings).await;
    let deliveries = publish(&store, 1, 3).await;
    assert_eq!(outcomes(&deliveries), ["queue_unavailable"; 3]);
    let others = publish(&store, 2, 1).await;
    assert_eq!(outcomes(&others), ["published"]);
    assert_eq!(leasable(&store).await, [others[0].id()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_time_out_is_definite() {
    let (url, _) = shop_store(2).await;
    let mut settings = settings(1);
    settings.lock_timeout = Duration::from_millis(100);
    let store = connect(&url, settings).await;
    let mut holder = client(&url).await;
    let lock = holder.transaction().await.unwrap();
    execute(&lock, "LOCK TABLE nahook.event IN ACCESS EXCLUSIVE MODE").await;
    let deliveries = publish(&store, 1, 2).await;
    assert_eq!(outcomes(&deliveries), ["queue_unavailable"; 2]);
    lock.rollback().await.unwrap();
    assert_eq!(leasable(&store).await, []);
    assert_eq!(outcomes(&publish(&store, 2, 2).await), ["published"; 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_lost_while_idle_costs_nothing() {
    let (url, _) = shop_store(2).await;
    let proxy = Proxy::to(&url).await;
    let store = connect(&proxy.url, settings(2)).await;
    assert_eq!(outcomes(&publish(&store, 1, 2).await), ["published"; 2]);
    proxy.cut();
    // The driver sees the end of the line within moments.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(outcomes(&publish(&store, 2, 2).await), ["published"; 2]);
    assert_eq!(leasable(&store).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_killed_in_the_middle_is_unconfirmed() {
    let (url, store) = shop_store(2).await;
    on_ep_1(&url, "PERFORM pg_sleep(60);").await;
    let killer = client(&url).await;
    let publishing = tokio::spawn({
        let store = store.clone();
        async move { publish(&store, 1, 2).await }
    });
    until("the statement was killed", || async {
        let ended = killer
            .query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event = 'PgSleep'",
                &[],
            )
            .await;
        !ended.unwrap().is_empty()
    })
    .await;
    assert_eq!(outcomes(&publishing.await.unwrap()), ["unconfirmed"; 2]);
    assert_eq!(rows(&url).await, 0);
    // And the next one finds a new connection.
    assert_eq!(outcomes(&publish(&store, 2, 1).await), ["published"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_lost_after_the_commit_is_unconfirmed_and_queued() {
    let (url, direct) = shop_store(2).await;
    let proxy = Proxy::to(&url).await;
    let store = connect(&proxy.url, settings(1)).await;
    assert_eq!(outcomes(&publish(&store, 1, 2).await), ["published"; 2]);
    proxy.mute(true);
    let publishing = tokio::spawn({
        let store = store.clone();
        async move { publish(&store, 2, 2).await }
    });
    until("it is committed", || async { rows(&url).await == 4 }).await;
    proxy.cut();
    assert_eq!(outcomes(&publishing.await.unwrap()), ["unconfirmed"; 2]);
    proxy.mute(false);
    assert_eq!(leasable(&direct).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_goes_silent_is_unconfirmed_and_its_connection_given_up() {
    let (url, _) = shop_store(2).await;
    let proxy = Proxy::to(&url).await;
    let mut settings = settings(1);
    settings.statement_timeout = Duration::from_millis(500);
    let store = connect(&proxy.url, settings).await;
    assert_eq!(outcomes(&publish(&store, 1, 2).await), ["published"; 2]);
    proxy.mute(true);
    // It is committed all the same, and nobody ends the line.
    assert_eq!(outcomes(&publish(&store, 2, 2).await), ["unconfirmed"; 2]);
    proxy.mute(false);
    assert_eq!(outcomes(&publish(&store, 3, 1).await), ["published"]);
    assert_eq!(rows(&url).await, 5);
}

/// How often the deliveries were tried to be written that fail with the SQLSTATE `code` at `ep_1`.
async fn tries(code: &str, lock_timeout: u64, statement_timeout: u64, keyed: bool) -> i64 {
    let (url, _) = shop_store(2).await;
    let client = client(&url).await;
    execute(&client, "CREATE SEQUENCE nahook.tries").await;
    let fail = format!(
        "PERFORM nextval('nahook.tries'); RAISE EXCEPTION 'staged' USING ERRCODE = '{code}';"
    );
    on_ep_1(&url, &fail).await;
    let mut settings = settings(1);
    settings.lock_timeout = Duration::from_secs(lock_timeout);
    settings.statement_timeout = Duration::from_secs(statement_timeout);
    let store = connect(&url, settings).await;
    if keyed {
        let now = SystemClock.now();
        let mut slots = [single_send(
            "ws_shop",
            endpoint_id("ep_1"),
            Some("key"),
            1,
            now,
        )];
        publish_each(&store, &mut slots).await;
    } else {
        publish(&store, 1, 2).await;
    }
    let tried = "SELECT last_value FROM nahook.tries";
    client.query_one(tried, &[]).await.unwrap().get(0)
}

/// What may take as long as the time-out that it has failed with is tried again only if there is time for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_time_for_another_time_out_is_not_tried_again() {
    for (code, lock_timeout, statement_timeout) in [("55P03", 60, 1), ("57014", 1, 60)] {
        for keyed in [false, true] {
            let tried = tries(code, lock_timeout, statement_timeout, keyed).await;
            assert_eq!(tried, 1, "{code}, {keyed}");
            let tried = tries(code, 1, 1, keyed).await;
            assert!(tried > 1, "{code}, {keyed}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_pool_is_unavailable_in_time() {
    let (url, _) = shop_store(1).await;
    let mut settings = settings(1);
    settings.connect_timeout = Duration::from_millis(300);
    settings.statement_timeout = Duration::from_secs(4);
    settings.lock_timeout = Duration::from_secs(4);
    let store = connect(&url, settings).await;
    // Warm: the pool's one connection exists.
    let hash = KeyHash::of("nhk_none_000000000000000000000000000");
    assert!(store.api_key(&hash).await.unwrap().is_none());
    let mut holder = client(&url).await;
    let lock = holder.transaction().await.unwrap();
    execute(&lock, "LOCK TABLE nahook.attempt IN ACCESS EXCLUSIVE MODE").await;
    let published = publish(&store, 1, 1).await;
    assert_eq!(outcomes(&published), ["published"]);
    let id = published[0].id();
    let busy = tokio::spawn({
        let store = store.clone();
        async move { store.attempts(id, &workspace_id("ws_shop")).await }
    });
    until_locked(&url).await;
    let refused = store.api_key(&hash).await;
    assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::Unavailable);
    lock.rollback().await.unwrap();
    assert_eq!(busy.await.unwrap().unwrap().unwrap().len(), 0);
    assert!(store.api_key(&hash).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_call_leaves_nothing_running_and_no_connection_poisoned() {
    let (url, _) = shop_store(1).await;
    let mut settings = settings(1);
    settings.statement_timeout = Duration::from_secs(30);
    settings.lock_timeout = Duration::from_secs(30);
    let store = connect(&url, settings).await;
    let published = publish(&store, 1, 1).await;
    let mut holder = client(&url).await;
    let lock = holder.transaction().await.unwrap();
    execute(&lock, "LOCK TABLE nahook.attempt IN ACCESS EXCLUSIVE MODE").await;
    let workspace = workspace_id("ws_shop");
    let dropped = store.attempts(published[0].id(), &workspace);
    assert!(
        tokio::time::timeout(Duration::from_millis(300), dropped)
            .await
            .is_err()
    );
    let observer = client(&url).await;
    until("nothing waits for the lock", || async {
        let waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        observer.query(waiting, &[]).await.unwrap().is_empty()
    })
    .await;
    // The pool has one place, and gives it to a new connection.
    assert_eq!(leasable(&store).await, [published[0].id()]);
    lock.rollback().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_dropped_before_a_writer_took_it_is_definitely_not_queued() {
    let (url, _) = shop_store(2).await;
    on_ep_1(&url, "PERFORM pg_sleep(1);").await;
    let mut settings = settings(1);
    settings.writers = 1;
    let store = connect(&url, settings).await;
    let first = tokio::spawn({
        let store = store.clone();
        async move { publish(&store, 1, 2).await }
    });
    let client = client(&url).await;
    until("the writer is busy", || async {
        let busy = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
        !client.query(busy, &[]).await.unwrap().is_empty()
    })
    .await;
    let (event, mut slots) = order(2, 1);
    let publishing = store.publish(&event, &mut slots);
    assert!(
        tokio::time::timeout(Duration::from_millis(50), publishing)
            .await
            .is_err()
    );
    assert_eq!(
        slots[0].outcome(),
        Outcome::Failed(FailureKind::QueueUnavailable)
    );
    assert_eq!(outcomes(&first.await.unwrap()), ["published"; 2]);
    assert_eq!(outcomes(&publish(&store, 3, 1).await), ["published"]);
    assert_eq!(leasable(&store).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_dropped_while_it_is_written_may_be_queued() {
    let (url, store) = shop_store(2).await;
    on_ep_1(&url, "PERFORM pg_sleep(0.5);").await;
    let (event, mut slots) = order(1, 2);
    let publishing = store.publish(&event, &mut slots);
    assert!(
        tokio::time::timeout(Duration::from_millis(200), publishing)
            .await
            .is_err()
    );
    assert_eq!(outcomes(&slots), ["unconfirmed"; 2]);
    until("it is queued after all", || async { rows(&url).await == 2 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_of_another_workspace_is_gone() {
    let (_, store) = shop_store(1).await;
    let other = Workspace::new("ws_other")
        .endpoint("ep_other", &[])
        .manifest();
    store.apply(&other, ApplyMode::Commit).await.unwrap();
    let (event, _) = order(1, 0);
    let mut slots = deliveries(&event, &[endpoint_id("ep_0"), endpoint_id("ep_other")]);
    store.publish(&event, &mut slots).await;
    assert_eq!(outcomes(&slots), ["published", "endpoint_gone"]);
    let (other, now) = (endpoint_id("ep_other"), SystemClock.now());
    let mut sends = [single_send("ws_shop", other, Some("key"), 2, now)];
    publish_each(&store, &mut sends).await;
    let gone = Outcome::Failed(FailureKind::EndpointGone);
    assert_eq!(sends[0].outcome(), gone);
    assert_eq!(leasable(&store).await, [slots[0].id()]);
}
