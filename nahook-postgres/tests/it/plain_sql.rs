//! Fan-out from plain SQL: whom it reaches, and what arrives there.

use nahook_control::{Actor, ApplyMode, Catalog, Management};
use nahook_core::Metadata;
use nahook_postgres::PostgresStore;
use nahook_queue::{DeliveryLog, DeliveryQueue};
use nahook_testkit::declare::{
    Workspace, endpoint, environment_id, event_type_id, manifest, metadata, workspace_id,
};
use nahook_testserver::PostgresServer;
use tokio_postgres::Client;

use crate::support::{client, connect, request, settings, shop_store};

/// The SQLSTATE of a call with these arguments that is refused.
async fn refusal(client: &Client, arguments: &str) -> String {
    let call = format!("SELECT FROM nahook.trigger({arguments})");
    let refused = client.query(&call, &[]).await.unwrap_err();
    refused.code().unwrap().code().to_owned()
}

async fn store_with(workspaces: impl IntoIterator<Item = Workspace>) -> (Client, PostgresStore) {
    let url = PostgresServer::shared().create_database();
    let store = connect(&url, settings(1)).await;
    let declared = store.apply(&manifest(workspaces), ApplyMode::Commit).await;
    declared.unwrap();
    (client(&url).await, store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_sql_reaches_the_active_subscribers_of_an_environment() {
    let both = ["order.paid", "order.sent"];
    let shop = Workspace::new("ws_shop")
        .event_type("order.paid")
        .event_type("order.sent")
        .default_environment()
        .environment("staging", &["order.paid"])
        .endpoint_in("staging", "ep_staged", &both)
        .endpoint("ep_live", &both)
        .endpoint("ep_paid", &["order.paid"])
        .with(|spec| {
            let mut off = endpoint("ep_off", &both);
            off.is_active = Some(false);
            spec.endpoints.push(off);
        });
    let (client, _store) = store_with([shop]).await;
    let call = "SELECT endpoint_id FROM nahook.trigger('ws_shop', $1, '{}', environment_id => $2)";
    for (event_type, environment, expected) in [
        ("order.paid", None, &["ep_staged", "ep_live", "ep_paid"][..]),
        ("order.paid", Some("production"), &["ep_live", "ep_paid"]),
        ("order.paid", Some("staging"), &["ep_staged"]),
        ("order.paid", Some("none"), &[]),
        ("order.sent", None, &["ep_staged", "ep_live"]),
        ("order.sent", Some("production"), &["ep_live"]),
        // It is not published there.
        ("order.sent", Some("staging"), &[]),
    ] {
        let id = environment.map(|slug| environment_id("ws_shop", slug).to_string());
        let rows = client.query(call, &[&event_type, &id]).await.unwrap();
        let reached: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(reached, expected, "{event_type} in {environment:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_sql_knows_the_event_types_that_the_workspace_has() {
    let shop = Workspace::new("ws_shop").event_type("order.gone");
    let other = Workspace::new("ws_other").event_type("order.theirs");
    let (client, store) = store_with([shop, other]).await;
    let (workspace, actor) = (workspace_id("ws_shop"), Actor::operator());
    let gone = event_type_id("ws_shop", "order.gone");
    let management = Management::new(store);
    let deleted = management.delete_event_type(&workspace, &actor, gone).await;
    deleted.unwrap();
    for event_type in ["order.gone", "order.theirs"] {
        let arguments = format!("'ws_shop', '{event_type}', '{{}}'");
        assert_eq!(refusal(&client, &arguments).await, "NH002", "{event_type}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payload_from_plain_sql_is_kept_and_measured_without_the_blanks_around_it() {
    let (url, store) = shop_store(1).await;
    let client = client(&url).await;
    let cap = "UPDATE nahook.workspace SET payload_len_max = 8";
    client.batch_execute(cap).await.unwrap();
    let longer = "'ws_shop', 'order.paid', '{\"a\":100}'";
    assert_eq!(refusal(&client, longer).await, "NH003");
    let call = "SELECT FROM nahook.trigger('ws_shop', 'order.paid', E' \t{\"a\":10}\r\n')";
    client.batch_execute(call).await.unwrap();
    let leased = store.lease(&request(1)).await.unwrap().deliveries;
    assert_eq!(&leased[0].payload.as_bytes()[..], b"{\"a\":10}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_from_plain_sql_are_in_the_log() {
    let (url, store) = shop_store(1).await;
    let client = client(&url).await;
    for (labels, expected) in [
        ("{\"origin\": \"sql\"}", metadata(&[("origin", "sql")])),
        ("{}", Metadata::default()),
    ] {
        let call =
            "SELECT delivery_id FROM nahook.trigger('ws_shop', 'order.paid', '{}', $1::text::json)";
        let row = client.query_one(call, &[&labels]).await.unwrap();
        let id = row.get::<_, &str>(0).parse().unwrap();
        let found = store.delivery(id, &workspace_id("ws_shop")).await;
        assert_eq!(found.unwrap().unwrap().metadata, expected);
    }
}
