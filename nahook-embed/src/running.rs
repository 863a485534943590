//! Delivering, and the end of a handle.

use std::sync::PoisonError;

use nahook_core::{Causes, StoreError};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::Hooks;
use crate::hooks::connections_max;

impl Hooks {
    /// Delivers, for all workspaces, until `stop` ends; then finishes the attempts in flight and releases the other leases.
    /// Another process, or another call, may deliver at the same time.
    ///
    /// # Cancellation
    /// A dropped future stops delivering; what was in flight is delivered again once its lease has ended.
    ///
    /// ```
    /// use nahook_embed::Hooks;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let hooks = Hooks::open("memory://").await?;
    /// let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    /// let delivering = {
    ///     let hooks = hooks.clone();
    ///     tokio::spawn(async move { hooks.run(async { stopped.await.unwrap_or_default() }).await })
    /// };
    /// // … and when the app stops:
    /// drop(stop);
    /// delivering.await?;
    /// hooks.close().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let Some(transport) = &self.shared.transport else {
            // Nothing is sent in a test.
            return stop.await;
        };
        let (stopped, _) = watch::channel(false);
        let (log_stopped, _) = watch::channel(false);
        let backend = &self.shared.backend;
        let supervisor = &self.shared.settings.supervisor;
        let (runtime, connections) = (Handle::current(), connections_max());
        let delivering = backend.deliver(transport, connections, supervisor, &runtime, &stopped);
        let log = backend.record_attempted(log_stopped.subscribe());
        let stopping = async {
            stop.await;
            stopped.send_replace(true);
            if let Err(error) = delivering.await {
                tracing::error!(error = %Causes(&error), "delivering ended");
            }
            log_stopped.send_replace(true);
        };
        tokio::join!(stopping, log);
    }

    /// Writes out what is not yet, and closes the back end. No handle may be used afterwards.
    pub async fn close(self) -> Result<(), StoreError> {
        self.shared.stop_recording.send_replace(true);
        let recording = self.shared.recording.lock();
        let recording = recording.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(recording) = recording
            && let Err(error) = recording.await
        {
            tracing::error!(error = %Causes(&error), "recording accepted deliveries ended");
        }
        self.shared.backend.clone().close().await
    }
}
