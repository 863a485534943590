//! Broken lists of events.

use nahook_core::StoreError;
use nahook_core::id::{MessageId, WorkspaceId};
use nahook_queue::{DeliveryRecord, DeliveryStatus, EventPage, EventQuery, EventSearch};
use nahook_testkit::declare;

use super::{Broken, Bug::*};

#[async_trait::async_trait]
impl EventSearch for Broken {
    async fn events(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        let mut asked = query.clone();
        match self.bug {
            ListsEventsOfOthers => asked.workspace = declare::workspace_id("ws_shop"),
            FindsAnyLabel => asked.labels.clear(),
            FindsFirstLabel => asked.labels.truncate(1),
            FindsAnyType => asked.event_type = None,
            FindsAnyKey => asked.idempotency_key = None,
            _ => {}
        }
        let mut page = self.inner.events(&asked).await?;
        match self.bug {
            ListsOldestEventsFirst => page.events.reverse(),
            EndsEarly => page.next = None,
            CountsGivenUpAsDelivered => {
                for event in &mut page.events {
                    event.delivered += event.given_up;
                }
            }
            _ => {}
        }
        Ok(page)
    }

    async fn event_deliveries(
        &self,
        event: MessageId,
        workspace: &WorkspaceId,
        limit: usize,
    ) -> Result<Vec<DeliveryRecord>, StoreError> {
        let shop = declare::workspace_id("ws_shop");
        let (workspace, limit) = match self.bug {
            ListsEventsOfOthers => (&shop, limit),
            ShowsMoreDeliveries => (workspace, usize::MAX),
            _ => (workspace, limit),
        };
        let mut found = self.inner.event_deliveries(event, workspace, limit).await?;
        match self.bug {
            SortsDeliveriesByEndpoint => found.sort_by_key(|record| record.endpoint),
            ShowsAttemptedAsPending => {
                for record in &mut found {
                    if record.status == DeliveryStatus::Delivering {
                        record.status = DeliveryStatus::Pending;
                    }
                }
            }
            _ => {}
        }
        Ok(found)
    }
}
