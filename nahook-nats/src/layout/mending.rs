//! Making streams again that are gone.

use nahook_core::Causes;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Context;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use super::{Found, Names, ensure};
use crate::config::NatsSettings;

/// How soon after a look the next one may follow.
const INTERVAL: Duration = Duration::from_secs(1);

/// Makes streams and consumers again that somebody has deleted while we were connected, or that a server has forgotten.
pub(crate) struct Mending {
    context: Context,
    names: Names,
    settings: Arc<NatsSettings>,
    looked_at: Mutex<Option<Instant>>,
    made_at: watch::Sender<[i128; 2]>,
}

impl Mending {
    pub(crate) fn new(
        context: &Context,
        names: &Names,
        settings: &Arc<NatsSettings>,
        found: Found,
    ) -> Self {
        Self {
            context: context.clone(),
            names: names.clone(),
            settings: Arc::clone(settings),
            looked_at: Mutex::new(None),
            made_at: watch::Sender::new(found.made_at),
        }
    }

    /// Makes another connection.
    pub(crate) async fn reconnect(&self) {
        // It fails only once the client is gone, and this with it.
        let _ = self.context.client().force_reconnect().await;
    }

    /// By source, when the workers' consumers were made, and its changes.
    pub(crate) fn made_at(&self) -> watch::Receiver<[i128; 2]> {
        self.made_at.subscribe()
    }

    /// Nobody takes or gives messages: looks why, unless that was done a moment ago.
    pub(crate) async fn look(&self) {
        // Somebody looks already.
        let Ok(mut looked_at) = self.looked_at.try_lock() else {
            return;
        };
        if looked_at.is_some_and(|at| at.elapsed() < INTERVAL) {
            return;
        }
        self.ensure().await;
        *looked_at = Some(Instant::now());
    }

    /// Looks in any case. `false` if that was not possible.
    pub(crate) async fn look_now(&self) -> bool {
        let mut looked_at = self.looked_at.lock().await;
        let is_fine = self.ensure().await;
        *looked_at = Some(Instant::now());
        is_fine
    }

    async fn ensure(&self) -> bool {
        match ensure(&self.context, &self.names, &self.settings).await {
            Ok(found) => {
                self.made_at.send_if_modified(|made_at| {
                    let is_news = *made_at != found.made_at;
                    *made_at = found.made_at;
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
