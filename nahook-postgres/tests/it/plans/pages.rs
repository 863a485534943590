//! Rows that the pages of a large log read.

use std::time::Duration;

use nahook_control::{EndpointHealth, EndpointQuery, ManagementStore as _};
use nahook_core::{Clock as _, SystemClock, Timestamp};
use nahook_postgres::PostgresStore;
use nahook_queue::{
    DeliveryQuery, DeliverySearch as _, DeliveryStatus, EventQuery, EventSearch as _,
    Redelivery as _, RedeliveryRequest, StatsQuery,
};
use nahook_testkit::declare::{endpoint_id, workspace_id};
use nahook_testserver::PostgresServer;

use super::SETTINGS;
use super::explained::Explained;
use crate::support::{connect, settings, shop};

/// Events of the log, a minute apart, each with a dead letter of the same endpoint.
const EVENTS: u32 = 20_000;

const FILL: &str = r#"SET search_path = nahook;
INSERT INTO event (seq, id, workspace, event_type, accepted_at, metadata, payload)
    SELECT nextval('event_seq'), (lpad(to_hex(at.ms), 12, '0') || lpad(to_hex(n::bigint << 20), 20, '0'))::uuid,
        (SELECT row FROM workspace), (SELECT min(row) FROM event_type), at.ms * 1000000,
        format('{"order":"%s","note":"\u00e4"}', n), '{}'
    FROM generate_series(1, 20000) n
    CROSS JOIN LATERAL (SELECT (extract(epoch FROM now()) * 1000)::bigint - (20000 - n)::bigint * 60000 AS ms) at;
INSERT INTO delivery (key, endpoint, updated_at, attempts, status)
    SELECT seq << 20, (SELECT row FROM endpoint), accepted_at, 1, 4 FROM event;
INSERT INTO record (key, workspace, due_at, audience, width, endpoints)
    SELECT (seq << 20) + 1, workspace, accepted_at, 1, 1, ARRAY[(SELECT row FROM endpoint)] FROM event WHERE seq <= 3000;
INSERT INTO endpoint (id, workspace, environment, url, kind, config, metadata, secret, is_active, created_at, updated_at)
    SELECT 'ep_more_' || n, p.workspace, p.environment, p.url, 0, '{}', '{}', '', true, 1, 1
    FROM endpoint p CROSS JOIN generate_series(1, 2000) n;
INSERT INTO record (key, workspace, due_at, audience, width, endpoints)
    SELECT (e.seq << 20) + 2 + 500 * half, e.workspace, e.accepted_at, 2 + half, 500, f.endpoints
    FROM event e CROSS JOIN generate_series(0, 1) half CROSS JOIN LATERAL (
        SELECT array_agg(p.row ORDER BY p.row) AS endpoints FROM (
            SELECT row FROM endpoint WHERE id LIKE 'ep_more_%' ORDER BY row OFFSET 500 * half LIMIT 500) p
    ) f WHERE e.seq BETWEEN 4000 AND 7000;
INSERT INTO endpoint_health (endpoint, failing_since) SELECT row, 1 FROM endpoint WHERE id IN ('ep_more_7', 'ep_more_1007');
ANALYZE"#;

/// Rows that the statements of `asking` have read.
async fn rows_read<T>(server: &PostgresServer, asking: impl Future<Output = T>) -> (u64, T) {
    let before = server.log().len();
    let answer = asking.await;
    let explained = Explained::all(&server.log()[before..]);
    (explained.iter().map(Explained::rows_read).sum(), answer)
}

async fn ask_for_events(server: &PostgresServer, store: &PostgresStore) {
    let event = EventQuery {
        workspace: workspace_id("ws_shop"),
        event_type: None,
        labels: Vec::new(),
        idempotency_key: None,
        before: None,
        limit: 20,
    };
    let (rows, page) = rows_read(server, store.events(&event)).await;
    let page = page.unwrap();
    assert!(page.events.len() == 20 && page.next == page.events.last().map(|it| it.id));
    assert!((20..200).contains(&rows), "the latest events: {rows} rows");
    for (value, found) in [("19990", 1), ("ä", 0), ("1", 0)] {
        let labelled = EventQuery {
            labels: vec![("order".to_owned(), value.to_owned())],
            ..event.clone()
        };
        let page = store.events(&labelled).await.unwrap();
        assert_eq!(page.events.len(), found, "{value}");
        // Ten thousand were looked at.
        assert!(page.next.is_some(), "{value}");
    }
    let mut read = Vec::new();
    for number in [1, 5] {
        let names = ["order", "nr", "customer", "shop", "note"];
        let label = |name: &str| (name.to_owned(), "19990".to_owned());
        let labelled = EventQuery {
            labels: names[..number].iter().copied().map(label).collect(),
            ..event.clone()
        };
        let (rows, page) = rows_read(server, store.events(&labelled)).await;
        assert_eq!(page.unwrap().events.len(), 1);
        read.push(rows);
    }
    assert_eq!(
        read[0], read[1],
        "labels are read once, whatever is asked for"
    );
    let escaped = EventQuery {
        labels: vec![("note".to_owned(), "ä".to_owned())],
        ..event
    };
    assert_eq!(store.events(&escaped).await.unwrap().events.len(), 20);
}

