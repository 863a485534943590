//! The rate limiter that processes share: tokens are leased a block at a time, so that few checks ask the database.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use metrics::counter;
use nahook_core::admission::{Allowance, Caller, Grant, Rate, Verdict};
use nahook_core::id::{ApiKeyId, WorkspaceId};
use nahook_core::{GcraLimiter, RateLimiter, StoreError, Timestamp};

use crate::PostgresSettings;
use crate::error::PgError;
use crate::lender::Lender;
use crate::metric;
use crate::parameter::Parameter;
use crate::row::value_at;

/// A block is this part of the burst at most.
const BLOCKS_PER_BURST: u32 = 16;

/// Number of workspaces remembered before those without a block are forgotten.
const SWEEP_AT: usize = 4_096;

/// Limits callers by the rates of their plans, over all processes on the database together.
///
/// * A process leases a block of up to a sixteenth of the burst, one token where the burst is below 32, and spends it
///   without asking again. **At most the burst, what has come back since, and a sixteenth of the burst for each
///   process** is admitted; with one process, or with bursts below 32, exactly the first two.
/// * A workspace and its key are charged together or not at all, in the process and in the database.
/// * As long as the database says that there is no token, it is not asked again.
///
/// A clone is a handle to the same blocks.
#[derive(Clone)]
pub struct PostgresLimiter {
    shared: Arc<Shared>,
}

struct Shared {
    lender: Lender,
    clock: Arc<dyn nahook_core::Clock>,
    statement: String,
    /// Admissions of this process alone: they keep a block that lay idle from adding to a burst.
    own: GcraLimiter,
    workspaces: Workspaces,
}

/// Blocks of all workspaces that are remembered.
#[derive(Default)]
struct Workspaces(std::sync::Mutex<HashMap<WorkspaceId, Arc<tokio::sync::Mutex<Blocks>>>>);

/// Blocks of tokens that this process has leased for one workspace. Locked while more is leased, so that concurrent
/// callers share it.
#[derive(Default)]
struct Blocks {
    of_workspace: Block,
    of_keys: HashMap<ApiKeyId, Block>,
}

/// Tokens that are leased and not spent, at the rate they were leased at.
#[derive(Clone, Copy, Default)]
struct Block {
    rate: Option<Rate>,
    tokens: u64,
    /// Instant at which the caller will have recovered, as the database said last: leased tokens count as spent.
    arrival: Timestamp,
    /// From when until when the database has none.
    empty: Option<(Timestamp, Timestamp)>,
}

impl PostgresLimiter {
    pub(crate) fn new(lender: Lender, settings: &PostgresSettings) -> Self {
        let schema = crate::statement::quoted(&settings.schema);
        let parameters = "$1::text::numeric, $2, $3::text::numeric, $4::bigint, $5::bigint, $6, $7::text::numeric, $8::bigint, $9::bigint";
        Self {
            shared: Arc::new(Shared {
                lender,
                clock: Arc::clone(&settings.clock),
                statement: format!(
                    "SELECT of_workspace, of_key, wait::text, workspace_arrival::text, key_arrival::text \
                     FROM {schema}.lease_tokens({parameters})"
                ),
                own: GcraLimiter::new(Arc::clone(&settings.clock)),
                workspaces: Workspaces::default(),
            }),
        }
    }

    pub(crate) fn close(&self) {
        self.shared.lender.close();
    }

    /// The blocks of the caller's workspace.
    fn blocks(&self, caller: &Caller) -> Arc<tokio::sync::Mutex<Blocks>> {
        let shared = &self.shared;
        let now = shared.clock.now();
        shared.workspaces.blocks(caller.workspace, now)
    }

