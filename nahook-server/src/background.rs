//! Threads for what may wait a little: an event that is accepted is safe, its delivery can come a moment later.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

/// Niceness of the threads beside those that serve requests: where both want a processor, they get a quarter of it.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 5;

/// A runtime of its own for delivering, so that a burst of deliveries does not hold up those who trigger.
///
/// Dropped, it leaves its tasks to themselves and waits for nothing.
#[derive(Debug)]
pub(crate) struct Background(Option<Runtime>);

impl Background {
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .thread_name("nahook-delivery")
            .on_thread_start(yield_to_others)
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    pub(crate) fn handle(&self) -> Option<&Handle> {
        self.0.as_ref().map(Runtime::handle)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // The server is dropped where blocking is not allowed.
            runtime.shutdown_background();
        }
    }
}

/// Lowers this thread's priority. Only Linux has one for each thread; a refusal costs nothing but the order.
fn yield_to_others() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "the delivering threads keep their priority");
    }
}
