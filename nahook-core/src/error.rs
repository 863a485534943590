//! What can go wrong, by what a caller would do about it.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use thiserror::Error;

use crate::NotWorkspaceScoped;

/// A back end could not be asked or made no sense. Says nothing about whether a write took effect unless the port does.
///
/// `Display` names what failed and leaks nothing of the inside; the cause is in [`source`](StdError::source), for logs.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What a caller would do about a [`StoreError`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// Ask a person: the store holds what it should not, or was set up wrongly.
    Internal,
    /// Try again later: out of reach, full, overloaded, stopping.
    Unavailable,
}

impl StoreError {
    /// The store made no sense.
    pub fn internal(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            kind: StoreErrorKind::Internal,
            source: Some(source.into()),
        }
    }

    /// The store could not be asked.
    pub fn unavailable(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            kind: StoreErrorKind::Unavailable,
            source: Some(source.into()),
        }
    }

    /// What to do about it.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StoreErrorKind::Internal => "the store failed",
            StoreErrorKind::Unavailable => "the store is unavailable",
        })
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

/// Why a trigger was refused. Every one of these means that **nothing was queued and nothing will be**.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TriggerError {
    /// The deadline passed before anything was, or may have been, queued: trying again is safe.
    #[error("the deadline passed; nothing was queued")]
    DeadlineExceeded,
    /// The rate limiter did not answer, and the settings say to refuse then.
    #[error("the rate limiter is unavailable")]
    LimiterUnavailable(#[source] StoreError),
    /// The caller's key is bound to one endpoint.
    #[error(transparent)]
    NotWorkspaceScoped(#[from] NotWorkspaceScoped),
    /// The payload is over the plan's cap.
    #[error("the payload has {len} bytes; at most {len_max} are allowed")]
    PayloadTooLarge {
        /// Its length in bytes.
        len: usize,
        /// The cap in bytes.
        len_max: usize,
    },
    /// The workspace or the key has spent its tokens.
    #[error("the rate limit is exceeded")]
    RateLimited {
        /// When the same trigger would be admitted, if nobody else came.
        retry_after: Duration,
    },
    /// The subscription store could not be asked.
    #[error("the subscription store is unavailable")]
    StoreUnavailable(#[source] StoreError),
    /// The workspace has no event type of that name.
    #[error("the event type does not exist")]
    UnknownEventType,
}
