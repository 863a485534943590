//! Creation of streams that were deleted while the process was connected.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Context;
use nahook_core::Causes;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use super::ensure::ensure;
use super::names::Names;
use crate::config::NatsSettings;

/// Shortest time between two checks that nobody insists on.
const INTERVAL: Duration = Duration::from_secs(1);

/// Pause before a stream is created again. The server answers that a stream is deleted before it has removed its files: one
/// that is created meanwhile loses its own, and answers nothing any more.
const REMOVAL_PAUSE: Duration = Duration::from_millis(500);

/// Creates streams and consumers again that were deleted while the process was connected.
pub(crate) struct StreamRepair {
    context: Context,
    names: Names,
    settings: Arc<NatsSettings>,
    checked_at: Mutex<Option<Instant>>,
    created_at: watch::Sender<[i128; 2]>,
}

impl StreamRepair {
    pub(crate) fn new(
        context: &Context,
        names: &Names,
        settings: &Arc<NatsSettings>,
        created_at: [i128; 2],
    ) -> Self {
        Self {
            context: context.clone(),
            names: names.clone(),
            settings: Arc::clone(settings),
            checked_at: Mutex::new(None),
            created_at: watch::Sender::new(created_at),
        }
    }

    /// Makes another connection.
    pub(crate) async fn reconnect(&self) {
        // It fails only once the client is gone, and this with it.
        let _ = self.context.client().force_reconnect().await;
    }

    /// By source, when the workers' consumers were created, and its changes.
    pub(crate) fn created_at(&self) -> watch::Receiver<[i128; 2]> {
        self.created_at.subscribe()
    }

    /// Repairs the streams, unless they were checked a moment ago. For callers to whom no stream or consumer answered.
    pub(crate) async fn repair(&self) {
        // Another task is at it.
        let Ok(mut checked_at) = self.checked_at.try_lock() else {
            return;
        };
        if checked_at.is_some_and(|at| at.elapsed() < INTERVAL) {
            return;
        }
        tokio::time::sleep(REMOVAL_PAUSE).await;
        self.ensure().await;
        *checked_at = Some(Instant::now());
    }

    /// Repairs the streams in any case. Returns false if that was not possible.
    pub(crate) async fn repair_now(&self) -> bool {
        let mut checked_at = self.checked_at.lock().await;
        let is_fine = self.ensure().await;
        *checked_at = Some(Instant::now());
        is_fine
    }

    async fn ensure(&self) -> bool {
        match ensure(&self.context, &self.names, &self.settings).await {
            Ok(found) => {
                self.created_at.send_if_modified(|created_at| {
                    let is_news = *created_at != found;
                    *created_at = found;
                    is_news
                });
                true
            }
            Err(error) => {
                tracing::warn!(error = %Causes(&error), "the streams cannot be used");
                false
            }
        }
    }
}
