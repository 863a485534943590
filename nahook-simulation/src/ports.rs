//! The ports of a server over the shared store in memory, each call by way of a [`Wire`].

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use nahook_control::{EndpointDirectory, EndpointTarget, HealthReport, HealthState};
use nahook_core::id::{DeliveryId, EndpointId};
use nahook_core::{
    Clock, Delivery, DeliveryPublisher, DynDeliveryPublisher, EndpointState, Event, EventTypeName,
    FailureKind, Outcome, Scope, StoreError, Subscribers, SubscriptionStore,
};
use nahook_memory::MemoryStore;
use nahook_queue::{Backlog, DeliveryQueue, Lease, LeaseBatch, LeaseRequest, Settled, Settlement};
use tokio::time::sleep;

use crate::plan::Faults;
use crate::wire::{Broken, Wire};
use crate::world::JumpingClock;

/// The ports of one life of a server.
#[derive(Clone)]
pub(crate) struct Ports {
    pub(crate) wire: Wire,
    pub(crate) store: MemoryStore,
    /// The store's.
    pub(crate) clock: JumpingClock,
    pub(crate) publisher: Arc<dyn DynDeliveryPublisher>,
}

impl Ports {
    async fn call<T, F>(
        &self,
        what: &'static str,
        about: &[DeliveryId],
        carry_out: impl FnOnce(bool) -> F + Send,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let answer = self.wire.call(what, about, carry_out).await;
        answer.unwrap_or_else(|broken| Err(self.wire.error(broken)))
    }
}

impl SubscriptionStore for Ports {
    async fn subscribers(
        &self,
        event_type: &EventTypeName,
        scope: &Scope,
    ) -> Result<Option<Subscribers>, StoreError> {
        let (store, event_type, scope) = (self.store.clone(), event_type.clone(), *scope);
        let carry_out = |_| async move { store.subscribers(&event_type, &scope).await };
        self.call("subscribers", &[], carry_out).await
    }

    async fn endpoint_states(
        &self,
        ids: &[EndpointId],
        scope: &Scope,
    ) -> Result<Vec<EndpointState>, StoreError> {
        let (store, ids, scope) = (self.store.clone(), ids.to_vec(), *scope);
        let carry_out = |_| async move { store.endpoint_states(&ids, &scope).await };
        self.call("states", &[], carry_out).await
    }
}

impl DeliveryPublisher for Ports {
    async fn publish(&self, event: &Event, deliveries: &mut [Delivery]) {
        let world = Arc::clone(&self.wire.world);
        let is_in_part = world.strikes(Faults::PART, world.plan.calls_per_fault);
        let is_out = |_: &Delivery| is_in_part && world.with(|state| state.random.one_in(2));
        let (mut refused, mut offered) = (Vec::new(), Vec::new());
        for delivery in deliveries.iter() {
            let to = if is_out(delivery) {
                &mut refused
            } else {
                &mut offered
            };
            to.push(*delivery);
        }
        let (publisher, event) = (Arc::clone(&self.publisher), event.clone());
        let carry_out = |_| async move {
            publisher.publish_dyn(&event, &mut offered).await;
            world.note("published", &[event.id.as_bits(), offered.len() as u128]);
            world.with(|state| state.oracle.published(&event, &offered));
            offered
        };
        let answer = self.wire.call("publish", &[], carry_out).await;
        for delivery in deliveries {
            let is_refused = refused.iter().any(|it| it.id() == delivery.id());
            match &answer {
                _ if is_refused => delivery.mark_failed(FailureKind::QueueUnavailable),
                Err(Broken::Refused) => delivery.mark_failed(FailureKind::QueueUnavailable),
                Err(Broken::Lost) => delivery.mark_failed(FailureKind::Internal),
                Ok(taken) => {
                    let outcome = taken.iter().find(|it| it.endpoint() == delivery.endpoint());
                    delivery.resolve(
                        outcome
                            .map_or(Outcome::Failed(FailureKind::Unconfirmed), Delivery::outcome),
                    );
                }
            }
        }
    }
}

#[async_trait]
impl EndpointDirectory for Ports {
    async fn targets(
        &self,
        ids: &[EndpointId],
    ) -> Result<Vec<Option<Arc<EndpointTarget>>>, StoreError> {
        let (store, ids) = (self.store.clone(), ids.to_vec());
        let carry_out = |_| async move { store.targets(&ids).await };
        self.call("targets", &[], carry_out).await
    }

