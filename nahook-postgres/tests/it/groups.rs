//! Writers: what shares a statement, and who writes it.

use std::time::Duration;

use futures_util::future::join_all;
use nahook_core::{Clock, Delivery, DeliveryPublisher, FailureKind, Outcome, SystemClock};
use nahook_postgres::PostgresStore;
use nahook_queue::DeliveryQueue;
use nahook_supervision::{Death, Loop};
use nahook_testkit::declare::{deliveries, endpoint_id, event, single_send};
use nahook_testkit::{SingleSend, publish_each};
use nahook_testserver::PostgresServer;
use tokio::time::timeout;
use tokio_postgres::Client;

use crate::support::{
    client, connect, database, limited_role, order, outcomes, publish, request, settings,
    shop_store, until,
};

/// A store with one writer, which writes no event as long as an advisory lock is held.
async fn patient() -> (Client, PostgresStore) {
    let (url, _) = shop_store(2).await;
    let client = client(&url).await;
    let wait = "CREATE FUNCTION nahook.waits() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             WHILE NOT pg_try_advisory_xact_lock_shared(1) LOOP PERFORM pg_sleep(0.01); END LOOP;
             RETURN NEW; END $$;
         CREATE TRIGGER waits BEFORE INSERT ON nahook.event FOR EACH ROW EXECUTE FUNCTION nahook.waits()";
    client.batch_execute(wait).await.unwrap();
    let mut settings = settings(1);
    settings.statement_timeout = Duration::from_mins(1);
    let store = connect(&url, settings).await;
    (client, store)
}

/// Makes these calls while the writer waits, so that they share its next statement.
async fn together<T>(
    client: &Client,
    store: &PostgresStore,
    calls: impl IntoIterator<Item: Future<Output = T>>,
) -> Vec<T> {
    let hold = "SELECT pg_advisory_lock(1)";
    client.batch_execute(hold).await.unwrap();
    let busy = tokio::spawn({
        let store = store.clone();
        async move { publish(&store, 1_000, 1).await }
    });
    until("the writer waits", || async {
        let waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
        !client.query(waiting, &[]).await.unwrap().is_empty()
    })
    .await;
    // Each is with the writer once it has been polled.
    let release = client.batch_execute("SELECT pg_advisory_unlock(1)");
    let (answers, released) = tokio::join!(biased; join_all(calls), release);
    released.unwrap();
    assert_eq!(outcomes(&busy.await.unwrap()), ["published"]);
    answers
}

async fn send(store: &PostgresStore, endpoint: &str, key: &str, number: u64) -> SingleSend {
    let (endpoint, now) = (endpoint_id(endpoint), SystemClock.now());
    let mut sends = [single_send("ws_shop", endpoint, Some(key), number, now)];
    publish_each(store, &mut sends).await;
    let [send] = sends;
    send
}

async fn publish_to(store: &PostgresStore, endpoint: &str, number: u64) -> Vec<Delivery> {
    let (event, _) = order(number, 0);
    let mut slots = deliveries(&event, &[endpoint_id(endpoint)]);
    store.publish(&event, &mut slots).await;
    slots
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_for_nobody_leaves_nothing() {
    let (client, store) = patient().await;
    let calls = [("ep_gone", 1), ("ep_0", 2)].map(|(id, number)| publish_to(&store, id, number));
    let shared = together(&client, &store, calls).await;
    assert_eq!(outcomes(&shared[0]), ["endpoint_gone"]);
    assert_eq!(outcomes(&shared[1]), ["published"]);
    let alone = publish_to(&store, "ep_gone", 3).await;
    assert_eq!(outcomes(&alone), ["endpoint_gone"]);
    let events = "SELECT count(*) FROM nahook.event";
    let row = client.query_one(events, &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 2, "the other one and that before it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_send_costs_those_it_shared_a_statement_with_nothing() {
    let (client, store) = patient().await;
    let refuse = "ALTER TABLE nahook.record ADD CHECK (2 <> ALL (endpoints))";
    client.batch_execute(refuse).await.unwrap();
    let calls = [("ep_0", "a", 1), ("ep_1", "b", 2), ("ep_0", "c", 3)];
    let calls = calls.map(|(endpoint, key, number)| send(&store, endpoint, key, number));
    let sent = together(&client, &store, calls).await;
    let told: Vec<_> = sent.iter().map(SingleSend::outcome).collect();
    let refused = Outcome::Failed(FailureKind::QueueUnavailable);
    assert_eq!(told, [Outcome::Published, refused, Outcome::Published]);
}

/// Between the look-up and the publish.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_type_that_has_gone_keeps_its_name() {
    let (client, store) = patient().await;
    let publish = async |number| {
        let event = event("ws_shop", "order.gone", number, SystemClock.now());
        let mut slots = deliveries(&event, &[endpoint_id("ep_0")]);
        store.publish(&event, &mut slots).await;
        outcomes(&slots)
    };
    assert_eq!(publish(1).await, ["published"]);
    let shared = together(&client, &store, [publish(2), publish(3)]).await;
    assert_eq!(shared, [["published"]; 2]);
    let leased = store.lease(&request(4)).await.unwrap().deliveries;
    let names = leased
        .iter()
        .filter_map(|leased| leased.event_type.as_ref());
    let gone = names.filter(|name| name.as_str() == "order.gone");
    assert_eq!(gone.count(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publish_after_the_end_is_refused() {
    let (_, store) = shop_store(1).await;
    store.close().await.unwrap();
    let refused = timeout(Duration::from_mins(1), publish(&store, 1, 1)).await;
    assert_eq!(outcomes(&refused.unwrap()), ["queue_unavailable"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writer_without_a_connection_leaves_everything_to_the_other() {
    let (direct, _) = shop_store(1).await;
    let server = PostgresServer::shared();
    let url = limited_role(server, &direct, -1);
    let name = database(&url);
    let rights = format!(
        "GRANT ALL ON SCHEMA nahook TO {name}; GRANT ALL ON ALL TABLES IN SCHEMA nahook TO {name};
         GRANT ALL ON ALL SEQUENCES IN SCHEMA nahook TO {name}"
    );
    client(&direct).await.batch_execute(&rights).await.unwrap();
    let settings = settings(2);
    let supervisor = settings.supervisor.clone();
    let store = connect(&url, settings).await;
    let observer = client(&direct).await;
    let mut number = 0;
    let mut publish_next = async || {
        number += 1;
        let published = timeout(Duration::from_mins(1), publish(&store, number, 1)).await;
        assert_eq!(outcomes(&published.unwrap()), ["published"]);
    };
    let writers = "SELECT FROM pg_stat_activity WHERE usename = $1 AND query LIKE '%u (workspace, event_type, n)%'";
    while observer.query(writers, &[&name]).await.unwrap().len() < 2 {
        publish_next().await;
    }
    // One of them begins anew, and is not let in.
    supervisor.kill(Loop::PostgresWriter, Death::ALL[0]);
    until("it has begun anew", || async {
        let loops = supervisor.loops();
        let status = loops.iter().find(|it| it.which == Loop::PostgresWriter);
        status.is_some_and(|status| status.failures == 1 && status.running == 2)
    })
    .await;
    server.execute("postgres", &format!("ALTER ROLE {name} CONNECTION LIMIT 0"));
    let refused = format!("too many connections for role \"{name}\"");
    while !server.log().contains(&refused) {
        publish_next().await;
    }
    publish_next().await;
}
