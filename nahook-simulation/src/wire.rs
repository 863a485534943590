//! The way from a server to everything else: calls go wrong on it, and a killed server is cut off.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nahook_core::StoreError;
use nahook_core::id::DeliveryId;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::oracle::LifeNumber;
use crate::plan::Faults;
use crate::world::World;

/// Largest time that a call stalls: longer than callers wait.
const STALL_MAX: Duration = Duration::from_secs(16);

/// A server from its start to its end.
pub(crate) struct Life {
    pub(crate) number: LifeNumber,
    is_over: AtomicBool,
    tasks: Mutex<Vec<AbortHandle>>,
}

/// The way from one life of a server to the store.
#[derive(Clone)]
pub(crate) struct Wire {
    pub(crate) world: Arc<World>,
    pub(crate) life: Arc<Life>,
}

/// End of a call that failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Broken {
    /// Nothing was done, and nothing will be.
    Refused,
    /// It may have been done.
    Lost,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    None,
    Refuse,
    Lose,
    Stall,
    DieBefore,
    DieAfter,
}

impl Life {
    pub(crate) fn new(number: LifeNumber) -> Arc<Self> {
        Arc::new(Self {
            number,
            is_over: AtomicBool::new(false),
            tasks: Mutex::default(),
        })
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// The task ends with this life.
    pub(crate) fn keep(&self, task: AbortHandle) {
        let tasks = self.tasks.lock();
        tasks.unwrap_or_else(PoisonError::into_inner).push(task);
    }

    /// Never returns if this life is over.
    pub(crate) async fn pass(&self) {
        if self.is_over() {
            std::future::pending::<()>().await;
        }
    }
}

impl Wire {
    /// Ends this life: nothing that its tasks still do gets out.
    pub(crate) fn kill(&self) {
        if self.life.is_over.swap(true, Ordering::Relaxed) {
            return;
        }
        let number = self.life.number;
        self.world.note("killed", &[number.into()]);
        self.world
            .with(|state| state.oracle.excuse_leased(Some(number)));
        let tasks = self.life.tasks.lock();
        for task in tasks.unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
    }

    /// Makes a call about these deliveries. `carry_out` is what the store does; it gets true if something goes wrong with the call.
    pub(crate) async fn call<T, F>(
        &self,
        what: &'static str,
        about: &[DeliveryId],
        carry_out: impl FnOnce(bool) -> F + Send,
    ) -> Result<T, Broken>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.life.pass().await;
        let fault = self.draw();
        let number = self.life.number.into();
        self.world
            .note(what, &[number, fault as u128, about.len() as u128]);
        if fault == Fault::None {
            if self.world.with(|state| state.random.one_in(2)) {
                sleep(self.world.time(Duration::from_millis(5))).await;
                self.life.pass().await;
            }
            return Ok(carry_out(false).await);
        }
        self.world
            .with(|state| state.oracle.excuse(about.iter().copied()));
        match fault {
            Fault::Refuse => return Err(Broken::Refused),
            Fault::DieBefore => self.kill(),
            Fault::Stall => {
                let (stall, request) = (self.world.time(STALL_MAX), carry_out(true));
                // It is on its way, whatever becomes of who waits for it.
                let answer = tokio::spawn(async move {
                    sleep(stall).await;
                    request.await
                });
                let answer = answer.await;
                self.life.pass().await;
                return answer.map_err(|_| Broken::Lost);
            }
            _ => drop(carry_out(true).await),
        }
        if fault == Fault::DieAfter {
            self.kill();
        }
        self.life.pass().await;
        Err(Broken::Lost)
    }

    fn draw(&self) -> Fault {
        let one_in = self.world.plan.calls_per_fault;
        let strikes = |kind, one_in| self.world.strikes(kind, one_in);
        if strikes(Faults::KILL, one_in * 6) {
            let is_after = self.world.with(|state| state.random.one_in(2));
            return if is_after {
                Fault::DieAfter
            } else {
                Fault::DieBefore
            };
        }
        match () {
            () if strikes(Faults::REFUSE, one_in) => Fault::Refuse,
            () if strikes(Faults::LOSE, one_in) => Fault::Lose,
            () if strikes(Faults::STALL, one_in) => Fault::Stall,
            () => Fault::None,
        }
    }

    /// The error that a port answers.
    pub(crate) fn error(&self, broken: Broken) -> StoreError {
        if self.world.with(|state| state.random.one_in(4)) {
            StoreError::internal(format!("simulated: {broken:?}"))
        } else {
            StoreError::unavailable(format!("simulated: {broken:?}"))
        }
    }
}
