//! Loops that are threads.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, JoinHandle};

use crate::fault::Pulse;
use crate::restart::Pauses;
use crate::{Exit, Loop, Supervisor};

impl Supervisor {
    /// Runs `body` on a thread of this name, again whenever it ends in anything but [`Exit::Stopped`].
    ///
    /// `body` has to leave whatever it captures usable when it panics, and to return [`Exit::Stopped`] at once if the
    /// order to stop came while it was not running.
    ///
    /// # Errors
    /// The system has no room for another thread.
    pub fn spawn_thread(
        &self,
        which: Loop,
        name: &str,
        mut body: impl FnMut(&Pulse<'_>) -> Exit + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let place = self.enter(which);
        let order = self.order(which);
        place.started();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            let mut pauses = Pauses::new();
            loop {
                pauses.start();
                // A panic has been reported by the panic hook.
                let ended = catch_unwind(AssertUnwindSafe(|| body(&Pulse(&order))));
                let reason = match ended {
                    Ok(Exit::Stopped) => return,
                    Ok(Exit::Failed(reason)) => reason,
                    Err(_) => "it panicked".into(),
                };
                let pause = pauses.after_end();
                place.failed(&reason, pause);
                thread::sleep(pause);
                place.started();
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::Death;

    #[test]
    fn thread_that_dies_goes_on_with_what_waits() {
        for death in Death::ALL {
            let supervisor = Supervisor::new();
            let (orders, inbox) = mpsc::channel();
            let (done, results) = mpsc::channel();
            let running = supervisor.spawn_thread(Loop::SqliteWriter, "test", move |pulse| {
                loop {
                    if let Some(exit) = pulse.check() {
                        return exit;
                    }
                    match inbox.recv() {
                        Ok(order) => done.send(order).unwrap(),
                        Err(_) => return Exit::Stopped,
                    }
                }
            });
            supervisor.kill(Loop::SqliteWriter, *death);
            orders.send(1).unwrap();
            orders.send(2).unwrap();
            drop(orders);
            running.unwrap().join().unwrap();
            assert_eq!(results.iter().collect::<Vec<_>>(), [1, 2]);
            assert_eq!(supervisor.loops()[0].failures, 1, "{death:?}");
            assert_eq!(supervisor.loops()[0].wanted, 0);
        }
    }
}
