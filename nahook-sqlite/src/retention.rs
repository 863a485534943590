//! Forgetting what has passed its time: in steps that nobody notices, on a thread of its own that reads, by the thread that
//! writes.

mod steps;
mod unused;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use metrics::counter;
use nahook_control::SecretBox;
use nahook_core::{Causes, Clock, Timestamp};
use nahook_supervision::{Exit, Loop, Pulse};
use rusqlite::Connection;

use self::steps::{
    Aged, Cursor, forget_some, has_aged, old_events, remove_aged, remove_audiences,
    unused_audiences,
};
use self::unused::UnusedAudiences;
use crate::connection::open_reader;
use crate::error::Closed;
use crate::row::nanos;
use crate::secrets::{has_plain, seal_some};
use crate::threads::PULSE_EVERY;
use crate::writer::{Orders, Session};
use crate::{OpenError, SqliteSettings, metric};

/// Number of pulses for which a step waits for a moment at which nobody else writes.
const PATIENCE: u32 = 5;

/// The pause after a step is so many times as long as the step took: the others have the thread that writes to themselves
/// for most of the time.
const PAUSE: u32 = 4;
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// Time for which the counts of minutes are kept.
const MINUTES_KEPT: Duration = Duration::from_hours(24);

/// The thread, ended when dropped.
#[derive(Debug)]
pub(crate) struct Retention {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Retention {
    /// Starts it, if anything is to be looked for.
    pub(crate) fn start(
        path: &Path,
        settings: &SqliteSettings,
        writer: Orders,
        secrets: &SecretBox,
    ) -> Result<Option<Self>, OpenError> {
        if settings.retention_interval.is_zero() {
            return Ok(None);
        }
        let (sender, stop) = mpsc::channel();
        let mut forgetting = Forgetting {
            connection: open_reader(path, settings)?,
            writer,
            clock: Arc::clone(&settings.clock),
            retention: settings.retention,
            audit_retention: settings.audit_retention,
            secrets: secrets.clone(),
            stop,
            unused: UnusedAudiences::default(),
        };
        let interval = settings.retention_interval;
        let (supervisor, which) = (&settings.supervisor, Loop::SqliteRetention);
        let thread = supervisor.spawn_thread(which, "nahook-retention", move |pulse| {
            forgetting.run(interval, pulse)
        })?;
        Ok(Some(Self {
            stop: Some(sender),
            thread: Some(thread),
        }))
    }
}

impl Drop for Retention {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

struct Forgetting {
    connection: Connection,
    writer: Orders,
    clock: Arc<dyn Clock>,
    retention: Duration,
    audit_retention: Duration,
    secrets: SecretBox,
    stop: Receiver<()>,
    unused: UnusedAudiences,
}

/// Why looking ended early.
enum Ended {
    /// The store is closing.
    Stopped,
    /// This time it did not work.
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Ended {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Forgetting {
    fn run(&mut self, interval: Duration, pulse: &Pulse<'_>) -> Exit {
        let mut may_be_plain = self.secrets.has_key();
        loop {
            if may_be_plain {
                match self.seal_plain() {
                    Ok(found) => may_be_plain = found,
                    Err(Ended::Stopped) => return Exit::Stopped,
                    Err(Ended::Failed(error)) => {
                        tracing::warn!(
                            error = %Causes(&*error),
                            "secrets could not be sealed; the next time will"
                        );
                    }
                }
            }
            let mut left = interval;
            while !left.is_zero() {
                let slice = left.min(PULSE_EVERY);
                if self.pause(slice).is_err() {
                    return Exit::Stopped;
                }
                if let Some(exit) = pulse.check() {
                    return exit;
                }
                left = left.saturating_sub(slice);
            }
            match self.look() {
                Ok(()) => {}
                Err(Ended::Stopped) => return Exit::Stopped,
                Err(Ended::Failed(error)) => {
                    tracing::warn!(
                        error = %Causes(&*error),
                        "what is old could not be forgotten; the next time will"
                    );
                }
            }
        }
    }

    fn look(&mut self) -> Result<(), Ended> {
        let now = self.clock.now();
        self.forget_events(before(now, self.retention))?;
        self.forget_rows(Aged::AuditEntries, before(now, self.audit_retention))?;
        self.forget_rows(Aged::CountsOfHours, before(now, self.retention))?;
        self.forget_rows(Aged::CountsOfMinutes, before(now, MINUTES_KEPT))?;
        self.forget_rows(Aged::PageSessions, now)?;
        self.forget_rows(Aged::PortalSessions, now)?;
        self.forget_rows(Aged::RetiredSecrets, now)?;
        self.forget_audiences(now)
    }

    /// Seals what is from before there was a key. Returns true if it found anything.
    fn seal_plain(&self) -> Result<bool, Ended> {
        let (mut after, mut has_found) = (0, false);
        while has_plain(&self.connection, after)? {
            has_found = true;
            let secrets = self.secrets.clone();
            let sealed =
                self.step(move |session| seal_some(session.connection(), &secrets, after))?;
            let Some(last) = sealed else { break };
            after = last;
        }
        Ok(has_found)
    }

    fn forget_events(&self, before: Timestamp) -> Result<(), Ended> {
        for mut after in Cursor::beginnings() {
            while let Some(page) = old_events(&self.connection, &after, before)? {
                let mut rest = page.settled;
                while !rest.is_empty() {
                    let seqs = rest.clone();
                    let done =
                        self.step(move |session| forget_some(session.connection(), &seqs))?;
                    rest.drain(..done.looked_at);
                    counter!(metric::FORGOTTEN_EVENTS).increment(done.gone);
                }
                after = page.last;
            }
        }
        Ok(())
    }

    fn forget_audiences(&mut self, now: Timestamp) -> Result<(), Ended> {
        if !self.unused.is_due(now) {
            return Ok(());
        }
        let found = unused_audiences(&self.connection)?;
        let mut rest = self.unused.take(found, now);
        while !rest.is_empty() {
            let rows = rest.clone();
            let done = self.step(move |session| remove_audiences(session, &rows))?;
            rest.drain(..done);
        }
        Ok(())
    }

    fn forget_rows(&self, aged: Aged, before: Timestamp) -> Result<(), Ended> {
        let before = nanos(before);
        while has_aged(&self.connection, aged, before)? {
            self.step(move |session| remove_aged(session.connection(), aged, before))?;
        }
        Ok(())
    }

    /// Has a little written when nobody else wants to write, or after a while in any case, and leaves the others time.
    fn step<T: Send + 'static>(
        &self,
        mut work: impl FnMut(&mut Session) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Ended> {
        for _ in 0..PATIENCE {
            if self.writer.is_idle() {
                break;
            }
            self.pause(PAUSE_MIN)?;
        }
        let clock = Arc::clone(&self.clock);
        let timed = move |session: &mut Session| {
            let began = clock.now().as_nanos();
            let made = work(session)?;
            Ok((made, clock.now().as_nanos().saturating_sub(began)))
        };
        let answer = self.writer.hand_over(timed).blocking_recv();
        let Ok(answer) = answer else {
            return Err(if self.writer.is_closed() {
                Ended::Stopped
            } else {
                Closed.into()
            });
        };
        let (made, took) = answer?;
        let pause = Duration::from_nanos(took).saturating_mul(PAUSE);
        self.pause(pause.clamp(PAUSE_MIN, PAUSE_MAX))?;
        Ok(made)
    }

    fn pause(&self, pause: Duration) -> Result<(), Ended> {
        match self.stop.recv_timeout(pause) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Err(Ended::Stopped),
        }
    }
}

/// The instant before which everything has passed its time.
fn before(now: Timestamp, kept: Duration) -> Timestamp {
    let kept = u64::try_from(kept.as_nanos()).unwrap_or(u64::MAX);
    Timestamp::from_nanos(now.as_nanos().saturating_sub(kept))
}
