//! Forgetting: events that are old enough and whose deliveries are all settled, keys, portal sessions and audit entries, a
//! bounded number at a time.

use std::time::Duration;

use metrics::counter;
use nahook_control::SecretBox;
use nahook_core::{Causes, Timestamp};
use nahook_supervision::{Exit, Loop};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::PostgresSettings;
use crate::error::PgError;
use crate::lender::Lender;
use crate::metric;
use crate::parameter::Parameter;
use crate::row::{Bits, nanos, value_at};
use crate::schema::LOCK_CLASS;
use crate::secrets::seal_some;
use crate::statement::Opening;
use crate::writer::over_before;

/// Upper bound on events looked at by one statement; fewer where those are so wide that it takes too long.
const EVENTS_PER_STATEMENT: i64 = 500;

/// SQLSTATE of a statement that took too long.
const TIMED_OUT: &str = "57014";

/// Those whose ids were drawn. Ids begin with the time, so that the oldest are found by it.
const DRAWN: Passage = Passage {
    events: "e.id > $1 AND e.id < $2",
    order: "id",
};

/// Those that were brought along with ids of their own, which say nothing of the time. They have an index by it.
const GIVEN: Passage = Passage {
    events: "e.id >= 'ff000000-0000-0000-0000-000000000000' AND (e.accepted_at, e.id) > ($2, $1) AND e.accepted_at < $4",
    order: "accepted_at, id",
};

/// A way through old events, from behind one that was looked at.
struct Passage {
    /// Which ones, behind the id $1.
    events: &'static str,
    order: &'static str,
}

impl Passage {
    /// Deletes old events, and answers how many were looked at, how many went, and the last one.
    ///
    /// `accepted_at` decides. A fan-out goes whole: as long as one of its deliveries waits, here, in a record or in a queue
    /// elsewhere, all of it stays. That is looked at again under the lock of each delivery, as one may be queued again meanwhile. Attempts
    /// go by their deliveries' numbers, which are the event's and what follows it.
    fn forget(&self) -> String {
        let Self { events, order } = self;
        format!(
            "
WITH looked_at AS MATERIALIZED (
    SELECT e.seq, e.id, e.accepted_at, row_number() OVER (ORDER BY {order}) AS place FROM event e
    WHERE {events} ORDER BY {order} LIMIT $3
), settled AS MATERIALIZED (
    SELECT l.seq FROM looked_at l
    WHERE l.accepted_at < $4 AND NOT EXISTS (
        SELECT FROM delivery d
        WHERE d.key >= l.seq << 20 AND d.key < (l.seq + 1) << 20
            AND (d.due_at IS NOT NULL OR d.recorded_retry_at IS NOT NULL AND d.status IN (0, 1)))
        AND NOT EXISTS (SELECT FROM record r WHERE r.key >= l.seq << 20 AND r.key < (l.seq + 1) << 20)
), locked AS MATERIALIZED (
    SELECT s.seq, d.due_at IS NOT NULL OR d.recorded_retry_at IS NOT NULL AND d.status IN (0, 1) AS waits
    FROM settled s JOIN delivery d ON d.key >= s.seq << 20 AND d.key < (s.seq + 1) << 20
    ORDER BY d.key FOR UPDATE OF d
), old AS MATERIALIZED (
    SELECT s.seq FROM settled s WHERE s.seq <> ALL (ARRAY(SELECT k.seq FROM locked k WHERE k.waits))
), attempts AS (
    DELETE FROM attempt a USING old o
    WHERE a.delivery >= o.seq << 20 AND a.delivery < (o.seq + 1) << 20
), deliveries AS (
    DELETE FROM delivery d USING old o
    WHERE d.key >= o.seq << 20 AND d.key < (o.seq + 1) << 20
), gone AS (
    DELETE FROM event e USING old o WHERE e.seq = o.seq
    RETURNING e.seq
)
SELECT n.looked_at, (SELECT count(*) FROM gone), l.id, l.accepted_at
FROM (SELECT count(*) AS looked_at FROM looked_at) n LEFT JOIN looked_at l ON l.place = n.looked_at"
        )
    }
}

/// Number of keys, entries or sessions deleted by one statement.
const ROWS_PER_STATEMENT: i64 = 1_000;

/// Deletes keys that were claimed then or before; leaves those alone that somebody is claiming anew.
const FORGET_KEYS: &str = "
DELETE FROM idempotency_key i USING (
    SELECT k.endpoint, k.key FROM idempotency_key k
    WHERE k.claimed_at <= $1 ORDER BY k.claimed_at LIMIT $2 FOR UPDATE SKIP LOCKED) old
WHERE i.endpoint = old.endpoint AND i.key = old.key
RETURNING 1";

