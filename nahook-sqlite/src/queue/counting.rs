//! Counts of fresh deliveries by endpoint, by the file: when it is opened, and when memory may be wrong.

use foldhash::HashMap;
use rusqlite::Connection;

use super::Queue;
use crate::record::endpoint_at;

/// Counts the deliveries of all records by endpoint …
const MEMBERS_OF_RECORDS: &str = "SELECT member.endpoint, sum(audience.records)
     FROM (SELECT audience AS row, count(*) AS records FROM nahook_queued GROUP BY audience) AS audience
     JOIN nahook_member AS member ON member.audience = audience.row
     GROUP BY member.endpoint";

/// … those of them that are rows: events behind all rows have none, which are most of a backlog …
const ROWS_OF_RECORDS: &str = "SELECT member.endpoint, count(*)
     FROM nahook_queued AS queued
     CROSS JOIN nahook_delivery AS delivery
         ON delivery.key >= queued.event << 20 AND delivery.key < (queued.event + 1) << 20
     CROSS JOIN nahook_member AS member
         ON member.audience = queued.audience AND member.ordinal = delivery.key & 1048575
     WHERE queued.event <= (SELECT max(key) >> 20 FROM nahook_delivery)
     GROUP BY member.endpoint";

/// … and those that are yet to be adopted, none of which is a row.
const SUBMITTED: &str = "SELECT member.endpoint, count(*)
     FROM nahook_submission AS submission
     CROSS JOIN nahook_event AS event ON event.seq = submission.event
     CROSS JOIN nahook_queued AS queued ON queued.audience = event.audience AND queued.event = event.seq
     CROSS JOIN nahook_member AS member ON member.audience = queued.audience
     WHERE NOT submission.is_adopted
     GROUP BY member.endpoint";

impl Queue {
    /// Counts what is fresh, but for events that are yet to be adopted, and has everything else that is known of the file read again.
    ///
    /// Within a transaction, while nobody of this process writes, and everybody has been told of what was written.
    pub(crate) fn count_fresh(&self, connection: &Connection) -> rusqlite::Result<()> {
        let counts = fresh(connection)?;
        let adopted = connection
            .prepare("SELECT event FROM nahook_submission WHERE is_adopted")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        self.state().doubt_all();
        let leased = self.state().leased_fresh();
        let mut rows = Vec::new();
        for (endpoint, key) in leased {
            if endpoint_at(connection, key)?.is_none() {
                rows.push((endpoint, key));
            }
        }
        let mut state = self.state();
        for (endpoint, key) in rows {
            state.became_row(endpoint, key);
        }
        state.set_adopted(adopted);
        state.set_fresh(counts);
        Ok(())
    }
}

/// Endpoints of records, and how many fresh deliveries each has.
fn fresh(connection: &Connection) -> rusqlite::Result<HashMap<i64, usize>> {
    let mut counts: HashMap<i64, i64> = HashMap::default();
    for (statement, sign) in [
        (MEMBERS_OF_RECORDS, 1),
        (ROWS_OF_RECORDS, -1),
        (SUBMITTED, -1),
    ] {
        let mut counted = connection.prepare(statement)?;
        for found in counted.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))? {
            let (endpoint, count) = found?;
            *counts.entry(endpoint).or_default() += sign * count;
        }
    }
    let counts = counts.into_iter();
    Ok(counts
        .map(|(endpoint, count)| (endpoint, usize::try_from(count).unwrap_or(0)))
        .collect())
}

#[cfg(test)]
mod tests {
    use nahook_core::Timestamp;
    use nahook_core::id::DeliveryId;
    use nahook_queue::{Held, Lease, LeaseToken, WorkerId};

    use super::*;
    use crate::queue::LeasedRow;
    use crate::schema::{empty, plan_of};

    #[test]
    fn counting_begins_with_what_there_is_least_of() {
        for (statement, first) in [
            (MEMBERS_OF_RECORDS, "nahook_queued"),
            (ROWS_OF_RECORDS, "queued"),
            (SUBMITTED, "submission"),
        ] {
            let plan = plan_of(&empty(), statement);
            let scanned = plan.iter().filter_map(|step| step.strip_prefix("SCAN "));
            // What is counted by audience is scanned in its turn.
            let tables: Vec<_> = scanned.filter(|table| *table != "audience").collect();
            assert_eq!(tables, [first], "{plan:?}");
        }
    }

    #[test]
    fn what_memory_has_wrong_is_counted_anew() {
        let connection = empty();
        // Of the record 1 a delivery is a row; 2 waits, 3 was adopted, and 4 is yet to be.
        let file = "INSERT INTO nahook_event (seq, id, workspace, accepted_at, width) VALUES (1, x'01', 1, 1, 1), (2, x'02', 1, 1, 1), (3, x'03', 1, 1, 1), (4, x'04', 1, 1, 1);
            INSERT INTO nahook_record VALUES (1, '[5, 6, null, 7]'), (2, '[5]'), (3, '[5]'), (4, '[5]');
            INSERT INTO nahook_delivery (key, endpoint, status, attempts) VALUES ((1 << 20) + 1, 6, 2, 1);
            INSERT INTO nahook_submission VALUES (3, 1), (4, 0)";
        connection.execute_batch(file).unwrap();
        let queue = Queue::new(LeaseToken(0), 100);
        let counts = |queue: &Queue| {
            let state = queue.state();
            let of = |endpoint| state.endpoints.get(&endpoint).map_or(0, |it| it.fresh);
            ([5, 6, 7].map(of), state.fresh_len())
        };
        queue.count_fresh(&connection).unwrap();
        assert_eq!(counts(&queue), ([3, 0, 1], 4));
        assert_eq!(queue.state().adopted(), [3]);
        // The row's lease is from before its commit, of which nobody was told; and one was counted out that had never been counted.
        let row = LeasedRow {
            key: (1 << 20) + 1,
            attempts: 0,
            is_fresh: true,
        };
        let (delivery, end) = (DeliveryId::from_bits(1), Timestamp::from_nanos(u64::MAX));
        let token = queue
            .state()
            .claim(delivery, Held::new(WorkerId(1), 6, end, row));
        queue.state().add_fresh(7, (1 << 20) + 3);
        queue.state().became_row(5, 9);
        queue.count_fresh(&connection).unwrap();
        assert_eq!(counts(&queue), ([3, 0, 1], 4));
        queue.state().end(Lease { delivery, token });
        assert_eq!(counts(&queue), ([3, 0, 1], 4));
    }
}
