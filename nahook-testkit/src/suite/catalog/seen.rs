//! Changes of a catalog as the other ports show them, and changes in it that those make.

use nahook_control::{
    ApplyMode, Catalog, Change, EndpointDirectory, EndpointTarget, HealthReport, HealthState,
    KeyHash, KeyStore, Manifest,
};
use nahook_core::SubscriptionStore;
use nahook_core::id::EndpointId;

use crate::CatalogHarness;
use crate::declare::{Workspace, endpoint_id, event_type_name, scope};

/// An endpoint that the worker has reported as to be disabled is no subscriber any more; its neighbours are.
pub async fn a_disabled_endpoint_gets_no_more_deliveries<H: CatalogHarness>() {
    let harness = H::start_catalog().await;
    let shop = Workspace::new("ws_shop")
        .event_type("order.paid")
        .endpoint("ep_a", &["order.paid"])
        .endpoint("ep_b", &["order.paid"]);
    apply(&harness, &shop.manifest()).await;
    assert_eq!(
        subscribers(&harness, "order.paid").await,
        Some(vec![endpoint_id("ep_a"), endpoint_id("ep_b")]),
        "both are active yet"
    );
    let report = HealthReport {
        endpoint: endpoint_id("ep_a"),
        state: HealthState::Disable,
    };
    let reported = harness.endpoints().report(&[report]).await;
    reported.expect("the directory can be told");
    assert_eq!(
        subscribers(&harness, "order.paid").await,
        Some(vec![endpoint_id("ep_b")]),
        "ep_a was reported as to be disabled"
    );
}

pub(in crate::suite) async fn apply<H: CatalogHarness>(
    harness: &H,
    manifest: &Manifest,
) -> Vec<Change> {
    let applied = harness.catalog().apply(manifest, ApplyMode::Commit).await;
    applied.expect("a manifest without contradictions can be applied")
}

/// The subscribers to an event type of `ws_shop`; `None` if there is no such event type.
pub(super) async fn subscribers<H: CatalogHarness>(
    harness: &H,
    name: &str,
) -> Option<Vec<EndpointId>> {
    let scope = scope("ws_shop", None);
    let subscriptions = harness.subscriptions();
    let found = subscriptions
        .subscribers(&event_type_name(name), &scope)
        .await;
    let found = found.expect("the store can be asked");
    found.map(|found| found.endpoints.to_vec())
}

/// The endpoint as a worker sees it, if it exists.
pub(super) async fn target<H: CatalogHarness>(harness: &H, id: &str) -> Option<EndpointTarget> {
    let found = harness.endpoints().targets(&[endpoint_id(id)]).await;
    let found = found.expect("the directory can be asked").remove(0);
    found.map(|target| (*target).clone())
}

/// Returns true if the key is disabled; `None` if there is no such key.
pub(in crate::suite) async fn is_disabled<H: CatalogHarness>(
    harness: &H,
    secret: &str,
) -> Option<bool> {
    let found = harness.keys().api_key(&KeyHash::of(secret)).await;
    let found = found.expect("the store can be asked");
    found.map(|entry| entry.disabled)
}
