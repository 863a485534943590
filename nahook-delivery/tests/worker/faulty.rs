//! A back end that fails as a test says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use nahook_control::{EndpointDirectory, EndpointTarget, HealthReport};
use nahook_core::StoreError;
use nahook_core::id::EndpointId;
use nahook_memory::MemoryStore;
use nahook_queue::{Backlog, DeliveryQueue, Lease, LeaseBatch, LeaseRequest, Settled, Settlement};

/// Fault of a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    None,
    Internal,
    Unavailable,
    /// Does what was asked and fails to say so.
    TakeAndFail,
    /// Does what was asked, that much later.
    TakeLate(Duration),
    /// Fails that much later, and does nothing.
    FailLate(Duration),
    Panic,
    Hang,
}

impl Fault {
    /// This fault if the condition holds, and none otherwise.
    pub(crate) fn when(self, is_so: bool) -> Self {
        if is_so { self } else { Self::None }
    }
}

type Script<A> = Arc<Mutex<dyn FnMut(&A) -> Fault + Send>>;

/// The in-memory back end with faults before it; clones share them.
#[derive(Clone)]
pub(crate) struct Faulty {
    store: MemoryStore,
    lease: Script<LeaseRequest>,
    lease_takes: Duration,
    extend: Script<[Lease]>,
    settle: Script<[Settlement]>,
    targets: Script<[EndpointId]>,
    report: Script<[HealthReport]>,
}

fn none<A: ?Sized>() -> Arc<Mutex<impl FnMut(&A) -> Fault + Send>> {
    Arc::new(Mutex::new(|_: &A| Fault::None))
}

impl Faulty {
    pub(crate) fn new(store: &MemoryStore) -> Self {
        Self {
            store: store.clone(),
            lease: none(),
            lease_takes: Duration::ZERO,
            extend: none(),
            settle: none(),
            targets: none(),
            report: none(),
        }
    }

    pub(crate) fn lease(
        mut self,
        script: impl FnMut(&LeaseRequest) -> Fault + Send + 'static,
    ) -> Self {
        self.lease = Arc::new(Mutex::new(script));
        self
    }

    /// The queue leases at once and takes that long to say so.
    pub(crate) fn lease_takes(mut self, time: Duration) -> Self {
        self.lease_takes = time;
        self
    }

    pub(crate) fn extend(mut self, script: impl FnMut(&[Lease]) -> Fault + Send + 'static) -> Self {
        self.extend = Arc::new(Mutex::new(script));
        self
    }

    pub(crate) fn settle(
        mut self,
        script: impl FnMut(&[Settlement]) -> Fault + Send + 'static,
    ) -> Self {
        self.settle = Arc::new(Mutex::new(script));
        self
    }

    pub(crate) fn targets(
        mut self,
        script: impl FnMut(&[EndpointId]) -> Fault + Send + 'static,
    ) -> Self {
        self.targets = Arc::new(Mutex::new(script));
        self
    }

    pub(crate) fn report(
        mut self,
        script: impl FnMut(&[HealthReport]) -> Fault + Send + 'static,
    ) -> Self {
        self.report = Arc::new(Mutex::new(script));
        self
    }
}

async fn with<A: ?Sized + Sync, T>(
    script: &Script<A>,
    argument: &A,
    call: impl Future<Output = Result<T, StoreError>> + Send,
) -> Result<T, StoreError> {
    let fault = (script.lock().unwrap())(argument);
    match fault {
        Fault::None => call.await,
        Fault::Internal => Err(StoreError::internal("a planted fault")),
        Fault::Unavailable => Err(StoreError::unavailable("a planted fault")),
        Fault::TakeAndFail => {
            call.await?;
            Err(StoreError::unavailable("a planted fault"))
        }
        Fault::TakeLate(late) => {
            tokio::time::sleep(late).await;
            call.await
        }
        Fault::FailLate(late) => {
            tokio::time::sleep(late).await;
            Err(StoreError::unavailable("a planted fault"))
        }
        Fault::Panic => panic!("a planted panic"),
        Fault::Hang => std::future::pending().await,
    }
}

#[async_trait::async_trait]
impl DeliveryQueue for Faulty {
    async fn lease(&self, request: &LeaseRequest) -> Result<LeaseBatch, StoreError> {
        let answer = with(&self.lease, request, self.store.lease(request)).await;
        tokio::time::sleep(self.lease_takes).await;
        answer
    }

    async fn extend(&self, leases: &[Lease], duration: Duration) -> Result<Vec<bool>, StoreError> {
        with(&self.extend, leases, self.store.extend(leases, duration)).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, StoreError> {
        with(&self.settle, settlements, self.store.settle(settlements)).await
    }

    async fn changed(&self, generation: u64) {
        self.store.changed(generation).await;
    }

    async fn backlog(&self, count_max: u64) -> Result<Backlog, StoreError> {
        self.store.backlog(count_max).await
    }
}

#[async_trait::async_trait]
impl EndpointDirectory for Faulty {
    async fn targets(
        &self,
        ids: &[EndpointId],
    ) -> Result<Vec<Option<Arc<EndpointTarget>>>, StoreError> {
        with(&self.targets, ids, self.store.targets(ids)).await
    }

    async fn report(&self, reports: &[HealthReport]) -> Result<(), StoreError> {
        with(&self.report, reports, self.store.report(reports)).await
    }
}
