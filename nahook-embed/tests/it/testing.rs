//! The handle for an app's own tests.

use std::time::Duration;

use nahook_embed::Hooks;
use nahook_embed::queue::DeliveryStatus;
use nahook_testkit::run;
use serde_json::json;

const URL: &str = "https://customer.example/hooks";

#[test]
fn deliveries_are_captured_and_nothing_is_sent() {
    run(async {
        let hooks = Hooks::test().await.unwrap();
        let endpoint = hooks.create_endpoint(URL).on("order.paid").await.unwrap();
        let receipt = hooks.trigger("order.paid", &json!({"n": 1})).await.unwrap();
        let attempted = hooks.deliver().await.unwrap();
        assert_eq!(attempted.len(), 1);
        assert_eq!(attempted[0].message, receipt.message());
        assert_eq!(attempted[0].endpoint, endpoint.id);
        assert_eq!((attempted[0].attempt, attempted[0].status), (1, 204));
        assert_eq!(hooks.deliver().await.unwrap(), []);
        assert_eq!(hooks.webhooks(), attempted);
        let delivery = hooks.delivery(attempted[0].delivery).await.unwrap();
        assert_eq!(delivery.status, DeliveryStatus::Delivered);
        hooks.assert_delivered("order.paid", &json!({"n": 1})).await;
    });
}

#[test]
fn a_retry_comes_when_the_clock_is_moved() {
    run(async {
        let hooks = Hooks::test().await.unwrap();
        hooks.create_endpoint(URL).on("order.paid").await.unwrap();
        hooks.answer_with(503);
        hooks.trigger("order.paid", &json!({"n": 1})).await.unwrap();
        assert_eq!(hooks.deliver().await.unwrap()[0].status, 503);
        hooks.advance(Duration::from_millis(4_999));
        assert_eq!(hooks.deliver().await.unwrap(), []);
        hooks.advance(Duration::from_millis(1));
        hooks.answer_with(200);
        let retried = hooks.deliver().await.unwrap();
        assert_eq!((retried[0].attempt, retried[0].status), (2, 200));
        hooks.assert_delivered("order.paid", &json!({"n": 1})).await;
    });
}

#[test]
fn nothing_is_captured_for_an_endpoint_that_was_disabled_meanwhile() {
    run(async {
        let hooks = Hooks::test().await.unwrap();
        let endpoint = hooks.create_endpoint(URL).on("order.paid").await.unwrap();
        let receipt = hooks.trigger("order.paid", &json!({})).await.unwrap();
        hooks.disable_endpoint(endpoint.id).await.unwrap();
        assert_eq!(hooks.deliver().await.unwrap(), []);
        let id = receipt.deliveries()[0].id();
        let status = hooks.delivery(id).await.unwrap().status;
        assert_eq!(status, DeliveryStatus::Failed);
    });
}

#[test]
fn what_always_fails_is_given_up_after_ten_attempts() {
    run(async {
        let hooks = Hooks::test().await.unwrap();
        hooks.create_endpoint(URL).on("order.paid").await.unwrap();
        hooks.answer_with(500);
        let receipt = hooks.trigger("order.paid", &json!({})).await.unwrap();
        for _ in 0..20 {
            hooks.deliver().await.unwrap();
            hooks.advance(Duration::from_hours(24));
        }
        assert_eq!(hooks.webhooks().len(), 10);
        let id = receipt.deliveries()[0].id();
        let status = hooks.delivery(id).await.unwrap().status;
        assert_eq!(status, DeliveryStatus::DeadLetter);
    });
}

#[test]
#[should_panic(expected = "no order.paid with this payload was delivered; 1 of 1 webhooks")]
fn another_payload_is_not_what_was_asserted() {
    run(async {
        let hooks = Hooks::test().await.unwrap();
        hooks.create_endpoint(URL).on("order.paid").await.unwrap();
        hooks.trigger("order.paid", &json!({"n": 1})).await.unwrap();
        hooks.assert_delivered("order.paid", &json!({"n": 2})).await;
    });
}
