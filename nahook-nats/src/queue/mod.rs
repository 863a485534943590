mod hub;
mod intake;
mod keeper;
mod left_over;
mod notes;
mod plan;
mod progress;
mod retries;
mod settle;
mod sharing;
mod state;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use nahook_core::StoreError;
use nahook_queue::{Backlog, DeliveryQueue, Lease, LeaseBatch, LeaseRequest, Settled, Settlement};
use nahook_supervision::{Exit, Loop};

pub(crate) use self::hub::Hub;
use crate::error::QueueError;
use crate::layout::Source;
use crate::violation::lacking;

/// Timeout of ending the tasks.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Hands deliveries of the streams to the workers of this process. Clones share the deliveries.
///
/// The first call of [`lease`](DeliveryQueue::lease) begins to pull records; they stay with this process until their
/// deliveries are settled, it [closes](crate::Nats::close), or the server has not heard of it for
/// [`ack_wait`](crate::NatsSettings::ack_wait).
#[derive(Clone)]
pub struct NatsQueue {
    hub: Arc<Hub>,
    _open: Arc<Open>,
}

/// Ends the tasks with the last handle.
struct Open(Arc<Hub>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.closed.send_replace(true);
    }
}

impl NatsQueue {
    pub(crate) fn new(hub: Hub) -> Self {
        let hub = Arc::new(hub);
        Self {
            _open: Arc::new(Open(Arc::clone(&hub))),
            hub,
        }
    }

    async fn started(&self) -> Result<(), StoreError> {
        if *self.hub.closed.borrow() {
            return Err(StoreError::unavailable(QueueError::Closed));
        }
        let start = async {
            let names = &self.hub.names;
            for (which, source) in [
                (Loop::NatsIntake, Source::Deliveries),
                (Loop::NatsRetryIntake, Source::Retries),
            ] {
                let stream = names.stream(source);
                let rights = vec![
                    format!("$JS.API.CONSUMER.MSG.NEXT.{stream}."),
                    format!("$JS.ACK.{stream}."),
                ];
                self.spawn(which, rights, move |hub| intake::run(hub, source));
            }
            let stream = names.progress_stream();
            let of_notes = vec![
                format!("$JS.API.CONSUMER.CREATE.{stream}"),
                format!("$JS.API.CONSUMER.MSG.NEXT.{stream}."),
            ];
            self.spawn(Loop::NatsNotes, of_notes, notes::read);
            self.spawn(Loop::NatsSharing, vec![names.workers()], sharing::run);
            self.spawn(Loop::NatsConsumers, Vec::new(), hub::watch_consumers);
            self.spawn(Loop::NatsKeeper, Vec::new(), keeper::run);
        };
        self.hub.started.get_or_init(|| start).await;
        Ok(())
    }

    /// Runs a loop until the queue is closed. It ends, to be started again, while it lacks one of these rights: subjects or their
    /// prefixes.
    fn spawn<F>(
        &self,
        which: Loop,
        rights: Vec<String>,
        make: impl Fn(Arc<Hub>) -> F + Send + 'static,
    ) where
        F: Future<Output = Exit> + Send + 'static,
    {
        let hub = Arc::clone(&self.hub);
        let rights: Arc<[String]> = rights.into();
        self.hub.settings.supervisor.spawn(which, move || {
            let mut closed = hub.closed.subscribe();
            let lacking = lacking(hub.connection.violations(), Arc::clone(&rights));
            let work = make(Arc::clone(&hub));
            async move {
                tokio::select! {
                    biased;
                    _ = closed.wait_for(|closed| *closed) => Exit::Stopped,
                    exit = lacking => exit,
                    exit = work => exit,
                }
            }
        });
    }

    /// Waits until this process holds what the streams held when this was called, as far as it has room and no other process
    /// takes it. Gives up after the timeout of answers. For tests and tools: a worker waits for
    /// [`changed`](DeliveryQueue::changed).
    pub async fn caught_up(&self) -> Result<(), StoreError> {
        self.started().await?;
        let patience = self.hub.settings.answer_timeout;
        let _ = tokio::time::timeout(patience, self.hub.wait_for_arrivals()).await;
        Ok(())
    }

    /// Releases what this process holds, and ends.
    pub(crate) async fn close(&self) {
        self.hub.closed.send_replace(true);
        // Only once the server knows that this process pulls no more: it would hand the released records to it again.
        let stopped = async {
            self.hub.closed.closed().await;
            self.hub.connection.client.flush().await
        };
        let _ = tokio::time::timeout(STOP_TIMEOUT, stopped).await;
        let acks: Vec<_> = {
            let mut state = self.hub.state();
            let keys: Vec<_> = state.records.keys().copied().collect();
            keys.into_iter()
                .filter_map(|key| state.let_go(key))
                .collect()
        };
        self.hub.send_nak(acks).await;
    }
}

#[async_trait::async_trait]
impl DeliveryQueue for NatsQueue {
    async fn lease(&self, request: &LeaseRequest) -> Result<LeaseBatch, StoreError> {
        self.started().await?;
        let generation = self.hub.generation();
        let now = self.hub.now();
        let mut state = self.hub.state();
        state.scheduler.reclaim_expired(now);
        let leases = state.scheduler.lease(request, now).into_iter();
        let deliveries = leases.filter_map(|lease| state.leased(lease)).collect();
        let next_due = state.scheduler.next_due(now);
        Ok(LeaseBatch {
            deliveries,
            next_due,
            generation,
        })
    }

    async fn extend(&self, leases: &[Lease], duration: Duration) -> Result<Vec<bool>, StoreError> {
        let now = self.hub.now();
        let mut state = self.hub.state();
        state.scheduler.reclaim_expired(now);
        let expires_at = now.saturating_add(duration);
        Ok(leases
            .iter()
            .map(|lease| state.scheduler.extend(*lease, expires_at))
            .collect())
    }

    /// Stores retries and dead letters, then notes the progress, and waits for the acknowledgement of both. Dropped before
    /// that, it leaves the leases as they were.
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, StoreError> {
        self.hub.settle(settlements).await
    }

    async fn changed(&self, generation: u64) {
        let mut generations = self.hub.generations();
        // The sender lives as long as this handle, so waiting cannot fail.
        let _ = generations.wait_for(|current| *current != generation).await;
    }

    /// A record that no process has pulled counts as one delivery. The age is that of the deliveries that this process holds.
    async fn backlog(&self, count_max: u64) -> Result<Backlog, StoreError> {
        let mut backlog = Backlog::default();
        for source in [Source::Deliveries, Source::Retries] {
            let unpulled = self.hub.unpulled(source).await;
            backlog.add(unpulled?, None);
        }
        let now = self.hub.now();
        let mut state = self.hub.state();
        state.scheduler.reclaim_expired(now);
        let held = state.scheduler.backlog(now);
        backlog.add(held.due, held.oldest_due_at);
        backlog.due = backlog.due.min(count_max);
        Ok(backlog)
    }
}

impl std::fmt::Debug for NatsQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsQueue").finish_non_exhaustive()
    }
}
