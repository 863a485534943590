//! Clauses about putting a manifest into effect.

use std::mem::discriminant;

use nahook_control::{
    ApplyMode, Catalog, Change, EndpointSpec, Manifest, PlanSpec, Record, Verb, WorkspaceRecord,
};

use super::seen::{apply, is_disabled, subscribers, target};
use crate::CatalogHarness;
use crate::declare::{
    Workspace, endpoint, endpoint_id, environment_id, event_type_id, manifest, workspace_id,
};
use crate::suite::catalog::keys::key;

/// Everything that a manifest declares exists once it is applied, as every port shows it; each row is told as created, no row before
/// one that it refers to.
pub async fn applying_creates_what_is_declared<H: CatalogHarness>() {
    let harness = H::start_catalog().await;
    let changes = apply(&harness, &everything()).await;
    expect_everything(&harness).await;
    assert!(
        changes.iter().all(|change| change.verb == Verb::Create),
        "in an empty catalog everything is created: {changes:?}"
    );
    // A workspace, two environments, two event types, a publication, two endpoints, three subscriptions, a key.
    assert_eq!(changes.len(), 12, "one change for each row: {changes:?}");
    let at = |wanted: fn(&Record) -> bool| {
        let at = changes.iter().position(|change| wanted(&change.record));
        at.expect("a change for each kind of row that was declared")
    };
    let in_order = [
        at(|record| matches!(record, Record::Workspace(_))),
        at(|record| matches!(record, Record::Environment(_))),
        at(|record| matches!(record, Record::Endpoint(_))),
        at(|record| matches!(record, Record::Subscription(_))),
    ];
    assert!(
        in_order.is_sorted(),
        "no row comes before one that it refers to: {changes:?}"
    );
}

/// The same manifest a second time changes nothing and says so.
pub async fn applying_again_changes_nothing<H: CatalogHarness>() {
    let harness = H::start_catalog().await;
    apply(&harness, &everything()).await;
    let before = target(&harness, "ep_a").await;
    for _ in 0..2 {
        assert_eq!(
            apply(&harness, &everything()).await,
            [],
            "everything is as declared already"
        );
    }
    assert_eq!(
        target(&harness, "ep_a").await,
        before,
        "also what was drawn stays"
    );
    expect_everything(&harness).await;
}

/// A row that differs from the declaration is updated, reported as updated, and seen.
pub async fn an_update_is_told_and_seen<H: CatalogHarness>() {
    let harness = H::start_catalog().await;
    apply(&harness, &everything()).await;
    let differing = Workspace::new("ws_shop")
        .with(|spec| {
            spec.plan = Some(PlanSpec {
                payload_len_max: Some(1_234),
                ..PlanSpec::default()
            });
            spec.endpoints.push(EndpointSpec {
                url: "https://elsewhere.example/".to_owned(),
                ..endpoint("ep_a", &["order.lost"])
            });
        })
        .manifest();
    let changes = apply(&harness, &differing).await;
    let verbs: Vec<_> = changes
        .iter()
        .map(|change| (change.verb, discriminant(&change.record)))
        .collect();
    let count = |verb, wanted: fn(&Record) -> bool| {
        changes
            .iter()
            .filter(|change| change.verb == verb && wanted(&change.record))
            .count()
    };
    assert_eq!(
        (
            count(Verb::Update, |record| matches!(
                record,
                Record::Workspace(_)
            )),
            count(Verb::Update, |record| matches!(record, Record::Endpoint(_))),
            count(Verb::Remove, |record| matches!(
                record,
                Record::Subscription(_)
            )),
            verbs.len()
        ),
        (1, 1, 1, 3),
        "the plan, the endpoint and one subscription less: {changes:?}"
    );
    let workspaces = workspaces(&harness).await;
    assert_eq!(
        workspaces[0].plan.payload_len_max, 1_234,
        "the plan was changed"
    );
    let target = target(&harness, "ep_a").await.expect("the endpoint stays");
    assert_eq!(
        target.url, "https://elsewhere.example/",
        "its URL was changed"
    );
    assert_eq!(
        subscribers(&harness, "order.paid").await,
        Some(vec![endpoint_id("ep_b")]),
        "ep_a is not subscribed to order.paid any more"
    );
}

