//! The published client crate, unmodified, against the real program.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "what a test calls fails like a test"
)]

mod support;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use nahook::error::ApiError;
use nahook::types::TriggerOptions;
use nahook::{NahookClient, NahookError};
use serde_json::{Value, json};

use self::support::manifest::{EVENT_TYPE, KEY, SECRET, endpoint, shop};
use self::support::receiver::Receiver;
use self::support::server::Server;

const DISABLED_KEY: &str =
    "nhk_us_00000000000000000000000000000000000000000000000000000000disabled";
const BOUND_KEY: &str = "nhk_us_0000000000000000000000000000000000000000000000000000000000bound";
const THROTTLED_KEY: &str =
    "nhk_us_0000000000000000000000000000000000000000000000000000000throttled";
const UNKNOWN_KEY: &str = "nhk_us_ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";
const PAYLOAD_LEN_MAX: usize = 1_000;

/// A server with every kind of key, a small payload cap, and a workspace that may do little.
async fn server(receiver: &Receiver) -> Server {
    let endpoints = ["ep_1", "ep_2"].map(|id| endpoint(id, &receiver.url(&format!("/{id}"))));
    let mut manifest = shop(endpoints.into());
    let workspaces = manifest["workspaces"].as_array_mut().unwrap();
    workspaces[0]["plan"] = json!({ "payload_len_max": PAYLOAD_LEN_MAX });
    workspaces[0]["api_keys"].as_array_mut().unwrap().extend([
        json!({ "name": "disabled", "key": DISABLED_KEY, "disabled": true }),
        json!({ "name": "bound", "key": BOUND_KEY, "endpoint": "ep_1" }),
    ]);
    workspaces.push(json!({
        "name": "Throttled",
        "plan": { "key_rate": { "count": 1, "period_secs": 2 } },
        "event_types": [{ "name": EVENT_TYPE }],
        "endpoints": [endpoint("ep_throttled", &receiver.url("/ep_throttled"))],
        "api_keys": [{ "name": "throttled", "key": THROTTLED_KEY }],
    }));
    Server::with(&manifest).await
}

fn client(server: &Server, key: &str, retries: u32) -> NahookClient {
    let base_url = format!("http://{}", server.address);
    NahookClient::builder(key)
        .base_url(base_url)
        .retries(retries)
        .build()
        .unwrap()
}

fn options(payload: Value) -> TriggerOptions {
    TriggerOptions {
        payload,
        metadata: None,
    }
}

