//! Queueing again what was given up.

use nahook_core::id::{DeliveryId, WorkspaceId};
use nahook_core::{StoreError, Timestamp};
use nahook_queue::{DeliveryStatus, Redelivered, Redelivery, RedeliveryRequest};
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::oneshot;

use crate::SqliteStore;
use crate::error::{Closed, WriteError};
use crate::log::{find, record};
use crate::queue::QueueState;
use crate::row::{nanos, status_codes};
use crate::search::{endpoint_ever, first_key_since};
use crate::writer::{Job, Session};

/// Number of deliveries queued again in one transaction.
const STEP: usize = 500;

/// Those of one status that may be queued again, the oldest first.
const GIVEN_UP: &str =
    "SELECT key FROM nahook_delivery AS delivery INDEXED BY nahook_delivery_by_status
     JOIN nahook_event AS event ON event.seq = delivery.key >> 20
     WHERE endpoint = ?1 AND status = ?2 AND key >= ?3
       AND event.accepted_at >= ?4 AND event.payload IS NOT NULL
     ORDER BY key LIMIT ?5";

#[async_trait::async_trait]
impl Redelivery for SqliteStore {
    async fn redeliver(
        &self,
        id: DeliveryId,
        workspace: &WorkspaceId,
    ) -> Result<Redelivered, StoreError> {
        let (shared, workspace) = (self.shared(), *workspace);
        // Whoever does not serve the file could not tell whoever does.
        shared.leaser()?;
        loop {
            let found = shared
                .readers()
                .read(move |connection| candidate(connection, id, workspace))
                .await?;
            let Some((key, stored, has_payload)) = found else {
                return Ok(Redelivered::NotFound);
            };
            if !stored.is_given_up() || !has_payload {
                let is_leased = shared.queue().state().is_leased(key, shared.now());
                return Ok(Redelivered::NotGivenUp(stored.while_leased(is_leased)));
            }
            if self.queue_again(vec![key]).await? == 1 {
                return Ok(Redelivered::Queued);
            }
            // Somebody else has just done it, or it was forgotten.
        }
    }

    async fn redeliver_since(&self, request: &RedeliveryRequest) -> Result<usize, StoreError> {
        let (shared, request) = (self.shared(), *request);
        shared.leaser()?;
        let mut queued = 0;
        let mut from = None;
        while queued < request.limit {
            let wanted = (request.limit - queued).min(STEP);
            let keys = shared
                .readers()
                .read(move |connection| given_up(connection, &request, from, wanted))
                .await?;
            let (Some(last), count) = (keys.last().copied(), keys.len()) else {
                break;
            };
            from = Some(last + 1);
            queued += self.queue_again(keys).await?;
            if count < wanted {
                break;
            }
        }
        Ok(queued)
    }
}

impl SqliteStore {
    /// Makes those of the deliveries due at once that are given up, and answers how many these are.
    async fn queue_again(&self, keys: Vec<i64>) -> Result<usize, StoreError> {
        let (answer, queued) = oneshot::channel();
        let job = RedeliverJob {
            keys,
            now: self.shared().now(),
            endpoints: Vec::new(),
            answer,
        };
        self.shared().writer().send(Box::new(job));
        Ok(queued.await.map_err(|_| Closed)??)
    }
}

type Candidate = (i64, DeliveryStatus, bool);

/// The delivery's key, its status in the file, and whether its payload is kept.
fn candidate(
    connection: &Connection,
    id: DeliveryId,
    workspace: WorkspaceId,
) -> rusqlite::Result<Option<Candidate>> {
    let Some(key) = find(connection, id, workspace)? else {
        return Ok(None);
    };
    let record = record(connection, key)?;
    Ok(record.map(|record| (key, record.status, record.has_payload)))
}

/// At most so many of the endpoint's given-up deliveries, the oldest first, none with a key below `from`.
fn given_up(
    connection: &Connection,
    request: &RedeliveryRequest,
    from: Option<i64>,
    max: usize,
) -> rusqlite::Result<Vec<i64>> {
    let Some(endpoint) = endpoint_ever(connection, request.endpoint, request.workspace)? else {
        return Ok(Vec::new());
    };
    let from = match from {
        Some(from) => from,
        None => first_key_since(connection, request.since)?,
    };
    let mut keys = Vec::new();
    let mut oldest = connection.prepare_cached(GIVEN_UP)?;
    let limit = i64::try_from(max).unwrap_or(i64::MAX);
    let given_up = DeliveryStatus::ALL
        .into_iter()
        .filter(|status| status.is_given_up());
    for status in given_up.flat_map(status_codes) {
        let params = params![endpoint, status, from, nanos(request.since), limit];
        for key in oldest.query_map(params, |row| row.get::<_, i64>(0))? {
            keys.push(key?);
        }
    }
    keys.sort_unstable();
    keys.truncate(max);
    Ok(keys)
}

/// Deliveries that are to be queued again if they are still given up.
struct RedeliverJob {
    keys: Vec<i64>,
    now: Timestamp,
    /// The endpoints of those that are, one for each.
    endpoints: Vec<i64>,
    answer: oneshot::Sender<Result<usize, WriteError>>,
}

impl Job for RedeliverJob {
    fn weight(&self) -> usize {
        self.keys.len()
    }

    fn take(&mut self, _queue: &mut QueueState) -> bool {
        true
    }

    fn write(&mut self, session: &mut Session) -> rusqlite::Result<()> {
        self.endpoints.clear();
        let mut queue_again = session.connection().prepare_cached(
            // What a queue elsewhere has given up is this one's from then on.
            "UPDATE nahook_delivery SET status = CASE attempts WHEN 0 THEN 0 ELSE 1 END, due_at = ?2,
                 recorded_retry_at = NULL, updated_at = ?2
             WHERE key = ?1 AND status IN (3, 4, 8, 9)
               AND (SELECT payload IS NOT NULL FROM nahook_event WHERE seq = ?1 >> 20)
             RETURNING endpoint",
        )?;
        for key in &self.keys {
            let params = params![key, nanos(self.now)];
            let endpoint = queue_again.query_row(params, |row| row.get::<_, i64>(0));
            self.endpoints.extend(endpoint.optional()?);
        }
        Ok(())
    }

    fn conclude(&mut self, is_committed: bool, queue: &mut QueueState) {
        if is_committed {
            for endpoint in &self.endpoints {
                queue.note_work_again(*endpoint);
            }
        }
    }

    fn answer(self: Box<Self>, outcome: Result<(), WriteError>) {
        let _ = self.answer.send(outcome.map(|()| self.endpoints.len()));
    }
}
