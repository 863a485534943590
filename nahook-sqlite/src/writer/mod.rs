//! The one thread that writes: what arrives together is committed together.

mod adoption;
mod checkpoint;
mod group;
mod inbox;
mod job;
mod session;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nahook_core::{Causes, StoreError};
use nahook_supervision::{Exit, Loop, Pulse};
use tokio::sync::oneshot;
use tokio::time::Instant;

use self::adoption::AdoptJob;
pub(crate) use self::checkpoint::{Checkpointer, Lengths};
use self::group::{Group, Outcomes};
use self::inbox::Inbox;
use self::job::Task;
pub(crate) use self::job::{Job, Urgency};
pub(crate) use self::session::{CATALOG_CHANGED, Session, WORKSPACE_CHANGED};
use crate::error::{Closed, WriteError};
use crate::queue::Queue;
use crate::threads::PULSE_EVERY;
use crate::{OpenError, SqliteSettings};

/// A handle to the thread.
#[derive(Debug)]
pub(crate) struct Writer {
    orders: Orders,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The way to the thread.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    inbox: Sender<Order>,
    counters: Arc<Counters>,
}

/// Order to the thread.
enum Order {
    /// Finish earlier writes, checkpoint the WAL and end.
    Close(oneshot::Sender<Result<(), rusqlite::Error>>),
    Write(Box<dyn Job>, Ticket),
}

/// Counts of the writer's work since the store was opened.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct WriterStats {
    /// Transactions that were committed: each is one wait for the disk.
    pub commits: u64,
    /// Pieces of work that were committed in them: a publish, a batch of settlements, a change of the catalog.
    pub jobs: u64,
    /// Pieces of work that were rolled back, or whose commit is unclear.
    pub failures: u64,
}

#[derive(Debug, Default)]
struct Counters {
    commits: AtomicU64,
    jobs: AtomicU64,
    failures: AtomicU64,
    /// Pieces of work that nobody has been told the outcome of.
    waiting: AtomicU64,
    /// The thread has ended and takes nothing any more.
    is_closed: AtomicBool,
    /// An adoption is ordered, and not begun with.
    is_adopting: AtomicBool,
    /// Another adoption is due at once.
    must_adopt: AtomicBool,
    /// Another adoption is due with the next look at the file.
    must_look: AtomicBool,
}

/// Counts a job as waiting until it is dropped, wherever that is.
struct Ticket(Arc<Counters>);

impl Ticket {
    fn new(counters: &Arc<Counters>) -> Self {
        counters.waiting.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counters))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Orders {
    /// Hands a job to the thread. If there is none any more the job is dropped, and whoever waits for it is told by that.
    pub(crate) fn send(&self, job: Box<dyn Job>) {
        let _ = self
            .inbox
            .send(Order::Write(job, Ticket::new(&self.counters)));
    }

    /// Runs `work` as [`Writer::run`] does, for those who wait in another way, or not at all.
    pub(crate) fn hand_over<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut Session) -> rusqlite::Result<T> + Send + 'static,
    ) -> oneshot::Receiver<Result<T, WriteError>> {
        let (task, answer) = Task::new(work);
        self.send(Box::new(task));
        answer
    }

    /// Adopts what other connections have queued, once the transaction that is open has ended.
    pub(crate) fn adopt(&self) {
        if !self.counters.is_adopting.swap(true, Ordering::AcqRel) {
            self.send(Box::new(AdoptJob::new(&self.counters)));
        }
    }

    /// Returns true if no job waits for the thread.
    pub(crate) fn is_idle(&self) -> bool {
        self.counters.waiting.load(Ordering::Relaxed) == 0
    }

    /// Returns true if the thread has ended for good.
    pub(crate) fn is_closed(&self) -> bool {
        self.counters.is_closed.load(Ordering::Acquire)
    }
}

