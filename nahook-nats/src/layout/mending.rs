//! Making streams again that are gone.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Context;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Names, ensure};
use crate::config::NatsSettings;

/// How soon after a look the next one may follow.
const INTERVAL: Duration = Duration::from_secs(1);

/// Makes streams and consumers again that somebody has deleted while we were connected.
pub(crate) struct Mending {
    context: Context,
    names: Names,
    settings: Arc<NatsSettings>,
    looked_at: Mutex<Option<Instant>>,
}

impl Mending {
    pub(crate) fn new(context: &Context, names: &Names, settings: &Arc<NatsSettings>) -> Self {
        Self {
            context: context.clone(),
            names: names.clone(),
            settings: Arc::clone(settings),
            looked_at: Mutex::new(None),
        }
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
        if let Err(error) = ensure(&self.context, &self.names, &self.settings).await {
            tracing::warn!(%error, "the streams cannot be used");
        }
        *looked_at = Some(Instant::now());
    }
}
