//! Storing what has to outlive its record: retries that are far away, and dead letters.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_nats::header::{NATS_SCHEDULE, NATS_SCHEDULE_TARGET};
use bytes::Bytes;
use nahook_core::{Event, MessageId, Timestamp};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::hub::Hub;
use super::settle::{Course, Plan, name};
use crate::acks::{Fate, Outgoing};
use crate::layout::Source;
use crate::record::{Item, Room, body, headers, part_len, part_of};

/// Retries are put together that are due within so much of their wait …
const SHARE: u32 = 64;
/// … and within this time. Whoever has the record waits for the rest.
const WIDTH_MAX: Duration = Duration::from_mins(1);

impl Hub {
    /// Stores those plans' deliveries until they are due. Answers which it did.
    pub(super) async fn store_retries(&self, plans: &[Plan], which: &[usize]) -> HashSet<usize> {
        let now = self.now();
        let mut seconds: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for n in which {
            if let Course::Move(due_at) = plans[*n].course {
                seconds.entry(second(now, due_at)).or_default().push(*n);
            }
        }
        let mut records = Vec::new();
        for (second, members) in seconds {
            for record in self.records(plans, &members) {
                records.push(self.waiting(second, record));
            }
        }
        self.store_all(records).await
    }

    /// Stores those plans' deliveries as dead letters. Answers which it did.
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
        // All are sent first, and all answers awaited after.
        let storing = records.into_iter().map(|(members, record)| async move {
            let fate = self.acks.store(record, self.settings.answer_timeout).await;
            (members, fate)
        });
        let fates = futures_util::future::join_all(storing).await;
        fates
            .into_iter()
            .filter(|(_, fate)| *fate == Fate::Stored)
            .flat_map(|(members, _)| members)
            .collect()
    }

    /// Gives a record the subject and the headers with which it waits for its second.
    fn waiting(
        &self,
        second: u64,
        (members, id, mut record): (Vec<usize>, String, Outgoing),
    ) -> (Vec<usize>, Outgoing) {
        if let Some(at) = rfc3339(second).filter(|_| self.scheduled) {
            record.subject = self.names.scheduled(&id);
            record.headers.insert(NATS_SCHEDULE, format!("@at {at}"));
            let target = self.names.due(Source::Retries);
            record.headers.insert(NATS_SCHEDULE_TARGET, target);
        } else {
            record.subject = self.names.waiting(second);
            self.alarm.set(second);
        }
        record.id = Some(id);
        (members, record)
    }

    /// Puts those plans' deliveries into records, by event.
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
            .filter_map(|batch| record(plans, batch))
            .collect()
    }
}

fn record(
    plans: &[Plan],
    batch: &[(Arc<Event>, Vec<usize>)],
) -> Option<(Vec<usize>, String, Outgoing)> {
    let parts: Vec<_> = batch
        .iter()
        .map(|(event, members)| {
            let items: Vec<Item> = members.iter().map(|n| item(&plans[*n])).collect();
            part_of(event, &items)
        })
        .collect();
    let members: Vec<usize> = batch
        .iter()
        .flat_map(|(_, members)| members)
        .copied()
        .collect();
    let first = &plans[*members.first()?];
    let id = name("retry", first.lease.delivery, first.attempts, members.len());
    let (body, offsets) = body(&parts);
    let record = Outgoing {
        subject: String::new(),
        id: None,
        headers: headers(parts.iter().zip(offsets)),
        body: Bytes::from(body),
    };
    Some((members, id, record))
}

fn item(plan: &Plan) -> Item {
    let due_at = match plan.course {
        Course::Keep(at) | Course::Move(at) => Some(at),
        Course::Close(_) => None,
    };
    plan.item(due_at)
}

/// The second for which a retry waits that is due then: never a later one.
fn second(now: Timestamp, due_at: Timestamp) -> u64 {
    let wait = due_at.saturating_since(now);
    let width = (wait / SHARE)
        .clamp(Duration::from_secs(1), WIDTH_MAX)
        .as_secs();
    due_at.as_secs() / width * width
}

fn rfc3339(second: u64) -> Option<String> {
    let at = OffsetDateTime::from_unix_timestamp(i64::try_from(second).ok()?).ok()?;
    at.format(&Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_waits_for_no_later_second_than_its_own() {
        let now = Timestamp::from_millis(1_712_345_678_901);
        for wait in [0, 1, 59, 60, 61, 300, 7_200, 86_400, 864_000] {
            let due_at = now.saturating_add(Duration::from_secs(wait));
            let second = second(now, due_at);
            assert!(second <= due_at.as_secs(), "{wait}");
            assert!(due_at.as_secs() - second < 60, "{wait}");
        }
    }

    #[test]
    fn a_schedule_is_told_as_the_server_reads_it() {
        assert_eq!(
            rfc3339(1_712_345_678).as_deref(),
            Some("2024-04-05T19:34:38Z")
        );
    }
}
