//! Full tables: a shop whose endpoints the tour uses, and many other workspaces with everything that goes on in them.

use nahook_control::{ApiKeySpec, ApplyMode, Catalog};
use nahook_core::id::ApiKeyId;
use nahook_testkit::declare::Workspace;
use nahook_testserver::PostgresServer;

use crate::support::{connect, settings};

/// The shop's event types, named for how many endpoints are subscribed to each.
pub(crate) const WIDTHS: [usize; 4] = [1, 10, 100, 1_000];
/// The shop's key.
pub(crate) const KEY: &str = "nhk_us_shop_000000000000000000000000";

/// Number of another workspace's subscriptions: 100 endpoints to 10 event types.
const SUBSCRIPTIONS_EACH: u32 = 1_000;
/// Number of deliveries of an event.
const WIDTH: u32 = 10;

/// The name of an event type of the shop.
pub(crate) fn event_type(width: usize) -> String {
    format!("order.to{width}")
}

/// Fills the tables, the last eight days long, and answers what is in them.
pub(crate) async fn fill(
    server: &PostgresServer,
    url: &str,
    deliveries: u32,
    subscriptions: u32,
) -> String {
    let store = connect(url, settings(1)).await;
    let mut shop = Workspace::new("ws_shop");
    for width in WIDTHS {
        shop = shop.event_type(&event_type(width));
    }
    for number in 0..WIDTHS[3] {
        let wider = WIDTHS.iter().filter(|width| number < **width);
        let types: Vec<_> = wider.map(|width| event_type(*width)).collect();
        let types: Vec<_> = types.iter().map(String::as_str).collect();
        shop = shop.endpoint(&format!("ep_{number}"), &types);
    }
    let shop = shop.with(|workspace| {
        workspace.api_keys.push(ApiKeySpec {
            id: Some(ApiKeyId::new("key_shop").unwrap()),
            name: "shop".to_owned(),
            key: Some(KEY.to_owned()),
            ..ApiKeySpec::default()
        });
    });
    store
        .apply(&shop.manifest(), ApplyMode::Commit)
        .await
        .unwrap();
    store.close().await.unwrap();
    let workspaces = subscriptions.div_ceil(SUBSCRIPTIONS_EACH);
    let events = deliveries / WIDTH;
    server.query(url, &catalog(workspaces));
    server.query(url, &deliveries_of(events));
    for statement in ["VACUUM ANALYZE", "CHECKPOINT"] {
        server.query(url, statement);
    }
    let counts =
        "SELECT (SELECT count(*) FROM nahook.delivery), (SELECT count(*) FROM nahook.attempt),
        (SELECT count(*) FROM nahook.event), (SELECT count(*) FROM nahook.subscription),
        (SELECT count(*) FROM nahook.endpoint), (SELECT count(*) FROM nahook.workspace)";
    let counts = server.query(url, counts);
    let counts: Vec<_> = counts.split('|').collect();
    let [
        deliveries,
        attempts,
        events,
        subscriptions,
        endpoints,
        workspaces,
    ] = counts[..]
    else {
        panic!("{counts:?}");
    };
    format!(
        "{deliveries} deliveries of {events} events, {attempts} attempts, {subscriptions} subscriptions of {endpoints} \
         endpoints in {workspaces} workspaces"
    )
}

fn catalog(workspaces: u32) -> String {
    format!(
        "SET search_path = nahook;
        INSERT INTO workspace (id, name, payload_len_max, created_at)
            SELECT 'ws_' || n, 'workspace ' || n, 1000000, 0 FROM generate_series(1, {workspaces}) n;
        INSERT INTO environment (id, workspace, name, slug, is_default, created_at, updated_at)
            SELECT 'env_' || w.row, w.row, 'Production', 'production', true, 0, 0
            FROM workspace w WHERE w.id <> 'ws_shop';
        INSERT INTO event_type (id, workspace, name, created_at)
            SELECT 'evt_' || w.row || '_' || n, w.row, 'type.n' || n, 0
            FROM workspace w, generate_series(1, 10) n WHERE w.id <> 'ws_shop';
        INSERT INTO endpoint (id, workspace, environment, url, kind, config, metadata, secret, is_active, created_at, updated_at)
            SELECT 'ep_' || w.row || '_' || n, w.row, e.row, 'https://example.com/' || n, 0, '{{}}', '{{}}', 'whsec_AAAA', true, 0, 0
            FROM workspace w JOIN environment e ON e.workspace = w.row, generate_series(1, 100) n
            WHERE w.id <> 'ws_shop';
        INSERT INTO subscription (id, workspace, endpoint, event_type, created_at)
            SELECT 'sub_' || p.row || '_' || t.row, p.workspace, p.row, t.row, 0
            FROM endpoint p JOIN event_type t ON t.workspace = p.workspace
                JOIN workspace w ON w.row = p.workspace AND w.id <> 'ws_shop';
        INSERT INTO api_key (id, workspace, name, hash, state, created_at)
            SELECT 'key_' || w.row, w.row, 'key', decode(md5(w.id), 'hex'), 0, 0
            FROM workspace w WHERE w.id <> 'ws_shop';
        INSERT INTO limiter_arrival (level, id, arrival)
            SELECT 1, 'key_' || w.row, 0 FROM workspace w WHERE w.id <> 'ws_shop'"
    )
}

