//! Clauses about the audit log.

use std::time::Duration;

use nahook_control::{
    Actor, ActorKind, ApplyMode, AuditEntry, AuditPage, AuditQuery, Catalog, EndpointDirectory,
    HealthReport, HealthState, KeyState, NewApiKey, NewEndpoint,
};

use super::shop::{Shop, act, made};
use crate::ManagementHarness;
use crate::declare::{Workspace, workspace_id};

/// Every entry.
fn all() -> AuditQuery {
    AuditQuery {
        limit: 1_000,
        ..AuditQuery::default()
    }
}

async fn told<H: ManagementHarness>(shop: &Shop<H>, query: &AuditQuery) -> AuditPage {
    let page = shop.management.audit_log(&shop.workspace, query).await;
    page.expect("the store can be asked")
}

/// Returns the actions, the newest first.
fn actions(page: &AuditPage) -> Vec<&str> {
    page.entries
        .iter()
        .map(|entry| entry.action.as_str())
        .collect()
}

/// Every change has its entry, whole, with who made it and when; the newest is first. What changed nothing has none.
pub async fn every_change_is_audited<H: ManagementHarness>() {
    let mut shop = Shop::<H>::empty().await;
    let before = told(&shop, &all()).await.total;
    shop.actor = Actor {
        kind: ActorKind::ManagementToken,
        id: "tok_1".to_owned(),
        label: "tooling \u{1f980}".to_owned(),
    };
    let clock = shop.harness.management_clock().clone();
    clock.advance(Duration::from_secs(1));
    let at = nahook_core::Clock::now(&clock);
    let a = shop.endpoint("a").await;
    clock.advance(Duration::from_secs(1));
    let paid = shop.event_type("order.paid").await;
    clock.advance(Duration::from_secs(1));
    shop.subscribe(a.id, &[paid]).await;
    shop.subscribe(a.id, &[paid]).await;
    clock.advance(Duration::from_secs(1));
    made!(shop.rotate_secret(a.id));
    clock.advance(Duration::from_secs(1));
    made!(shop.delete_endpoint(a.id));
    let page = told(&shop, &all()).await;
    assert_eq!(
        page.total,
        before + 5,
        "five changes; subscribing again was none"
    );
    assert_eq!(
        actions(&page)[..5],
        [
            "endpoint.deleted",
            "endpoint.secret_rotated",
            "subscription.created",
            "event_type.created",
            "endpoint.created",
        ],
        "the newest first"
    );
    let first = &page.entries[4];
    let expected = AuditEntry {
        id: first.id,
        workspace: shop.workspace,
        actor: shop.actor.clone(),
        action: "endpoint.created".to_owned(),
        resource_type: "endpoint".to_owned(),
        resource_id: a.id.to_string(),
        metadata: [("environmentId".to_owned(), a.environment.to_string())].into(),
        created_at: at,
    };
    assert_eq!(*first, expected, "the entry is whole");
    let secret = a.secret.expose();
    assert!(
        !format!("{page:?}").contains(secret),
        "no entry holds a secret"
    );
}

/// Entries are filtered by time, action, kind of resource and kind of actor, paged, and counted whatever the page.
pub async fn entries_are_filtered_and_counted<H: ManagementHarness>() {
    let mut shop = Shop::<H>::empty().await;
    shop.actor = Actor::system();
    let clock = shop.harness.management_clock().clone();
    let mut instants = Vec::new();
    for name in ["order.a", "order.b", "order.c"] {
        clock.advance(Duration::from_secs(1));
        instants.push(nahook_core::Clock::now(&clock));
        shop.event_type(name).await;
        shop.endpoint(name).await;
    }
    let query = |change: &dyn Fn(&mut AuditQuery)| {
        let mut query = all();
        change(&mut query);
        query
    };
    let created = |query: &mut AuditQuery| query.action = Some("event_type.created".to_owned());
    let page = told(&shop, &query(&created)).await;
    assert_eq!((page.total, page.entries.len()), (3, 3), "by action");
    let page = told(
        &shop,
        &query(&|query| query.resource_type = Some("endpoint".to_owned())),
    )
    .await;
    assert_eq!(
        actions(&page),
        ["endpoint.created"; 3],
        "by kind of resource"
    );
    let page = told(
        &shop,
        &query(&|query| query.actor_kind = Some(ActorKind::System)),
    )
    .await;
    assert_eq!(page.total, 6, "by kind of actor");
    let page = told(
        &shop,
        &query(&|query| query.actor_kind = Some(ActorKind::ManagementToken)),
    )
    .await;
    assert_eq!(
        (page.total, page.entries),
        (0, vec![]),
        "nobody of that kind"
    );
    let page = told(
        &shop,
        &query(&|query| {
            created(query);
            query.from = Some(instants[1]);
            query.to = Some(instants[2]);
        }),
    )
    .await;
    assert_eq!(page.total, 1, "from is included, to is not");
    assert_eq!(
        page.entries[0].created_at, instants[1],
        "the one in between"
    );
    let page = told(
        &shop,
        &query(&|query| {
            created(query);
            (query.offset, query.limit) = (1, 1);
        }),
    )
    .await;
    assert_eq!((page.total, page.entries.len()), (3, 1), "a page of one");
    assert_eq!(page.entries[0].created_at, instants[1], "the second newest");
    let page = told(&shop, &query(&|query| query.offset = u64::MAX)).await;
    assert_eq!(page.entries, [], "behind the last one there is nothing");
}