macro_rules! forget_counts {
    ($period:literal) => {
        concat!(
            "DELETE FROM counts c USING (
                SELECT o.workspace, o.endpoint, o.period, o.start FROM counts o
                WHERE o.period = ", $period, " AND o.start < $1 ORDER BY o.start LIMIT $2 FOR UPDATE SKIP LOCKED) old
            WHERE c.workspace = old.workspace AND c.endpoint = old.endpoint AND c.period = old.period AND c.start = old.start
            RETURNING 1"
        )
    };
}

/// Deletes audit entries from before that.
const FORGET_ENTRIES: &str = "
DELETE FROM audit_entry a USING (
    SELECT e.workspace, e.created_at, e.row FROM audit_entry e
    WHERE e.created_at < $1 ORDER BY e.created_at LIMIT $2 FOR UPDATE SKIP LOCKED) old
WHERE a.workspace = old.workspace AND a.created_at = old.created_at AND a.row = old.row
RETURNING 1";

/// Deletes counts of times that began before that.
const FORGET_COUNTS_OF_HOURS: &str = forget_counts!(1);
const FORGET_COUNTS_OF_MINUTES: &str = forget_counts!(0);

/// Time for which the counts of minutes are kept.
const MINUTES_KEPT: Duration = Duration::from_hours(24);

/// Deletes portal sessions that ended then or before.
const FORGET_SESSIONS: &str = "
DELETE FROM portal_session p USING (
    SELECT s.code FROM portal_session s
    WHERE s.expires_at <= $1 ORDER BY s.expires_at LIMIT $2 FOR UPDATE SKIP LOCKED) old
WHERE p.code = old.code
RETURNING 1";

/// Removes signing secrets that were rotated out and sign no more.
const FORGET_SECRETS: &str = "
UPDATE endpoint e SET previous_secret = NULL, previous_secret_until = NULL FROM (
    SELECT p.row FROM endpoint p
    WHERE p.previous_secret_until <= $1 ORDER BY p.previous_secret_until LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED) old
WHERE e.row = old.row
RETURNING 1";

/// Deletes sessions of the pages that ended then or before.
const FORGET_PAGE_SESSIONS: &str = "
DELETE FROM page_session p USING (
    SELECT s.id FROM page_session s
    WHERE s.expires_at <= $1 ORDER BY s.expires_at LIMIT $2 FOR UPDATE SKIP LOCKED) old
WHERE p.id = old.id
RETURNING 1";

/// Removes what has passed its retention.
#[derive(Clone)]
pub(crate) struct Retention {
    pub(crate) lender: Lender,
    pub(crate) settings: PostgresSettings,
    pub(crate) secrets: SecretBox,
    pub(crate) stop: watch::Receiver<bool>,
}

impl Retention {
    /// Looks for it again and again, until told to stop.
    pub(crate) fn start(self) -> JoinHandle<()> {
        let interval = self.settings.retention_interval;
        if interval.is_zero() {
            return tokio::spawn(async {});
        }
        let supervisor = self.settings.supervisor.clone();
        supervisor.spawn(Loop::PostgresRetention, move || self.clone().run(interval))
    }

    async fn run(mut self, interval: Duration) -> Exit {
        let mut may_be_plain = self.secrets.has_key();
        loop {
            if may_be_plain {
                match self.seal_plain().await {
                    Ok(found) => may_be_plain = found,
                    Err(error) => {
                        tracing::warn!(error = %Causes(&error), "secrets could not be sealed; the next time will");
                    }
                }
            }
            tokio::select! {
                biased;
                _ = self.stop.wait_for(|stop| *stop) => return Exit::Stopped,
                () = tokio::time::sleep(interval) => {}
            }
            if let Err(error) = self.forget_small().await {
                tracing::warn!(error = %Causes(&error), "keys, entries and sessions that have run out could not be forgotten; the next time will");
            }
            if let Err(error) = self.forget_old().await {
                tracing::warn!(error = %Causes(&error), "what is old could not be forgotten; the next time will");
            }
        }
    }

    /// Deletes idempotency keys and portal sessions that have run out, and audit entries that have passed their retention.
    /// Any number of processes may be at it.
    async fn forget_small(&self) -> Result<(), PgError> {
        let now = self.settings.clock.now();
        self.forget_rows(FORGET_KEYS, over_before(now)).await?;
        self.forget_rows(FORGET_SESSIONS, nanos(now)).await?;
        self.forget_rows(FORGET_SECRETS, nanos(now)).await?;
        self.forget_rows(FORGET_PAGE_SESSIONS, nanos(now)).await?;
        let before = |kept: Duration| {
            let kept = u64::try_from(kept.as_nanos()).unwrap_or(u64::MAX);
            nanos(Timestamp::from_nanos(now.as_nanos().saturating_sub(kept)))
        };
        let retention = before(self.settings.retention);
        self.forget_rows(FORGET_COUNTS_OF_HOURS, retention).await?;
        self.forget_rows(FORGET_COUNTS_OF_MINUTES, before(MINUTES_KEPT))
            .await?;
        self.forget_rows(FORGET_ENTRIES, before(self.settings.audit_retention))
            .await
    }

