//! Grouping, cancellation and visibility of writes.

use std::collections::BTreeSet;
use std::time::Duration;

use nahook_control::{
    ApplyMode, Catalog, EndpointDirectory, HealthReport, HealthState, KeyHash, KeyState, KeyStore,
};
use nahook_core::admission::Verdict;
use nahook_core::id::DeliveryId;
use nahook_core::{
    DeliveryPublisher, FailureKind, FanOut, NewEvent, Outcome, RateLimiter, SubscriptionStore,
    TriggerError,
};
use nahook_queue::DeliveryLog;
use nahook_sqlite::{SqliteLimiter, SqliteSettings, SqliteStore};
use nahook_testkit::ManualClock;
use nahook_testkit::declare::{
    Workspace, api_key_id, caller, deliveries, endpoint, event, event_type_name, nth_endpoint_id,
    payload, scope, workspace_id,
};

use crate::support::{
    EVENT_TYPE, NOW, Place, WORKSPACE, all_failed, all_published, declare, first_endpoints, halves,
    ids, publish, queued, server, set_key_state,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_arrives_together_shares_a_commit() {
    const TASKS: u64 = 64;
    const EACH: u64 = 10;
    let place = Place::new();
    let store = place.open();
    declare(&store, 3).await;
    let before = store.writer_stats();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut published = BTreeSet::new();
                for number in 0..EACH {
                    let slots = publish(&store, task * EACH + number, 3).await;
                    assert!(all_published(&slots));
                    published.extend(ids(&slots));
                }
                published
            })
        })
        .collect();
    let mut published = BTreeSet::new();
    for task in tasks {
        published.extend(task.await.unwrap());
    }
    let stats = store.writer_stats();
    assert_eq!(stats.jobs - before.jobs, TASKS * EACH);
    let commits = stats.commits - before.commits;
    assert!(commits * 4 < TASKS * EACH, "{commits} commits");
    assert_eq!(published.len() as u64, TASKS * EACH * 3);
    assert_eq!(queued(&store).await, published);
    assert_eq!(halves(&place.raw()), (640, 1_920, 0));
}

#[tokio::test]
async fn one_given_up_before_it_was_begun_is_not_written() {
    let place = Place::new();
    let store = place.open();
    declare(&store, 2).await;
    let other = place.raw();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let event = event(WORKSPACE, EVENT_TYPE, 1, NOW);
    let mut slots = deliveries(&event, &first_endpoints(2));
    let given_up =
        tokio::time::timeout(Duration::from_millis(50), store.publish(&event, &mut slots)).await;
    assert!(given_up.is_err());
    assert!(all_failed(&slots, FailureKind::QueueUnavailable));
    other.execute_batch("ROLLBACK").unwrap();
    let later = publish(&store, 2, 2).await;
    assert!(all_published(&later));
    assert_eq!(queued(&store).await, ids(&later));
    assert_eq!(halves(&place.raw()), (1, 2, 0));
}

#[tokio::test]
async fn a_trigger_that_was_never_begun_may_be_repeated() {
    let place = Place::new();
    let store = place.open();
    let shop = Workspace::new(WORKSPACE)
        .event_type(EVENT_TYPE)
        .endpoint("ep_1", &[EVENT_TYPE]);
    store
        .apply(&shop.manifest(), ApplyMode::Commit)
        .await
        .unwrap();
    let engine = FanOut::new(store.clone(), store.clone());
    let new = NewEvent {
        event_type: event_type_name(EVENT_TYPE),
        payload: payload("{}"),
        metadata: nahook_core::Metadata::default(),
    };
    let other = place.raw();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_millis(50);
    let refused = engine
        .trigger_by(deadline, new.clone(), scope(WORKSPACE, None))
        .await;
    assert!(
        matches!(refused, Err(TriggerError::DeadlineExceeded)),
        "{refused:?}"
    );
    other.execute_batch("ROLLBACK").unwrap();
    let receipt = engine.trigger(new, scope(WORKSPACE, None)).await.unwrap();
    let accepted: BTreeSet<DeliveryId> = receipt.delivery_ids().collect();
    assert_eq!(accepted.len(), 1);
    assert_eq!(queued(&store).await, accepted);
}

