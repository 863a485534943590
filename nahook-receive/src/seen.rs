//! De-duplication: which webhooks were handled before.

mod memory;

use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;

pub use self::memory::MemorySeenIds;

/// Store of the webhooks that were handled, for [`VerifyLayer::deduplicate`](crate::VerifyLayer::deduplicate).
///
/// Senders deliver at least once: a webhook whose answer was lost comes again under the same id. The layer calls
/// [`begin`](Self::begin) before the handler and, if that is [`Begin::First`], exactly one of the other three after it, unless
/// the process dies. A `key` is the path of the request and the `webhook-id`, since one event may be sent to several endpoints under one id.
#[async_trait]
pub trait SeenIds: Send + Sync {
    /// Claims `key` for a handler that is about to run, atomically: of several calls at once one is the first.
    ///
    /// A claim must end after some time by itself, or a crash would keep the webhook out for ever. An error is answered
    /// with 503, and the sender tries again later.
    async fn begin(&self, key: &str) -> Result<Begin, SeenIdsError>;

    /// Remembers that `key` was handled.
    ///
    /// The answer is sent whether or not that succeeds, so a store reports its own failures.
    async fn finished(&self, key: &str);

    /// Releases the claim of a handler that failed, so that the next attempt reaches it. Must not forget a `key` that was
    /// finished meanwhile.
    async fn failed(&self, key: &str);

    /// Releases the claim of a handler that was dropped before its answer, because the sender hung up or it panicked.
    ///
    /// Called from a destructor, so it must not block. A store that cannot release without waiting starts a task that
    /// does, or lets the claim end by itself.
    fn cancelled(&self, key: &str);
}

/// Answer of [`SeenIds::begin`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Begin {
    /// The webhook is new, or earlier attempts failed: it is now claimed.
    First,
    /// Another attempt is being handled. It is answered with 409, so that the sender comes back.
    InProgress,
    /// The webhook was handled. It is answered with 204, so that the sender stops.
    Finished,
}

/// A store of seen ids that does not answer.
#[derive(Clone, Debug, Error)]
#[error("the store of seen ids is unavailable")]
pub struct SeenIdsError {
    source: Arc<dyn Error + Send + Sync>,
}

impl SeenIdsError {
    /// Wraps the store's own error, which is the source of this one and not shown to the sender.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            source: Arc::from(source.into()),
        }
    }
}

#[async_trait]
impl<S: SeenIds + ?Sized> SeenIds for Arc<S> {
    async fn begin(&self, key: &str) -> Result<Begin, SeenIdsError> {
        (**self).begin(key).await
    }

    async fn finished(&self, key: &str) {
        (**self).finished(key).await;
    }

    async fn failed(&self, key: &str) {
        (**self).failed(key).await;
    }

    fn cancelled(&self, key: &str) {
        (**self).cancelled(key);
    }
}
