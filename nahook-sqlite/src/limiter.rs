//! The rate limiter, and the part of its state that has to survive a restart.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nahook_core::admission::{Allowance, Caller, Grant, LimiterKey, Rate, Verdict};
use nahook_core::id::{ApiKeyId, WorkspaceId};
use nahook_core::{Causes, GcraLimiter, RateLimiter, StoreError, Timestamp};
use nahook_supervision::{Exit, Loop, Pulse};
use rusqlite::{Connection, Row, params};
use tokio::sync::oneshot;

use crate::SqliteStore;
use crate::error::{Closed, WriteError};
use crate::row::{instant_at, nanos, parsed_at};
use crate::threads::PULSE_EVERY;
use crate::writer::Session;

/// Debts that take longer than this to be paid off are kept: a restart gives nobody a new daily quota. Shorter ones are
/// paid off by the time anybody notices.
const KEPT_BEYOND: Duration = Duration::from_secs(10);

/// Duration for which changes are gathered before they are written.
const GATHERED_FOR: Duration = Duration::from_secs(1);

/// Rows for one piece of work, so that no publish waits for all of them.
const ROWS_MAX: usize = 1_000;

/// [`GcraLimiter`], with debts of more than ten seconds kept in the store.
///
/// Checks are answered from memory; what they changed is written a second later, and when the last handle is dropped. A
/// `kill -9` forgives the debts of that second.
#[derive(Clone, Debug)]
pub struct SqliteLimiter {
    limiter: GcraLimiter,
    keeper: Arc<Keeper>,
}

/// Writes the debts, on a thread of its own.
#[derive(Debug)]
struct Keeper {
    signal: Arc<Signal>,
    thread: Option<JoinHandle<()>>,
    ledger: Arc<DebtLedger>,
}

/// Wakes the thread.
#[derive(Debug, Default)]
struct Signal {
    news: Mutex<News>,
    rings: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct News {
    is_changed: bool,
    is_closing: bool,
}

/// States to write, and those already in the file.
#[derive(Debug)]
struct DebtLedger {
    store: SqliteStore,
    limiter: GcraLimiter,
    /// `None` if a write has failed and nobody knows.
    written: Mutex<Option<Debts>>,
}

type Debts = HashMap<LimiterKey, Timestamp>;

impl SqliteLimiter {
    /// A limiter that knows the debts which the store has kept.
    pub async fn load(store: &SqliteStore) -> Result<Self, StoreError> {
        let debts = store
            .shared()
            .readers()
            .read(|connection| read(connection))
            .await?;
        let limiter = GcraLimiter::new(store.shared().shared_clock());
        limiter.restore(debts.iter().map(|(key, arrival)| (*key, *arrival)));
        let ledger = Arc::new(DebtLedger {
            store: store.clone(),
            limiter: limiter.clone(),
            written: Mutex::new(Some(debts)),
        });
        let keeper = Keeper::start(ledger).map_err(StoreError::unavailable)?;
        Ok(Self {
            limiter,
            keeper: Arc::new(keeper),
        })
    }

    /// Writes what has changed, and answers once that is safe.
    pub async fn save(&self) -> Result<(), StoreError> {
        for written in self.keeper.ledger.save() {
            let outcome = match written.await {
                Ok(outcome) => outcome.map_err(StoreError::from),
                Err(_) => Err(Closed.into()),
            };
            if outcome.is_err() {
                self.keeper.ledger.doubt();
                return outcome;
            }
        }
        Ok(())
    }
}

impl RateLimiter for SqliteLimiter {
    async fn check(&self, caller: &Caller) -> Result<Verdict, StoreError> {
        let verdict = self.limiter.check(caller).await?;
        if verdict == Verdict::Admit {
            self.note_spending(caller);
        }
        Ok(verdict)
    }

    async fn check_many(&self, caller: &Caller, wanted: u32) -> Result<Grant, StoreError> {
        let grant = self.limiter.check_many(caller, wanted).await?;
        if grant.admitted > 0 {
            self.note_spending(caller);
        }
        Ok(grant)
    }

