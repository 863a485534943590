//! The stream of delivery events.

use nahook_embed::{DeliveryEvent, Hooks};
use nahook_testkit::run;
use serde_json::json;

use crate::handle::{delivering, open};
use crate::receiver::Receiver;

const URL: &str = "https://customer.example/hooks";

#[test]
fn a_worker_tells_of_a_delivery_of_a_retry_and_of_an_endpoint_that_is_gone() {
    run(async {
        let receiver = Receiver::start().await;
        let hooks = open("memory://").await;
        let endpoint = hooks.create_endpoint(&receiver.url).on("order.paid");
        let endpoint = endpoint.await.unwrap().id;
        let mut events = hooks.events();
        let (_stop, _running) = delivering(&hooks);
        let queued = async || {
            let receipt = hooks.trigger("order.paid", &json!({})).await.unwrap();
            receipt.deliveries()[0].id()
        };
        let id = queued().await;
        let Some(DeliveryEvent::Delivered(it)) = events.next().await else {
            panic!("it was delivered");
        };
        assert_eq!((it.delivery, it.endpoint, it.attempts), (id, endpoint, 1));
        assert_eq!(it.event_type.unwrap().as_str(), "order.paid");
        assert_eq!(it.attempt.unwrap().status_code, Some(204));
        receiver.answers(503);
        let id = queued().await;
        let Some(DeliveryEvent::Retrying(it, at)) = events.next().await else {
            panic!("it is to be retried");
        };
        assert_eq!(it.delivery, id);
        assert!(at > it.attempt.unwrap().started_at);
        receiver.answers(410);
        let id = queued().await;
        let (mut has_failed, mut is_disabled) = (false, false);
        while !has_failed || !is_disabled {
            match events.next().await.unwrap() {
                DeliveryEvent::Failed(it) => has_failed |= it.delivery == id,
                DeliveryEvent::EndpointDisabled { endpoint: it, .. } => {
                    assert_eq!(it, endpoint);
                    assert!(!hooks.endpoint(endpoint).await.unwrap().is_active);
                    is_disabled = true;
                }
                _ => {}
            }
        }
    });
}

#[test]
fn a_test_hears_what_it_delivers_and_nothing_of_other_workspaces() {
    run(async {
        let hooks = Hooks::test().await.unwrap();
        let (acme, umbrella) = (
            hooks.workspace("acme").await,
            hooks.workspace("umbrella").await,
        );
        let (acme, umbrella) = (acme.unwrap(), umbrella.unwrap());
        let (mut of_acme, mut of_all) = (acme.events(), hooks.backend().events());
        for tenant in [&umbrella, &acme] {
            tenant.create_endpoint(URL).on("order.paid").await.unwrap();
            tenant.trigger("order.paid", &json!({})).await.unwrap();
        }
        hooks.answer_with(500);
        for _ in 0..10 {
            hooks.deliver().await.unwrap();
            hooks.advance(std::time::Duration::from_hours(24));
        }
        for attempt in 1..10 {
            let Some(DeliveryEvent::Retrying(it, _)) = of_acme.next().await else {
                panic!("attempt {attempt} is not the last one");
            };
            assert_eq!((it.workspace, it.attempts), (acme.workspace_id(), attempt));
        }
        let last = of_acme.next().await;
        assert!(matches!(last, Some(DeliveryEvent::DeadLettered(_))));
        let mut dead = Vec::new();
        while dead.len() < 2 {
            if let DeliveryEvent::DeadLettered(it) = of_all.next().await.unwrap() {
                dead.push(it.workspace);
            }
        }
        assert!(dead.contains(&acme.workspace_id()) && dead.contains(&umbrella.workspace_id()));
    });
}
