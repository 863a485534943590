//! Clauses about the number of rows that a workspace may have.

use nahook_control::{
    KeyState, ManagementError, NewApiKey, NewEndpoint, PlanSpec, RowKind, Select,
};

use super::shop::{Shop, act, made};
use crate::ManagementHarness;
use crate::declare::{Workspace, manifest};
use crate::suite::catalog::apply;

/// The store counts the rows of each kind, whichever way they come and go.
pub async fn rows_are_counted<H: ManagementHarness>() {
    let shop = Shop::<H>::empty().await;
    assert_eq!(counts(&shop).await, [0; 7], "the workspace is empty");
    let application = shop.application(None, None).await;
    let (endpoint, other) = (shop.endpoint("a").await, shop.endpoint("b").await);
    let paid = shop.event_type("order.paid").await;
    shop.event_type("order.sent").await;
    shop.subscribe(endpoint.id, &[paid]).await;
    for id in [endpoint.id, other.id] {
        let pattern = "order.*".parse().expect("a pattern");
        made!(shop.subscribe_to_pattern(id, pattern));
    }
    let new = NewApiKey {
        name: "key".to_owned(),
        ..NewApiKey::default()
    };
    let key = made!(shop.create_api_key(new));
    let revoked = KeyState::Revoked;
    made!(shop.set_api_key_state(key.0.id, revoked));
    made!(shop.create_management_token("token".to_owned()));
    assert_eq!(counts(&shop).await, [1, 1, 2, 2, 1, 2, 4], "all were made");

    made!(shop.delete_event_type(paid));
    assert_eq!(
        counts(&shop).await,
        [1, 1, 2, 1, 1, 2, 2],
        "an event type and what it had"
    );
    made!(shop.delete_endpoint(other.id));
    assert_eq!(
        counts(&shop).await,
        [1, 1, 1, 1, 1, 1, 1],
        "an endpoint and what it had"
    );
    made!(shop.delete_application(application.id));
    let declared = manifest([Workspace::new("ws_shop").event_type("order.paid")]);
    apply(&shop.harness, &declared).await;
    assert_eq!(
        counts(&shop).await,
        [1, 0, 1, 2, 1, 1, 2],
        "and one was declared"
    );
}

/// A workspace makes as many endpoints as its plan allows, and a removed one makes room for another.
pub async fn endpoints_of_a_workspace_are_limited<H: ManagementHarness>() {
    let shop = Shop::<H>::empty().await;
    let mut declared = manifest([Workspace::new("ws_shop")]);
    for workspace in &mut declared.workspaces {
        workspace.plan = Some(PlanSpec {
            endpoints_max: Some(2),
            ..PlanSpec::default()
        });
    }
    apply(&shop.harness, &declared).await;
    let first = shop.endpoint("a").await;
    shop.endpoint("b").await;
    let new = NewEndpoint {
        url: Some("https://hooks.example/c".to_owned()),
        ..NewEndpoint::default()
    };
    let refused = act!(shop.create_endpoint(new));
    assert!(
        matches!(refused, Err(ManagementError::Conflict(_))),
        "two are there, which are all: {refused:?}"
    );
    made!(shop.delete_endpoint(first.id));
    shop.endpoint("c").await;
}

async fn counts<H: ManagementHarness>(shop: &Shop<H>) -> [u64; 7] {
    let rows = shop.read(&[Select::RowCounts]).await;
    let count = |kind: &RowKind| rows.row_counts.get(kind).copied().unwrap_or(0);
    let counts: Vec<_> = RowKind::ALL.iter().map(count).collect();
    counts.try_into().expect("seven kinds")
}
