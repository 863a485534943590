//! Invariant 8: nothing crosses a workspace or an environment.

use std::sync::Arc;
use std::time::Duration;

use nahook_control::{ApplyMode, Catalog};
use nahook_core::{Admission, Delivery, FanOut, GcraLimiter, NewEvent, TriggerError};
use nahook_memory::MemoryStore;
use nahook_queue::{DeliveryLog, DeliveryQueue, LeaseRequest, WorkerId};
use nahook_testkit::{SeededIds, TokioClock};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::case::{Reach, cases};
use crate::run::{caller, event, in_paused_time, run};
use crate::world::{Trigger, World, triggers_in, workspace_id, worlds};

/// A world, what is triggered in it, and which endpoints are switched over in between.
fn histories() -> impl Strategy<Value = (World, Vec<Trigger>, Vec<(Index, Index)>)> {
    worlds().prop_flat_map(|world| {
        let triggers = vec(triggers_in(&world), 1..6);
        let switches = vec(any::<(Index, Index)>(), 0..4);
        (Just(world), triggers, switches)
    })
}

/// Everything the queue holds for its workers by now, each delivery with its workspace.
async fn drained(store: &MemoryStore) -> Vec<nahook_queue::LeasedDelivery> {
    let request = LeaseRequest::new(WorkerId(1), 10_000, Duration::from_hours(1));
    store.lease(&request).await.unwrap().deliveries
}

async fn play(mut world: World, triggers: Vec<Trigger>, switches: Vec<(Index, Index)>) {
    let store = MemoryStore::new(Arc::new(TokioClock::default()), Arc::new(SeededIds::new(0)));
    let limiter = GcraLimiter::new(Arc::new(TokioClock::default()));
    let fan_out = FanOut::new(store.clone(), store.clone()).with_clock(TokioClock::default());
    let engine = Admission::new(fan_out, limiter);
    let commit = |world: &World| world.manifest();
    store
        .apply(&commit(&world), ApplyMode::Commit)
        .await
        .unwrap();
    for round in 0..2 {
        for trigger in &triggers {
            reaches(&world, *trigger, &engine, &store).await;
        }
        if round == 0 {
            for (workspace, endpoint) in &switches {
                let at = workspace.index(world.workspaces.len());
                let endpoints = &mut world.workspaces[at].endpoints;
                if !endpoints.is_empty() {
                    let number = endpoint.index(endpoints.len());
                    endpoints[number].is_active ^= true;
                }
            }
            store
                .apply(&commit(&world), ApplyMode::Commit)
                .await
                .unwrap();
        }
    }
}

async fn reaches(
    world: &World,
    trigger: Trigger,
    engine: &Admission<MemoryStore, MemoryStore, GcraLimiter>,
    store: &MemoryStore,
) {
    let event = NewEvent {
        event_type: trigger.name(),
        ..event()
    };
    let answer = engine.trigger(event, &trigger.caller()).await;
    let Some(expected) = world.reached_by(trigger) else {
        assert!(matches!(answer, Err(TriggerError::UnknownEventType)));
        assert_eq!(drained(store).await, []);
        return;
    };
    let receipt = answer.unwrap();
    let reached: Vec<_> = receipt
        .deliveries()
        .iter()
        .map(Delivery::endpoint)
        .collect();
    assert_eq!(reached, expected);
    assert_eq!(receipt.failures().count(), 0);

    let queued = drained(store).await;
    assert_eq!(queued.len(), expected.len());
    for delivery in queued {
        assert_eq!(delivery.workspace, workspace_id(trigger.workspace));
        assert_eq!(delivery.message, receipt.message());
        assert!(expected.contains(&delivery.endpoint));
    }
    for id in receipt.delivery_ids() {
        for at in 0..world.workspaces.len() {
            let seen = store.delivery(id, &workspace_id(at)).await.unwrap();
            assert_eq!(seen.is_some(), at == trigger.workspace);
        }
    }
}

proptest! {
    /// Invariant 8.
    #[test]
    fn nothing_crosses_a_workspace_or_an_environment(
        (world, triggers, switches) in histories(),
    ) {
        in_paused_time(play(world, triggers, switches));
    }

    /// Invariant 8, for stores that are not ours: they are asked for exactly what the key may reach.
    #[test]
    fn the_store_is_asked_for_no_more_than_the_key_may_reach(case in cases()) {
        let ran = run(&case);
        let caller = caller(&case, &event());
        for (name, scope) in &ran.truth.looked_up {
            prop_assert!(case.reach != Reach::Endpoint);
            prop_assert_eq!(name, &event().event_type);
            prop_assert_eq!(scope.workspace, caller.workspace);
            prop_assert_eq!(scope.environment, caller.environment);
        }
        for checked in &ran.truth.checked {
            prop_assert_eq!(checked, &caller);
        }
        for event in &ran.truth.published {
            prop_assert_eq!(event.workspace, caller.workspace);
        }
    }
}
