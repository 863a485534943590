//! The published client crate, unmodified, against the real program.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use nahook::error::ApiError;
use nahook::types::{
    BatchResultItem, SendBatchItem, SendOptions, SendResult, TriggerBatchItem, TriggerOptions,
};
use nahook::{NahookClient, NahookError};
use serde_json::{Value, json};

use crate::support::manifest::{EVENT_TYPE, KEY, SECRET, endpoint, shop};
use crate::support::receiver::Receiver;
use crate::support::server::Server;

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

/// Sends to an endpoint, with a key if one is given.
async fn send(
    client: &NahookClient,
    endpoint: &str,
    payload: Value,
    key: Option<&str>,
) -> Result<SendResult, ApiError> {
    let options = SendOptions {
        payload,
        idempotency_key: key.map(str::to_owned),
    };
    match client.send(endpoint, options).await {
        Ok(sent) => Ok(sent),
        Err(NahookError::Api(error)) => Err(error),
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_reaches_its_endpoint_once_for_its_key() {
    let receiver = Receiver::start().await;
    let server = server(&receiver).await;
    let client = client(&server, KEY, 0);
    let payload = json!({ "orderId": "ord_123", "amount": 49.99 });

    let first = send(&client, "ep_1", payload.clone(), Some("order 123"))
        .await
        .unwrap();
    assert_eq!(
        (first.idempotency_key.as_str(), first.status.as_str()),
        ("order 123", "accepted")
    );
    for other in [payload.clone(), json!({ "another": true })] {
        let again = send(&client, "ep_1", other, Some("order 123")).await;
        assert_eq!(again.unwrap().delivery_id, first.delivery_id);
    }
    let arrival = receiver.exactly(1).await.remove(0);
    arrival.assert_signed(SECRET);
    assert_eq!(arrival.header("nahook-delivery-id"), first.delivery_id);
    assert_eq!(
        serde_json::from_slice::<Value>(&arrival.body).unwrap(),
        payload
    );

    // Without a key the client makes one of its own for each call.
    let one = send(&client, "ep_1", payload.clone(), None).await.unwrap();
    let two = send(&client, "ep_1", payload, None).await.unwrap();
    assert_ne!(one.delivery_id, two.delivery_id);
    receiver.exactly(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_that_is_refused_is_refused_with_its_code() {
    let receiver = Receiver::start().await;
    let server = server(&receiver).await;
    let payload = || json!({ "orderId": "ord_123" });
    for (key, endpoint, payload, status, code) in [
        (KEY, "ep_none", payload(), 404, "not_found"),
        (KEY, "ep_throttled", payload(), 404, "not_found"),
        (BOUND_KEY, "ep_2", payload(), 404, "not_found"),
        (UNKNOWN_KEY, "ep_1", payload(), 401, "unauthorized"),
        (DISABLED_KEY, "ep_1", payload(), 403, "token_disabled"),
        (
            KEY,
            "ep_1",
            json!({ "blob": "x".repeat(PAYLOAD_LEN_MAX) }),
            413,
            "payload_too_large",
        ),
        (KEY, "ep_1", json!(null), 400, "validation_error"),
    ] {
        let refused = send(&client(&server, key, 0), endpoint, payload, None).await;
        assert_refused(&refused.unwrap_err(), status, code);
    }
    send(&client(&server, BOUND_KEY, 0), "ep_1", payload(), None)
        .await
        .unwrap();
    receiver.exactly(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_answered_item_by_item() {
    let receiver = Receiver::start().await;
    let server = server(&receiver).await;
    let client = client(&server, KEY, 0);
    let item = |endpoint: &str, key: &str| SendBatchItem {
        endpoint_id: endpoint.to_owned(),
        payload: json!({ "key": key }),
        idempotency_key: Some(key.to_owned()),
    };
    let items = || {
        vec![
            item("ep_1", "a"),
            item("ep_none", "b"),
            item("ep_2", "a"),
            item("ep_1", "a"),
        ]
    };

    let sent = client.send_batch(items()).await.unwrap().items;
    let again = client.send_batch(items()).await.unwrap().items;
    let codes = |items: &[BatchResultItem]| -> Vec<_> {
        let errors = items.iter().map(|item| item.error.as_ref());
        errors
            .map(|error| error.map(|error| error.code.clone()))
            .collect()
    };
    let gone = Some("not_found".to_owned());
    assert_eq!(codes(&sent), [None, gone.clone(), None, None]);
    assert_eq!(sent[0].delivery_id, sent[3].delivery_id);
    for (first, second) in sent.iter().zip(&again) {
        assert_eq!(first.index, second.index);
        assert_eq!(first.delivery_id, second.delivery_id);
        assert_eq!(first.idempotency_key, second.idempotency_key);
    }
    receiver.exactly(2).await;

    let event = |name: &str| TriggerBatchItem {
        event_type: name.to_owned(),
        payload: json!({ "event": name }),
        metadata: None,
    };
    let events = vec![
        event(EVENT_TYPE),
        event("un.known"),
        event("a..b"),
        event(EVENT_TYPE),
    ];
    let triggered = client.trigger_batch(events).await.unwrap().items;
    let bad = Some("validation_error".to_owned());
    assert_eq!(codes(&triggered), [None, gone, bad, None]);
    for at in [0, 3] {
        assert_eq!(triggered[at].index as usize, at);
        assert_eq!(
            triggered[at].event_type_id.as_deref(),
            Some("evt_order_paid")
        );
        assert_eq!(triggered[at].delivery_ids.as_ref().unwrap().len(), 2);
        assert_eq!(triggered[at].status.as_deref(), Some("accepted"));
    }
    receiver.exactly(6).await;
}