    /// Exact.
    async fn peek(&self, caller: &Caller) -> Result<Allowance, StoreError> {
        self.limiter.peek(caller).await
    }
}

impl SqliteLimiter {
    fn note_spending(&self, caller: &Caller) {
        if is_kept(caller.plan.workspace_rate) || is_kept(caller.plan.key_rate) {
            self.keeper.signal.note_change();
        }
    }
}

/// Returns true if a burst of that rate takes long enough to recover from that its state is worth keeping.
fn is_kept(rate: Option<Rate>) -> bool {
    rate.is_some_and(|rate| rate.interval().saturating_mul(rate.burst().get()) > KEPT_BEYOND)
}

impl Keeper {
    fn start(ledger: Arc<DebtLedger>) -> std::io::Result<Self> {
        let signal = Arc::<Signal>::default();
        let thread = {
            let (signal, ledger) = (Arc::clone(&signal), Arc::clone(&ledger));
            let supervisor = ledger.store.shared().supervisor().clone();
            let mut has_run = false;
            supervisor.spawn_thread(Loop::SqliteLimiter, "nahook-limiter", move |pulse| {
                if std::mem::replace(&mut has_run, true) {
                    // It may have taken note of debts that it did not hand over.
                    ledger.doubt();
                    signal.note_change();
                }
                ledger.keep(&signal, pulse)
            })?
        };
        Ok(Self {
            signal,
            thread: Some(thread),
            ledger,
        })
    }
}

impl Drop for Keeper {
    /// Waits until the last changes are written.
    fn drop(&mut self) {
        self.signal.set(|news| news.is_closing = true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Signal {
    fn set(&self, change: impl FnOnce(&mut News)) {
        change(&mut self.news.lock().unwrap_or_else(PoisonError::into_inner));
        self.rings.notify_one();
    }

    fn note_change(&self) {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        if !news.is_changed {
            news.is_changed = true;
            self.rings.notify_one();
        }
    }

    /// Waits a while for a change.
    fn wait(&self) -> News {
        let news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        let is_quiet = |news: &mut News| !news.is_changed && !news.is_closing;
        let (news, _) = self
            .rings
            .wait_timeout_while(news, PULSE_EVERY, is_quiet)
            .unwrap_or_else(PoisonError::into_inner);
        *news
    }

    /// Waits for what follows a change closely.
    fn gather(&self) {
        let news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut news, _) = self
            .rings
            .wait_timeout_while(news, GATHERED_FOR, |news| !news.is_closing)
            .unwrap_or_else(PoisonError::into_inner);
        news.is_changed = false;
    }
}

impl DebtLedger {
    /// Hands the differences to the writer; answers with what to wait for.
    fn save(&self) -> Vec<WriteAnswer> {
        let now = self.store.shared().now();
        let kept_beyond = now.saturating_add(KEPT_BEYOND);
        let mut debts: Debts = self.limiter.snapshot().into_iter().collect();
        debts.retain(|_, arrival| *arrival > kept_beyond);
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let before = written.replace(debts.clone());
        let mut steps = Vec::new();
        if before.is_none() {
            steps.push(Step::ForgetAll);
        }
        let before = before.unwrap_or_default();
        let gone = before.keys().filter(|key| !debts.contains_key(key));
        steps.extend(gone.map(|key| Step::Forget(*key)));
        let changed = debts
            .iter()
            .filter(|(key, arrival)| before.get(key) != Some(arrival));
        steps.extend(changed.map(|(key, arrival)| Step::Keep(*key, *arrival)));
        // Handed over under the lock, so that two of these calls cannot change places.
        steps
            .chunks(ROWS_MAX)
            .map(|steps| {
                let steps = steps.to_vec();
                let writer = self.store.shared().writer();
                writer.hand_over(move |session| write(session, &steps))
            })
            .collect()
    }

    /// Writes what changes, until it is time to end.
    fn keep(&self, signal: &Signal, pulse: &Pulse<'_>) -> Exit {
        loop {
            let news = signal.wait();
            if let Some(exit) = pulse.check() {
                return exit;
            }
            if news.is_changed && !news.is_closing {
                signal.gather();
            }
            if news.is_changed || news.is_closing {
                self.save_blocking();
            }
            if news.is_closing {
                return Exit::Stopped;
            }
        }
    }

    /// For threads that may block.
    fn save_blocking(&self) {
        for waiting in self.save() {
            match waiting.blocking_recv() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    self.doubt();
                    tracing::warn!(
                        error = %Causes(&error),
                        "what callers owe to the rate limiter could not be kept"
                    );
                }
                // The store is closed, or the writer was interrupted.
                Err(_) => self.doubt(),
            }
        }
    }

    /// The next time everything is written anew.
    fn doubt(&self) {
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

type WriteAnswer = oneshot::Receiver<Result<(), WriteError>>;

/// A difference between what is known and what is written.
#[derive(Clone, Copy, Debug)]
enum Step {
    Forget(LimiterKey),
    ForgetAll,
    Keep(LimiterKey, Timestamp),
}

fn write(session: &mut Session, steps: &[Step]) -> rusqlite::Result<()> {
    let connection = session.connection();
    for step in steps {
        match step {
            Step::Forget(key) => {
                let (level, id) = parts(key);
                connection
                    .prepare_cached(
                        "DELETE FROM nahook_limiter_arrival WHERE level = ?1 AND id = ?2",
                    )?
                    .execute(params![level, id])?;
            }
            Step::ForgetAll => {
                connection
                    .prepare_cached("DELETE FROM nahook_limiter_arrival")?
                    .execute([])?;
            }
            Step::Keep(key, arrival) => {
                let (level, id) = parts(key);
                connection
                    .prepare_cached(
                        "INSERT INTO nahook_limiter_arrival (level, id, arrival) VALUES (?1, ?2, ?3)
                         ON CONFLICT DO UPDATE SET arrival = excluded.arrival",
                    )?
                    .execute(params![level, id, nanos(*arrival)])?;
            }
        }
    }
    Ok(())
}

const WORKSPACE: i64 = 0;
const KEY: i64 = 1;

fn parts(key: &LimiterKey) -> (i64, &str) {
    match key {
        LimiterKey::Key(id) => (KEY, id.as_str()),
        LimiterKey::Workspace(id) => (WORKSPACE, id.as_str()),
    }
}

fn read(connection: &Connection) -> rusqlite::Result<Debts> {
    connection
        .prepare_cached("SELECT level, id, arrival FROM nahook_limiter_arrival")?
        .query_map([], |row| Ok((key_at(row)?, instant_at(row, 2)?)))?
        .collect()
}

fn key_at(row: &Row<'_>) -> rusqlite::Result<LimiterKey> {
    match row.get(0)? {
        WORKSPACE => Ok(LimiterKey::Workspace(parsed_at::<WorkspaceId>(row, 1)?)),
        KEY => Ok(LimiterKey::Key(parsed_at::<ApiKeyId>(row, 1)?)),
        other => Err(rusqlite::Error::IntegralValueOutOfRange(0, other)),
    }
}
