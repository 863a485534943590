//! Publishing: an event and the record of its deliveries, in one statement.

use nahook_core::{Delivery, DeliveryPublisher, Event};

use crate::store::PostgresStore;
use crate::writer::PublishJob;

impl DeliveryPublisher for PostgresStore {
    /// Queues all deliveries of endpoints that exist by one statement, together with whatever else arrives at that moment.
    /// If that fails, each event is tried by itself, so that one event's failure is no other's.
    ///
    /// Dropped before a writer has begun with it, nothing is written and the slots say so; dropped later, they stay
    /// unconfirmed unless the answer has arrived. The statement itself is shared with others and ends by itself, by the
    /// server's time-out at the latest.
    async fn publish(&self, event: &Event, deliveries: &mut [Delivery]) {
        if deliveries.is_empty() {
            return;
        }
        let (job, submission) = PublishJob::new(event, deliveries);
        self.shared().writer.send(job);
        submission.answered().await;
    }
}
