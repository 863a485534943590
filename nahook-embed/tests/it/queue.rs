//! A queue on NATS beside the store.

use nahook_embed::Hooks;
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
