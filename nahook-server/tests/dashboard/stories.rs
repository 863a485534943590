//! The stories, each on a server of its own.

use nahook_testserver::PostgresServer;
use serde_json::json;

use crate::support::manifest::{EVENT_TYPE, KEY, endpoint};
use crate::support::receiver::{Receiver, Reply};
use crate::support::server::{ALLOW_LOOPBACK, Server};
use crate::{TOKEN, shop, tell};

fn base(server: &Server) -> String {
    format!("http://{}", server.address)
}

#[tokio::test(flavor = "multi_thread")]
async fn first_start_leads_to_the_first_delivery() {
    let mut server = Server::start(tempfile::tempdir().unwrap(), &[]).await;
    let link = server.process.line("/sign-in?link=").await;
    // The README's picture is made anew when the references are.
    let picture = std::env::var_os("NAHOOK_BLESS")
        .map(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/dashboard.png"));
    let facts = json!({ "base": base(&server), "link": link.trim(), "picture": picture });
    tell("first_start", facts).await;
}

/// An answer that says more than its status.
fn gone() -> Reply {
    Reply::Body(410, b"<h1>This shop has moved</h1>".to_vec())
}

/// An endpoint answers 410 until it is moved.
async fn failing(server: &Server, receiver: &Receiver) {
    let api = server.api();
    for number in 0..3 {
        let payload = format!(r#"{{"order":{number}}}"#);
        api.trigger(EVENT_TYPE, &payload).await;
    }
    let facts = json!({
        "base": base(server),
        "token": TOKEN,
        "broken": receiver.url("/broken"),
        "mended": receiver.url("/mended"),
    });
    tell("failing_endpoint", facts).await;
    // The first three, whatever the worker had attempted before the endpoint was disabled.
    receiver.wait_at("/mended", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_endpoint_is_understood_mended_and_replayed() {
    let receiver = Receiver::start().await;
    receiver.reply("/broken", [gone()]);
    let server = Server::with(&shop(vec![endpoint("ep_shop", &receiver.url("/broken"))])).await;
    failing(&server, &receiver).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_endpoint_is_understood_mended_and_replayed_on_postgres() {
    let receiver = Receiver::start().await;
    receiver.reply("/broken", [gone()]);
    let url = PostgresServer::shared().create_database();
    let manifest = shop(vec![endpoint("ep_shop", &receiver.url("/broken"))]);
    let [server] = Server::sharing(&url, &manifest).await;
    failing(&server, &receiver).await;
}

/// Everything that an operator makes, changes and removes.
async fn every_action(server: &Server, receiver: &Receiver, java_script: bool) {
    let sent = json!({ "payload": {}, "idempotencyKey": "reminder of order 7" });
    let api = server.api();
    let sent = api.post("/api/ingest/ep_shop", sent.to_string()).await;
    assert_eq!(sent.status, 202);
    let facts = json!({
        "base": base(server),
        "token": TOKEN,
        "url": receiver.url("/more"),
        "javaScript": java_script,
    });
    tell("every_action", facts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_does_everything_by_hand() {
    let receiver = Receiver::start().await;
    let server = Server::with(&shop(vec![endpoint("ep_shop", &receiver.url("/"))])).await;
    every_action(&server, &receiver, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_does_everything_by_hand_on_postgres_without_scripts() {
    let receiver = Receiver::start().await;
    let url = PostgresServer::shared().create_database();
    let manifest = shop(vec![endpoint("ep_shop", &receiver.url("/"))]);
    let [server] = Server::sharing(&url, &manifest).await;
    every_action(&server, &receiver, false).await;
}

/// Settings of a portal that looks like a product.
const ACME: [&str; 4] = ["--portal-name", "Acme Hooks", "--portal-accent", "#aa3377"];

async fn portal_roles(server: &Server, receiver: &Receiver) {
    let facts = json!({ "base": base(server), "token": TOKEN, "url": receiver.url("/customer") });
    tell("portal_roles", facts).await;
    receiver.wait_at("/customer", 1).await;
    assert!(receiver.arrivals_at("/others").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn portal_shows_what_a_role_may_do() {
    let receiver = Receiver::start().await;
    let settings = [&ALLOW_LOOPBACK[..], &ACME].concat();
    let endpoints = vec![endpoint("ep_shop", &receiver.url("/others"))];
    let server = Server::with_settings(&shop(endpoints), &settings).await;
    portal_roles(&server, &receiver).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn portal_shows_what_a_role_may_do_on_postgres() {
    let receiver = Receiver::start().await;
    let url = PostgresServer::shared().create_database();
    let manifest = shop(vec![endpoint("ep_shop", &receiver.url("/others"))]);
    let [server] = Server::sharing_with(&url, &manifest, &ACME).await;
    portal_roles(&server, &receiver).await;
}

/// A customer, who has the endpoint, and a delivery to it.
async fn with_customer() -> (Server, Receiver) {
    let receiver = Receiver::start().await;
    let mut endpoint = endpoint("ep_shop", &receiver.url("/"));
    endpoint["application"] = json!("acme");
    let mut manifest = shop(vec![endpoint]);
    manifest["workspaces"][0]["applications"] = json!([{
        "name": "Acme", "external_id": "acme",
    }]);
    let server = Server::with(&manifest).await;
    server.api().trigger(EVENT_TYPE, r#"{"order":1}"#).await;
    receiver.wait_for(1).await;
    (server, receiver)
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_for_everybody() {
    let (server, _receiver) = with_customer().await;
    tell(
        "for_everybody",
        json!({ "base": base(&server), "token": TOKEN }),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_refuse_are_for_everybody_too() {
    let (server, _receiver) = with_customer().await;
    tell("refusals", json!({ "base": base(&server), "token": TOKEN })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn page_that_is_open_stays_current() {
    let receiver = Receiver::start().await;
    let server = Server::with(&shop(vec![endpoint("ep_shop", &receiver.url("/"))])).await;
    let facts = json!({ "base": base(&server), "token": TOKEN, "key": KEY });
    tell("stays_current", facts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_content_is_text() {
    let receiver = Receiver::start().await;
    let mut answer = "</pre><script>alert(1)</script>\u{202e}<img src=x onerror=alert(1)>\0"
        .as_bytes()
        .to_vec();
    answer.extend_from_slice(b"\xff\xfe");
    answer.resize(1_000_000, b'x');
    receiver.reply("/", [Reply::Body(500, answer)]);
    let server = Server::with(&shop(vec![endpoint("ep_shop", &receiver.url("/"))])).await;
    let line = "x".repeat(200_000);
    let payload = json!({ "payload": { "note": "<script>alert(1)</script>", "line": line } });
    let labels = json!({
        "payload": { "a": "</pre><img src=x onerror=alert(1)>" },
        "metadata": { "<b>": "\u{202e}<svg onload=alert(1)>" },
    });
    for body in [payload, labels] {
        let api = server.api();
        let answer = api.post("/api/ingest/event/order.paid", body.to_string());
        assert_eq!(answer.await.delivery_ids().len(), 1);
    }
    receiver.wait_for(2).await;
    tell("hostile", json!({ "base": base(&server), "token": TOKEN })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_lines_fit_a_narrow_page() {
    let receiver = Receiver::start().await;
    let path = format!("/{}", "a".repeat(1_000));
    let line = "x".repeat(1_000_000);
    receiver.reply(&path, [Reply::Body(500, line.clone().into_bytes())]);
    let mut manifest = shop(vec![endpoint("ep_shop", &receiver.url(&path))]);
    manifest["workspaces"][0]["plan"] = json!({ "payload_len_max": 2_000_000 });
    manifest["workspaces"][0]["endpoints"][0]["description"] = json!("d".repeat(1_024));
    let server = Server::with(&manifest).await;
    let body = json!({
        "payload": { "</pre><img src=x onerror=alert(1)>": line },
        "metadata": { "k".repeat(128): "v".repeat(1_024) },
    });
    let api = server.api();
    let answer = api.post("/api/ingest/event/order.paid", body.to_string());
    assert_eq!(answer.await.delivery_ids().len(), 1);
    receiver.wait_for(1).await;
    tell(
        "endless_lines",
        json!({ "base": base(&server), "token": TOKEN }),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn newcomer_learns_why_a_customer_did_not_get_an_order() {
    let receiver = Receiver::start().await;
    let full = b"the inbox is full".to_vec();
    receiver.reply("/broken", [Reply::Body(500, full)]);
    let endpoints = ["ep_acme", "ep_umbrella"]
        .into_iter()
        .zip(["/broken", "/works"])
        .map(|(id, path)| {
            let mut endpoint = endpoint(id, &receiver.url(path));
            endpoint["application"] = json!(&id[3..]);
            endpoint
        });
    let mut manifest = shop(endpoints.collect());
    manifest["workspaces"][0]["applications"] = json!([
        { "name": "Acme Corporation", "external_id": "acme" },
        { "name": "Umbrella", "external_id": "umbrella" },
    ]);
    let server = Server::with(&manifest).await;
    let api = server.api();
    for order in 100..130 {
        let body = json!({ "payload": {}, "metadata": { "order": order.to_string() } });
        let answer = api.post("/api/ingest/event/order.paid", body.to_string());
        answer.await;
    }
    receiver.wait_at("/broken", 1).await;
    tell("newcomer", json!({ "base": base(&server), "token": TOKEN })).await;
}
