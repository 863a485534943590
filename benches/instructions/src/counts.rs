//! The cost of counts over time: publishing and settling on the SQLite store, with them and without.

use std::time::Duration;

use nahook_benches::event;
use nahook_control::{
    ApplyMode, Catalog as _, EndpointSpec, EventTypeSpec, Manifest, WorkspaceSpec,
};
use nahook_core::id::{EndpointId, EventTypeId, MessageId, WorkspaceId};
use nahook_core::{
    Clock as _, Delivery, DeliveryPublisher as _, Event, EventTypeName, SystemClock,
};
use nahook_queue::{Attempt, DeliveryQueue as _, LeaseRequest, Next, Settlement, Tally, WorkerId};
use nahook_sqlite::{SqliteSettings, SqliteStore};
use tempfile::TempDir;
use tokio::runtime::Builder;

use crate::Failure;

/// Deliveries that are settled at once, each of another endpoint.
pub(crate) const BATCH: u32 = 100;

/// Something that is done on the store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// An event is published for one endpoint.
    Publish,
    /// So many deliveries are published, leased and settled as delivered.
    Settle,
    /// The same, and their counts are written at once.
    Write,
}

struct Shop {
    store: SqliteStore,
    workspace: WorkspaceId,
    endpoints: Vec<EndpointId>,
    _folder: TempDir,
}

/// Takes the step so many times, counting if asked to.
pub(crate) fn run(step: Step, counts: bool, times: u64) -> Result<(), Failure> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (shop, tally) = (Shop::open().await?, Tally::default());
        let tally = counts.then_some(&tally);
        for number in 0..times {
            match step {
                Step::Publish => shop.publish(number, 1, tally).await?,
                Step::Settle | Step::Write => {
                    shop.publish(number, BATCH as usize, None).await?;
                    shop.settle(tally).await?;
                }
            }
            if step == Step::Write
                && let Some(tally) = tally
            {
                tally.write(&shop.store, usize::MAX).await?;
            }
        }
        Ok(())
    })
}

impl Shop {
    async fn open() -> Result<Self, Failure> {
        let folder = TempDir::new()?;
        let store = SqliteStore::open(folder.path().join("nahook.db"), SqliteSettings::default())?;
        let workspace = WorkspaceId::from_bits(1);
        let endpoints: Vec<_> = (0..BATCH)
            .map(|n| EndpointId::from_bits(n.into()))
            .collect();
        let spec = |id: &EndpointId| EndpointSpec {
            id: Some(*id),
            url: "https://customer.example/hooks".to_owned(),
            ..EndpointSpec::default()
        };
        let manifest = Manifest {
            workspaces: vec![WorkspaceSpec {
                id: Some(workspace),
                name: "shop".to_owned(),
                event_types: vec![EventTypeSpec {
                    id: Some(EventTypeId::from_bits(7)),
                    ..EventTypeSpec::named(EventTypeName::new("order.paid")?)
                }],
                endpoints: endpoints.iter().map(spec).collect(),
                ..WorkspaceSpec::default()
            }],
        };
        store.apply(&manifest, ApplyMode::Commit).await?;
        Ok(Self {
            store,
            workspace,
            endpoints,
            _folder: folder,
        })
    }

    async fn publish(
        &self,
        number: u64,
        width: usize,
        tally: Option<&Tally>,
    ) -> Result<(), Failure> {
        let now = SystemClock.now();
        let message = MessageId::from_parts(now, u128::from(number) << 24);
        let event = event(200).map_err(|_| "no event can be made")?;
        let event = Event::new(
            event,
            message,
            EventTypeId::from_bits(7),
            self.workspace,
            now,
        );
        let slots = (0..).zip(self.endpoints.iter().take(width));
        let slots = slots.map(|(ordinal, id)| Delivery::new(message, ordinal, *id));
        let mut slots: Vec<_> = slots.collect();
        self.store.publish(&event, &mut slots).await;
        if let Some(tally) = tally {
            tally.accepted(event.workspace, event.accepted_at);
        }
        Ok(())
    }

    async fn settle(&self, tally: Option<&Tally>) -> Result<(), Failure> {
        let request = LeaseRequest::new(WorkerId(1), BATCH as usize, Duration::from_mins(1));
        let batch = self.store.lease(&request).await?;
        let attempt = Attempt::answered(SystemClock.now(), Duration::from_millis(20), 200);
        let settled = batch.deliveries.iter().map(|delivery| Settlement {
            lease: delivery.lease,
            attempt: Some(attempt.clone()),
            next: Next::Delivered,
        });
        let settled: Vec<_> = settled.collect();
        self.store.settle(&settled).await?;
        for (delivery, settlement) in batch.deliveries.iter().zip(&settled) {
            if let Some(tally) = tally {
                tally.settled(delivery, settlement);
            }
        }
        Ok(())
    }
}