impl Writer {
    /// Starts the thread.
    pub(crate) fn start(
        session: Session,
        queue: Arc<Queue>,
        settings: &SqliteSettings,
    ) -> Result<Self, OpenError> {
        let (orders, inbox) = mpsc::channel();
        let counters = Arc::<Counters>::default();
        let orders = Orders {
            inbox: orders,
            counters: Arc::clone(&counters),
        };
        let mut work = Work {
            session: Some(session),
            group: Group::default(),
            inbox: Inbox::new(inbox),
            queue,
            counters,
            watch_interval: settings.watch_interval,
            looked_at: Instant::now(),
        };
        let supervisor = &settings.supervisor;
        let thread =
            supervisor.spawn_thread(Loop::SqliteWriter, "nahook-writer", move |pulse| {
                work.run(pulse)
            })?;
        Ok(Self {
            orders,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Another handle to the thread, which does not keep it.
    pub(crate) fn orders(&self) -> Orders {
        self.orders.clone()
    }

    /// Adopts what other connections have queued, as [`Orders::adopt`] does.
    pub(crate) fn adopt(&self) {
        self.orders.adopt();
    }

    /// Hands a job to the thread, as [`Orders::send`] does.
    pub(crate) fn send(&self, job: Box<dyn Job>) {
        self.orders.send(job);
    }

    /// Runs `work` in a transaction that it may share with others, and answers once that is committed.
    ///
    /// `work` runs again if the transaction had to be rolled back for another's sake. Dropping the future does
    /// not stop it.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut Session) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        Ok(self.hand_over(work).await.map_err(|_| Closed)??)
    }

    /// Like [`run`](Self::run) for those who wait in another way, or not at all.
    pub(crate) fn hand_over<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut Session) -> rusqlite::Result<T> + Send + 'static,
    ) -> oneshot::Receiver<Result<T, WriteError>> {
        self.orders.hand_over(work)
    }

    /// Finishes earlier writes, checkpoints the WAL and ends the thread. Later writes are refused.
    pub(crate) async fn close(&self) -> Result<(), StoreError> {
        let (answer, closed) = oneshot::channel();
        if self.orders.inbox.send(Order::Close(answer)).is_ok()
            && let Ok(Err(error)) = closed.await
        {
            return Err(crate::error::store_error(error));
        }
        Ok(())
    }

    pub(crate) fn stats(&self) -> WriterStats {
        let counters = &self.orders.counters;
        WriterStats {
            commits: counters.commits.load(Ordering::Relaxed),
            jobs: counters.jobs.load(Ordering::Relaxed),
            failures: counters.failures.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Writer {
    /// Waits for the thread: whoever opens the file next finds it whole and free.
    fn drop(&mut self) {
        let (answer, _) = oneshot::channel();
        let _ = self.orders.inbox.send(Order::Close(answer));
        let thread = self
            .thread
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take()
            && thread.thread().id() != thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

/// Work in hand. It outlives each of the thread's deaths.
struct Work {
    /// `None` once it has been closed.
    session: Option<Session>,
    group: Group,
    inbox: Inbox,
    queue: Arc<Queue>,
    counters: Arc<Counters>,
    watch_interval: Duration,
    /// Time of the latest look for what others have queued.
    looked_at: Instant,
}

impl Work {
    fn run(&mut self, pulse: &Pulse<'_>) -> Exit {
        let Some(session) = &mut self.session else {
            return Exit::Stopped;
        };
        let outcomes = Outcomes {
            queue: &self.queue,
            counters: &self.counters,
        };
        self.group.recover(session, outcomes);
        loop {
            if self.group.is_empty() {
                if self.group.closing.is_some() {
                    break;
                }
                if self.counters.must_adopt.swap(false, Ordering::AcqRel) {
                    self.group.add_adoption(&self.counters);
                    // Those who wait for an answer are not kept waiting by an adoption that has to be tried again and again.
                    if let Some(order) = self.inbox.next() {
                        self.group.add(order);
                    }
                }
            }
            if self.group.is_empty() {
                let patience = PULSE_EVERY.min(self.watch_interval);
                match self.inbox.next_within(patience) {
                    Ok(order) => self.group.add(order),
                    Err(RecvTimeoutError::Timeout)
                        if self.looked_at.elapsed() < self.watch_interval => {}
                    Err(RecvTimeoutError::Timeout) => {
                        self.looked_at = Instant::now();
                        session.look_at_disk();
                        let must_look = self.counters.must_look.swap(false, Ordering::AcqRel);
                        if session.notice_others() || must_look {
                            self.group.add_adoption(&self.counters);
                        }
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            // With what was received in hand: it is written after the restart.
            if let Some(exit) = pulse.check() {
                return exit;
            }
            if !self.group.is_empty() {
                self.group.commit(session, &mut self.inbox, outcomes);
            }
        }
        self.close();
        Exit::Stopped
    }

    fn close(&mut self) {
        self.counters.is_closed.store(true, Ordering::Release);
        let closed = self.session.take().map_or(Ok(()), Session::close);
        if let Err(error) = &closed {
            tracing::warn!(error = %Causes(error), "the log could not be put into the file; the next start will");
        }
        if let Some(answer) = self.group.closing.take() {
            let _ = answer.send(closed);
        }
    }
}