#[tokio::test]
async fn a_deleted_endpoint_is_gone_and_its_siblings_are_queued() {
    let place = Place::new();
    let store = place.open();
    declare(&store, 3).await;
    // Remembered by the writer from here on.
    assert!(all_published(&publish(&store, 1, 3).await));
    place
        .raw()
        .execute_batch(
            "UPDATE nahook_endpoint SET deleted_at = 1 WHERE id = 'ep_000001';
             UPDATE nahook_catalog_state SET version = version + 1",
        )
        .unwrap();
    let slots = publish(&store, 2, 3).await;
    let outcomes: Vec<_> = slots.iter().map(nahook_core::Delivery::outcome).collect();
    let gone = Outcome::Failed(FailureKind::EndpointGone);
    assert_eq!(outcomes, [Outcome::Published, gone, Outcome::Published]);
    // What was queued before is delivered or given up by the worker, and stays in the history.
    assert_eq!(queued(&store).await.len(), 5);
    let targets = store.targets(&first_endpoints(3)).await.unwrap();
    assert!(targets[0].is_some() && targets[1].is_none() && targets[2].is_some());
    let record = store
        .delivery(slots[0].id(), &workspace_id(WORKSPACE))
        .await
        .unwrap();
    assert!(record.is_some());
    assert_eq!(
        store
            .delivery(slots[1].id(), &workspace_id(WORKSPACE))
            .await
            .unwrap(),
        None
    );
}

#[tokio::test]
async fn another_workspaces_endpoint_is_gone_too() {
    let place = Place::new();
    let store = place.open();
    declare(&store, 1).await;
    let other = Workspace::new("ws_other").event_type(EVENT_TYPE);
    store
        .apply(&other.manifest(), ApplyMode::Commit)
        .await
        .unwrap();
    for workspace in ["ws_other", "ws_unknown"] {
        let event = event(workspace, EVENT_TYPE, 1, NOW);
        let mut slots = deliveries(&event, &first_endpoints(1));
        store.publish(&event, &mut slots).await;
        assert!(all_failed(&slots, FailureKind::EndpointGone));
    }
    assert_eq!(halves(&place.raw()), (0, 0, 0));
}

#[tokio::test]
async fn an_event_may_be_published_in_parts_and_again() {
    let place = Place::new();
    let store = place.open();
    declare(&store, 4).await;
    let event = event(WORKSPACE, EVENT_TYPE, 1, NOW);
    let mut slots = deliveries(&event, &first_endpoints(4));
    let (first, second) = slots.split_at_mut(2);
    store.publish(&event, second).await;
    store.publish(&event, first).await;
    store.publish(&event, &mut slots).await;
    assert!(all_published(&slots));
    assert_eq!(halves(&place.raw()), (1, 4, 0));
    assert_eq!(queued(&store).await, ids(&slots));
}

#[tokio::test]
async fn an_ordinal_beyond_what_a_key_holds_is_refused_alone() {
    let place = Place::new();
    let store = place.open();
    declare(&store, 1).await;
    let event = event(WORKSPACE, EVENT_TYPE, 1, NOW);
    let endpoint = nth_endpoint_id(0);
    let mut slots = [
        nahook_core::Delivery::new(event.id, (1 << 20) - 1, endpoint),
        nahook_core::Delivery::new(event.id, 1 << 20, endpoint),
    ];
    store.publish(&event, &mut slots).await;
    assert_eq!(slots[0].outcome(), Outcome::Published);
    assert_eq!(
        slots[1].outcome(),
        Outcome::Failed(FailureKind::QueueUnavailable)
    );
    assert_eq!(queued(&store).await, BTreeSet::from([slots[0].id()]));
    let record = store
        .delivery(slots[0].id(), &workspace_id(WORKSPACE))
        .await
        .unwrap();
    assert_eq!(record.map(|record| record.message), Some(event.id));
}

