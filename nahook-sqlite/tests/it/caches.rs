//! Caches of the catalog are invalidated when their workspace changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use nahook_control::{
    Actor, ApiKeySpec, ApplyMode, Catalog, EndpointDirectory, EndpointSpec, HealthReport,
    HealthState, KeyHash, KeyState, KeyStore, Management, NewApiKey, NewEndpoint,
};
use nahook_core::{FailureKind, Outcome, SubscriptionStore};
use nahook_sqlite::metric;
use nahook_testkit::declare::{
    Workspace, api_key_id, endpoint, endpoint_id, event_type_name, scope, workspace_id,
};

use crate::support::{
    EVENT_TYPE, NOW, Place, WORKSPACE, all_published, declare, publish, set_key_state,
};

/// Counts look-ups that no cache has answered.
#[derive(Clone, Default)]
struct Misses(Arc<AtomicU64>);

impl Misses {
    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Recorder for Misses {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let is_miss = key.labels().any(|label| label.value() == metric::MISS);
        if key.name() == metric::LOOKUPS && is_miss {
            Counter::from_arc(Arc::clone(&self.0))
        } else {
            Counter::noop()
        }
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

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

#[tokio::test]
async fn change_of_another_workspace_leaves_look_ups_warm() {
    let misses = Misses::default();
    let _recording = metrics::set_default_local_recorder(&misses);
    let place = Place::new();
    let store = place.open();
    store
        .apply(&shop(true).manifest(), ApplyMode::Commit)
        .await
        .unwrap();
    let other = Workspace::new("ws_other").event_type(EVENT_TYPE);
    let manifest = other.endpoints(1).manifest();
    store.apply(&manifest, ApplyMode::Commit).await.unwrap();
    let look_up = async || {
        let (name, scope) = (event_type_name(EVENT_TYPE), scope(WORKSPACE, None));
        let found = store.subscribers(&name, &scope).await.unwrap();
        assert_eq!(found.unwrap().endpoints.len(), 1);
        let found = store.api_key(&KeyHash::of(SECRET)).await.unwrap();
        assert!(found.is_some_and(|found| !found.disabled));
        let targets = store.targets(&[endpoint_id("ep_1")]).await.unwrap();
        assert!(targets[0].as_ref().unwrap().is_active);
    };
    look_up().await;
    assert_eq!(misses.count(), 3);

    let (management, actor) = (Management::new(store.clone()), Actor::operator());
    let other = workspace_id("ws_other");
    for n in 0..5 {
        let name = event_type_name(&format!("made.number{n}"));
        let made = management.create_event_type(&other, &actor, name, None);
        let made = made.await.unwrap().event_type;
        look_up().await;
        let new = NewEndpoint {
            url: Some("https://other.example/".to_owned()),
            ..NewEndpoint::default()
        };
        let endpoint = management.create_endpoint(&other, &actor, new).await;
        let endpoint = endpoint.unwrap().id;
        look_up().await;
        let subscribed = management.subscribe(&other, &actor, endpoint, vec![made.id]);
        subscribed.await.unwrap();
        look_up().await;
        let new = NewApiKey {
            name: format!("key {n}"),
            environment: None,
            endpoint: None,
        };
        management
            .create_api_key(&other, &actor, new.clone())
            .await
            .unwrap();
        look_up().await;
        // A name that is taken.
        let refused = management.create_api_key(&other, &actor, new).await;
        refused.unwrap_err();
        look_up().await;
        let state = HealthState::FailingSince(NOW);
        store
            .report(&[HealthReport { endpoint, state }])
            .await
            .unwrap();
        look_up().await;
        let state = HealthState::Disable;
        store
            .report(&[HealthReport { endpoint, state }])
            .await
            .unwrap();
        look_up().await;
    }
    assert_eq!(misses.count(), 3);

    // A change that does not say whose it is may be anybody's.
    let unnamed = "UPDATE nahook_catalog_state SET version = version + 1";
    place.raw().execute_batch(unnamed).unwrap();
    store
        .ensure_event_type(&event_type_name(EVENT_TYPE), &other)
        .await
        .unwrap();
    look_up().await;
    assert_eq!(misses.count(), 6);
}
