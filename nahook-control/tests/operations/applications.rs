//! Applications and their caps.

use std::collections::BTreeMap;

use nahook_control::{
    ApplicationPatch, EndpointPatch, ManagementError, NewApplication, NewEndpoint,
};
use nahook_core::Clock as _;
use nahook_core::id::ApplicationId;

use crate::{Shop, expect_conflict, expect_invalid, expect_not_found, webhook};

fn named(name: &str, external_id: Option<&str>, max_endpoints: Option<u32>) -> NewApplication {
    NewApplication {
        name: name.to_owned(),
        external_id: external_id.map(str::to_owned),
        metadata: BTreeMap::new(),
        max_endpoints,
        show_event_types: true,
    }
}

async fn create(shop: &Shop, new: NewApplication) -> Result<ApplicationId, ManagementError> {
    let made = act!(shop.create_application(new));
    made.map(|row| row.id)
}

fn of(application: ApplicationId) -> NewEndpoint {
    NewEndpoint {
        application: Some(application),
        ..webhook()
    }
}

#[tokio::test]
async fn names_are_texts_and_external_ids_unique() {
    let shop = Shop::empty().await;
    expect_invalid(create(&shop, named(" ", None, None)).await, "name");
    create(&shop, named("a", None, None)).await.unwrap();
    create(&shop, named("a", None, None)).await.unwrap();
    create(&shop, named("a", Some("x"), None)).await.unwrap();
    expect_conflict(create(&shop, named("b", Some("x"), None)).await);
    let crowded = NewApplication {
        metadata: (0..6).map(|n| (n.to_string(), String::new())).collect(),
        ..named("a", None, None)
    };
    expect_invalid(create(&shop, crowded).await, "metadata");
}

#[tokio::test]
async fn the_cap_counts_inactive_endpoints_and_is_raised_lowered_and_lifted() {
    let shop = Shop::empty().await;
    let application = create(&shop, named("a", None, Some(1))).await.unwrap();
    let limit = |max_endpoints| ApplicationPatch {
        max_endpoints: Some(max_endpoints),
        ..ApplicationPatch::default()
    };
    let update = async |patch| {
        let updated =
            shop.management
                .update_application(&shop.workspace, &shop.actor, application, patch);
        updated.await.unwrap()
    };
    let first = shop.create(of(application)).await.unwrap();
    let over = |result: Result<_, ManagementError>, cap| match result {
        Err(ManagementError::EndpointLimit { max }) => assert_eq!(max, cap),
        other => panic!("over the cap of {cap}: {other:?}"),
    };
    over(shop.create(of(application)).await, 1);
    let inactive = EndpointPatch {
        is_active: Some(false),
        ..EndpointPatch::default()
    };
    act!(shop.update_endpoint(first.id, inactive)).unwrap();
    over(shop.create(of(application)).await, 1);
    assert_eq!(
        update(ApplicationPatch::default()).await.max_endpoints,
        Some(1),
        "kept"
    );
    update(limit(Some(0))).await;
    over(shop.create(of(application)).await, 0);
    assert_eq!(update(limit(None)).await.max_endpoints, None, "lifted");
    shop.create(of(application)).await.unwrap();
    update(limit(Some(1))).await;
    let kept = shop
        .management
        .endpoints_of(&shop.workspace, application)
        .await
        .unwrap();
    assert_eq!(kept.len(), 2, "lowering takes none away");
}

#[tokio::test]
async fn application_shows_when_it_was_changed_last() {
    let shop = Shop::empty().await;
    let application = create(&shop, named("a", None, None)).await.unwrap();
    shop.clock.advance(std::time::Duration::from_secs(1));
    let patch = ApplicationPatch {
        name: Some("b".to_owned()),
        ..ApplicationPatch::default()
    };
    assert_eq!(
        act!(shop.update_application(application, patch))
            .unwrap()
            .updated_at,
        shop.clock.now()
    );
}

#[tokio::test]
async fn none_may_have_endpoints_at_a_cap_of_none() {
    let shop = Shop::empty().await;
    let application = create(&shop, named("a", None, Some(0))).await.unwrap();
    let refused = shop.create(of(application)).await;
    assert!(
        matches!(refused, Err(ManagementError::EndpointLimit { max: 0 })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let shop = Shop::empty().await;
    let nowhere = ApplicationId::new("app_nowhere").unwrap();
    let workspace = &shop.workspace;
    expect_not_found(
        shop.management.application(workspace, nowhere).await,
        "application",
    );
    expect_not_found(
        shop.management.endpoints_of(workspace, nowhere).await,
        "application",
    );
    let deleted = act!(shop.delete_application(nowhere));
    expect_not_found(deleted, "application");
    let patch = ApplicationPatch::default();
    let updated = act!(shop.update_application(nowhere, patch));
    expect_not_found(updated, "application");
}

#[tokio::test]
async fn applications_are_listed_the_oldest_first_and_in_parts() {
    let shop = Shop::empty().await;
    let mut made = Vec::new();
    for name in ["a", "b", "c"] {
        made.push(create(&shop, named(name, None, None)).await.unwrap());
    }
    let listed = async |offset, limit| {
        let listed = shop
            .management
            .applications(&shop.workspace, offset, limit)
            .await;
        listed.unwrap().iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(listed(0, 10).await, made);
    assert_eq!(listed(1, 1).await, made[1..2]);
}
