//! Broken ways to send to single endpoints.

use nahook_core::{
    Clock, DeliveryId, DirectDelivery, DirectOutcome, DirectPublisher, FailureKind, IdempotencyKey,
};
use nahook_testkit::declare;

use super::{Broken, Bug::*};

impl DirectPublisher for Broken {
    async fn publish_direct(&self, deliveries: &mut [DirectDelivery]) {
        match self.bug {
            ForgetsKeys => self.publish_with(deliveries, |_| None).await,
            TrimsKeys => {
                let trimmed = |key: &IdempotencyKey| key.as_str().trim().to_owned();
                self.publish_with(deliveries, |key| Some(trimmed(key)))
                    .await;
            }
            FoldsKeys => {
                let folded = |key: &IdempotencyKey| key.as_str().to_lowercase();
                self.publish_with(deliveries, |key| Some(folded(key))).await;
            }
            ComparesPayloads => {
                for slot in deliveries {
                    let payload = String::from_utf8_lossy(slot.event().payload.as_bytes());
                    let payload = payload.into_owned();
                    let key = |key: &IdempotencyKey| Some(format!("{}{payload}", key.as_str()));
                    self.publish_with(std::slice::from_mut(slot), key).await;
                }
            }
            StopsAtAGoneEndpoint => {
                let gone = |slot: &DirectDelivery| slot.endpoint().as_str() == "ep_gone";
                let end = deliveries.iter().position(gone);
                let end = end.unwrap_or(deliveries.len());
                self.inner.publish_direct(&mut deliveries[..end]).await;
                for slot in &mut deliveries[end..] {
                    slot.failed(FailureKind::EndpointGone);
                }
            }
            RacesForKeys
            | ForgetsTheEndpointOfAKey
            | KeysNeverRunOut
            | RepeatsProlongKeys
            | GoneUsesTheKeyUp
            | AnswersRepeatsAsPublished => {
                for slot in deliveries {
                    self.publish_keyed(slot).await;
                }
            }
            _ => self.inner.publish_direct(deliveries).await,
        }
    }
}

impl Broken {
    /// Publishes with other keys than those that were given.
    async fn publish_with(
        &self,
        deliveries: &mut [DirectDelivery],
        changed: impl Fn(&IdempotencyKey) -> Option<String>,
    ) {
        let mut others: Vec<_> = deliveries
            .iter()
            .map(|slot| {
                let key = slot.idempotency_key().and_then(&changed);
                let key = key.map(|key| declare::idempotency_key(&key));
                keyed(slot, key)
            })
            .collect();
        self.inner.publish_direct(&mut others).await;
        for (slot, other) in deliveries.iter_mut().zip(others) {
            slot.resolve(other.outcome());
        }
    }

    /// Publishes with keys of its own, and one bug.
    async fn publish_keyed(&self, slot: &mut DirectDelivery) {
        let Some(key) = slot.idempotency_key().cloned() else {
            return self.inner.publish_direct(std::slice::from_mut(slot)).await;
        };
        let endpoint = (!self.has(ForgetsTheEndpointOfAKey)).then(|| slot.endpoint());
        let scope = (endpoint, key);
        let now = self.clock.now();
        let known = self.memory.lock().unwrap().originals.get(&scope).copied();
        let is_over =
            |at| now.saturating_since(at) >= IdempotencyKey::WINDOW && !self.has(KeysNeverRunOut);
        if let Some((original, _)) = known.filter(|(_, at)| !is_over(*at)) {
            if self.has(RepeatsProlongKeys) {
                self.remember(scope, original);
            }
            if self.has(AnswersRepeatsAsPublished) {
                return slot.published();
            }
            return slot.replayed(original);
        }
        if self.has(RacesForKeys) {
            tokio::task::yield_now().await;
        }
        let mut keyless = [keyed(slot, None)];
        self.inner.publish_direct(&mut keyless).await;
        let outcome = keyless[0].outcome();
        if outcome == DirectOutcome::Published || self.has(GoneUsesTheKeyUp) {
            self.remember(scope, slot.id());
        }
        slot.resolve(outcome);
    }

    fn remember(
        &self,
        scope: (Option<nahook_core::EndpointId>, IdempotencyKey),
        original: DeliveryId,
    ) {
        let claimed = (original, self.clock.now());
        self.memory.lock().unwrap().originals.insert(scope, claimed);
    }
}

/// The same with another key.
fn keyed(slot: &DirectDelivery, key: Option<IdempotencyKey>) -> DirectDelivery {
    let mut event = slot.event().clone();
    event.idempotency_key = key;
    DirectDelivery::new(event, slot.endpoint())
}