/// Of a hundred deliveries 90 are delivered and one is dead; four are fresh, and two are retries, ready to be leased; two wait for
/// their time, and one is leased. A few have just become due.
fn deliveries_of(events: u32) -> String {
    format!(
        "SET search_path = nahook;
        INSERT INTO event (seq, id, workspace, event_type, accepted_at, payload)
            SELECT nextval('event_seq'),
                (lpad(to_hex(at.ms), 12, '0') || lpad(to_hex(n::bigint << 20), 20, '0'))::uuid,
                t.workspace, t.row, at.ms * 1000000, '{{\"order\":\"book\"}}'
            FROM generate_series(1, {events}) n
            CROSS JOIN LATERAL (SELECT (extract(epoch FROM now()) * 1000)::bigint
                - 8 * 86400000 * ({events} - n)::bigint / {events} AS ms) at
            JOIN event_type t ON t.row = (SELECT min(row) + 4 + n % (count(*) - 4) FROM event_type);
        WITH d AS (
            SELECT e.seq, e.accepted_at, o, (e.seq * {WIDTH} + o) AS n,
                (extract(epoch FROM now()) * 1000000000)::bigint AS now
            FROM event e, generate_series(0, {WIDTH} - 1) o
        )
        INSERT INTO delivery (key, endpoint, due_at, wake_at, lease_token, first_attempt_at, delivered_at, updated_at, attempts, status)
            SELECT (d.seq << 20) | d.o,
                (SELECT min(row) + 1000 FROM endpoint) + d.n * 7919 % (SELECT count(*) - 1000 FROM endpoint),
                CASE WHEN d.n % 100 BETWEEN 1 AND 6 OR d.n % 100 = 9 THEN d.accepted_at
                    WHEN d.n % 100 IN (7, 8) THEN d.now + d.n % 3600 * 1000000000 END,
                CASE WHEN d.n % 10000 = 8 THEN d.now WHEN d.n % 100 IN (7, 8) THEN d.now + (60 + d.n % 3600) * 1000000000
                    WHEN d.n % 100 = 9 THEN d.now + 600000000000 END,
                CASE WHEN d.n % 100 = 9 THEN nextval('lease_token') END,
                CASE WHEN d.n % 100 BETWEEN 1 AND 4 OR d.n % 100 = 9 THEN NULL ELSE d.accepted_at END,
                CASE WHEN d.n % 100 >= 10 THEN d.accepted_at END,
                CASE WHEN d.n % 100 BETWEEN 1 AND 4 OR d.n % 100 = 9 THEN NULL ELSE d.accepted_at END,
                CASE WHEN d.n % 100 BETWEEN 1 AND 4 OR d.n % 100 = 9 THEN 0 ELSE 1 END,
                CASE WHEN d.n % 100 = 0 THEN 4 WHEN d.n % 100 BETWEEN 1 AND 4 OR d.n % 100 = 9 THEN 0
                    WHEN d.n % 100 < 9 THEN 1 ELSE 2 END
            FROM d;
        INSERT INTO lease (token, look_at, keys)
            SELECT lease_token, wake_at, ARRAY[key] FROM delivery WHERE lease_token IS NOT NULL AND wake_at IS NOT NULL;
        INSERT INTO attempt (delivery, number, started_at, duration, status_code)
            SELECT key, 1, first_attempt_at, 20000000, CASE status WHEN 2 THEN 200 ELSE 500 END
            FROM delivery WHERE attempts = 1"
    )
}