async fn ask(server: &PostgresServer, store: &PostgresStore) {
    ask_for_events(server, store).await;
    let ago = |minutes| {
        let back = Duration::from_mins(minutes).as_nanos();
        let now = SystemClock.now().as_nanos();
        Timestamp::from_nanos(now - u64::try_from(back).unwrap())
    };
    let mut late = DeliveryQuery {
        workspace: workspace_id("ws_shop"),
        endpoint: endpoint_id("ep_0"),
        status: Some(DeliveryStatus::DeadLetter),
        since: Some(ago(10)),
        before: None,
        limit: 1_000,
    };
    let (rows, page) = rows_read(server, store.deliveries(&late)).await;
    assert!((9..=11).contains(&page.unwrap().len()));
    assert!(
        (9..200).contains(&rows),
        "deliveries of ten minutes: {rows} rows"
    );
    let waiting = DeliveryQuery {
        status: Some(DeliveryStatus::Pending),
        since: None,
        limit: 5,
        ..late.clone()
    };
    let (rows, page) = rows_read(server, store.deliveries(&waiting)).await;
    assert_eq!(page.unwrap().len(), 5);
    assert!((5..200).contains(&rows), "what waits: {rows} rows");
    for (endpoint, number) in [("ep_more_1", 7), ("ep_more_2000", 0)] {
        let of_endpoint = DeliveryQuery {
            endpoint: endpoint_id(endpoint),
            status: None,
            limit: 7,
            ..waiting.clone()
        };
        let (rows, page) = rows_read(server, store.deliveries(&of_endpoint)).await;
        assert_eq!(page.unwrap().len(), number, "{endpoint}");
        // Each of those that are shown is looked up in the 500 endpoints of its record.
        assert!(rows < 4_000, "an endpoint among many: {rows} rows");
        let counted = StatsQuery {
            workspace: workspace_id("ws_shop"),
            endpoint: Some(endpoint_id(endpoint)),
            count_max: 7,
            is_unsettled_only: false,
        };
        let (rows, stats) = rows_read(server, store.stats(&counted)).await;
        assert_eq!(stats.unwrap().pending, number as u64, "{endpoint}");
        assert!(rows < 200, "an endpoint's count: {rows} rows");
    }
    late.since = Some(ago(u64::from(EVENTS) + 10));
    assert_eq!(store.deliveries(&late).await.unwrap().len(), 1_000);
    let again = RedeliveryRequest {
        workspace: late.workspace,
        endpoint: late.endpoint,
        since: ago(5),
        limit: 100,
    };
    let (rows, queued) = rows_read(server, store.redeliver_since(&again)).await;
    assert!((4..=6).contains(&queued.unwrap()));
    assert!((4..200).contains(&rows), "queueing again: {rows} rows");
}

async fn ask_for_endpoints(server: &PostgresServer, store: &PostgresStore) {
    let workspace = workspace_id("ws_shop");
    let mut query = EndpointQuery::default();
    let (rows, page) = rows_read(server, store.find_endpoints(&workspace, &query)).await;
    assert_eq!(page.unwrap().total, 2_001);
    assert!((1..20).contains(&rows), "how many there are: {rows} rows");
    query.limit = 50;
    query.health = Some(EndpointHealth::Failing);
    let (rows, page) = rows_read(server, store.find_endpoints(&workspace, &query)).await;
    let page = page.unwrap();
    assert!(page.total == 2 && page.endpoints.len() == 2);
    assert!((2..100).contains(&rows), "those that fail: {rows} rows");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_a_large_log_read_what_they_show() {
    let server = PostgresServer::start_with(SETTINGS, &[]);
    let url = server.create_database();
    let store = connect(&url, settings(1)).await;
    nahook_control::Catalog::apply(&store, &shop(1), nahook_control::ApplyMode::Commit)
        .await
        .unwrap();
    store.close().await.unwrap();
    server.query(&url, FILL);
    let name = server.query(&url, "SELECT current_database()");
    // From here on whoever connects is explained.
    let explain = format!("ALTER DATABASE {name} SET auto_explain.log_min_duration = 0");
    server.query(&url, &explain);
    let store = connect(&url, settings(1)).await;
    ask(&server, &store).await;
    ask_for_endpoints(&server, &store).await;
    store.close().await.unwrap();
}