/// Rows that a manifest does not name stay as they are.
pub async fn what_is_not_named_stays<H: CatalogHarness>() {
    let harness = H::start_catalog().await;
    apply(&harness, &everything()).await;
    assert_eq!(
        apply(&harness, &Manifest::default()).await,
        [],
        "an empty manifest declares nothing"
    );
    let bare = Workspace::new("ws_shop");
    assert_eq!(
        apply(&harness, &bare.manifest()).await,
        [],
        "a workspace of which nothing is said"
    );
    let other = Workspace::new("ws_other").event_type("order.paid");
    apply(&harness, &other.manifest()).await;
    expect_everything(&harness).await;
}

/// Every workspace has its default environment from the start, also when none is declared.
pub async fn the_default_environment_appears<H: CatalogHarness>() {
    let harness = H::start_catalog().await;
    let changes = apply(&harness, &Workspace::new("ws_shop").manifest()).await;
    let environments: Vec<_> = changes
        .iter()
        .filter_map(|change| match &change.record {
            Record::Environment(row) => {
                Some((row.slug.as_str(), row.name.as_str(), row.is_default))
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        environments,
        [("production", "Production", true)],
        "the one default environment"
    );
}

/// A dry run tells what would change, and nothing changes.
pub async fn a_dry_run_changes_nothing<H: CatalogHarness>() {
    let harness = H::start_catalog().await;
    let told = dry_run(&harness, &everything()).await;
    assert_eq!(told.len(), 12, "what would be created: {told:?}");
    assert_eq!(workspaces(&harness).await, [], "no workspace was made");
    assert_eq!(
        subscribers(&harness, "order.paid").await,
        None,
        "no event type was made"
    );
    assert_eq!(target(&harness, "ep_a").await, None, "no endpoint was made");
    assert_eq!(
        is_disabled(&harness, "nhk_us_one_0000000000000000000000000").await,
        None,
        "no key was made"
    );
    apply(&harness, &everything()).await;
    let less = Workspace::new("ws_shop").endpoint("ep_a", &[]).manifest();
    let told = dry_run(&harness, &less).await;
    assert!(
        told.len() == 2 && told.iter().all(|change| change.verb == Verb::Remove),
        "both subscriptions would go: {told:?}"
    );
    expect_everything(&harness).await;
}

/// Ids that the manifest gives are the ones that the ports show.
pub async fn given_ids_are_kept<H: CatalogHarness>() {
    let harness = H::start_catalog().await;
    let changes = apply(&harness, &everything()).await;
    let has =
        |wanted: &dyn Fn(&Record) -> bool| changes.iter().any(|change| wanted(&change.record));
    assert!(
        has(
            &|record| matches!(record, Record::Workspace(row) if row.id == workspace_id("ws_shop"))
        ) && has(&|record| matches!(record, Record::Environment(row)
                if row.id == environment_id("ws_shop", "staging")))
            && has(&|record| matches!(record, Record::EventType(row)
                if row.id == event_type_id("ws_shop", "order.paid")))
            && has(
                &|record| matches!(record, Record::Endpoint(row) if row.id == endpoint_id("ep_a"))
            ),
        "the ids are those of the manifest: {changes:?}"
    );
    expect_everything(&harness).await;
}

/// Workspaces are listed oldest first, each once, however close in time they were made and whatever their ids.
pub async fn workspaces_are_oldest_first<H: CatalogHarness>() {
    let harness = H::start_catalog().await;
    let ids = ["ws_z", "ws_a", "ws_m"];
    apply(&harness, &manifest(ids.map(Workspace::new))).await;
    apply(&harness, &Workspace::new("ws_b").manifest()).await;
    apply(&harness, &Workspace::new("ws_a").manifest()).await;
    let listed: Vec<_> = workspaces(&harness)
        .await
        .iter()
        .map(|row| (row.id.to_string(), row.name.clone()))
        .collect();
    let expected = ["ws_z", "ws_a", "ws_m", "ws_b"].map(|id| (id.to_owned(), id.to_owned()));
    assert_eq!(listed, expected, "the workspaces, oldest first");
}

/// Manifests that are applied at the same time take effect one after the other: each row is created by one of them.
pub async fn concurrent_applies_agree<H: CatalogHarness>() {
    let harness = H::start_catalog().await;
    let applying: Vec<_> = (0..8)
        .map(|_| {
            let catalog = harness.catalog();
            tokio::spawn(async move { catalog.apply(&everything(), ApplyMode::Commit).await })
        })
        .collect();
    let mut counts = Vec::new();
    for task in applying {
        let changes = task.await.expect("applying does not panic");
        counts.push(
            changes
                .expect("the same manifest contradicts nothing")
                .len(),
        );
    }
    counts.sort_unstable();
    assert_eq!(
        counts,
        [0, 0, 0, 0, 0, 0, 0, 12],
        "one creates everything, for the others it is there already"
    );
    expect_everything(&harness).await;
}

/// Everything that was applied is there after an orderly restart, unless the catalog says that it survives none.
pub async fn the_catalog_survives_a_restart<H: CatalogHarness>() {
    let harness = H::start_catalog().await;
    apply(&harness, &everything()).await;
    let (workspaces_before, target_before) =
        (workspaces(&harness).await, target(&harness, "ep_a").await);
    let Some(harness) = harness.restart_catalog().await else {
        return;
    };
    expect_everything(&harness).await;
    assert_eq!(
        workspaces(&harness).await,
        workspaces_before,
        "as before the restart"
    );
    assert_eq!(
        target(&harness, "ep_a").await,
        target_before,
        "as before the restart"
    );
    assert_eq!(
        apply(&harness, &everything()).await,
        [],
        "everything is as declared already"
    );
}

/// One workspace with something of everything.
fn everything() -> Manifest {
    Workspace::new("ws_shop")
        .environment("staging", &["order.paid"])
        .event_type("order.paid")
        .event_type("order.lost")
        .endpoint("ep_a", &["order.paid", "order.lost"])
        .endpoint_in("staging", "ep_b", &["order.paid"])
        .with(|spec| {
            spec.api_keys
                .push(key("key_one", "nhk_us_one_0000000000000000000000000"));
        })
        .manifest()
}

/// Expects that what [`everything`] declares is there.
async fn expect_everything<H: CatalogHarness>(harness: &H) {
    let why = "as the manifest declares it";
    let names: Vec<_> = workspaces(harness).await.iter().map(|row| row.id).collect();
    assert!(
        names.contains(&workspace_id("ws_shop")),
        "the workspace is there: {names:?}"
    );
    assert_eq!(
        subscribers(harness, "order.paid").await,
        Some(vec![endpoint_id("ep_a"), endpoint_id("ep_b")]),
        "{why}"
    );
    assert_eq!(
        subscribers(harness, "order.lost").await,
        Some(vec![endpoint_id("ep_a")]),
        "{why}"
    );
    let url = target(harness, "ep_a").await.map(|target| target.url);
    assert_eq!(url.as_deref(), Some("https://hooks.example/ep_a"), "{why}");
    assert_eq!(
        is_disabled(harness, "nhk_us_one_0000000000000000000000000").await,
        Some(false),
        "{why}"
    );
}

async fn workspaces<H: CatalogHarness>(harness: &H) -> Vec<WorkspaceRecord> {
    let workspaces = harness.catalog().workspaces().await;
    workspaces.expect("the catalog can be asked")
}

async fn dry_run<H: CatalogHarness>(harness: &H, manifest: &Manifest) -> Vec<Change> {
    let told = harness.catalog().apply(manifest, ApplyMode::DryRun).await;
    told.expect("a manifest without contradictions can be tried")
}
