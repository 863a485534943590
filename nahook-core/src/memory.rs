//! Adapters that keep everything in this process's memory: for examples, and for tests of what is built on the fan-out.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::id::{DeliveryId, EndpointId, EventTypeId, WorkspaceId};
use crate::{
    Delivery, DeliveryPublisher, EndpointState, Event, EventTypeName, EventTypePattern,
    EventTypeSelector, IdempotencyKey, Scope, StoreError, Subscribers, SubscriptionStore,
};

/// Subscriptions in memory, of one environment a workspace. A clone is a handle to the same subscriptions.
#[derive(Clone, Debug, Default)]
pub struct MemorySubscriptions(Arc<Mutex<Subscriptions>>);

#[derive(Debug, Default)]
struct Subscriptions {
    by_name: HashMap<(WorkspaceId, EventTypeName), Subscribers>,
    patterns: Vec<(WorkspaceId, EventTypePattern, EndpointId)>,
    endpoints: HashSet<(WorkspaceId, EndpointId)>,
}

impl MemorySubscriptions {
    /// Subscribes the endpoint to an event type by its name, or to every event type that a pattern matches. The endpoint and an
    /// event type that is named exist from then on. Repeating it changes nothing.
    pub fn subscribe(&self, workspace: WorkspaceId, to: EventTypeSelector, endpoint: EndpointId) {
        let mut subscriptions = locked(&self.0);
        subscriptions.endpoints.insert((workspace, endpoint));
        match to {
            EventTypeSelector::Name(name) => {
                add(subscriptions.subscribers(workspace, name), endpoint);
            }
            EventTypeSelector::Pattern(pattern) => {
                for ((of, name), subscribers) in &mut subscriptions.by_name {
                    if *of == workspace && pattern.matches(name) {
                        add(subscribers, endpoint);
                    }
                }
                let pattern = (workspace, pattern, endpoint);
                if !subscriptions.patterns.contains(&pattern) {
                    subscriptions.patterns.push(pattern);
                }
            }
        }
    }

    /// Makes the event type, unless it exists. The endpoints whose patterns match it are subscribed.
    pub fn create_event_type(&self, workspace: WorkspaceId, name: EventTypeName) {
        locked(&self.0).subscribers(workspace, name);
    }
}

impl Subscriptions {
    /// The subscribers of the event type, which is made if it does not exist.
    fn subscribers(&mut self, workspace: WorkspaceId, name: EventTypeName) -> &mut Subscribers {
        let number = self.by_name.len() as u128;
        let key = (workspace, name);
        self.by_name.entry(key).or_insert_with_key(|(_, name)| {
            let mut subscribers = Subscribers {
                event_type: EventTypeId::from_bits(number),
                endpoints: Arc::new([]),
            };
            for (of, pattern, endpoint) in &self.patterns {
                if *of == workspace && pattern.matches(name) {
                    add(&mut subscribers, *endpoint);
                }
            }
            subscribers
        })
    }
}

fn add(subscribers: &mut Subscribers, endpoint: EndpointId) {
    if !subscribers.endpoints.contains(&endpoint) {
        let known = subscribers.endpoints.iter().copied();
        subscribers.endpoints = known.chain([endpoint]).collect();
    }
}

impl SubscriptionStore for MemorySubscriptions {
    async fn subscribers(
        &self,
        event_type: &EventTypeName,
        scope: &Scope,
    ) -> Result<Option<Subscribers>, StoreError> {
        let key = (scope.workspace, event_type.clone());
        Ok(locked(&self.0).by_name.get(&key).cloned())
    }

    async fn endpoint_states(
        &self,
        ids: &[EndpointId],
        scope: &Scope,
    ) -> Result<Vec<EndpointState>, StoreError> {
        let subscriptions = locked(&self.0);
        let is_known = |id: &EndpointId| subscriptions.endpoints.contains(&(scope.workspace, *id));
        let state = |id| {
            if is_known(id) {
                EndpointState::Active
            } else {
                EndpointState::Unknown
            }
        };
        Ok(ids.iter().map(state).collect())
    }
}

/// Queue in memory that takes everything at once. An idempotency key stands for its first delivery for ever. A clone is a
/// handle to the same queue.
#[derive(Clone, Debug, Default)]
pub struct MemoryQueue(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<(Event, Delivery)>,
    originals: HashMap<(EndpointId, IdempotencyKey), DeliveryId>,
}

impl MemoryQueue {
    /// Everything that is queued, in the order of queueing.
    pub fn queued(&self) -> Vec<(Event, Delivery)> {
        locked(&self.0).waiting.clone()
    }

    /// Takes out everything that is queued, in the order of queueing.
    pub fn take(&self) -> Vec<(Event, Delivery)> {
        std::mem::take(&mut locked(&self.0).waiting)
    }
}

impl DeliveryPublisher for MemoryQueue {
    async fn publish(&self, event: &Event, deliveries: &mut [Delivery]) {
        let mut queue = locked(&self.0);
        for delivery in deliveries {
            if let Some(key) = &event.idempotency_key {
                let (scope, id) = ((delivery.endpoint(), key.clone()), delivery.id());
                let original = *queue.originals.entry(scope).or_insert(id);
                if original != id {
                    delivery.mark_replayed(original);
                    continue;
                }
            }
            delivery.mark_published();
            queue.waiting.push((event.clone(), *delivery));
        }
    }
}

/// Locks in spite of poisoning: the state is consistent at every step, so a panic elsewhere has not spoilt it.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
