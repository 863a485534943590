//! Loops that are tasks of a tokio runtime.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::fault::panic_on_order;
use crate::restart::Pauses;
use crate::{Death, Exit, Loop, Supervisor};

impl Supervisor {
    /// Runs the loop that `make` makes on the current runtime, and makes another whenever it ends in anything but
    /// [`Exit::Stopped`].
    ///
    /// The task ends when the loop was stopped. Aborting it cuts the loop off; dropping the handle does not.
    ///
    /// # Panics
    /// Panics outside of a tokio runtime, which needs time enabled.
    pub fn spawn<F>(&self, which: Loop, make: impl FnMut() -> F + Send + 'static) -> JoinHandle<()>
    where
        F: Future<Output = Exit> + Send + 'static,
    {
        self.spawn_on(&Handle::current(), which, make)
    }

    /// Like [`spawn`](Self::spawn), on the runtime of `handle`.
    pub fn spawn_on<F>(
        &self,
        handle: &Handle,
        which: Loop,
        mut make: impl FnMut() -> F + Send + 'static,
    ) -> JoinHandle<()>
    where
        F: Future<Output = Exit> + Send + 'static,
    {
        let place = self.enter(which);
        let order = self.order(which);
        // From now on and not from the first poll: whoever spawns a loop finds it running.
        place.started();
        handle.spawn(async move {
            let mut pauses = Pauses::new();
            loop {
                pauses.start();
                let Ok(future) = catch_unwind(AssertUnwindSafe(&mut make)) else {
                    let pause = pauses.after_end();
                    place.failed("it panicked when it was made", pause);
                    sleep(pause).await;
                    place.started();
                    continue;
                };
                let mut running = AbortOnDrop(tokio::spawn(future));
                let ended = tokio::select! {
                    biased;
                    ended = &mut running.0 => ended,
                    death = order.taken() => match death {
                        Death::Abort => {
                            running.0.abort();
                            (&mut running.0).await
                        }
                        Death::Fail => Ok(Exit::failed("a test ends the loop")),
                        Death::Panic => tokio::spawn(async { panic_on_order() }).await,
                    },
                };
                drop(running);
                let reason = match ended {
                    Ok(Exit::Stopped) => return,
                    Ok(Exit::Failed(reason)) => reason,
                    Err(error) if error.is_panic() => "it panicked".into(),
                    Err(_) => "its task was aborted".into(),
                };
                let pause = pauses.after_end();
                place.failed(&reason, pause);
                sleep(pause).await;
                place.started();
            }
        })
    }
}

struct AbortOnDrop(JoinHandle<Exit>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::sync::watch;

    use super::*;

    const WHICH: Loop = Loop::MetricsUpkeep;

    /// A loop that counts its starts and runs until `stop`.
    fn counting(
        supervisor: &Supervisor,
    ) -> (Arc<AtomicUsize>, watch::Sender<bool>, JoinHandle<()>) {
        let starts = Arc::<AtomicUsize>::default();
        let (stop, _) = watch::channel(false);
        let (counted, stopped) = (Arc::clone(&starts), stop.subscribe());
        let running = supervisor.spawn(WHICH, move || {
            counted.fetch_add(1, Ordering::SeqCst);
            let mut stopped = stopped.clone();
            async move {
                let _ = stopped.wait_for(|stop| *stop).await;
                Exit::Stopped
            }
        });
        (starts, stop, running)
    }

    async fn until(condition: impl Fn() -> bool) {
        while !condition() {
            sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn every_death_is_noticed_and_followed_by_a_restart() {
        for death in Death::ALL {
            let supervisor = Supervisor::new();
            let (starts, stop, running) = counting(&supervisor);
            assert_eq!(supervisor.down(), Vec::<&str>::new());
            supervisor.kill(WHICH, *death);
            until(|| starts.load(Ordering::SeqCst) == 2).await;
            // It runs again, and is reported all the same until it has proved steady.
            let status = supervisor.loops()[0];
            assert_eq!((status.wanted, status.failures), (1, 1), "{death:?}");
            assert_eq!(supervisor.down(), ["metrics_upkeep"], "{death:?}");
            stop.send_replace(true);
            running.await.unwrap();
            assert_eq!(supervisor.down(), Vec::<&str>::new());
        }
    }

    #[tokio::test]
    async fn dead_loop_is_not_forgotten_before_it_was_steady() {
        let supervisor = Supervisor::new();
        let (starts, _stop, _running) = counting(&supervisor);
        supervisor.kill(WHICH, Death::Fail);
        until(|| starts.load(Ordering::SeqCst) == 2).await;
        until(|| supervisor.down().is_empty()).await;
        assert_eq!(supervisor.loops()[0].running, 1);
    }

    #[tokio::test]
    async fn aborting_the_handle_ends_the_loop() {
        let supervisor = Supervisor::new();
        let (starts, _stop, running) = counting(&supervisor);
        until(|| starts.load(Ordering::SeqCst) == 1).await;
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
        assert_eq!(supervisor.loops()[0].wanted, 0);
    }
}
