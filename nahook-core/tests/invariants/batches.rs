//! Invariant 10, and invariants 2, 4, 5 and 8 for what is sent to single endpoints.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nahook_control::{ApplyMode, Catalog};
use nahook_core::admission::{Caller, Plan, Rate};
use nahook_core::id::{EndpointId, EventTypeId};
use nahook_core::{
    Admission, EndpointState, EventTypeName, FanOut, GcraLimiter, NewEvent, NewSend, Payload,
    Scope, SendError, StoreError, Subscribers, SubscriptionStore, TriggerError,
};
use nahook_memory::MemoryStore;
use nahook_queue::{DeliveryQueue, LeaseRequest, WorkerId};
use nahook_testkit::declare::{
    self, Workspace, caller, endpoint_id, idempotency_key, workspace_id,
};
use nahook_testkit::{
    FaultScript, FaultyPublisher, FixedSubscribers, RecordingPublisher, SeededIds, TokioClock,
};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::time::Instant;

use crate::case::faults;
use crate::run::in_paused_time;

const LEN_MAX: usize = 32;

/// Event types 0 to 2 have as many subscribers as their number; the others do not exist.
#[derive(Clone, Default)]
struct Types(Arc<Mutex<Vec<String>>>);

impl SubscriptionStore for Types {
    async fn subscribers(
        &self,
        event_type: &EventTypeName,
        _: &Scope,
    ) -> Result<Option<Subscribers>, StoreError> {
        let name = event_type.as_str();
        self.0.lock().unwrap().push(name.to_owned());
        let number: u128 = name.parse().unwrap();
        Ok((number < 3).then(|| Subscribers {
            event_type: EventTypeId::from_bits(number),
            endpoints: (0..number).map(EndpointId::from_bits).collect(),
        }))
    }

    async fn endpoint_states(
        &self,
        ids: &[EndpointId],
        _: &Scope,
    ) -> Result<Vec<EndpointState>, StoreError> {
        Ok(vec![EndpointState::Active; ids.len()])
    }
}

fn payload(number: usize, is_large: bool) -> Payload {
    let padding = " ".repeat(if is_large { LEN_MAX } else { 0 });
    declare::payload(&format!("{{\"number\":{number}{padding}}}"))
}

fn limited(tokens: u32) -> Caller {
    let burst = NonZeroU32::new(tokens).unwrap();
    Caller {
        plan: Plan {
            payload_len_max: LEN_MAX,
            key_rate: Rate::new(NonZeroU32::MIN, Duration::from_hours(1), burst),
            ..Plan::default()
        },
        ..caller("ws_shop", "key")
    }
}

async fn triggers(items: Vec<(usize, bool)>, tokens: u32, is_environment: bool) {
    let (types, queue) = (Types::default(), RecordingPublisher::default());
    let clock = Arc::new(TokioClock::default());
    let fan_out = FanOut::new(types.clone(), queue.clone()).with_ids(SeededIds::new(1));
    let engine = Admission::new(fan_out, GcraLimiter::new(clock));
    let events = items
        .iter()
        .enumerate()
        .map(|(number, (name, is_large))| NewEvent {
            event_type: EventTypeName::new(&name.to_string()).unwrap(),
            payload: payload(number, *is_large),
            metadata: declare::metadata(&[]),
        });
    let mut caller = limited(tokens);
    caller.environment = is_environment.then(|| declare::environment_id("ws_shop", "staging"));
    let answers = engine
        .trigger_batch(events.collect(), &caller)
        .await
        .unwrap();

    assert_eq!(answers.len(), items.len());
    let (mut left, mut named, mut expected) = (tokens, HashSet::new(), HashMap::new());
    for ((number, (name, is_large)), answer) in items.iter().enumerate().zip(&answers) {
        if *is_large {
            assert!(
                matches!(answer, Err(TriggerError::PayloadTooLarge { .. })),
                "{answer:?}"
            );
            continue;
        }
        if left == 0 {
            assert!(
                matches!(answer, Err(TriggerError::RateLimited { .. })),
                "{answer:?}"
            );
            continue;
        }
        left -= 1;
        named.insert(name.to_string());
        if *name >= 3 {
            assert!(
                matches!(answer, Err(TriggerError::UnknownEventType)),
                "{answer:?}"
            );
            continue;
        }
        let receipt = answer.as_ref().unwrap();
        assert_eq!(receipt.event_type(), EventTypeId::from_bits(*name as u128));
        assert_eq!(receipt.delivery_ids().count(), *name);
        for delivery in receipt.deliveries() {
            expected.insert(delivery.id(), (delivery.endpoint(), payload(number, false)));
        }
    }
    let looked_up = types.0.lock().unwrap().clone();
    assert_eq!(looked_up.len(), named.len(), "each is looked up once");
    assert_eq!(looked_up.into_iter().collect::<HashSet<_>>(), named);
    let held = queue.held();
    assert_eq!(held.len(), expected.len());
    for held in held {
        let expected = expected.remove(&held.delivery);
        assert_eq!(expected, Some((held.endpoint, held.payload)));
    }
}

