//! Caches of the catalog are invalidated when it changes.

use nahook_control::{
    ApiKeySpec, ApplyMode, Catalog, EndpointDirectory, EndpointSpec, HealthReport, HealthState,
    KeyHash, KeyState, KeyStore,
};
use nahook_core::{FailureKind, Outcome, SubscriptionStore};
use nahook_testkit::declare::{
    Workspace, api_key_id, endpoint, endpoint_id, event_type_name, scope,
};

use crate::support::{
    EVENT_TYPE, NOW, Place, WORKSPACE, all_published, declare, publish, set_key_state,
};

const SECRET: &str = "nhk_us_abc_0000000000000000000000000";

fn shop(is_active: bool) -> Workspace {
    let endpoint = EndpointSpec {
        is_active: Some(is_active),
        ..endpoint("ep_1", &[EVENT_TYPE])
    };
    let key = ApiKeySpec {
        id: Some(api_key_id("key_1")),
        name: "one".to_owned(),
        key: Some(SECRET.to_owned()),
        ..ApiKeySpec::default()
    };
    Workspace::new(WORKSPACE)
        .event_type(EVENT_TYPE)
        .with(|spec| {
            spec.endpoints.push(endpoint);
            spec.api_keys.push(key);
        })
}

/// The time stands still, so that what was just seen of the file never grows old: a change of this store's own has to be
/// noticed by itself.
#[tokio::test(start_paused = true)]
async fn own_change_is_seen_by_the_next_call() {
    let place = Place::new();
    let store = place.open();
    let subscribed = async || {
        let (name, scope) = (event_type_name(EVENT_TYPE), scope(WORKSPACE, None));
        let found = store.subscribers(&name, &scope).await.unwrap();
        found.unwrap().endpoints.len()
    };
    let is_disabled = async || {
        let found = store.api_key(&KeyHash::of(SECRET)).await.unwrap();
        found.map(|found| found.disabled)
    };
    let is_active = async || {
        let found = store.targets(&[endpoint_id("ep_1")]).await.unwrap();
        found[0].as_ref().unwrap().is_active
    };
    let apply = async |is_active| {
        let manifest = shop(is_active).manifest();
        store.apply(&manifest, ApplyMode::Commit).await.unwrap();
    };
    apply(true).await;
    assert_eq!((subscribed().await, is_active().await), (1, true));
    assert_eq!(is_disabled().await, Some(false));
    apply(false).await;
    assert_eq!((subscribed().await, is_active().await), (0, false));
    apply(true).await;
    assert_eq!((subscribed().await, is_active().await), (1, true));
    let report = HealthReport {
        endpoint: endpoint_id("ep_1"),
        state: HealthState::Disable,
    };
    store.report(&[report]).await.unwrap();
    assert_eq!((subscribed().await, is_active().await), (0, false));
    for (state, expected) in [
        (KeyState::Disabled, Some(true)),
        (KeyState::Active, Some(false)),
        (KeyState::Revoked, None),
    ] {
        set_key_state(&store, "key_1", state).await;
        assert_eq!(is_disabled().await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_reported_of_an_endpoint_is_seen_by_the_next_call() {
    let place = Place::new();
    let store = place.open();
    let manifest = shop(true).manifest();
    store.apply(&manifest, ApplyMode::Commit).await.unwrap();
    let endpoint = endpoint_id("ep_1");
    for (state, expected) in [
        (HealthState::Healthy, None),
        (HealthState::FailingSince(NOW), Some(NOW)),
        (HealthState::Healthy, None),
    ] {
        let report = HealthReport { endpoint, state };
        store.report(&[report]).await.unwrap();
        let targets = store.targets(&[endpoint]).await.unwrap();
        assert_eq!(targets[0].as_ref().unwrap().failing_since, expected);
    }
}

#[tokio::test]
async fn endpoint_that_another_process_removes_is_gone_for_those_who_publish_too() {
    let place = Place::new();
    let store = place.open();
    declare(&store, 2).await;
    assert!(all_published(&publish(&store, 1, 2).await));
    let remove = "UPDATE nahook_endpoint SET deleted_at = 1 WHERE row = 1;
        UPDATE nahook_catalog_state SET version = version + 1";
    place.raw().execute_batch(remove).unwrap();
    let slots = publish(&store, 2, 2).await;
    let outcomes = [slots[0].outcome(), slots[1].outcome()];
    let gone = Outcome::Failed(FailureKind::EndpointGone);
    assert_eq!(outcomes, [gone, Outcome::Published]);
}