#[tokio::test]
async fn another_process_changes_the_catalog_and_that_is_seen_a_moment_later() {
    let place = Place::new();
    let store = place.open();
    let secret = "nhk_us_abc_0000000000000000000000000";
    let shop = |is_active: bool| {
        Workspace::new(WORKSPACE)
            .event_type(EVENT_TYPE)
            .with(|spec| {
                spec.endpoints.push(nahook_control::EndpointSpec {
                    is_active: Some(is_active),
                    ..endpoint("ep_1", &[EVENT_TYPE])
                });
                spec.api_keys.push(nahook_control::ApiKeySpec {
                    id: Some(api_key_id("key_1")),
                    name: "one".to_owned(),
                    key: Some(secret.to_owned()),
                    ..nahook_control::ApiKeySpec::default()
                });
            })
    };
    let tool = SqliteStore::open(place.file(), SqliteSettings::tool()).unwrap();
    let subscribed = async || {
        let found = store
            .subscribers(&event_type_name(EVENT_TYPE), &scope(WORKSPACE, None))
            .await;
        found.unwrap().map(|found| found.endpoints.len())
    };
    // A version that was read just before counts for a millisecond.
    let seen = || tokio::time::sleep(Duration::from_millis(2));
    let is_disabled = async || {
        let found = store.api_key(&KeyHash::of(secret)).await.unwrap();
        found.map(|found| found.disabled)
    };
    let is_active = async || {
        let found = store
            .targets(&[nahook_testkit::declare::endpoint_id("ep_1")])
            .await
            .unwrap();
        found[0].as_ref().map(|target| target.is_active)
    };
    assert_eq!(
        (subscribed().await, is_disabled().await, is_active().await),
        (None, None, None)
    );
    tool.apply(&shop(true).manifest(), ApplyMode::Commit)
        .await
        .unwrap();
    seen().await;
    for _ in 0..2 {
        assert_eq!(subscribed().await, Some(1));
        assert_eq!(
            (is_disabled().await, is_active().await),
            (Some(false), Some(true))
        );
    }
    tool.apply(&shop(false).manifest(), ApplyMode::Commit)
        .await
        .unwrap();
    set_key_state(&tool, "key_1", KeyState::Disabled).await;
    seen().await;
    assert_eq!(subscribed().await, Some(0));
    assert_eq!(
        (is_disabled().await, is_active().await),
        (Some(true), Some(false))
    );
    set_key_state(&tool, "key_1", KeyState::Revoked).await;
    seen().await;
    assert_eq!(is_disabled().await, None);
}

#[tokio::test]
async fn a_former_secret_signs_until_its_end() {
    let place = Place::new();
    let clock = ManualClock::starting_at(NOW);
    let settings = SqliteSettings::server().with_clock(clock.clone());
    let store = SqliteStore::open(place.file(), settings).unwrap();
    declare(&store, 1).await;
    let until = i64::try_from(NOW.as_nanos()).unwrap() + 1_000_000_000;
    place
        .raw()
        .execute_batch(&format!(
            "UPDATE nahook_endpoint SET previous_secret = 'whsec_b2xk', previous_secret_until = {until};
             UPDATE nahook_catalog_state SET version = version + 1"
        ))
        .unwrap();
    let secrets = async || {
        let targets = store.targets(&first_endpoints(1)).await.unwrap();
        let target = targets[0].clone().unwrap();
        target
            .secrets
            .iter()
            .map(|secret| secret.expose().to_owned())
            .collect::<Vec<_>>()
    };
    for _ in 0..2 {
        let both = secrets().await;
        assert_eq!(both.len(), 2);
        assert_eq!(both[1], "whsec_b2xk");
    }
    clock.advance(Duration::from_secs(1));
    assert_eq!(secrets().await.len(), 1);
}

