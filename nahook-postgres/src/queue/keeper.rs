//! The loop that keeps what this process has in hand, and finds out whether another process that had something is gone.

use std::collections::HashMap;
use std::time::Duration;

use metrics::counter;
use nahook_core::Causes;
use nahook_queue::TakenRecords;
use nahook_supervision::{Exit, Loop};
use tokio::task::JoinHandle;

use crate::error::PgError;
use crate::metric;
use crate::parameter::Parameter;
use crate::row::value_at;
use crate::store::PostgresStore;

/// Interval of beats.
const BEAT: Duration = Duration::from_secs(1);

/// A process whose beat stands still for so many looks is gone.
const LOOKS_MAX: u32 = 3;

/// Number of beats without a request for leases after which what waits in hand is for others.
const IDLE_MAX: u32 = 2;

/// Beats for the process $1, and answers the beats of all before that.
const BEATS: &str = "
WITH me AS (
    UPDATE process p SET beat = p.beat + 1
    WHERE p.token = $1 AND set_config('synchronous_commit', 'off', true) = 'off'
)
SELECT p.token, p.beat FROM process p ORDER BY p.token";

/// Forgets the process $1, if its beat is $2 or that is absent.
const FORGET: &str = "SELECT forget_process($1, $2)";

/// Keeps until told to stop. Ends with the store, too.
pub(super) fn start(store: &PostgresStore) -> JoinHandle<()> {
    let weak = store.downgrade();
    let stop = store.shared().stopping();
    let supervisor = store.shared().settings.supervisor.clone();
    supervisor.spawn(Loop::PostgresKeeper, move || {
        let (weak, mut stop) = (weak.clone(), stop.clone());
        async move {
            let mut keeper = Keeper::default();
            loop {
                tokio::select! {
                    biased;
                    _ = stop.wait_for(|stop| *stop) => return Exit::Stopped,
                    () = tokio::time::sleep(BEAT) => {}
                }
                let Some(store) = weak.upgrade() else {
                    return Exit::Stopped;
                };
                if let Err(error) = keeper.keep(&store).await {
                    tracing::warn!(error = %Causes(&error), "what is in hand could not be kept; the next beat will");
                }
            }
        }
    })
}

/// Beats that the loop has seen.
#[derive(Debug, Default)]
struct Keeper {
    /// The last beat of each other process, and how often it was seen again.
    beats: HashMap<i64, (i64, u32)>,
    /// Number of beats since somebody has asked for leases.
    idle: u32,
}

impl Keeper {
    async fn keep(&mut self, store: &PostgresStore) -> Result<(), PgError> {
        let ledger = &store.shared().ledger;
        let Some(token) = ledger.token() else {
            return Ok(());
        };
        let rows = store.shared().lender.query(BEATS, &[&token]).await?;
        let mut beats = HashMap::with_capacity(rows.len());
        for row in &rows {
            beats.insert(value_at(row, 0)?, value_at(row, 1)?);
        }
        if beats.remove(&token).is_none() {
            ledger.lose(token);
        }
        let gone = self.look_at(beats);
        ledger.with_taken(|taken| taken.set_shared(!self.beats.is_empty()));
        for (process, beat) in gone {
            forget(store, process, Some(beat)).await?;
        }
        // Who takes records does not rest, and a beat must not wait for that.
        let is_unsure = ledger.process.try_lock().ok().map(|it| it.is_unsure);
        if self.rests(ledger.is_idle() && is_unsure.is_some()) {
            if is_unsure == Some(true) {
                store.take_records().await?;
            }
            ledger.with_taken(TakenRecords::let_go);
        }
        let process = ledger.process.try_lock();
        if process.is_ok_and(|process| process.search.must_look_at_all()) {
            store.shared().signals.wake_for_records();
        }
        store.put_rows(1).await
    }

    /// Compares the beats of the other processes with those of the look before. Returns the processes that are gone, with their
    /// last beats.
    fn look_at(&mut self, beats: HashMap<i64, i64>) -> Vec<(i64, i64)> {
        let before = std::mem::take(&mut self.beats);
        let beats = beats.into_iter().map(|(process, beat)| {
            let again = match before.get(&process) {
                Some((last, again)) if *last == beat => again + 1,
                _ => 0,
            };
            (process, (beat, again))
        });
        self.beats = beats.collect();
        let gone = self.beats.iter();
        let gone = gone.filter(|(_, (_, again))| *again >= LOOKS_MAX);
        gone.map(|(process, (beat, _))| (*process, *beat)).collect()
    }

    /// Counts a beat, before which nobody has asked for leases or somebody has. Returns true if what waits in hand is for others.
    fn rests(&mut self, is_idle: bool) -> bool {
        self.idle = if is_idle { self.idle + 1 } else { 0 };
        self.idle >= IDLE_MAX
    }
}

async fn forget(store: &PostgresStore, process: i64, beat: Option<i64>) -> Result<(), PgError> {
    let Some(records) = store.forget_process(process, beat).await? else {
        return Ok(());
    };
    tracing::warn!(
        records,
        "a process that attempted deliveries is gone; what it had in hand is taken over"
    );
    counter!(metric::LOST_PROCESSES).increment(1);
    if let Ok(mut process) = store.shared().ledger.process.try_lock() {
        process.search.want_all();
    }
    store.shared().signals.wake();
    Ok(())
}

impl PostgresStore {
    /// Leaves what is in hand to others at once: this process takes nothing any more.
    pub(crate) async fn give_back(&self) -> Result<(), PgError> {
        let shared = self.shared();
        if let Some(token) = shared.ledger.token() {
            self.forget_process(token, None).await?;
            shared.ledger.register(0);
        }
        Ok(())
    }

    /// Answers how many records the process had; nothing if it was forgotten already, or has beaten since.
    async fn forget_process(&self, token: i64, beat: Option<i64>) -> Result<Option<i64>, PgError> {
        let parameters: [&dyn Parameter; 2] = [&token, &beat];
        let answer = self.shared().lender.query(FORGET, &parameters).await?;
        answer.first().map_or(Ok(None), |row| value_at(row, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_is_gone_whose_beat_stands_still_for_three_looks() {
        let mut keeper = Keeper::default();
        let mut look = |beats: &[(i64, i64)]| keeper.look_at(beats.iter().copied().collect());
        // The first of them lives, if slowly; the second does not.
        assert_eq!(look(&[(1, 5), (2, 7)]), []);
        assert_eq!(look(&[(1, 6), (2, 7)]), []);
        assert_eq!(look(&[(1, 6), (2, 7)]), []);
        assert_eq!(look(&[(1, 6), (2, 7)]), [(2, 7)]);
        assert_eq!(
            look(&[(1, 7), (2, 7)]),
            [(2, 7)],
            "the others did not see to it"
        );
        for beat in 8..20 {
            assert_eq!(look(&[(1, beat)]), [], "it lives");
        }
    }

    #[test]
    fn process_rests_once_nobody_has_asked_for_two_beats() {
        let mut keeper = Keeper::default();
        let rests = [true, false, true, true, true, false, true].map(|it| keeper.rests(it));
        assert_eq!(rests, [false, false, false, true, true, false, false]);
    }
}
