//! Clauses about removing rows.

use nahook_control::{
    ApplyMode, Catalog, CatalogError, KeyHash, KeyStore, Manifest, NewApiKey, NewEndpoint,
    NewPortalSession, SecretText, Select,
};
use nahook_core::SubscriptionStore;

use super::shop::{Shop, act, made};
use crate::ManagementHarness;
use crate::declare::{
    Workspace, endpoint_id, environment_id, event_type_id, event_type_name, scope,
};

/// A removed endpoint is gone from every port: not read, not subscribed, no target; keys that are bound to it are revoked.
/// Its neighbours stay.
pub async fn a_removed_endpoint_is_gone_everywhere<H: ManagementHarness>() {
    let shop = Shop::<H>::empty().await;
    let (a, b) = (shop.endpoint("a").await, shop.endpoint("b").await);
    let paid = shop.event_type("order.paid").await;
    shop.subscribe(a.id, &[paid]).await;
    shop.subscribe(b.id, &[paid]).await;
    let bound = |endpoint, name: &str| NewApiKey {
        name: name.to_owned(),
        endpoint: Some(endpoint),
        ..NewApiKey::default()
    };
    let (to_a, to_b) = (
        made!(shop.create_api_key(bound(a.id, "a"))).1,
        made!(shop.create_api_key(bound(b.id, "b"))).1,
    );
    shop.expect_subscribers("order.paid", Some(&[a.id, b.id]), "both hear of it")
        .await;

    made!(shop.delete_endpoint(a.id));
    let rows = shop
        .read(&[
            Select::Endpoints,
            Select::Endpoint(a.id),
            Select::SubscribersTo(paid),
        ])
        .await;
    assert!(rows.endpoints.iter().eq([&b]), "the other one is read");
    let subscribed: Vec<_> = rows.subscribers.iter().map(|row| row.endpoint).collect();
    assert_eq!(subscribed, [b.id], "its subscriptions went with it");
    shop.expect_subscribers("order.paid", Some(&[b.id]), "it hears no more")
        .await;
    assert_eq!(shop.target(a.id).await, None, "it is no target");
    assert!(shop.target(b.id).await.is_some(), "the other one is");
    assert!(
        !is_let_in(&shop, &to_a).await,
        "a key that is bound to it is revoked"
    );
    assert!(is_let_in(&shop, &to_b).await, "another one is not");
    let again = act!(shop.delete_endpoint(a.id));
    assert!(
        matches!(again, Err(nahook_control::ManagementError::NotFound(_))),
        "it is gone already: {again:?}"
    );
}

/// A removed event type is unknown to triggers and gone from every endpoint's subscriptions and every environment.
pub async fn a_removed_event_type_is_gone<H: ManagementHarness>() {
    let shop = Shop::<H>::empty().await;
    let a = shop.endpoint("a").await;
    let (paid, lost) = (
        shop.event_type("order.paid").await,
        shop.event_type("order.lost").await,
    );
    shop.subscribe(a.id, &[paid, lost]).await;
    let staging = shop.environment("staging").await;
    for event_type in [paid, lost] {
        made!(shop.set_visibility(staging.id, event_type, true));
    }
    made!(shop.delete_event_type(paid));
    shop.expect_subscribers("order.paid", None, "it is unknown")
        .await;
    shop.expect_subscribers("order.lost", Some(&[a.id]), "the other one is not")
        .await;
    let rows = shop
        .read(&[
            Select::EventTypes,
            Select::SubscriptionsOf(a.id),
            Select::PublicationsIn(staging.id),
        ])
        .await;
    let types: Vec<_> = rows.event_types.iter().map(|row| row.id).collect();
    let subscribed: Vec<_> = rows
        .subscriptions
        .iter()
        .map(|row| row.event_type)
        .collect();
    let published: Vec<_> = rows.publications.iter().map(|row| row.event_type).collect();
    assert_eq!(
        (types, subscribed, published),
        (vec![lost], vec![lost], vec![lost]),
        "the other one stays"
    );
}

/// A removed environment is gone, and keys that are bound to it are revoked.
pub async fn a_removed_environment_is_gone<H: ManagementHarness>() {
    let shop = Shop::<H>::empty().await;
    let staging = shop.environment("staging").await;
    let bound = NewApiKey {
        name: "staging".to_owned(),
        environment: Some(staging.id),
        ..NewApiKey::default()
    };
    let (_, secret) = made!(shop.create_api_key(bound));
    assert!(is_let_in(&shop, &secret).await, "its key is let in");
    made!(shop.delete_environment(staging.id));
    let rows = shop.read(&[Select::Environments]).await;
    let slugs: Vec<_> = rows
        .environments
        .iter()
        .map(|row| row.slug.as_str())
        .collect();
    assert_eq!(slugs, ["production"], "the default one stays");
    assert!(!is_let_in(&shop, &secret).await, "its key is revoked");
}

