//! The delivery queue: a process takes records and attempts their deliveries from memory; deliveries that are rows are leased in
//! the database, where any process may.

mod backlog;
mod claim;
mod keeper;
mod settle;
mod take;

use std::time::Duration;

use nahook_core::StoreError;
use nahook_queue::{
    Backlog, BatchRoom, DeliveryQueue, Lease, LeaseBatch, LeaseRequest, LeasedDelivery, Settled,
    Settlement,
};

pub(crate) use self::claim::{again, fresh};
use crate::error::PgError;
use crate::store::PostgresStore;

/// From so many finished records on they are removed with a batch; fewer, once a second.
const FINISHED_MIN: usize = 64;

#[async_trait::async_trait]
impl DeliveryQueue for PostgresStore {
    /// The bounds are kept over what this store has leased to the worker: a worker uses one store, and its clones.
    async fn lease(&self, request: &LeaseRequest) -> Result<LeaseBatch, StoreError> {
        Ok(self.batch(request).await?)
    }

    async fn extend(&self, leases: &[Lease], duration: Duration) -> Result<Vec<bool>, StoreError> {
        Ok(self.extend_leases(leases, duration).await?)
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, StoreError> {
        Ok(self.settle_leases(settlements).await?)
    }

    async fn changed(&self, generation: u64) {
        self.shared().signals.changed(generation).await;
    }

    async fn backlog(&self, count_max: u64) -> Result<Backlog, StoreError> {
        Ok(self.measure_backlog(count_max).await?)
    }
}

/// A batch in the making. If nobody receives it, what of it came from records goes back. What was not looked at is looked at the next
/// time.
struct Batch<'a> {
    store: &'a PostgresStore,
    request: &'a LeaseRequest,
    room: BatchRoom,
    /// True if there may be rows to lease.
    may_have_rows: bool,
    deliveries: Vec<LeasedDelivery>,
}

impl PostgresStore {
    async fn batch(&self, request: &LeaseRequest) -> Result<LeaseBatch, PgError> {
        let shared = self.shared();
        // Read first: what changes from here on is then told by `changed`.
        let generation = shared.signals.generation();
        let mut batch = Batch {
            store: self,
            request,
            room: BatchRoom::of(request),
            may_have_rows: false,
            deliveries: Vec::new(),
        };
        if let Err(error) = batch.fill().await
            && batch.deliveries.is_empty()
        {
            return Err(error);
        }
        Ok(LeaseBatch {
            deliveries: std::mem::take(&mut batch.deliveries),
            next_due: shared.ledger.next_due(shared.clock().now()),
            generation,
        })
    }
}

impl Batch<'_> {
    async fn fill(&mut self) -> Result<(), PgError> {
        let shared = self.store.shared();
        let rows_first = shared.ledger.rows_go_first();
        self.store.register().await?;
        self.store.put_rows(FINISHED_MIN).await?;
        let now = shared.clock().now();
        self.may_have_rows = shared.signals.take_rows_changed() || shared.ledger.are_rows_due(now);
        if rows_first {
            // Half of the batch is for what waits in records.
            self.lease_rows(self.request.max.div_ceil(2)).await?;
        }
        self.lease_from_records().await?;
        self.lease_rows(self.request.max).await?;
        // What was behind rows may not be any more.
        self.lease_in_hand();
        Ok(())
    }

    /// Leases rows until there are so many deliveries in the batch.
    async fn lease_rows(&mut self, until: usize) -> Result<(), PgError> {
        let max = until.saturating_sub(self.deliveries.len());
        if self.may_have_rows && (max > 0 || until == 0) {
            let leased = self.store.lease_rows(self.request, max, &mut self.room);
            let (deliveries, is_partial) = leased.await?;
            self.deliveries.extend(deliveries);
            self.may_have_rows = is_partial;
        }
        Ok(())
    }

    async fn lease_from_records(&mut self) -> Result<(), PgError> {
        let signals = &self.store.shared().signals;
        if signals.take_records_changed() {
            self.store.look_for_records().await?;
        }
        self.lease_in_hand();
        let has_less = self.left() > 0;
        if has_less && (signals.take_records_changed() || self.deliveries.is_empty()) {
            // Whoever gets nothing at all has looked, whatever was told.
            self.store.take_records().await?;
            self.lease_in_hand();
        }
        Ok(())
    }

    fn lease_in_hand(&mut self) {
        let shared = self.store.shared();
        let (left, now) = (self.left(), shared.clock().now());
        let leased = shared.ledger.lease(self.request, left, &mut self.room, now);
        self.deliveries.extend(leased);
    }

    fn left(&self) -> usize {
        self.request.max - self.deliveries.len()
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if self.may_have_rows {
            self.store.shared().signals.note_rows();
        }
        let ledger = &self.store.shared().ledger;
        for delivery in &self.deliveries {
            ledger.with_taken(|taken| taken.release(delivery.lease));
        }
    }
}
