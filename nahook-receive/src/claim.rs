//! The claim on a webhook while its handler runs.

use std::sync::Arc;

use http::StatusCode;

use crate::SeenIds;

/// Settles a begun webhook with its store: by [`settle`](Self::settle), or as cancelled when dropped before.
pub(crate) struct Claim {
    store: Arc<dyn SeenIds>,
    key: String,
    is_settled: bool,
}

impl Claim {
    pub(crate) fn new(store: Arc<dyn SeenIds>, key: String) -> Self {
        Self {
            store,
            key,
            is_settled: false,
        }
    }

    /// Finishes the webhook if the handler answered 2xx, and releases it otherwise.
    pub(crate) async fn settle(mut self, status: Option<StatusCode>) {
        // From here on the store has been called: a drop while it works must not call it again.
        self.is_settled = true;
        if status.is_some_and(|status| status.is_success()) {
            self.store.finished(&self.key).await;
        } else {
            self.store.failed(&self.key).await;
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.is_settled {
            self.store.cancelled(&self.key);
        }
    }
}
