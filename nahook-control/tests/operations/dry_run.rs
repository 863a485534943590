//! Dry runs say what a trigger does.

use nahook_control::{
    EndpointPatch, NewEndpoint, NewEnvironment, WouldBe::Inactive, WouldBe::NotSubscribed,
    WouldBe::OtherEnvironment, WouldBe::Queued, WouldBe::Unpublished,
};
use nahook_core::SubscriptionStore;
use nahook_core::admission::Caller;
use nahook_core::id::{EnvironmentId, EventTypeId};
use nahook_testkit::declare::{caller, event_type_name};

use crate::{Shop, expect_not_found, webhook};

#[tokio::test]
async fn every_endpoint_is_told_with_the_reason_and_the_queued_are_the_subscribers() {
    let shop = Shop::empty().await;
    let workspace = &shop.workspace;
    let paid = shop.event_type("order.paid").await;
    let new = NewEnvironment {
        name: "Staging".to_owned(),
        slug: "staging".to_owned(),
    };
    let staging = act!(shop.create_environment(new)).unwrap().id;
    let (a, inactive, unsubscribed) = (
        shop.endpoint().await.id,
        shop.endpoint().await.id,
        shop.endpoint().await.id,
    );
    let new = NewEndpoint {
        environment: Some(staging),
        ..webhook()
    };
    let elsewhere = shop.create(new).await.unwrap().id;
    for endpoint in [elsewhere, a, inactive] {
        act!(shop.subscribe(endpoint, vec![paid])).unwrap();
    }
    let patch = EndpointPatch {
        is_active: Some(false),
        ..EndpointPatch::default()
    };
    act!(shop.update_endpoint(inactive, patch)).unwrap();
    let production = shop.management.environments(workspace).await.unwrap()[0].id;

    let told = async |environment: Option<EnvironmentId>| {
        let told = shop
            .management
            .dry_run(workspace, paid, environment)
            .await
            .unwrap();
        assert_eq!(told.event_type, paid);
        // Whatever is told as queued is what the engine's look-up answers.
        let bound = Caller {
            environment,
            ..caller("ws_shop", "key")
        };
        let scope = bound.fan_out_scope().unwrap();
        let found = shop
            .store
            .subscribers(&event_type_name("order.paid"), &scope)
            .await;
        let queued: Vec<_> = told
            .endpoints
            .iter()
            .filter(|(_, would_be)| *would_be == Queued)
            .map(|(id, _)| *id)
            .collect();
        assert_eq!(queued, found.unwrap().unwrap().endpoints.to_vec());
        told.endpoints
    };
    let expected = |of_elsewhere, of_a, of_inactive| {
        [
            (elsewhere, of_elsewhere),
            (a, of_a),
            (inactive, of_inactive),
            (unsubscribed, NotSubscribed),
        ]
    };
    assert_eq!(told(None).await, expected(Queued, Queued, Inactive));
    assert_eq!(
        told(Some(production)).await,
        expected(OtherEnvironment, Queued, Inactive)
    );
    let in_staging = expected(Unpublished, OtherEnvironment, OtherEnvironment);
    assert_eq!(told(Some(staging)).await, in_staging);
    // Of two reasons the first that holds.
    let active = async |is_active| {
        let patch = EndpointPatch {
            is_active: Some(is_active),
            ..EndpointPatch::default()
        };
        act!(shop.update_endpoint(elsewhere, patch)).unwrap()
    };
    active(false).await;
    assert_eq!(told(Some(staging)).await, in_staging);
    active(true).await;
    act!(shop.set_visibility(staging, paid, true)).unwrap();
    let in_staging = expected(Queued, OtherEnvironment, OtherEnvironment);
    assert_eq!(told(Some(staging)).await, in_staging);
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let shop = Shop::empty().await;
    let paid = shop.event_type("order.paid").await;
    let nowhere = EventTypeId::new("evt_nowhere").unwrap();
    let missing = shop
        .management
        .dry_run(&shop.workspace, nowhere, None)
        .await;
    expect_not_found(missing, "event type");
    let nowhere = EnvironmentId::new("env_nowhere").unwrap();
    let missing = shop
        .management
        .dry_run(&shop.workspace, paid, Some(nowhere))
        .await;
    expect_not_found(missing, "environment");
}
