//! Retries that an earlier version left under `retries.at.<second>`, for servers without scheduled messages.

use futures_util::TryStreamExt as _;
use futures_util::future::join_all;

use super::hub::Hub;
use crate::acks::Outgoing;
use crate::layout::Source;

/// Most records that become scheduled messages in one step.
const BATCH: usize = 64;

impl Hub {
    /// Makes scheduled messages of some retries that an earlier version left. Returns `None` if there are none, or it failed.
    pub(super) async fn schedule_left_over(&self) -> Option<()> {
        let name = self.names.stream(Source::Retries);
        let stream = self.connection.context.get_stream(&name).await.ok()?;
        let left = stream.info_with_subjects(self.names.unscheduled()).await;
        let (subject, _) = left.ok()?.try_next().await.ok()??;
        let second = self.names.second_of(&subject)?;
        let (mut next, mut records) = (1, Vec::new());
        while records.len() < BATCH
            && let Ok(message) = stream
                .get_first_raw_message_by_subject(&subject, next)
                .await
        {
            next = message.sequence + 1;
            // The instant beside the sequence: a stream that is created again counts from 1 again.
            let stored_at = message.time.unix_timestamp_nanos();
            let mut record = Outgoing {
                subject: String::new(),
                id: None,
                headers: message.headers,
                body: message.payload,
            };
            let id = format!("due-{}-{stored_at}", message.sequence);
            self.schedule(&mut record, id, second);
            records.push(self.acks.store(record, self.settings.answer_timeout));
        }
        if !join_all(records).await.into_iter().all(|stored| stored) {
            return None;
        }
        stream.purge().filter(subject).sequence(next).await.ok()?;
        Some(())
    }
}
