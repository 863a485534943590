//! The worker: leases deliveries, attempts them, and settles what became of them.

mod attempt;
mod calls;
mod contain;
mod events;
mod health;
mod judgement;
mod lag;
mod ledger;
mod local;
pub mod metric;
mod observe;
mod request;
mod schedule;
mod session;
mod settings;
mod settling;
mod spans;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use nahook_control::EndpointDirectory;
use nahook_core::{Clock, IdSource, RandomIds, SystemClock};
use nahook_queue::{DeliveryQueue, Tally};
use nahook_supervision::{Exit, Loop, Supervisor};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::sleep;

pub use self::events::{DeliveryEvent, DeliveryEvents, EventSender, SettledDelivery};
pub use self::lag::{DeliveryLag, LagReport};
pub use self::schedule::RetrySchedule;
pub use self::settings::WorkerSettings;

use self::contain::contain;
use self::session::Session;
use crate::transport::Transport;

/// Delivers: leases what is due from a queue, attempts it through a transport, and settles what became of it.
///
/// Any number of workers may share a queue, in one process or in many.
///
/// * **Isolation.** What is leased is attempted at once, so nothing waits behind anything else. A workspace holds at most
///   three quarters of the slots that others leave, endpoints that take long less, and each endpoint has a bound of its
///   own, which shrinks when it fails ([`Slots`](nahook_queue::Slots)).
/// * **Nothing is sent again because of bookkeeping.** A settlement that the queue does not take is tried until it does,
///   alone if need be, and its lease is extended meanwhile. What remains is what a crash, or a queue that is out of reach
///   for longer than a lease, leaves: delivery at least once.
/// * **A panic** of the transport is a failed attempt, one of the queue or the directory a failed call. Should the worker's
///   own loop fail, it starts again, and what it held is given back.
/// * **What this machine lacks** to make an attempt (descriptors, memory, ports, a network, a name server) is no failure of
///   the endpoint: the delivery goes back to the queue, and the worker or the endpoint pauses.
pub struct Worker<T> {
    queue: Arc<dyn DeliveryQueue>,
    directory: Arc<dyn EndpointDirectory>,
    transport: T,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    settings: WorkerSettings,
    events: EventSender,
    lag: DeliveryLag,
    tally: Tally,
}

/// Summary of a worker's work between its start and its end.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct WorkerReport {
    /// Attempts that ended.
    pub attempts: u64,
    /// Deliveries settled as delivered.
    pub delivered: u64,
    /// … as to be attempted again.
    pub retried: u64,
    /// … as dead letters.
    pub dead_lettered: u64,
    /// … as failed, their endpoints being gone or disabled.
    pub failed: u64,
    /// Deliveries given back without an attempt, or whose attempt was cut off when the worker had to stop.
    pub released: u64,
    /// Deliveries whose lease was lost before they were settled, or that may have been settled by a call that failed.
    pub leases_lost: u64,
    /// Deliveries still unsettled when the worker had to stop: they are offered again once their leases expire.
    pub unsettled: u64,
}

impl<T: Transport + 'static> Worker<T> {
    /// A worker over these, with the system's clock and the default settings.
    pub fn new(
        queue: impl DeliveryQueue + 'static,
        directory: impl EndpointDirectory + 'static,
        transport: T,
    ) -> Self {
        Self {
            queue: Arc::new(queue),
            directory: Arc::new(directory),
            transport,
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
            settings: WorkerSettings::default(),
            events: EventSender::default(),
            lag: DeliveryLag::default(),
            tally: Tally::default(),
        }
    }

    /// Reads the time of day from `clock`; it should go at the pace of tokio's.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Draws the worker's id and the jitter from `ids`.
    #[must_use]
    pub fn with_ids(mut self, ids: impl IdSource + 'static) -> Self {
        self.ids = Arc::new(ids);
        self
    }

    /// Uses `settings`. Numbers that would make the worker stand still or spin are raised to the least that works.
    #[must_use]
    pub fn with_settings(mut self, settings: WorkerSettings) -> Self {
        self.settings = settings.checked();
        self
    }

    /// Tells `events` what becomes of deliveries and endpoints.
    #[must_use]
    pub fn with_events(mut self, events: EventSender) -> Self {
        self.events = events;
        self
    }

    /// Counts in `lag` how long deliveries wait.
    #[must_use]
    pub fn with_lag(mut self, lag: DeliveryLag) -> Self {
        self.lag = lag;
        self
    }

    /// Counts in `tally` what becomes of deliveries.
    #[must_use]
    pub fn with_tally(mut self, tally: Tally) -> Self {
        self.tally = tally;
        self
    }

    /// Works until `stop` resolves and then ends gracefully: leases nothing more, lets the attempts in flight end within
    /// [`stop_timeout`](WorkerSettings::stop_timeout), releases what was not attempted, and settles everything within
    /// [`stop_grace`](WorkerSettings::stop_grace) after that.
    ///
    /// Attempts run as tasks of the current tokio runtime, which needs time enabled.
    ///
    /// # Cancellation
    /// Dropping the future cuts off everything in flight at once. What was not settled is given back as long as the runtime
    /// goes on, else offered again once its lease expires; an endpoint may receive it twice.
    pub async fn run(self, stop: impl Future<Output = ()> + Send) -> WorkerReport {
        let worker = Arc::new(self);
        let mut stop = pin!(stop);
        let mut is_stopped = false;
        let mut report = WorkerReport::default();
        loop {
            // It may be asked for again after it has resolved.
            let stop = poll_fn(|context| {
                if !is_stopped {
                    ready!(stop.as_mut().poll(context));
                    is_stopped = true;
                }
                Poll::Ready(())
            });
            let mut session = Session::new(Arc::clone(&worker));
            let ended = contain(session.run(stop)).await;
            report.add(session.report);
            if matches!(ended, Ok(Ok(()))) {
                return report;
            }
            drop(session);
            observe::session_failed("a panic");
            sleep(RESTART_AFTER).await;
        }
    }

    /// Like [`run`](Self::run), as the supervised [`Loop::DeliveryWorker`] on `runtime`: `stop` makes the future at which it
    /// stops, for each start.
    pub fn supervise<F>(
        self,
        supervisor: &Supervisor,
        runtime: &Handle,
        stop: impl Fn() -> F + Send + 'static,
    ) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let worker = Arc::new(self);
        supervisor.spawn_on(runtime, Loop::DeliveryWorker, move || {
            let (mut session, stop) = (Session::new(Arc::clone(&worker)), stop());
            async move {
                match session.run(stop).await {
                    Ok(()) => {
                        observe::stopped(&session.report);
                        Exit::Stopped
                    }
                    Err(_) => Exit::failed("a job of it panicked"),
                }
            }
        })
    }
}

/// Time that a failed worker waits before it starts again.
const RESTART_AFTER: Duration = Duration::from_millis(100);

impl<T> std::fmt::Debug for Worker<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
