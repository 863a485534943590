//! Publisher, queue and look-ups, with an eye on what calls come to.

use std::time::Duration;

use nahook_control::{KeyEntry, KeyHash, KeyStore, TokenHolder};
use nahook_core::admission::Caller;
use nahook_core::id::EndpointId;
use nahook_core::{
    Delivery, DeliveryPublisher, EndpointState, Event, EventTypeName, FailureKind, Outcome, Scope,
    StoreError, Subscribers, SubscriptionStore,
};
use nahook_queue::{Backlog, DeliveryQueue, Lease, LeaseBatch, LeaseRequest, Settled, Settlement};

use super::latest_call::LatestCall;

/// Latest calls, by operation.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LatestCalls {
    /// Of looking keys and tokens up.
    pub keys: LatestCall,
    /// Of looking up where events go.
    pub subscriptions: LatestCall,
    /// Of publishing.
    pub publish: LatestCall,
    /// Of leasing.
    pub lease: LatestCall,
    /// Of extending leases.
    pub extend: LatestCall,
    /// Of settling.
    pub settle: LatestCall,
}

/// Passes calls on and notes what they come to.
#[derive(Clone, Debug)]
pub(crate) struct Watched<T> {
    pub(crate) inner: T,
    pub(crate) latest_calls: LatestCalls,
}

impl<P: DeliveryPublisher> DeliveryPublisher for Watched<P> {
    async fn publish(&self, event: &Event, deliveries: &mut [Delivery]) {
        let publish = &self.latest_calls.publish;
        let call = publish.begin();
        self.inner.publish(event, deliveries).await;
        call.end();
        note(publish, deliveries.iter().map(Delivery::outcome));
    }
}

/// One that was queued shows that the queue works; what fails for a reason of its own says nothing of it.
fn note(publish: &LatestCall, outcomes: impl Iterator<Item = Outcome>) {
    let mut has_failed = false;
    for outcome in outcomes {
        match outcome {
            Outcome::Published | Outcome::Replayed(_) => return publish.succeeded(),
            Outcome::Failed(FailureKind::EndpointGone | FailureKind::PayloadTooLarge) => {}
            Outcome::Failed(_) => has_failed = true,
        }
    }
    if has_failed {
        publish.failed();
    }
}

#[async_trait::async_trait]
impl<Q: DeliveryQueue> DeliveryQueue for Watched<Q> {
    async fn lease(&self, request: &LeaseRequest) -> Result<LeaseBatch, StoreError> {
        noted(&self.latest_calls.lease, self.inner.lease(request)).await
    }

    async fn extend(&self, leases: &[Lease], duration: Duration) -> Result<Vec<bool>, StoreError> {
        noted(
            &self.latest_calls.extend,
            self.inner.extend(leases, duration),
        )
        .await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, StoreError> {
        noted(&self.latest_calls.settle, self.inner.settle(settlements)).await
    }

    async fn changed(&self, generation: u64) {
        self.inner.changed(generation).await;
    }

    async fn backlog(&self, count_max: u64) -> Result<Backlog, StoreError> {
        self.inner.backlog(count_max).await
    }
}

#[async_trait::async_trait]
impl<K: KeyStore> KeyStore for Watched<K> {
    async fn api_key(&self, hash: &KeyHash) -> Result<Option<KeyEntry<Caller>>, StoreError> {
        noted(&self.latest_calls.keys, self.inner.api_key(hash)).await
    }

    async fn management_token(
        &self,
        hash: &KeyHash,
    ) -> Result<Option<KeyEntry<TokenHolder>>, StoreError> {
        noted(&self.latest_calls.keys, self.inner.management_token(hash)).await
    }
}

impl<S: SubscriptionStore> SubscriptionStore for Watched<S> {
    async fn subscribers(
        &self,
        event_type: &EventTypeName,
        scope: &Scope,
    ) -> Result<Option<Subscribers>, StoreError> {
        let looking_up = self.inner.subscribers(event_type, scope);
        noted(&self.latest_calls.subscriptions, looking_up).await
    }

