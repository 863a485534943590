//! The handle over parts of the app's own.

use nahook_control::{ApplyMode, Catalog as _};
use nahook_embed::Hooks;
use nahook_embed::core::Outcome;
use nahook_embed::queue::DeliveryStatus;
use nahook_memory::MemoryStore;
use nahook_testkit::declare::Workspace;
use nahook_testkit::{RecordingPublisher, run};
use serde_json::json;

use crate::handle::delivering;
use crate::receiver::Receiver;

#[test]
fn a_store_of_the_apps_own_is_delivered_from() {
    run(async {
        let mut receiver = Receiver::start().await;
        let store = MemoryStore::default();
        let hooks = Hooks::over(store.clone()).allow_endpoint_range("127.0.0.0/8".parse().unwrap());
        let hooks = hooks.open().await.unwrap();
        let endpoint = hooks.create_endpoint(&receiver.url).on("order.paid");
        let endpoint = endpoint.await.unwrap().id;
        assert!(store.workspaces().await.unwrap().len() == 1);
        let (_stop, _running) = delivering(&hooks);
        hooks.trigger("order.paid", &json!({"n": 1})).await.unwrap();
        assert_eq!(receiver.bodies(1).await, [r#"{"n":1}"#]);
        let delivered = Some(DeliveryStatus::Delivered);
        while hooks
            .deliveries(endpoint, delivered, 10)
            .await
            .unwrap()
            .is_empty()
        {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn subscriptions_and_a_queue_of_the_apps_own_stand_in_for_the_stores() {
    run(async {
        let mut receiver = Receiver::start().await;
        let own = MemoryStore::default();
        let mut manifest = Workspace::new("ws_default")
            .event_type("order.paid")
            .endpoint("ep_own", &["order.paid"])
            .manifest();
        manifest.workspaces[0].endpoints[0]
            .url
            .clone_from(&receiver.url);
        own.apply(&manifest, ApplyMode::Commit).await.unwrap();
        let hooks =
            Hooks::builder("memory://").allow_endpoint_range("127.0.0.0/8".parse().unwrap());
        let hooks = hooks.own_queue(own.clone()).own_subscriptions(own);
        let hooks = hooks.open().await.unwrap();
        let (_stop, _running) = delivering(&hooks);
        let receipt = hooks.trigger("order.paid", &json!({"n": 1})).await.unwrap();
        assert_eq!(receipt.deliveries()[0].endpoint().to_string(), "ep_own");
        assert_eq!(receiver.bodies(1).await, [r#"{"n":1}"#]);
        assert_eq!(hooks.endpoints().await.unwrap(), [], "the store has none");
    });
}

#[test]
fn a_publisher_of_the_apps_own_takes_what_the_store_would() {
    run(async {
        let publisher = RecordingPublisher::default();
        let hooks = Hooks::builder("memory://").own_publisher(publisher.clone());
        let hooks = hooks.open().await.unwrap();
        let url = "https://customer.example/hooks";
        let endpoint = hooks
            .create_endpoint(url)
            .on("order.paid")
            .await
            .unwrap()
            .id;
        let receipt = hooks.trigger("order.paid", &json!({})).await.unwrap();
        assert_eq!(receipt.deliveries()[0].outcome(), Outcome::Published);
        assert_eq!(publisher.held().len(), 1);
        assert_eq!(hooks.deliveries(endpoint, None, 10).await.unwrap(), []);
    });
}