/// The error the server answered with; anything else panics.
async fn refusal(client: &NahookClient, event_type: &str, payload: Value) -> ApiError {
    match client.trigger(event_type, options(payload)).await {
        Err(NahookError::Api(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn assert_refused(error: &ApiError, status: u16, code: &str) {
    assert_eq!(
        (error.status, error.code.as_str()),
        (status, code),
        "{error:?}"
    );
    assert!(
        !error.message.is_empty() && error.message != "Unknown error",
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_reaches_every_subscribed_endpoint() {
    let receiver = Receiver::start().await;
    let server = server(&receiver).await;
    let payload = json!({ "orderId": "ord_123", "status": "paid", "amount": 49.99 });
    let labels = (1..=5)
        .map(|n| (format!("key_{n}"), format!("ä \" {n}")))
        .collect();
    let options = TriggerOptions {
        payload: payload.clone(),
        metadata: Some(labels),
    };

    let result = client(&server, KEY, 0)
        .trigger(EVENT_TYPE, options)
        .await
        .unwrap();

    assert_eq!(result.event_type_id, "evt_order_paid");
    assert_eq!(
        (result.delivery_ids.len(), result.status.as_str()),
        (2, "accepted")
    );
    for arrival in receiver.exactly(2).await {
        arrival.assert_signed(SECRET);
        assert_eq!(
            serde_json::from_slice::<Value>(&arrival.body).unwrap(),
            payload
        );
        let id = arrival.header("nahook-delivery-id");
        assert!(result.delivery_ids.iter().any(|answered| answered == id));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_subscribers_there_are_no_delivery_ids() {
    let receiver = Receiver::start().await;
    let server = server(&receiver).await;

    let result = client(&server, KEY, 0)
        .trigger("nobody.listens", options(json!({})))
        .await;

    let result = result.unwrap();
    assert_eq!(result.event_type_id, "evt_nobody");
    assert!(result.delivery_ids.is_empty());
    assert_eq!(result.status, "accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_refused_with_its_code_and_delivered_to_nobody() {
    let receiver = Receiver::start().await;
    let server = server(&receiver).await;
    let payload = || json!({ "orderId": "ord_123" });
    let with = |key| client(&server, key, 0);

    let unknown = refusal(&with(KEY), "order.unheard-of", payload()).await;
    assert_refused(&unknown, 404, "not_found");
    assert!(unknown.is_not_found() && !unknown.is_retryable());

    for name in [
        "order paid",
        "order..paid",
        ".paid",
        "a/b",
        "+",
        "käse",
        &"x".repeat(129),
    ] {
        let malformed = refusal(&with(KEY), name, payload()).await;
        assert_refused(&malformed, 400, "validation_error");
        assert!(malformed.is_validation_error());
    }

    let bad = refusal(&with(UNKNOWN_KEY), EVENT_TYPE, payload()).await;
    assert_refused(&bad, 401, "unauthorized");
    assert!(bad.is_auth_error());

    let disabled = refusal(&with(DISABLED_KEY), EVENT_TYPE, payload()).await;
    assert_refused(&disabled, 403, "token_disabled");
    assert!(disabled.is_auth_error());

    let bound = refusal(&with(BOUND_KEY), EVENT_TYPE, payload()).await;
    assert_refused(&bound, 400, "invalid_api_key");

    for not_an_object in [json!(null), json!([1]), json!("text"), json!(7)] {
        let wrong = refusal(&with(KEY), EVENT_TYPE, not_an_object).await;
        assert_refused(&wrong, 400, "validation_error");
    }

    let labels: HashMap<_, _> = (1..=6)
        .map(|n| (format!("key_{n}"), String::new()))
        .collect();
    let too_many = TriggerOptions {
        payload: payload(),
        metadata: Some(labels),
    };
    match with(KEY).trigger(EVENT_TYPE, too_many).await {
        Err(NahookError::Api(error)) => assert_refused(&error, 400, "validation_error"),
        other => panic!("{other:?}"),
    }

    receiver.exactly(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_over_the_cap_is_refused_and_one_at_the_cap_is_not() {
    let receiver = Receiver::start().await;
    let server = server(&receiver).await;
    let client = client(&server, KEY, 0);
    let of_len = |len: usize| json!({ "blob": "x".repeat(len - "{\"blob\":\"\"}".len()) });

    let at_the_cap = client
        .trigger(EVENT_TYPE, options(of_len(PAYLOAD_LEN_MAX)))
        .await
        .unwrap();
    assert_eq!(at_the_cap.delivery_ids.len(), 2);
    for len in [PAYLOAD_LEN_MAX + 1, 100_000, 3_000_000] {
        let too_large = refusal(&client, EVENT_TYPE, of_len(len)).await;
        assert_refused(&too_large, 413, "payload_too_large");
        assert!(!too_large.is_retryable());
    }
    receiver.exactly(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_obeys_retry_after_gets_through() {
    let receiver = Receiver::start().await;
    let server = server(&receiver).await;
    let trigger = |retries| {
        let client = client(&server, THROTTLED_KEY, retries);
        async move {
            client
                .trigger(EVENT_TYPE, options(json!({ "retries": retries })))
                .await
        }
    };

    trigger(0).await.unwrap();
    let limited = match trigger(0).await {
        Err(NahookError::Api(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_refused(&limited, 429, "rate_limited");
    assert!(limited.is_rate_limited() && limited.is_retryable());
    let retry_after = limited.retry_after.expect("Retry-After in whole seconds");
    assert!((1..=2).contains(&retry_after), "{limited:?}");

    // The client sleeps for exactly Retry-After, and that has to be enough: one retry is all it has.
    let began = Instant::now();
    trigger(1).await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1));
    // A refusal costs nothing and queues nothing: two were accepted, two arrive.
    receiver.exactly(2).await;
}