    async fn endpoint_states(
        &self,
        ids: &[EndpointId],
        scope: &Scope,
    ) -> Result<Vec<EndpointState>, StoreError> {
        let looking_up = self.inner.endpoint_states(ids, scope);
        noted(&self.latest_calls.subscriptions, looking_up).await
    }
}

async fn noted<T>(
    latest: &LatestCall,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let under_way = latest.begin();
    let result = call.await;
    under_way.end();
    latest.note(&result);
    result
}

#[cfg(test)]
mod tests {
    use nahook_core::StoreErrorKind;
    use nahook_core::id::{DeliveryId, WorkspaceId};
    use nahook_memory::MemoryStore;
    use nahook_queue::WorkerId;
    use nahook_testkit::{CallAnswer, CallFault, CallScript, Faulty};

    use super::*;

    #[test]
    fn publishing_works_if_one_was_queued_and_fails_if_the_queue_refused() {
        use FailureKind::{EndpointGone, Internal, PayloadTooLarge, QueueUnavailable, Unconfirmed};
        let failed = Outcome::Failed;
        let replayed = Outcome::Replayed(DeliveryId::from_bits(1));
        for (outcomes, works) in [
            (&[][..], None),
            (&[failed(EndpointGone)], None),
            (&[failed(PayloadTooLarge)], None),
            (&[failed(Internal)], Some(false)),
            (
                &[failed(QueueUnavailable), failed(EndpointGone)],
                Some(false),
            ),
            (&[failed(Unconfirmed)], Some(false)),
            (&[failed(QueueUnavailable), Outcome::Published], Some(true)),
            (&[replayed], Some(true)),
        ] {
            for before in [false, true] {
                let publish = LatestCall::default();
                publish.note(&before.then_some(()).ok_or(()));
                note(&publish, outcomes.iter().copied());
                let after = publish.check().is_ok();
                assert_eq!(after, works.unwrap_or(before), "{outcomes:?}");
            }
        }
    }

    /// A store that is down, watched.
    fn down() -> Watched<Faulty<MemoryStore>> {
        let fault = CallFault::new(CallAnswer::FailBefore(StoreErrorKind::Unavailable));
        Watched {
            inner: Faulty::new(MemoryStore::default(), CallScript::always(fault)),
            latest_calls: LatestCalls::default(),
        }
    }

    #[tokio::test]
    async fn failures_of_look_ups_are_noted_by_kind() {
        let hash = KeyHash::of("nhk_x");
        let scope = Scope::from(WorkspaceId::new("ws").unwrap());
        let name = EventTypeName::new("order.paid").unwrap();
        for call in 0..4 {
            let store = down();
            let failed = match call {
                0 => store.api_key(&hash).await.is_err(),
                1 => store.management_token(&hash).await.is_err(),
                2 => store.subscribers(&name, &scope).await.is_err(),
                _ => store.endpoint_states(&[], &scope).await.is_err(),
            };
            assert!(failed);
            let calls = &store.latest_calls;
            assert_eq!(calls.keys.check().is_err(), call < 2);
            assert_eq!(calls.subscriptions.check().is_err(), call >= 2);
        }
    }

    #[tokio::test]
    async fn failures_of_a_queue_are_noted_by_operation() {
        let queue = down();
        let calls = &queue.latest_calls;
        let failed = || {
            let calls = [&calls.lease, &calls.extend, &calls.settle, &calls.publish];
            calls.map(|call| call.check().is_err())
        };
        let request = LeaseRequest::new(WorkerId(1), 1, Duration::from_secs(1));
        queue.lease(&request).await.unwrap_err();
        assert_eq!(failed(), [true, false, false, false]);
        queue.extend(&[], Duration::ZERO).await.unwrap_err();
        assert_eq!(failed(), [true, true, false, false]);
        queue.settle(&[]).await.unwrap_err();
        assert_eq!(failed(), [true, true, true, false]);
    }
}