/// Applying a manifest is audited as the doing of its actor, change by change; trying it out is not.
pub async fn applying_is_audited<H: ManagementHarness>() {
    let shop = Shop::<H>::empty().await;
    let before = told(&shop, &all()).await.total;
    let manifest = Workspace::new("ws_shop")
        .event_type("order.paid")
        .endpoint("ep_a", &["order.paid"])
        .manifest();
    for mode in [ApplyMode::DryRun, ApplyMode::Commit, ApplyMode::Commit] {
        let applied = shop.harness.catalog().apply(&manifest, mode).await;
        applied.expect("it contradicts nothing");
    }
    let page = told(&shop, &all()).await;
    assert_eq!(
        page.total,
        before + 3,
        "an event type, an endpoint, a subscription, once"
    );
    let mut newest = actions(&page)[..3].to_vec();
    newest.sort_unstable();
    assert_eq!(
        newest,
        [
            "endpoint.created",
            "event_type.created",
            "subscription.created"
        ],
        "each change"
    );
    assert!(
        page.entries
            .iter()
            .all(|entry| entry.actor.kind == ActorKind::Operator),
        "the operator's doing"
    );
    let app = Actor {
        kind: ActorKind::System,
        id: "app".to_owned(),
        label: "the app".to_owned(),
    };
    let manifest = Workspace::new("ws_shop")
        .event_type("order.sent")
        .manifest();
    let catalog = shop.harness.catalog();
    let applied = catalog.apply_as(&app, &manifest, ApplyMode::Commit).await;
    applied.expect("it contradicts nothing");
    let newest = &told(&shop, &all()).await.entries[0];
    assert_eq!(newest.actor, app, "the app's doing");
}

/// A change of a key by the command line is audited, and an endpoint that a worker disables, once.
pub async fn disabling_is_audited<H: ManagementHarness>() {
    let shop = Shop::<H>::empty().await;
    let a = shop.endpoint("a").await;
    let key = NewApiKey {
        name: "key".to_owned(),
        ..NewApiKey::default()
    };
    let (key, _) = made!(shop.create_api_key(key));
    let set = shop
        .management
        .set_api_key_state(
            &shop.workspace,
            &Actor::operator(),
            key.id,
            KeyState::Disabled,
        )
        .await;
    shop.made(set);
    for _ in 0..2 {
        let report = HealthReport {
            endpoint: a.id,
            state: HealthState::Disable,
        };
        let reported = shop.harness.endpoints().report(&[report]).await;
        reported.expect("the directory can be told");
    }
    let page = told(&shop, &all()).await;
    let of = |action: &str| -> Vec<_> {
        let entries = page.entries.iter().filter(|entry| entry.action == action);
        entries
            .map(|entry| (entry.actor.kind, entry.resource_id.clone()))
            .collect()
    };
    assert_eq!(
        of("api_key.disabled"),
        [(ActorKind::Operator, key.id.to_string())],
        "the key"
    );
    assert_eq!(
        of("endpoint.disabled"),
        [(ActorKind::System, a.id.to_string())],
        "the endpoint, once"
    );
}

/// A change that was refused leaves no entry.
pub async fn a_refused_change_is_not_audited<H: ManagementHarness>() {
    let shop = Shop::<H>::empty().await;
    shop.event_type("order.paid").await;
    let before = told(&shop, &all()).await;
    let name = crate::declare::event_type_name("order.paid");
    let taken = act!(shop.create_event_type(name, None));
    let invalid = NewEndpoint {
        url: Some("ftp://a".to_owned()),
        ..NewEndpoint::default()
    };
    let invalid = act!(shop.create_endpoint(invalid));
    assert!(taken.is_err() && invalid.is_err(), "neither can be made");
    assert_eq!(
        told(&shop, &all()).await,
        before,
        "nothing was done, nothing is told"
    );
}

/// Another workspace's entries are not there.
pub async fn other_workspaces_audit_is_absent<H: ManagementHarness>() {
    let mut shop = Shop::<H>::empty().await;
    shop.endpoint("a").await;
    shop.workspace = workspace_id("ws_other");
    let page = told(&shop, &all()).await;
    assert!(
        page.entries
            .iter()
            .all(|entry| entry.workspace == shop.workspace)
            && actions(&page)
                .iter()
                .all(|action| *action != "endpoint.created"),
        "ws_other's own entries alone: {page:?}"
    );
    assert_eq!(
        page.total,
        page.entries.len() as u64,
        "and they alone are counted"
    );
    shop.workspace = workspace_id("ws_nowhere");
    assert_eq!(
        told(&shop, &all()).await,
        AuditPage::default(),
        "nobody's log is empty"
    );
}
