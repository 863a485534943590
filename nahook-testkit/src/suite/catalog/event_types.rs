//! Clauses about making event types on the fly.

use std::collections::HashSet;

use nahook_control::{Catalog, CatalogError};

use super::seen::{apply, subscribers};
use crate::CatalogHarness;
use crate::declare::{Workspace, endpoint_id, event_type_id, event_type_name, workspace_id};

/// An event type that does not exist is made and seen at once; one that exists answers its id.
pub async fn an_ensured_event_type_exists_once<H: CatalogHarness>() {
    let harness = H::start_catalog().await;
    let shop = Workspace::new("ws_shop").event_type("order.paid");
    apply(&harness, &shop.manifest()).await;
    let ensure = async |name: &str| {
        let catalog = harness.catalog();
        let ensured = catalog
            .ensure_event_type(&event_type_name(name), &workspace_id("ws_shop"))
            .await;
        ensured.expect("the workspace exists")
    };
    assert_eq!(
        ensure("order.paid").await,
        event_type_id("ws_shop", "order.paid"),
        "it exists, under this id"
    );
    assert_eq!(
        subscribers(&harness, "order.new").await,
        None,
        "it does not exist yet"
    );
    let made = ensure("order.new").await;
    assert_eq!(
        subscribers(&harness, "order.new").await,
        Some(vec![]),
        "it exists, with nobody subscribed"
    );
    assert_eq!(ensure("order.new").await, made, "it exists already");
    assert_ne!(ensure("Order.new").await, made, "names differ by case");
    let declared = Workspace::new("ws_shop").with(|spec| {
        spec.event_types
            .push(nahook_control::EventTypeSpec::named(event_type_name(
                "order.new",
            )));
    });
    assert_eq!(
        apply(&harness, &declared.manifest()).await,
        [],
        "a manifest finds it there"
    );
}

/// An event type that is made on the fly has the endpoints whose patterns match it, in the order in which they subscribed.
pub async fn an_ensured_event_type_has_the_endpoints_of_patterns<H: CatalogHarness>() {
    let harness = H::start_catalog().await;
    let shop = Workspace::new("ws_shop")
        .endpoint("ep_z", &["order.*", "*"])
        .endpoint("ep_m", &["user.*"])
        .endpoint("ep_a", &["order.**"]);
    apply(&harness, &shop.manifest()).await;
    assert_eq!(
        subscribers(&harness, "order.new").await,
        None,
        "a pattern makes no event type"
    );
    let catalog = harness.catalog();
    let ensured = catalog
        .ensure_event_type(&event_type_name("order.new"), &workspace_id("ws_shop"))
        .await;
    ensured.expect("the workspace exists");
    assert_eq!(
        subscribers(&harness, "order.new").await,
        Some(vec![endpoint_id("ep_z"), endpoint_id("ep_a")]),
        "the next look-up finds them"
    );
}

/// Whoever asks for the same new event type at the same time gets the same id.
pub async fn concurrent_ensuring_agrees<H: CatalogHarness>() {
    let harness = H::start_catalog().await;
    apply(&harness, &Workspace::new("ws_shop").manifest()).await;
    let ensuring: Vec<_> = (0..16)
        .map(|_| {
            let catalog = harness.catalog();
            tokio::spawn(async move {
                let (name, workspace) = (event_type_name("order.new"), workspace_id("ws_shop"));
                catalog.ensure_event_type(&name, &workspace).await
            })
        })
        .collect();
    let mut ids = HashSet::new();
    for task in ensuring {
        let id = task.await.expect("ensuring does not panic");
        ids.insert(id.expect("the workspace exists"));
    }
    assert_eq!(ids.len(), 1, "one event type was made: {ids:?}");
}

/// In a workspace that does not exist no event type is made; the same name in two workspaces is two event types.
pub async fn event_types_are_ensured_in_known_workspaces_only<H: CatalogHarness>() {
    let harness = H::start_catalog().await;
    let name = event_type_name("order.new");
    let catalog = harness.catalog();
    let refused = catalog
        .ensure_event_type(&name, &workspace_id("ws_nowhere"))
        .await;
    assert!(
        matches!(refused, Err(CatalogError::NotFound(_))),
        "the workspace does not exist: {refused:?}"
    );
    let both = ["ws_shop", "ws_other"];
    apply(
        &harness,
        &crate::declare::manifest(both.map(Workspace::new)),
    )
    .await;
    let mut ids = HashSet::new();
    for workspace in both {
        let id = catalog
            .ensure_event_type(&name, &workspace_id(workspace))
            .await;
        ids.insert(id.expect("the workspace exists"));
    }
    assert_eq!(ids.len(), 2, "one event type in each workspace");
}
