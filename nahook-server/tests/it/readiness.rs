//! `/readyz` as soon as something is missing.

use crate::support::manifest::{EVENT_TYPE, endpoint, shop};
use crate::support::receiver::Receiver;
use crate::support::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn event_that_is_refused_makes_the_server_unready_at_once() {
    let receiver = Receiver::start().await;
    let server = Server::with(&shop(vec![endpoint("ep_1", &receiver.url("/1"))])).await;
    let api = server.api();
    assert_eq!(api.trigger(EVENT_TYPE, "{}").await.delivery_ids().len(), 1);
    assert_eq!(api.get("/readyz").await.status, 200);
    std::fs::remove_dir_all(server.dir().join("nahook-data")).unwrap();
    let answer = api.trigger(EVENT_TYPE, "{}").await;
    assert!(
        answer.status == 503 || answer.delivery_ids().is_empty(),
        "{answer:?}"
    );
    let ready = api.get("/readyz").await;
    assert_eq!(ready.status, 503, "{answer:?} {ready:?}");
}
