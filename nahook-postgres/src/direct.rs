//! Sending to single endpoints: several events, each with its one delivery and its key, in one statement.

use nahook_core::{DirectDelivery, DirectPublisher};

use crate::store::PostgresStore;
use crate::writer::DirectJob;

impl DirectPublisher for PostgresStore {
    /// Queues all slots whose endpoint exists by one statement, together with whatever else arrives at that moment. Where that
    /// fails each is tried by itself.
    ///
    /// A key is claimed in the transaction that queues its delivery: whoever comes with the same key meanwhile, in this
    /// process or another, waits for that to end, and is answered with what came of it.
    ///
    /// Dropped before a writer has begun with it, nothing is written and the slots say so; dropped later, they stay
    /// unconfirmed unless the answer has arrived.
    async fn publish_direct(&self, deliveries: &mut [DirectDelivery]) {
        if deliveries.is_empty() {
            return;
        }
        let (job, submission) = DirectJob::new(deliveries);
        self.shared().writer.send_direct(job);
        submission.answered().await;
    }
}
