//! Measurement of the backlog: bounded counts, and the first of each endpoint.

use nahook_queue::Backlog;

use super::claim::{WAKE, again, fresh};
use crate::error::PgError;
use crate::lender::{Asked, Frame};
use crate::row::{maybe_instant_at, nanos, value_at};
use crate::store::PostgresStore;

/// Hops from endpoint to endpoint that has something ready of a kind, and takes since when its first is due.
macro_rules! firsts {
    ($kind:expr, $order:literal) => {
        concat!(
            "(WITH RECURSIVE first AS (
                (SELECT d.endpoint, d.due_at FROM delivery d WHERE ",
            $kind,
            " ORDER BY d.endpoint, ",
            $order,
            " LIMIT 1)
                UNION ALL
                SELECT n.endpoint, n.due_at FROM first CROSS JOIN LATERAL (
                    SELECT d.endpoint, d.due_at FROM delivery d WHERE ",
            $kind,
            " AND d.endpoint > first.endpoint ORDER BY d.endpoint, ",
            $order,
            " LIMIT 1
                ) n
            )
            SELECT min(first.due_at) FROM first)"
        )
    };
}

/// At most so many of a kind, in the order of its index.
macro_rules! count {
    ($kind:expr, $order:literal) => {
        concat!(
            "(SELECT count(*) FROM (SELECT 1 FROM delivery d WHERE ",
            $kind,
            " ORDER BY ",
            $order,
            " LIMIT $2) c)"
        )
    };
}

/// Retries that are due and that nobody has made ready yet.
macro_rules! timed {
    () => {
        "d.wake_at <= $1 AND d.wake_at IS NOT NULL AND d.lease_token IS NULL"
    };
}

const BACKLOG: &str = concat!(
    "SELECT ",
    count!(fresh!(), "d.endpoint, d.key"),
    " + ",
    count!(again!(), "d.endpoint, d.due_at, d.key"),
    " + ",
    count!(timed!(), "d.wake_at"),
    ", least(",
    firsts!(fresh!(), "d.key"),
    ", ",
    firsts!(again!(), "d.due_at, d.key"),
    ", (SELECT d.wake_at FROM delivery d WHERE ",
    timed!(),
    " ORDER BY d.wake_at LIMIT 1))"
);

impl PostgresStore {
    pub(super) async fn measure_backlog(&self, count_max: u64) -> Result<Backlog, PgError> {
        let shared = self.shared();
        let now = nanos(shared.clock().now());
        let max = i64::try_from(count_max).unwrap_or(i64::MAX);
        let mut lent = shared.lender.lend().await?;
        // Leases that have expired are due, too: where no worker runs, nobody else takes them back.
        let asked: [Asked<'_>; 2] = [(WAKE, vec![&now]), (BACKLOG, vec![&now, &max])];
        let answers = lent.ask(&asked, Frame::default()).await?;
        let answers: Vec<_> = answers.into_iter().collect::<Result<_, _>>()?;
        let row = answers.last().and_then(|answer| answer.rows.first());
        let row = row.ok_or_else(|| PgError::unreadable("no answer"))?;
        Ok(Backlog {
            due: count_max.min(value_at::<i64>(row, 0)?.unsigned_abs()),
            oldest_due_at: maybe_instant_at(row, 1)?,
        })
    }
}