    async fn report(&self, reports: &[HealthReport]) -> Result<(), StoreError> {
        let (store, reports) = (self.store.clone(), reports.to_vec());
        let world = Arc::clone(&self.wire.world);
        let carry_out = |_| async move {
            for report in reports.iter().filter(|it| it.state == HealthState::Disable) {
                world.with(|state| state.oracle.disables(report.endpoint));
            }
            store.report(&reports).await
        };
        self.call("report", &[], carry_out).await
    }
}

#[async_trait]
impl DeliveryQueue for Ports {
    async fn lease(&self, request: &LeaseRequest) -> Result<LeaseBatch, StoreError> {
        let (ports, request) = (self.clone(), request.clone());
        let carry_out = |is_faulty| async move {
            let now = ports.clock.now();
            let batch = ports.store.lease(&request).await?;
            let expires_at = now.saturating_add(request.duration);
            let Wire { world, life } = &ports.wire;
            for leased in &batch.deliveries {
                let id = leased.lease.delivery;
                world.note("leased", &[id.as_bits(), life.number.into()]);
                world.with(|state| {
                    let oracle = &mut state.oracle;
                    oracle.leased(leased, life.number, now, expires_at);
                    oracle.excuse((is_faulty || life.is_over()).then_some(id));
                });
            }
            Ok(batch)
        };
        self.call("lease", &[], carry_out).await
    }

    async fn extend(&self, leases: &[Lease], duration: Duration) -> Result<Vec<bool>, StoreError> {
        let mut about: Vec<_> = leases.iter().map(|lease| lease.delivery).collect();
        about.sort_unstable();
        let (ports, leases) = (self.clone(), leases.to_vec());
        let carry_out = |_| async move {
            let expires_at = ports.clock.now().saturating_add(duration);
            let held = ports.store.extend(&leases, duration).await?;
            for (lease, _) in leases.iter().zip(&held).filter(|(_, held)| **held) {
                let world = &ports.wire.world;
                world.with(|state| {
                    state
                        .oracle
                        .extended(lease.delivery, lease.token, expires_at);
                });
            }
            Ok(held)
        };
        self.call("extend", &about, carry_out).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, StoreError> {
        let about: Vec<_> = settlements.iter().map(|it| it.lease.delivery).collect();
        let world = &self.wire.world;
        let is_repeated = world.strikes(Faults::REPEAT, world.plan.calls_per_fault);
        if is_repeated {
            world.with(|state| state.oracle.excuse(about.iter().copied()));
        }
        let (ports, settlements) = (self.clone(), settlements.to_vec());
        let carry_out = move |_| async move {
            let mut answers = ports.settle_once(&settlements).await?;
            if is_repeated {
                answers = ports.settle_once(&settlements).await?;
            }
            Ok(answers)
        };
        self.call("settle", &about, carry_out).await
    }

    async fn changed(&self, generation: u64) {
        self.wire.changed(self.store.changed(generation)).await;
    }

    async fn backlog(&self, count_max: u64) -> Result<Backlog, StoreError> {
        self.store.backlog(count_max).await
    }
}

impl Ports {
    async fn settle_once(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, StoreError> {
        let answers = self.store.settle(settlements).await?;
        let Wire { world, life } = &self.wire;
        for (settlement, answer) in settlements.iter().zip(&answers) {
            let id = settlement.lease.delivery.as_bits();
            world.note("settled", &[id, u128::from(*answer == Settled::Done)]);
            world.with(|state| state.oracle.settled(settlement, *answer, life.number));
        }
        Ok(answers)
    }
}

impl Wire {
    /// Resolves as the queue's wake does, unless that is lost, late, or comes for nothing.
    pub(crate) async fn changed(&self, wake: impl Future<Output = ()>) {
        self.life.pass().await;
        if self
            .world
            .strikes(Faults::WAKE, 2 * self.world.plan.calls_per_fault)
        {
            match self.world.with(|state| state.random.below(3)) {
                0 => std::future::pending::<()>().await,
                1 => sleep(self.world.time(Duration::from_secs(5))).await,
                _ => return,
            }
        }
        wake.await;
        self.life.pass().await;
    }
}
