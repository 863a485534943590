//! Broken ways to publish with idempotency keys.

use nahook_core::id::{DeliveryId, EndpointId};
use nahook_core::{
    Clock, Delivery, DeliveryPublisher, Event, FailureKind, IdempotencyKey, Outcome,
};
use nahook_testkit::declare;

use super::{Broken, Bug::*};

impl DeliveryPublisher for Broken {
    async fn publish(&self, event: &Event, deliveries: &mut [Delivery]) {
        let Some(key) = &event.idempotency_key else {
            return self.publish_keyless(event, deliveries).await;
        };
        let changed = match self.bug {
            ForgetsKeys => None,
            TrimsKeys => Some(key.as_str().trim().to_owned()),
            FoldsKeys => Some(key.as_str().to_lowercase()),
            ComparesPayloads => {
                let payload = String::from_utf8_lossy(event.payload.as_bytes());
                Some(format!("{}{payload}", key.as_str()))
            }
            RacesForKeys
            | ForgetsTheEndpointOfAKey
            | KeysNeverRunOut
            | RepeatsProlongKeys
            | GoneUsesTheKeyUp
            | AnswersRepeatsAsPublished => {
                for slot in deliveries {
                    self.publish_keyed(event, key, slot).await;
                }
                return;
            }
            _ => return self.publish_keyless(event, deliveries).await,
        };
        let mut event = event.clone();
        event.idempotency_key = changed.map(|key| declare::idempotency_key(&key));
        self.inner.publish(&event, deliveries).await;
    }
}

impl Broken {
    async fn publish_keyless(&self, event: &Event, deliveries: &mut [Delivery]) {
        if self.has(StopsAtAGoneEndpoint) {
            let is_gone = |slot: &Delivery| slot.endpoint().as_str() == "ep_gone";
            let mut memory = self.memory.lock().unwrap();
            memory.is_stopped |= deliveries.iter().any(is_gone);
            if memory.is_stopped {
                for slot in deliveries {
                    slot.mark_failed(FailureKind::EndpointGone);
                }
                return;
            }
        }
        self.inner.publish(event, deliveries).await;
    }

    /// Publishes with keys of its own, and one bug.
    async fn publish_keyed(&self, event: &Event, key: &IdempotencyKey, slot: &mut Delivery) {
        let endpoint = (!self.has(ForgetsTheEndpointOfAKey)).then(|| slot.endpoint());
        let scope = (endpoint, key.clone());
        let now = self.clock.now();
        let known = self.memory.lock().unwrap().originals.get(&scope).copied();
        let is_over =
            |at| now.saturating_since(at) >= IdempotencyKey::WINDOW && !self.has(KeysNeverRunOut);
        if let Some((original, _)) = known.filter(|(_, at)| !is_over(*at)) {
            if self.has(RepeatsProlongKeys) {
                self.remember(scope, original);
            }
            if self.has(AnswersRepeatsAsPublished) {
                return slot.mark_published();
            }
            return slot.mark_replayed(original);
        }
        if self.has(RacesForKeys) {
            tokio::task::yield_now().await;
        }
        let mut keyless = event.clone();
        keyless.idempotency_key = None;
        let id = slot.id();
        self.inner
            .publish(&keyless, std::slice::from_mut(slot))
            .await;
        if slot.outcome() == Outcome::Published || self.has(GoneUsesTheKeyUp) {
            self.remember(scope, id);
        }
    }

    fn remember(&self, scope: (Option<EndpointId>, IdempotencyKey), original: DeliveryId) {
        let claimed = (original, self.clock.now());
        self.memory.lock().unwrap().originals.insert(scope, claimed);
    }
}