    /// Leases what is missing. Answers how long there is none, if there is none.
    async fn lease(
        &self,
        caller: &Caller,
        blocks: &mut Blocks,
        wanted: u32,
        now: Timestamp,
    ) -> Result<Option<Duration>, PgError> {
        counter!(metric::LIMITER_LEASES).increment(1);
        let of_key = blocks.of_keys.entry(caller.key).or_default();
        let missing = |rate: Option<Rate>, block: &Block| rate.filter(|_| block.tokens == 0);
        let workspace_rate = missing(caller.plan.workspace_rate, &blocks.of_workspace);
        let key_rate = missing(caller.plan.key_rate, of_key);
        let interval = |rate: Option<Rate>| rate.map(|rate| rate.interval().as_nanos().to_string());
        let burst = |rate: Option<Rate>| rate.map(|rate| i64::from(rate.burst().get()));
        let block = |rate: Option<Rate>| rate.map(|rate| i64::from(block_len(rate).max(wanted)));
        let parameters: [&dyn Parameter; 9] = [
            &now.as_nanos().to_string(),
            &caller.workspace.as_str(),
            &interval(workspace_rate),
            &burst(workspace_rate),
            &block(workspace_rate),
            &caller.key.as_str(),
            &interval(key_rate),
            &burst(key_rate),
            &block(key_rate),
        ];
        let rows = self
            .shared
            .lender
            .query(&self.shared.statement, &parameters)
            .await?;
        let row = rows
            .first()
            .ok_or_else(|| PgError::unreadable("no answer"))?;
        let wait: &str = value_at(row, 2)?;
        let wait = wait.parse::<u64>().map_err(PgError::unreadable)?;
        blocks.of_workspace.note_arrival(arrival_at(row, 3)?);
        of_key.note_arrival(arrival_at(row, 4)?);
        if wait > 0 {
            return Ok(Some(Duration::from_nanos(wait)));
        }
        let granted =
            |column| value_at::<i64>(row, column).map(|tokens| u64::try_from(tokens).unwrap_or(0));
        blocks.of_workspace.tokens += granted(0)?;
        of_key.tokens += granted(1)?;
        Ok(None)
    }
}

impl RateLimiter for PostgresLimiter {
    async fn check(&self, caller: &Caller) -> Result<Verdict, StoreError> {
        if is_unlimited(caller) {
            return Ok(Verdict::Admit);
        }
        let blocks = self.blocks(caller);
        let mut blocks = blocks.lock().await;
        self.spend(caller, &mut blocks, 1).await
    }

    /// Leases what is missing at once.
    async fn check_many(&self, caller: &Caller, wanted: u32) -> Result<Grant, StoreError> {
        if !is_unlimited(caller) {
            let blocks = self.blocks(caller);
            let mut blocks = blocks.lock().await;
            for admitted in 0..wanted {
                let left = wanted - admitted;
                if let Verdict::Refuse { retry_after } =
                    self.spend(caller, &mut blocks, left).await?
                {
                    return Ok(Grant {
                        admitted,
                        refused: Some(retry_after),
                    });
                }
            }
        }
        Ok(Grant {
            admitted: wanted,
            refused: None,
        })
    }

    /// Exact with one process, and without a trip to the database with any number: what other processes have leased since
    /// this one last asked, once for each block that it spends, is not counted yet.
    async fn peek(&self, caller: &Caller) -> Result<Allowance, StoreError> {
        let own = self.shared.own.peek(caller).await?;
        if is_unlimited(caller) {
            return Ok(own);
        }
        // One that is locked is asking the database right now; this does not wait for it.
        let blocks = self.blocks(caller);
        let Ok(blocks) = blocks.try_lock() else {
            return Ok(own);
        };
        let now = self.shared.clock.now();
        let key = blocks.key(caller);
        let levels = [
            (caller.plan.workspace_rate, &blocks.of_workspace),
            (caller.plan.key_rate, &key),
        ];
        Ok(levels
            .into_iter()
            .filter_map(|(rate, block)| block.allowance(rate?, now))
            .fold(own, Allowance::tighter))
    }
}

impl PostgresLimiter {
    /// Spends one token at each level, of so many that are wanted.
    async fn spend(
        &self,
        caller: &Caller,
        blocks: &mut Blocks,
        wanted: u32,
    ) -> Result<Verdict, StoreError> {
        let now = self.shared.clock.now();
        blocks.set_rates(caller);
        if let Some(retry_after) = blocks.emptiness(caller, now) {
            return Ok(Verdict::Refuse { retry_after });
        }
        if blocks.are_short(caller)
            && let Some(retry_after) = self.lease(caller, blocks, wanted, now).await?
        {
            blocks.note_emptiness(caller, now, now.saturating_add(retry_after));
            return Ok(Verdict::Refuse { retry_after });
        }
        let verdict = self.shared.own.check(caller).await?;
        if verdict == Verdict::Admit {
            blocks.spend(caller);
        }
        Ok(verdict)
    }
}

fn is_unlimited(caller: &Caller) -> bool {
    caller.plan.workspace_rate.is_none() && caller.plan.key_rate.is_none()
}

/// Reads the instant at which a level will have recovered, if it was asked for.
fn arrival_at(row: &tokio_postgres::Row, column: usize) -> Result<Option<Timestamp>, PgError> {
    let Some(nanos) = value_at::<Option<&str>>(row, column)? else {
        return Ok(None);
    };
    let nanos = nanos.parse::<u128>().map_err(PgError::unreadable)?;
    let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
    Ok(Some(Timestamp::from_nanos(nanos)))
}

