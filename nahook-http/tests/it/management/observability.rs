//! Reports of a management request to operators: one line that names the operation, and a metric that names no path.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use metrics_exporter_prometheus::PrometheusBuilder;
use nahook_core::{Delivery, DeliveryPublisher, Event};
use nahook_http::metric;

use crate::logging::Logging;
use crate::management::support::{Bench, SHOP, TOKEN, request};
use crate::management::tenants::{body, filled, management, missing};

/// The path with ids of our own where there are any, else with ids of nothing.
fn at_home(path: &str) -> String {
    filled(path, |name| match name {
        "workspaceId" => "ws_shop".to_owned(),
        "endpointId" => "ep_1".to_owned(),
        "environmentId" => "env_staging".to_owned(),
        "eventTypeId" => "evt_paid".to_owned(),
        "keyId" => "key_shop".to_owned(),
        other => missing(other),
    })
}

#[tokio::test]
async fn every_operation_of_the_document_is_told_in_one_line_without_its_path() {
    let mut told = BTreeSet::new();
    for (method, path, operation) in management() {
        let bench = Bench::new().await;
        let id = operation["operationId"].as_str().unwrap();
        let path = at_home(&path) + "?uncalled-for=s3cret";
        let logging = Logging::start();
        let answer = bench.ask(method, &path, body(&operation)).await;
        let lines = logging.stop();
        let line = lines.only("management");
        assert_eq!(line["operation"], id);
        assert_eq!(line["status"], answer.status);
        assert_eq!(line["token"], "tok_shop");
        assert!(line["duration_ms"].as_f64().unwrap() >= 0.0);
        let text = lines.text();
        for private in ["s3cret", "ws_shop", "/management", TOKEN] {
            assert!(!text.contains(private), "{private} in {text}");
        }
        told.insert(id.to_owned());
    }
    assert!(told.len() > 40, "{told:?}");
}

#[tokio::test]
async fn whoever_is_not_known_is_told_of_without_a_token() {
    let bench = Bench::new().await;
    for token in [
        "nhm_s3cret_0000000000000000000000000",
        "nhk_us_s3cret_0000000000000000000000",
        "nhm_disabled_00000000000000000000000",
    ] {
        let logging = Logging::start();
        let asked = request(Method::GET, &format!("{SHOP}/endpoints"), token, "");
        let status = bench.send(asked).await.status;
        let lines = logging.stop();
        let line = lines.only("management");
        assert_eq!(line["status"], status);
        assert!(line["token"].is_null(), "{line}");
        assert!(!lines.text().contains(token), "{}", lines.text());
    }
}

#[tokio::test]
async fn no_line_of_a_test_event_holds_its_payload() {
    let bench = Bench::new().await;
    let path = format!("{SHOP}/endpoints/ep_1/test");
    for (body, status) in [
        (r#"{"payload":{"p4yload":1}}"#, 202),
        (r#"{"payload":"p4yload"}"#, 400),
        (r#"{"payload":{"p4yload":1}"#, 400),
        (r#"["p4yload"]"#, 400),
    ] {
        let logging = Logging::start();
        assert_eq!(bench.ask(Method::POST, &path, body).await.status, status);
        let lines = logging.stop();
        assert_eq!(lines.only("management")["operation"], "sendTestEvent");
        assert!(!lines.text().contains("p4yload"), "{}", lines.text());
    }
}

/// Never answers.
struct Silence;

impl DeliveryPublisher for Silence {
    async fn publish(&self, _: &Event, _: &mut [Delivery]) {
        std::future::pending::<()>().await;
    }
}

#[tokio::test]
async fn a_client_that_goes_away_is_told_too_since_what_it_asked_for_may_be_done() {
    let bench = Bench::with(|ports| ports.publisher = Arc::new(Silence)).await;
    let path = format!("{SHOP}/endpoints/ep_1/test");
    let logging = Logging::start();
    let asking = bench.ask(Method::POST, &path, "");
    let gone = tokio::time::timeout(Duration::from_millis(20), asking).await;
    assert!(gone.is_err());
    let line = logging.stop().only("management");
    assert_eq!(
        (&line["status"], &line["code"]),
        (&499.into(), &"canceled".into())
    );
    assert_eq!(line["operation"], "sendTestEvent");
    assert_eq!(line["token"], "tok_shop");
}

/// Panics.
struct Panic;

impl DeliveryPublisher for Panic {
    async fn publish(&self, _: &Event, _: &mut [Delivery]) {
        panic!("planted")
    }
}

#[test]
fn the_metrics_count_management_requests_and_name_no_path() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let asked = metrics::with_local_recorder(&recorder, || {
        metric::describe();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        runtime.unwrap().block_on(async {
            let bench = Bench::with(|ports| ports.publisher = Arc::new(Panic)).await;
            let mut asked = 0;
            for (method, path, operation) in management() {
                bench.ask(method, &at_home(&path), body(&operation)).await;
                asked += 1;
            }
            asked
        })
    });
    let text = handle.render();
    let counted = text
        .lines()
        .filter(|line| line.starts_with("nahook_http_requests_total{"));
    let mut sum = 0;
    for line in counted {
        assert!(line.contains(r#"{route="management",status=""#), "{line}");
        sum += line.rsplit(' ').next().unwrap().parse::<u32>().unwrap();
    }
    assert_eq!(sum, asked, "{text}");
    for part in ["ws_shop", "ep_1", "evt_paid", "/management", "missing"] {
        assert!(!text.contains(part), "{part} in {text}");
    }
}
