//! Which paths and methods there are, and what the others get.

use serde_json::json;

use super::wire::{Wire, request, request_without_key};
use crate::support::manifest::{EVENT_TYPE, endpoint, shop};
use crate::support::receiver::Receiver;
use crate::support::server::Server;

const BODY: &str = "{\"payload\":{}}";

/// A server on which even an event type called `batch` has a subscriber.
async fn server(receiver: &Receiver) -> Server {
    let mut manifest = shop(vec![endpoint("ep_1", &receiver.url("/1"))]);
    let workspace = &mut manifest["workspaces"][0];
    workspace["event_types"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "name": "batch" }));
    workspace["endpoints"][0]["event_types"] = json!([EVENT_TYPE, "batch"]);
    Server::with(&manifest).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_is_decoded_once_and_a_plus_is_no_space() {
    let receiver = Receiver::start().await;
    let server = server(&receiver).await;
    let mut wire = Wire::connect(server.address).await;
    for path in [
        "/api/ingest/event/order.paid",
        "/ingest/event/order.paid",
        "/api/ingest/event/order%2Epaid",
        "/api/ingest/event/%6frder.paid?x=1",
    ] {
        wire.exchange(request("POST", path, &[], BODY))
            .await
            .assert_accepted(1);
    }
    for name in [
        "order%252Epaid",
        "order%2Fpaid",
        "order+paid",
        "order%20paid",
        "order%00paid",
        "order%FFpaid",
        ".order",
        "order..paid",
        "%2e%2e",
    ] {
        let answer = wire
            .exchange(request(
                "POST",
                &format!("/api/ingest/event/{name}"),
                &[],
                BODY,
            ))
            .await;
        answer.assert_error(400, "validation_error");
    }
    let known_in_another_case = request("POST", "/api/ingest/event/Order.paid", &[], BODY);
    wire.exchange(known_in_another_case)
        .await
        .assert_error(404, "not_found");
    receiver.exactly(4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_route_is_a_404_and_never_a_redirect() {
    let receiver = Receiver::start().await;
    let server = server(&receiver).await;
    let mut wire = Wire::connect(server.address).await;
    for path in [
        "/api/ingest/event/order.paid/",
        "/api/ingest/event/",
        "/api/ingest/event",
        "/api//ingest/event/order.paid",
        "/api/ingest/event/order.paid/more",
        "/management/v9",
    ] {
        let answer = wire.exchange(request("POST", path, &[], BODY)).await;
        assert_eq!(answer.header("location"), None, "{path}: {answer:?}");
        answer.assert_error(404, "not_found");
    }
    // The literal wins over an event type of that name, which would be content with this body.
    for path in [
        "/api/ingest/event/batch",
        "/ingest/event/batch",
        "/ingest/batch",
    ] {
        let answer = wire.exchange(request("POST", path, &[], BODY)).await;
        answer.assert_error(400, "validation_error");
    }
    receiver.exactly(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_path_with_another_method_is_a_405_that_names_the_right_one() {
    let receiver = Receiver::start().await;
    let server = server(&receiver).await;
    let mut wire = Wire::connect(server.address).await;
    for method in ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let answer = wire
            .exchange(request(method, "/api/ingest/event/order.paid", &[], ""))
            .await;
        answer.assert_error(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some("POST"), "{answer:?}");
    }
    wire.exchange(request("POST", "/healthz", &[], ""))
        .await
        .assert_error(405, "method_not_allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_a_request_id_and_it_is_the_clients_if_it_sent_one() {
    let receiver = Receiver::start().await;
    let server = server(&receiver).await;
    let mut wire = Wire::connect(server.address).await;
    let mut drawn = std::collections::HashSet::new();
    for (method, path) in [
        ("POST", "/api/ingest/event/order.paid"),
        ("POST", "/api/ingest/event/un.known"),
        ("GET", "/api/ingest/event/order.paid"),
        ("GET", "/nowhere"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
    ] {
        let sent = ["X-Request-Id: Mine_0.1-a"];
        let echoed = wire.exchange(request(method, path, &sent, BODY)).await;
        assert_eq!(echoed.header("x-request-id"), Some("Mine_0.1-a"), "{path}");
        let answer = wire.exchange(request(method, path, &[], BODY)).await;
        let id = answer.header("x-request-id").unwrap().to_owned();
        assert!(drawn.insert(id), "a request id is drawn twice");
    }
    // What is no reasonable id is not repeated into answers and logs.
    for unreasonable in ["x".repeat(2_000), "a b".to_owned(), String::new()] {
        let header = format!("x-request-id: {unreasonable}");
        let answer = wire
            .exchange(request("GET", "/healthz", &[&header], ""))
            .await;
        let id = answer.header("x-request-id").unwrap();
        assert!(id != unreasonable && !id.is_empty(), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_readiness_and_metrics_ask_for_no_key() {
    let receiver = Receiver::start().await;
    let server = server(&receiver).await;
    let mut wire = Wire::connect(server.address).await;
    wire.exchange(request("POST", "/api/ingest/event/order.paid", &[], BODY))
        .await
        .assert_accepted(1);
    let mut inside = Wire::connect(server.operations().await).await;
    for (is_inside, path, status) in [
        (false, "/healthz", 200),
        (false, "/readyz", 200),
        (false, "/metrics", 404),
        (true, "/healthz", 200),
        (true, "/readyz", 200),
        (true, "/metrics", 200),
        (true, "/openapi.json", 404),
    ] {
        let wire = if is_inside { &mut inside } else { &mut wire };
        let answer = wire
            .exchange(request_without_key("GET", path, &[], ""))
            .await;
        assert_eq!(answer.status(), status, "{path}: {answer:?}");
        assert!(!answer.body.is_empty());
    }
}