/// Endpoints 0 and 1 are active, 2 is switched off, 3 is another workspace's, 4 is another environment's, 5 does not exist.
const ENDPOINTS: [&str; 6] = [
    "ep_a",
    "ep_b",
    "ep_off",
    "ep_theirs",
    "ep_staged",
    "ep_none",
];

#[derive(Clone, Copy, Debug)]
struct Item {
    endpoint: usize,
    key: Option<u8>,
    is_large: bool,
}

fn items() -> impl Strategy<Value = Vec<Item>> {
    let item = (
        0..ENDPOINTS.len(),
        any::<Option<bool>>(),
        prop::bool::weighted(0.1),
    );
    let item = item.prop_map(|(endpoint, key, is_large)| Item {
        endpoint,
        key: key.map(u8::from),
        is_large,
    });
    vec(item, 0..21)
}

fn send_of((number, item): (usize, &Item)) -> NewSend {
    NewSend {
        endpoint: endpoint_id(ENDPOINTS[item.endpoint]),
        payload: payload(number, item.is_large),
        idempotency_key: item.key.map(|key| idempotency_key(&key.to_string())),
    }
}

async fn sends(batches: Vec<Vec<Item>>, tokens: u32) {
    let clock = Arc::new(TokioClock::default());
    let store = MemoryStore::new(
        Arc::<TokioClock>::clone(&clock),
        Arc::new(SeededIds::new(0)),
    );
    let shop = Workspace::new("ws_shop")
        .default_environment()
        .environment("staging", &[])
        .endpoint("ep_a", &[])
        .endpoint("ep_b", &[])
        .endpoint("ep_off", &[])
        .endpoint_in("staging", "ep_staged", &[])
        .with(|spec| spec.endpoints[2].is_active = Some(false));
    let theirs = Workspace::new("ws_other").endpoint("ep_theirs", &[]);
    let manifest = declare::manifest([shop, theirs]);
    store.apply(&manifest, ApplyMode::Commit).await.unwrap();
    let limiter = GcraLimiter::new(Arc::<TokioClock>::clone(&clock));
    let fan_out = FanOut::new(store.clone(), store.clone()).with_clock(clock);
    let engine = Admission::new(fan_out, limiter);
    let mut caller = limited(tokens);
    caller.environment = Some(declare::environment_id("ws_shop", "production"));
    let (mut left, mut originals, mut queued) = (tokens, HashMap::new(), HashMap::new());
    for items in batches {
        let batch = items.iter().enumerate().map(send_of).collect();
        let answers = engine.send_batch(batch, &caller).await;
        assert_eq!(answers.len(), items.len());
        for (at, answer) in items.iter().enumerate().zip(&answers) {
            let (item, send) = (at.1, send_of(at));
            if item.is_large {
                assert!(
                    matches!(answer, Err(SendError::PayloadTooLarge { .. })),
                    "{answer:?}"
                );
                continue;
            }
            if left == 0 {
                assert!(
                    matches!(answer, Err(SendError::RateLimited { .. })),
                    "{answer:?}"
                );
                continue;
            }
            left -= 1;
            match item.endpoint {
                0 | 1 => {}
                2 => {
                    assert!(
                        matches!(answer, Err(SendError::EndpointDisabled)),
                        "{answer:?}"
                    );
                    continue;
                }
                _ => {
                    assert!(
                        matches!(answer, Err(SendError::UnknownEndpoint)),
                        "{answer:?}"
                    );
                    continue;
                }
            }
            let taken = answer.as_ref().unwrap();
            let original = item.key.map(|key| {
                let scope = (item.endpoint, key);
                *originals.entry(scope).or_insert(taken.delivery)
            });
            assert_eq!(taken.delivery, original.unwrap_or(taken.delivery));
            assert_eq!(taken.is_replay, queued.contains_key(&taken.delivery));
            if let Some(key) = &send.idempotency_key {
                assert_eq!(taken.idempotency_key, *key);
            }
            queued
                .entry(taken.delivery)
                .or_insert((send.endpoint, send.payload));
        }
    }
    let request = LeaseRequest::new(WorkerId(1), 10_000, Duration::from_hours(1));
    let leased = store.lease(&request).await.unwrap().deliveries;
    assert_eq!(leased.len(), queued.len());
    for leased in leased {
        let expected = queued.remove(&leased.lease.delivery);
        assert_eq!(expected, Some((leased.endpoint, leased.payload)));
    }
}

