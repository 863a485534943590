//! Stores what has to outlive its record: retries that are due later, and dead letters.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_nats::header::{NATS_SCHEDULE, NATS_SCHEDULE_TARGET};
use nahook_core::id::MessageId;
use nahook_core::{Event, Timestamp};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::hub::Hub;
use super::plan::{Plan, record_id};
use crate::Authentication;
use crate::acks::Outgoing;
use crate::authentication::Kind;
use crate::layout::Source;
use crate::record::{Item, Room, part_len, part_of};

/// Retries share a record if they are due within this part of their wait …
const SHARE: u32 = 64;
/// … and within this time. The process that holds the record waits for each exact time.
const WIDTH_MAX: Duration = Duration::from_mins(1);

impl Hub {
    /// Stores the deliveries of these plans until they are due. Returns the plans for which it did.
    pub(super) async fn store_retries(&self, plans: &[Plan], which: &[usize]) -> HashSet<usize> {
        let now = self.now();
        let mut seconds: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for n in which {
            if let Some(due_at) = plans[*n].moved_until() {
                seconds.entry(second(now, due_at)).or_default().push(*n);
            }
        }
        let mut records = Vec::new();
        for (second, members) in seconds {
            for record in self.records(plans, &members) {
                records.push(self.scheduled(second, record));
            }
        }
        self.store_all(records).await
    }

    /// Stores the deliveries of these plans as dead letters. Returns the plans for which it did.
    pub(super) async fn store_dead_letters(
        &self,
        plans: &[Plan],
        which: &[usize],
    ) -> HashSet<usize> {
        let mut records = Vec::new();
        for (members, id, mut record) in self.records(plans, which) {
            record.subject = self.names.dead_letters();
            record.id = Some(format!("dead-{id}"));
            records.push((members, record));
        }
        self.store_all(records).await
    }

    async fn store_all(&self, records: Vec<(Vec<usize>, Outgoing)>) -> HashSet<usize> {
        let storing = records.into_iter().map(|(members, record)| async move {
            let is_stored = self.acks.store(record, self.settings.answer_timeout).await;
            if is_stored { members } else { Vec::new() }
        });
        let stored = futures_util::future::join_all(storing).await;
        stored.into_iter().flatten().collect()
    }

    /// Makes a scheduled message of a record.
    fn scheduled(
        &self,
        second: u64,
        (members, id, mut record): (Vec<usize>, String, Outgoing),
    ) -> (Vec<usize>, Outgoing) {
        self.schedule(&mut record, id, second);
        (members, record)
    }

    /// Makes a scheduled message of a record: the server hands it out at that second.
    pub(super) fn schedule(&self, record: &mut Outgoing, id: String, second: u64) {
        record.subject = self.names.scheduled(&id);
        record.headers.insert(NATS_SCHEDULE, schedule_at(second));
        let target = self.names.due(Source::Retries);
        record.headers.insert(NATS_SCHEDULE_TARGET, target);
        record.id = Some(id);
    }

    /// Groups the deliveries of these plans into records, by event.
    fn records(&self, plans: &[Plan], which: &[usize]) -> Vec<(Vec<usize>, String, Outgoing)> {
        let room = Room::of(self.connection.client.max_payload());
        let mut by_event: BTreeMap<MessageId, Vec<usize>> = BTreeMap::new();
        for n in which {
            by_event.entry(plans[*n].event.id).or_default().push(*n);
        }
        let mut batches: Vec<Vec<(Arc<Event>, Vec<usize>)>> = Vec::new();
        let (mut len, mut count) = (usize::MAX, 0);
        for members in by_event.into_values() {
            let event = &plans[members[0]].event;
            let fitting = room.items(event).min(self.settings.record_len_max).max(1);
            for members in members.chunks(fitting) {
                let more = part_len(event, members.len());
                len = len.saturating_add(more);
                count += members.len();
                if len > room.len() || count > self.settings.record_len_max {
                    batches.push(Vec::new());
                    (len, count) = (more, members.len());
                }
                if let Some(batch) = batches.last_mut() {
                    batch.push((Arc::clone(event), members.to_vec()));
                }
            }
        }
        batches
            .iter()
            .filter_map(|batch| record(plans, batch, &self.settings.authentication))
            .collect()
    }
}

fn record(
    plans: &[Plan],
    batch: &[(Arc<Event>, Vec<usize>)],
    authentication: &Authentication,
) -> Option<(Vec<usize>, String, Outgoing)> {
    let parts: Vec<_> = batch
        .iter()
        .map(|(event, members)| {
            let items: Vec<Item> = members.iter().map(|n| plans[*n].item()).collect();
            part_of(event, &items)
        })
        .collect();
    let members: Vec<usize> = batch
        .iter()
        .flat_map(|(_, members)| members)
        .copied()
        .collect();
    let first = plans[*members.first()?].lease.delivery;
    let id = record_id(first, members.iter().map(|n| &plans[*n]));
    let record = Outgoing::of(String::new(), parts.iter(), Kind::Record, authentication);
    Some((members, id, record))
}

/// Second at which the server hands out a retry that is due at `due_at`: never a later one.
fn second(now: Timestamp, due_at: Timestamp) -> u64 {
    let wait = due_at.saturating_since(now);
    let width = (wait / SHARE)
        .clamp(Duration::from_secs(1), WIDTH_MAX)
        .as_secs();
    due_at.as_secs() / width * width
}

fn schedule_at(second: u64) -> String {
    // No timestamp is too late for the calendar; of any other second the server hands the record out at once.
    let at = i64::try_from(second).unwrap_or_default();
    let at = OffsetDateTime::from_unix_timestamp(at).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    format!("@at {}", at.format(&Rfc3339).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_waits_for_no_later_second_than_its_own() {
        let now = Timestamp::from_millis(1_712_345_678_901);
        for wait in [0, 1, 59, 60, 61, 300, 7_200, 86_400, 864_000] {
            let due_at = now.saturating_add(Duration::from_secs(wait));
            let second = second(now, due_at);
            assert!(second <= due_at.as_secs(), "{wait}");
            // No more than a part of its wait early, and a second at least: the process that holds it waits for the rest.
            let early_max = (wait / 64).clamp(1, 60);
            assert!(due_at.as_secs() - second < early_max, "{wait}");
        }
    }

    #[test]
    fn schedule_is_written_as_the_server_reads_it() {
        assert_eq!(schedule_at(1_712_345_678), "@at 2024-04-05T19:34:38Z");
    }
}