impl Workspaces {
    fn blocks(&self, workspace: WorkspaceId, now: Timestamp) -> Arc<tokio::sync::Mutex<Blocks>> {
        let mut workspaces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if workspaces.len() >= SWEEP_AT && !workspaces.contains_key(&workspace) {
            workspaces.retain(|_, blocks| {
                // One that is locked is in use.
                blocks
                    .try_lock()
                    .map_or(true, |blocks| !blocks.are_idle(now))
            });
        }
        Arc::clone(workspaces.entry(workspace).or_default())
    }
}

impl Blocks {
    fn key(&self, caller: &Caller) -> Block {
        self.of_keys.get(&caller.key).copied().unwrap_or_default()
    }

    /// Returns true if a level with a rate has no token left.
    fn are_short(&self, caller: &Caller) -> bool {
        self.of_workspace.is_short() || self.key(caller).is_short()
    }

    /// A changed rate counts from the next check on.
    fn set_rates(&mut self, caller: &Caller) {
        if self.of_workspace.set_rate(caller.plan.workspace_rate) {
            for key in self.of_keys.values_mut() {
                key.empty = None;
            }
        }
        let key = self.of_keys.entry(caller.key).or_default();
        key.set_rate(caller.plan.key_rate);
    }

    /// Returns the duration for which the database has no token, as far as it has said so.
    fn emptiness(&self, caller: &Caller, now: Timestamp) -> Option<Duration> {
        let (from, until) = self.key(caller).empty?;
        // A clock that was set back has made the wait longer than it is.
        let is_empty = (from..until).contains(&now);
        is_empty.then(|| until.saturating_since(now))
    }

    /// Noted with the key: it is the pair that is refused.
    fn note_emptiness(&mut self, caller: &Caller, from: Timestamp, until: Timestamp) {
        self.of_keys.entry(caller.key).or_default().empty = Some((from, until));
    }

    fn spend(&mut self, caller: &Caller) {
        self.of_workspace.spend();
        self.of_keys.entry(caller.key).or_default().spend();
    }

    fn are_idle(&self, now: Timestamp) -> bool {
        let is_idle =
            |block: &Block| block.tokens == 0 && block.empty.is_none_or(|(_, until)| until <= now);
        is_idle(&self.of_workspace) && self.of_keys.values().all(is_idle)
    }
}

impl Block {
    /// Drops the tokens that were leased at another rate. Returns true if it was another.
    fn set_rate(&mut self, rate: Option<Rate>) -> bool {
        let is_other = self.rate != rate;
        if is_other {
            *self = Self {
                rate,
                ..Self::default()
            };
        }
        is_other
    }

    fn note_arrival(&mut self, arrival: Option<Timestamp>) {
        self.arrival = arrival.unwrap_or(self.arrival);
    }

    /// Returns the tokens left, if they were leased at that rate: those here, and those that the database had left.
    fn allowance(&self, rate: Rate, now: Timestamp) -> Option<Allowance> {
        if self.rate != Some(rate) {
            return None;
        }
        let here = u128::from(self.tokens) * rate.interval().as_nanos();
        let here = u64::try_from(here).unwrap_or(u64::MAX);
        let arrival = self.arrival.as_nanos().saturating_sub(here);
        Some(Allowance::of(rate, Timestamp::from_nanos(arrival), now))
    }

    fn is_short(&self) -> bool {
        self.rate.is_some() && self.tokens == 0
    }

    fn spend(&mut self) {
        if self.rate.is_some() {
            self.tokens = self.tokens.saturating_sub(1);
        }
    }
}

/// Returns the number of tokens to lease at once.
fn block_len(rate: Rate) -> u32 {
    (rate.burst().get() / BLOCKS_PER_BURST).max(1)
}

impl fmt::Debug for PostgresLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresLimiter").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use nahook_testkit::declare::{api_key_id, workspace_id};

    use super::*;

    #[test]
    fn workspaces_without_a_block_are_forgotten_where_there_are_thousands() {
        let (workspaces, now) = (Workspaces::default(), Timestamp::default());
        let later = now.saturating_add(Duration::from_secs(1));
        let blocks = |n: usize| workspaces.blocks(workspace_id(&format!("ws_{n}")), now);
        let [one, two, three] = [0, 1, 2].map(blocks);
        one.try_lock()
            .expect("nobody else has it")
            .of_workspace
            .tokens = 1;
        let empty = Block {
            empty: Some((now, later)),
            ..Block::default()
        };
        let mut refused = two.try_lock().expect("nobody else has it");
        refused.of_keys.insert(api_key_id("key"), empty);
        drop(refused);
        let in_use = three.try_lock();
        for n in 3..4_096 {
            blocks(n);
        }
        let len = || workspaces.0.lock().expect("nobody has panicked").len();
        assert_eq!(len(), 4_096);
        blocks(4_096);
        assert_eq!(len(), 4, "the three, and the new one");
        drop(in_use);
    }
}