/// A removed application takes its endpoints along, and no others.
pub async fn a_removed_application_takes_its_endpoints<H: ManagementHarness>() {
    let shop = Shop::<H>::empty().await;
    let other = shop.endpoint("other").await;
    let application = shop.application(Some("cust-1"), None).await;
    let new = NewEndpoint {
        url: Some("https://hooks.example/own".to_owned()),
        application: Some(application.id),
        ..NewEndpoint::default()
    };
    let own = made!(shop.create_endpoint(new));
    let session = NewPortalSession::default();
    made!(shop.create_portal_session(application.id, session));
    let paid = shop.event_type("order.paid").await;
    shop.subscribe(own.id, &[paid]).await;
    shop.subscribe(other.id, &[paid]).await;
    made!(shop.delete_application(application.id));
    let rows = shop
        .read(&[
            Select::Application(application.id),
            Select::ApplicationCalled("cust-1".to_owned()),
            Select::Endpoints,
        ])
        .await;
    assert_eq!(rows.applications, [], "the application is gone");
    assert!(
        rows.endpoints.iter().eq([&other]),
        "and its endpoint with it"
    );
    shop.expect_subscribers("order.paid", Some(&[other.id]), "which hears no more")
        .await;
    assert_eq!(shop.target(own.id).await, None, "and is no target");
}

/// The name of a removed row may be used again, for another row.
pub async fn a_name_may_be_used_again<H: ManagementHarness>() {
    let shop = Shop::<H>::empty().await;
    let mut seen = std::collections::HashSet::new();
    for round in 0..3 {
        let paid = shop.event_type("order.paid").await;
        let staging = shop.environment("staging").await;
        let application = shop.application(Some("cust-1"), None).await;
        let ids = (paid, staging.id, application.id);
        assert!(seen.insert(ids), "new ids in round {round}");
        shop.expect_subscribers("order.paid", Some(&[]), "nobody subscribed yet")
            .await;
        made!(shop.delete_event_type(paid));
        made!(shop.delete_environment(staging.id));
        made!(shop.delete_application(application.id));
    }
}

/// The id of a removed row may be declared again by its own workspace, and not by another while that has it.
pub async fn a_removed_id_may_be_declared_again<H: ManagementHarness>() {
    let shop = Shop::<H>::empty().await;
    let declared = Workspace::new("ws_shop")
        .event_type("order.paid")
        .environment("staging", &["order.paid"])
        .endpoint_in("staging", "ep_fixed", &["order.paid"])
        .manifest();
    let apply = async |manifest: Manifest| {
        let catalog = shop.harness.catalog();
        catalog.apply(&manifest, ApplyMode::Commit).await
    };
    let scope = scope("ws_shop", Some("staging"));
    let subscribers = async || {
        let store = shop.harness.subscriptions();
        let name = event_type_name("order.paid");
        let found = store.subscribers(&name, &scope).await;
        let found = found.expect("the store can be asked");
        found.map(|found| found.endpoints.to_vec())
    };
    let (endpoint, paid) = (
        endpoint_id("ep_fixed"),
        event_type_id("ws_shop", "order.paid"),
    );
    let staging = environment_id("ws_shop", "staging");
    for round in 0..3 {
        let applied = apply(declared.clone()).await;
        let applied = applied.unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert!(!applied.is_empty(), "it was not there, round {round}");
        assert_eq!(
            subscribers().await,
            Some(vec![endpoint]),
            "it is subscribed, round {round}"
        );
        let target = shop.target(endpoint).await.expect("it is a target");
        let secrets = target.secrets.iter().map(SecretText::expose);
        assert!(
            secrets.clone().count() == 1 && secrets.clone().all(|secret| !secret.is_empty()),
            "with a secret of its own"
        );
        made!(shop.delete_endpoint(endpoint));
        assert_eq!(shop.target(endpoint).await, None, "it is gone");
        made!(shop.delete_event_type(paid));
        made!(shop.delete_environment(staging));
    }
    let applied = apply(declared).await;
    applied.expect("it can be declared once more");
    let other = Workspace::new("ws_other")
        .endpoint("ep_fixed", &[])
        .manifest();
    let refused = apply(other).await;
    assert!(
        matches!(refused, Err(CatalogError::Manifest(_))),
        "it is another workspace's: {refused:?}"
    );
}

pub(super) async fn is_let_in<H: ManagementHarness>(shop: &Shop<H>, secret: &SecretText) -> bool {
    let found = shop
        .harness
        .keys()
        .api_key(&KeyHash::of(secret.expose()))
        .await;
    let found = found.expect("the store can be asked");
    found.is_some_and(|entry| !entry.disabled)
}