    /// Seals what is from before there was a key. Returns true if it found anything.
    async fn seal_plain(&self) -> Result<bool, PgError> {
        let (mut after, mut has_found) = (String::new(), false);
        while !*self.stop.borrow() {
            let sealed = seal_some(&self.lender, &self.secrets, &after).await?;
            let Some(last) = sealed else { break };
            (after, has_found) = (last, true);
        }
        Ok(has_found)
    }

    async fn forget_rows(&self, statement: &str, before: i64) -> Result<(), PgError> {
        loop {
            let rows = self
                .lender
                .query(statement, &[&before, &ROWS_PER_STATEMENT])
                .await?;
            if i64::try_from(rows.len()).unwrap_or(0) < ROWS_PER_STATEMENT {
                return Ok(());
            }
        }
    }

    /// Deletes what has passed the retention; one process at a time does, the others pass by. Answers how many events.
    async fn forget_old(&self) -> Result<u64, PgError> {
        let now = self.settings.clock.now();
        let retention = u64::try_from(self.settings.retention.as_nanos()).unwrap_or(u64::MAX);
        let Some(before) = now.as_nanos().checked_sub(retention) else {
            return Ok(0);
        };
        // Ids begin with milliseconds.
        let end = Bits(u128::from(before / 1_000_000 + 1) << 80);
        let before = nanos(Timestamp::from_nanos(before));
        let drawn = self.forget_along(&DRAWN, Some(end), before).await?;
        let given = self.forget_along(&GIVEN, None, before).await?;
        counter!(metric::FORGOTTEN_EVENTS).increment(drawn + given);
        Ok(drawn + given)
    }

    /// Goes all the way, up to the id `end` where ids are in the order of time.
    async fn forget_along(
        &self,
        passage: &Passage,
        end: Option<Bits>,
        before: i64,
    ) -> Result<u64, PgError> {
        let statement = passage.forget();
        let (mut after, mut limit, mut forgotten) = (Last::default(), EVENTS_PER_STATEMENT, 0);
        loop {
            let bound: &dyn Parameter = match &end {
                Some(end) => end,
                None => &after.accepted_at,
            };
            let parameters = [&after.id as &dyn Parameter, bound, &limit, &before];
            let step = match self.forget_some(&statement, &parameters).await {
                Err(error) if error.code() == Some(TIMED_OUT) && limit > 1 => {
                    limit = (limit / 8).max(1);
                    continue;
                }
                step => step?,
            };
            forgotten += step.forgotten;
            let Some(last) = step.last.filter(|_| step.looked_at == limit) else {
                return Ok(forgotten);
            };
            after = last;
        }
    }

    /// One statement's worth; nothing if another process is at it.
    async fn forget_some(
        &self,
        statement: &str,
        parameters: &[&dyn Parameter],
    ) -> Result<Step, PgError> {
        let mut lent = self.lender.lend().await?;
        lent.begin(Opening::PLAIN).await?;
        let schema = self.settings.schema.as_str();
        let lock = "SELECT pg_try_advisory_xact_lock($1, hashtext($2 || ' retention'))";
        let rows = lent.query(lock, &[&LOCK_CLASS, &schema]).await?;
        let mut step = Step::default();
        if rows
            .first()
            .is_some_and(|row| row.try_get(0).unwrap_or(false))
        {
            let rows = lent.query(statement, parameters).await?;
            if let Some(row) = rows.first() {
                let id: Option<Bits> = value_at(row, 2)?;
                let accepted_at: Option<i64> = value_at(row, 3)?;
                step = Step {
                    looked_at: value_at(row, 0)?,
                    forgotten: u64::try_from(value_at::<i64>(row, 1)?).unwrap_or(0),
                    last: id
                        .zip(accepted_at)
                        .map(|(id, accepted_at)| Last { id, accepted_at }),
                };
            }
        }
        lent.conclude(true).await?;
        Ok(step)
    }
}

/// Result of one statement.
#[derive(Default)]
struct Step {
    looked_at: i64,
    forgotten: u64,
    last: Option<Last>,
}

/// The last event that was looked at.
struct Last {
    id: Bits,
    accepted_at: i64,
}

impl Default for Last {
    /// Before any.
    fn default() -> Self {
        Self {
            id: Bits(0),
            accepted_at: i64::MIN,
        }
    }
}
