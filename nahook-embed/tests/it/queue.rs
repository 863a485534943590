//! A queue on NATS beside the store.

use nahook_embed::{Backend, BackendSettings, Hooks, QueueUrl, StoreUrl};
use nahook_testkit::run;
use nahook_testserver::NatsServer;
use serde_json::json;

#[test]
fn what_was_triggered_is_in_the_log_without_a_run() {
    run(async {
        let server = NatsServer::start();
        let directory = tempfile::tempdir().unwrap();
        let store = format!("sqlite://{}", directory.path().join("hooks.db").display());
        let open = async || Hooks::builder(&store).queue(&server.url()).open().await;
        let hooks = open().await.unwrap();
        let url = "https://customer.example/hooks";
        let endpoint = hooks.create_endpoint(url).on("order.paid").await;
        let endpoint = endpoint.unwrap().id;
        let receipt = hooks.trigger("order.paid", &json!({})).await.unwrap();
        let id = receipt.delivery_ids().next().unwrap();
        while hooks.delivery(id).await.is_err() {
            tokio::task::yield_now().await;
        }
        let keyed = hooks.send_once(endpoint, "order-7", &json!({})).await;
        hooks.delivery(keyed.unwrap().delivery).await.unwrap();
        // The last ones are written out when the handle is closed.
        let receipt = hooks.trigger("order.paid", &json!({})).await.unwrap();
        let id = receipt.delivery_ids().next().unwrap();
        hooks.close().await.unwrap();
        let hooks = open().await.unwrap();
        hooks.delivery(id).await.unwrap();
        hooks.close().await.unwrap();
    });
}

#[test]
fn queue_of_the_store_is_worked_off_beside_the_one_on_nats() {
    run(async {
        let server = NatsServer::start();
        let queue = QueueUrl::parse(&server.url()).unwrap();
        let settings = BackendSettings::default();
        let opening = Backend::open_server(&StoreUrl::Memory, &queue, &settings);
        let backend = opening.await.unwrap();
        assert_eq!(backend.queues().len(), 2);
        // Of each queue, of the publisher and of look-ups.
        assert_eq!(backend.latest_calls.len(), 4);
        backend.close().await.unwrap();
    });
}