proptest! {
    /// Invariant 10.
    #[test]
    fn a_batch_of_triggers_is_so_many_triggers(
        items in vec((0..5_usize, prop::bool::weighted(0.2)), 0..21),
        tokens in 1..25_u32,
        is_environment: bool,
    ) {
        in_paused_time(triggers(items, tokens, is_environment));
    }

    /// Invariants 10 and 8.
    #[test]
    fn a_batch_of_sends_is_so_many_sends(batches in vec(items(), 1..4), tokens in 1..50_u32) {
        in_paused_time(sends(batches, tokens));
    }

    /// Invariants 2, 4 and 5.
    #[test]
    fn what_is_sent_is_held_or_said_whatever_the_queue_does(
        faults in vec(faults(), 1..21),
        is_transaction: bool,
        timeout in 1..6_000_u64,
        keyed: bool,
    ) {
        let script = FaultScript::new(faults.clone());
        let script = if is_transaction { script.rolling_back() } else { script };
        let queue = FaultyPublisher::recording(script);
        let subscriptions = FixedSubscribers(Subscribers {
            event_type: EventTypeId::from_bits(1),
            endpoints: [].into(),
        });
        let engine = FanOut::new(subscriptions, queue.clone()).with_timeout(Duration::from_millis(timeout));
        let batch = (0..faults.len()).map(|number| NewSend {
            endpoint: endpoint_id(&format!("ep_{number}")),
            payload: payload(number, false),
            idempotency_key: keyed.then(|| idempotency_key("k")),
        });
        let (answers, elapsed) = in_paused_time(async {
            let began = Instant::now();
            let answers = engine.send_batch(batch.collect(), workspace_id("ws_shop")).await;
            let elapsed = began.elapsed();
            tokio::time::sleep(Duration::from_mins(1)).await;
            (answers, elapsed)
        });
        prop_assert!(elapsed <= Duration::from_millis(timeout));
        prop_assert_eq!(answers.len(), faults.len());
        let held: HashSet<_> = queue.held().iter().map(|held| (held.delivery, held.endpoint)).collect();
        let mut said = HashSet::new();
        for (number, answer) in answers.iter().enumerate() {
            let endpoint = endpoint_id(&format!("ep_{number}"));
            match answer {
                Ok(sent) => {
                    prop_assert!(held.contains(&(sent.delivery, endpoint)), "{sent:?} is not held");
                    said.insert(sent.delivery);
                }
                Err(SendError::Unconfirmed { delivery, is_keyed }) => {
                    prop_assert_eq!(*is_keyed, keyed);
                    said.insert(*delivery);
                }
                Err(_) => {
                    let is_held = held.iter().any(|(_, held)| *held == endpoint);
                    prop_assert!(!is_held, "{answer:?}, and the queue holds it");
                }
            }
        }
        for (delivery, _) in &held {
            prop_assert!(said.contains(delivery), "{delivery} is held unsaid");
        }
    }
}
