//! Several stores on one database, as several processes have them.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use nahook_control::{
    Actor, ApiKeySpec, ApplyMode, Catalog, KeyHash, KeyState, KeyStore, Management,
};
use nahook_core::id::{ApiKeyId, DeliveryId};
use nahook_core::{Clock, Outcome, SubscriptionStore, SystemClock};
use nahook_postgres::PostgresStore;
use nahook_queue::{DeliveryQueue, LeaseRequest, Next, Settled, Settlement, WorkerId};
use nahook_testkit::declare::{
    Workspace, endpoint_id, event_type_name, scope, single_send, workspace_id,
};
use nahook_testkit::publish_each;
use tokio::time::timeout;

use crate::support::proxy::Proxy;
use crate::support::{
    self, connect, execute, leasable, publish, request, rows, settings, shop, shop_store, spread,
    until, until_locked,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_delivery_is_leased_twice() {
    let (url, store) = shop_store(5).await;
    for number in 0..200 {
        publish(&store, number, 5).await;
    }
    let mut workers = Vec::new();
    for number in 0..4 {
        let store = connect(&url, settings(1)).await;
        workers.push(tokio::spawn(async move {
            let request = LeaseRequest {
                worker: WorkerId(number),
                per_endpoint_max: 1_000,
                ..request(17)
            };
            let mut leased = Vec::new();
            loop {
                let batch = store.lease(&request).await.unwrap().deliveries;
                if batch.is_empty() {
                    return leased;
                }
                leased.extend(batch.into_iter().map(|delivery| delivery.lease));
            }
        }));
    }
    let mut seen = HashSet::new();
    for worker in workers {
        for lease in worker.await.unwrap() {
            assert!(seen.insert(lease.delivery), "{lease:?} was leased twice");
        }
    }
    assert_eq!(seen.len(), 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_sent_through_several_at_once_has_one_delivery() {
    const KEYS: usize = 25;
    let (url, store) = shop_store(2).await;
    let other = connect(&url, settings(2)).await;
    let mut sending = Vec::new();
    // Calls of one slot and of all keys, in orders of their own, through both at once.
    for call in 0..40 {
        let store = if call % 2 == 0 { &store } else { &other }.clone();
        let step = if call % 8 < 4 { KEYS } else { 1 };
        let mut slots: Vec<_> = (0..KEYS)
            .map(|at| {
                let key = (at * (call % 4 + 1) + call) % KEYS;
                let endpoint = endpoint_id(&format!("ep_{}", key % 2));
                let (key, number) = (format!("key {key}"), call * KEYS + at);
                single_send(
                    "ws_shop",
                    endpoint,
                    Some(&key),
                    number as u64,
                    SystemClock.now(),
                )
            })
            .collect();
        sending.push(tokio::spawn(async move {
            for part in slots.chunks_mut(step) {
                publish_each(&store, part).await;
            }
            slots
        }));
    }
    let (mut published, mut answers) = (HashSet::new(), HashMap::new());
    for task in sending {
        for slot in task.await.unwrap() {
            let id = match slot.outcome() {
                Outcome::Published => {
                    published.insert(slot.id());
                    slot.id()
                }
                Outcome::Replayed(original) => original,
                Outcome::Failed(kind) => panic!("a healthy database has failed: {kind:?}"),
            };
            let key = slot.idempotency_key().unwrap().as_str().to_owned();
            answers.entry(key).or_insert_with(HashSet::new).insert(id);
        }
    }
    assert_eq!(answers.len(), KEYS);
    for (key, ids) in &answers {
        assert_eq!(ids.len(), 1, "{key} stands for {ids:?}");
    }
    // The one that every answer names was acknowledged to one caller, and is what is queued.
    let named: HashSet<_> = answers.into_values().flatten().collect();
    assert_eq!(named, published);
    assert_eq!(
        leasable(&store).await.into_iter().collect::<HashSet<_>>(),
        named
    );
    assert_eq!(usize::try_from(rows(&url).await).unwrap(), KEYS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_made_by_one_is_settled_by_another() {
    let (url, store) = shop_store(1).await;
    let other = connect(&url, settings(1)).await;
    publish(&store, 1, 1).await;
    // A row: what is in the hands of one is nobody else's.
    spread(&url).await;
    let lease = store.lease(&request(1)).await.unwrap().deliveries[0].lease;
    assert_eq!(
        other
            .extend(&[lease], Duration::from_mins(2))
            .await
            .unwrap(),
        [true]
    );
    let settlement = Settlement::unattempted(lease, Next::Delivered);
    assert_eq!(
        other
            .settle(std::slice::from_ref(&settlement))
            .await
            .unwrap(),
        [Settled::Done]
    );
    assert_eq!(
        store.settle(&[settlement]).await.unwrap(),
        [Settled::LeaseLost]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_wakes_the_others_workers() {
    let (url, store) = shop_store(1).await;
    let other = connect(&url, settings(1)).await;
    // Listening begins in the background.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let batch = other.lease(&request(1)).await.unwrap();
    assert!(batch.deliveries.is_empty());
    publish(&store, 1, 1).await;
    timeout(Duration::from_mins(2), other.changed(batch.generation))
        .await
        .unwrap();
    assert_eq!(other.lease(&request(1)).await.unwrap().deliveries.len(), 1);
}

/// A process that was taken for dead may be writing still.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_process_takes_while_it_is_forgotten_is_taken_over() {
    let (url, store) = shop_store(1).await;
    assert_eq!(leasable(&store).await, []);
    let mut client = support::client(&url).await;
    execute(
        &client,
        "INSERT INTO nahook.process (token, beat) VALUES (-7, 0)",
    )
    .await;
    let taking = client.transaction().await.unwrap();
    execute(
        &taking,
        "SELECT FROM nahook.process WHERE token = -7 FOR KEY SHARE",
    )
    .await;
    publish(&store, 1, 1).await;
    execute(
        &taking,
        "UPDATE nahook.record SET owner = -7, is_begun = true",
    )
    .await;
    let leasing = tokio::spawn(async move {
        until("it is leased", || async {
            leasable(&store).await.len() == 1
        })
        .await;
    });
    until_locked(&url).await;
    taking.commit().await.unwrap();
    leasing.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_seen_by_the_others_through_their_caches() {
    let (url, store) = shop_store(1).await;
    let other = connect(&url, settings(1)).await;
    let (name, scope) = (event_type_name("order.paid"), scope("ws_shop", None));
    let count = || async {
        other
            .subscribers(&name, &scope)
            .await
            .unwrap()
            .unwrap()
            .endpoints
            .len()
    };
    assert_eq!(count().await, 1);
    store.apply(&shop(2), ApplyMode::Commit).await.unwrap();
    until("the other sees it", || async { count().await == 2 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_is_refused_by_the_others() {
    let (url, store) = shop_store(0).await;
    let other = connect(&url, settings(1)).await;
    let manifest = Workspace::new("ws_shop")
        .with(|workspace| {
            workspace.api_keys.push(ApiKeySpec {
                id: Some(ApiKeyId::new("key_1").unwrap()),
                name: "key".to_owned(),
                key: Some("nhk_us_1_000000000000000000000000000".to_owned()),
                ..ApiKeySpec::default()
            });
        })
        .manifest();
    store.apply(&manifest, ApplyMode::Commit).await.unwrap();
    let hash = KeyHash::of("nhk_us_1_000000000000000000000000000");
    assert!(other.api_key(&hash).await.unwrap().is_some());
    let (workspace, key) = (workspace_id("ws_shop"), ApiKeyId::new("key_1").unwrap());
    Management::new(store)
        .set_api_key_state(&workspace, &Actor::operator(), key, KeyState::Revoked)
        .await
        .unwrap();
    until("the other refuses it", || async {
        other.api_key(&hash).await.unwrap().is_none()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_seen_in_time_when_the_listening_connection_dies_silently() {
    let (url, store) = shop_store(1).await;
    let proxy = Proxy::to(&url).await;
    let other = connect(&proxy.url, settings(1)).await;
    let (name, scope) = (event_type_name("order.paid"), scope("ws_shop", None));
    tokio::time::sleep(Duration::from_millis(300)).await;
    other.subscribers(&name, &scope).await.unwrap().unwrap();
    // From here on nothing is heard, and nobody says so.
    proxy.mute(true);
    store.apply(&shop(2), ApplyMode::Commit).await.unwrap();
    tokio::time::sleep(Duration::from_millis(3_100)).await;
    // The cache is not trusted any more, so the database is asked, which does not answer here.
    let asked = timeout(Duration::from_millis(200), other.subscribers(&name, &scope)).await;
    assert!(asked.is_err(), "an old answer is given: {asked:?}");
    proxy.mute(false);
    proxy.cut();
    until("the change is seen", || async {
        let found = other.subscribers(&name, &scope).await;
        found.is_ok_and(|found| found.unwrap().endpoints.len() == 2)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_of_one_endpoint_holds_no_other_back() {
    let (url, store) = shop_store(3).await;
    // 100,000 deliveries wait for the first endpoint, older than everything else.
    let client = support::client(&url).await;
    execute(
        &client,
        "SET search_path = nahook;
             INSERT INTO event (seq, id, workspace, event_type, accepted_at, payload)
                 SELECT nextval('event_seq'), '00000000-0000-0000-0000-000000000001', 1, 1, 0, '{}';
             INSERT INTO delivery (key, endpoint, due_at, attempts, status)
                 SELECT (e.seq << 20) | n, (SELECT row FROM endpoint WHERE id = 'ep_0'), 0, 0, 0
                 FROM event e, generate_series(0, 99999) n",
    )
    .await;
    let fresh = publish(&store, 1, 3).await;
    let request = LeaseRequest {
        per_endpoint_max: 4,
        ..request(100)
    };
    let batch = store.lease(&request).await.unwrap();
    let leased: HashSet<_> = batch
        .deliveries
        .iter()
        .map(|leased| leased.lease.delivery)
        .collect();
    assert!(leased.contains(&fresh[1].id()) && leased.contains(&fresh[2].id()));
    assert_eq!(leased.len(), 6, "four of the backlog, and the two others");
    // With the bound reached, others still come through.
    let fresh = publish(&store, 2, 3).await;
    let batch = store.lease(&request).await.unwrap();
    let leased: HashSet<_> = batch
        .deliveries
        .iter()
        .map(|leased| leased.lease.delivery)
        .collect();
    assert_eq!(leased, HashSet::from([fresh[1].id(), fresh[2].id()]));
}

/// Puts so many deliveries for `ep_0` into the queue that have been due for long.
async fn backlog(url: &str, status: i16, count: u32) {
    let client = support::client(url).await;
    let due = format!(
        "SET search_path = nahook;
             INSERT INTO event (seq, id, workspace, event_type, accepted_at, payload)
                 SELECT nextval('event_seq'), '00000000-0000-0000-0000-000000000001', 1, 1, 0, '{{}}';
             INSERT INTO delivery (key, endpoint, due_at, attempts, status)
                 SELECT (e.seq << 20) | n, (SELECT row FROM endpoint WHERE id = 'ep_0'), n, {status}, {status}
                 FROM event e, generate_series(0, {count} - 1) n
                 WHERE e.id = '00000000-0000-0000-0000-000000000001'"
    );
    execute(&client, &due).await;
}

/// In how many leases of ten, each settled as delivered, these are found.
async fn leases_until_found(store: &PostgresStore, wanted: &[DeliveryId]) -> usize {
    let mut left: HashSet<_> = wanted.iter().copied().collect();
    for turn in 1..=500 {
        let batch = store.lease(&request(10)).await.unwrap();
        assert_eq!(batch.deliveries.len(), 10, "there is more than enough");
        let settlements: Vec<_> = batch
            .deliveries
            .iter()
            .map(|leased| Settlement::unattempted(leased.lease, Next::Delivered))
            .collect();
        for leased in &batch.deliveries {
            left.remove(&leased.lease.delivery);
        }
        store.settle(&settlements).await.unwrap();
        if left.is_empty() {
            return turn;
        }
    }
    panic!("{} of {} are not found", left.len(), wanted.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_due_retries_and_fresh_deliveries_take_turns() {
    // Five thousand retries that have been due for long, and twenty fresh deliveries: half of each lease is theirs.
    let (url, store) = shop_store(1).await;
    backlog(&url, 1, 5_000).await;
    let mut fresh = Vec::new();
    for number in 1..=20 {
        fresh.extend(publish(&store, number, 1).await);
    }
    let ids: Vec<_> = fresh.iter().map(nahook_core::Delivery::id).collect();
    let turns = leases_until_found(&store, &ids).await;
    assert!(
        turns <= 5,
        "{turns} leases of ten until twenty fresh ones were found"
    );

    // And the other way round.
    let (url, store) = shop_store(1).await;
    publish(&store, 1, 1).await;
    let leased = store.lease(&request(1)).await.unwrap().deliveries[0].lease;
    let retry = Settlement::unattempted(leased, Next::Retry(SystemClock.now()));
    store.settle(&[retry]).await.unwrap();
    backlog(&url, 0, 5_000).await;
    let turns = leases_until_found(&store, &[leased.delivery]).await;
    assert!(
        turns <= 1,
        "{turns} leases of ten until the retry was found"
    );
}
