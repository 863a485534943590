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

/// Deliveries of records that nobody has taken.
macro_rules! in_records {
    () => {
        "FROM record r CROSS JOIN LATERAL unnest(r.endpoints) WITH ORDINALITY AS u (endpoint, place)
        WHERE r.owner = 0 AND u.endpoint <> 0
            AND (NOT r.is_begun OR NOT EXISTS (SELECT FROM delivery d WHERE d.key = r.key + u.place - 1))"
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
    " + (SELECT count(*) FROM (SELECT 1 ",
    in_records!(),
    " ORDER BY r.key LIMIT $2) c), least((SELECT r.due_at FROM record r WHERE r.owner = 0 ORDER BY r.key LIMIT 1), ",
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
        let at = shared.clock().now();
        let now = nanos(at);
        let max = i64::try_from(count_max).unwrap_or(i64::MAX);
        let mut lent = shared.lender.lend().await?;
        // Leases that have expired are due, too: where no worker runs, nobody else takes them back.
        let asked: [Asked<'_>; 2] = [(WAKE, vec![&now]), (BACKLOG, vec![&now, &max])];
        let answers = lent.ask(&asked, Frame::default()).await?;
        let answers: Vec<_> = answers.into_iter().collect::<Result<_, _>>()?;
        let row = answers.last().and_then(|answer| answer.rows.first());
        let row = row.ok_or_else(|| PgError::unreadable("no answer"))?;
        let mut backlog = shared.ledger.with_taken(|taken| taken.backlog(at));
        backlog.add(
            value_at::<i64>(row, 0)?.unsigned_abs(),
            maybe_instant_at(row, 1)?,
        );
        backlog.due = backlog.due.min(count_max);
        Ok(backlog)
    }
}