#[tokio::test]
async fn an_endpoint_that_is_switched_on_again_starts_with_a_clean_sheet() {
    let place = Place::new();
    let store = place.open();
    declare(&store, 1).await;
    let endpoint = nth_endpoint_id(0);
    for state in [HealthState::FailingSince(NOW), HealthState::Disable] {
        store
            .report(&[HealthReport { endpoint, state }])
            .await
            .unwrap();
    }
    let target = async || store.targets(&[endpoint]).await.unwrap().remove(0).unwrap();
    assert!(!target().await.is_active);
    assert_eq!(target().await.failing_since, Some(NOW));
    let on = Workspace::new(WORKSPACE).endpoints(1).with(|spec| {
        spec.endpoints[0].is_active = Some(true);
    });
    store
        .apply(&on.manifest(), ApplyMode::Commit)
        .await
        .unwrap();
    assert!(target().await.is_active);
    assert_eq!(target().await.failing_since, None);
}

#[tokio::test]
async fn a_long_debt_survives_a_restart_and_a_short_one_is_forgiven() {
    let place = Place::new();
    let clock = ManualClock::starting_at(NOW);
    let settings = || SqliteSettings::server().with_clock(clock.clone());
    let rate = |secs| {
        let two = std::num::NonZeroU32::new(2).unwrap();
        nahook_core::admission::Rate::new(two, Duration::from_secs(secs), two)
    };
    let mut daily = caller(WORKSPACE, "daily");
    daily.plan.key_rate = rate(86_400);
    let mut quick = caller(WORKSPACE, "quick");
    quick.plan.key_rate = rate(10);
    let mut shared = caller("ws_daily", "other");
    shared.plan.workspace_rate = rate(86_400);
    let all = [daily, quick, shared];

    let store = SqliteStore::open(place.file(), settings()).unwrap();
    let limiter = SqliteLimiter::load(&store).await.unwrap();
    for caller in &all {
        for _ in 0..2 {
            assert_eq!(limiter.check(caller).await.unwrap(), Verdict::Admit);
        }
        assert_ne!(limiter.check(caller).await.unwrap(), Verdict::Admit);
    }
    let before = limiter.check(&daily).await.unwrap();
    drop(limiter);
    drop(store);

    let store = SqliteStore::open(place.file(), settings()).unwrap();
    let limiter = SqliteLimiter::load(&store).await.unwrap();
    assert_eq!(limiter.check(&daily).await.unwrap(), before);
    assert_ne!(limiter.check(&shared).await.unwrap(), Verdict::Admit);
    assert_eq!(limiter.check(&quick).await.unwrap(), Verdict::Admit);

    // Once paid off, a debt leaves the file.
    clock.advance(Duration::from_hours(24));
    limiter.save().await.unwrap();
    let kept: i64 = place
        .raw()
        .query_row("SELECT count(*) FROM nahook_limiter_arrival", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(kept, 0);
}

#[tokio::test]
async fn a_debt_is_kept_while_the_server_runs() {
    let place = Place::new();
    let store = SqliteStore::open(place.file(), server()).unwrap();
    let limiter = SqliteLimiter::load(&store).await.unwrap();
    let mut daily = caller(WORKSPACE, "daily");
    let one = std::num::NonZeroU32::MIN;
    daily.plan.key_rate = nahook_core::admission::Rate::new(one, Duration::from_hours(24), one);
    assert_eq!(limiter.check(&daily).await.unwrap(), Verdict::Admit);
    let raw = place.raw();
    let mut waited = 0;
    while raw
        .query_row("SELECT count(*) FROM nahook_limiter_arrival", [], |row| {
            row.get::<_, i64>(0)
        })
        .unwrap()
        == 0
    {
        waited += 1;
        assert!(waited < 1_000, "nothing was kept");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
