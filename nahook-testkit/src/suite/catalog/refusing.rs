//! Clauses about manifests that cannot be put into effect.

use nahook_control::{
    ApplyMode, Catalog, CatalogError, EndpointSpec, EnvironmentSpec, Manifest, ManifestError,
};

use super::keys::key;
use super::seen::{apply, is_disabled, subscribers, target};
use crate::CatalogHarness;
use crate::declare::{Workspace, endpoint, endpoint_id, event_type_id, manifest, workspace_id};

/// A manifest that is refused changes nothing at all: not what comes before the contradiction either.
pub async fn an_error_changes_nothing<H: CatalogHarness>() {
    let harness = H::start_catalog().await;
    let wrong: [(&str, Workspace); 6] = [
        (
            "subscribed to an event type that does not exist",
            Workspace::new("ws_bad").endpoint("ep_bad", &["order.none"]),
        ),
        (
            "an endpoint declared twice",
            Workspace::new("ws_bad")
                .endpoint("ep_bad", &[])
                .endpoint("ep_bad", &[]),
        ),
        (
            "an environment that does not exist",
            Workspace::new("ws_bad").endpoint_in("nowhere", "ep_bad", &[]),
        ),
        (
            "not a URL",
            Workspace::new("ws_bad").with(|spec| {
                spec.endpoints.push(EndpointSpec {
                    url: "receiver".to_owned(),
                    ..endpoint("ep_bad", &[])
                });
            }),
        ),
        (
            "not a slug",
            Workspace::new("ws_bad").with(|spec| {
                spec.environments.push(EnvironmentSpec {
                    slug: "No Slug".to_owned(),
                    ..EnvironmentSpec::default()
                });
            }),
        ),
        (
            "a key that a workspace before has",
            Workspace::new("ws_bad").with(|spec| {
                spec.api_keys
                    .push(key("key_two", "nhk_us_good_000000000000000000000000"));
            }),
        ),
    ];
    for (why, workspace) in wrong {
        let good = Workspace::new("ws_shop")
            .event_type("order.paid")
            .endpoint("ep_good", &["order.paid"])
            .with(|spec| {
                spec.api_keys
                    .push(key("key_good", "nhk_us_good_000000000000000000000000"));
            });
        let wrong = manifest([good, workspace]);
        for mode in [ApplyMode::DryRun, ApplyMode::Commit] {
            let refused = harness.catalog().apply(&wrong, mode).await;
            assert!(
                matches!(refused, Err(CatalogError::Manifest(_))),
                "{why}, {mode:?}: {refused:?}"
            );
        }
        let workspaces = harness.catalog().workspaces().await;
        assert_eq!(
            workspaces.expect("the catalog can be asked"),
            [],
            "no workspace was made: {why}"
        );
        assert_eq!(
            subscribers(&harness, "order.paid").await,
            None,
            "no event type was made: {why}"
        );
        assert_eq!(
            target(&harness, "ep_good").await,
            None,
            "no endpoint was made: {why}"
        );
        assert_eq!(
            is_disabled(&harness, "nhk_us_good_000000000000000000000000").await,
            None,
            "no key was made: {why}"
        );
    }
}

/// An id, a name or a key that something of another workspace has is refused, and what has it keeps it.
pub async fn taken_ids_and_keys_are_refused<H: CatalogHarness>() {
    let harness = H::start_catalog().await;
    let shop = Workspace::new("ws_shop")
        .event_type("order.paid")
        .endpoint("ep_a", &["order.paid"])
        .with(|spec| {
            spec.api_keys
                .push(key("key_one", "nhk_us_one_0000000000000000000000000"));
        });
    apply(&harness, &shop.manifest()).await;
    let wrong: [(&str, Manifest); 5] = [
        (
            "an endpoint's id",
            Workspace::new("ws_other").endpoint("ep_a", &[]).manifest(),
        ),
        (
            "an event type's id",
            Workspace::new("ws_other")
                .event_type("other.name")
                .with(|spec| spec.event_types[0].id = Some(event_type_id("ws_shop", "order.paid")))
                .manifest(),
        ),
        (
            "a key's secret",
            Workspace::new("ws_other")
                .with(|spec| {
                    spec.api_keys
                        .push(key("key_two", "nhk_us_one_0000000000000000000000000"));
                })
                .manifest(),
        ),
        (
            "a key's id",
            Workspace::new("ws_other")
                .with(|spec| {
                    spec.api_keys
                        .push(key("key_one", "nhk_us_two_0000000000000000000000000"));
                })
                .manifest(),
        ),
        (
            "a workspace's name",
            Workspace::new("ws_shop")
                .with(|spec| spec.id = Some(workspace_id("ws_other")))
                .manifest(),
        ),
    ];
    for (what, wrong) in wrong {
        let refused = harness.catalog().apply(&wrong, ApplyMode::Commit).await;
        assert!(
            matches!(
                refused,
                Err(CatalogError::Manifest(ManifestError::Taken { .. }))
            ),
            "{what} is taken: {refused:?}"
        );
        let workspaces = harness.catalog().workspaces().await;
        let workspaces = workspaces.expect("the catalog can be asked");
        assert_eq!(workspaces.len(), 1, "nothing was made: {what} is taken");
    }
    assert_eq!(
        subscribers(&harness, "order.paid").await,
        Some(vec![endpoint_id("ep_a")]),
        "what had the ids keeps them"
    );
    let workspace = target(&harness, "ep_a")
        .await
        .map(|target| target.workspace);
    assert_eq!(
        workspace,
        Some(workspace_id("ws_shop")),
        "the endpoint stays where it was"
    );
    assert_eq!(
        is_disabled(&harness, "nhk_us_one_0000000000000000000000000").await,
        Some(false),
        "the key stays as it was"
    );
}
