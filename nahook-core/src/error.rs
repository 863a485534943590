//! Errors, by what a caller would do about them.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::FailureKind;
use crate::id::DeliveryId;

/// A back end could not be asked or made no sense. Says nothing about whether a write took effect unless the port does.
///
/// `Display` names what failed and leaks nothing of the inside; the cause is in [`source`](StdError::source), for logs.
#[derive(Clone, Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// Displays an error with its whole chain of causes, for logs: most errors show only what they know themselves.
///
/// ```
/// use nahook_core::{Causes, StoreError};
///
/// let error = StoreError::unavailable("too many connections");
/// assert_eq!(Causes(&error).to_string(), "the store is unavailable: too many connections");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Causes<'a>(pub &'a (dyn StdError + 'static));

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.to_string();
        f.write_str(&shown)?;
        let mut next = self.0.source();
        while let Some(error) = next {
            let text = error.to_string();
            // Some errors show their cause themselves.
            if !shown.ends_with(&text) {
                write!(f, ": {text}")?;
            }
            shown = text;
            next = error.source();
        }
        Ok(())
    }
}

/// The key is bound to one endpoint, so it may not fan out.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("this API key is bound to one endpoint and cannot trigger events")]
pub struct NotWorkspaceScoped;

/// The kinds of a [`StoreError`], by what a caller would do about it.
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
            source: Some(Arc::from(source.into())),
        }
    }

    /// The store could not be asked.
    pub fn unavailable(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            kind: StoreErrorKind::Unavailable,
            source: Some(Arc::from(source.into())),
        }
    }

    /// Returns the kind: what to do about it.
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

/// Reasons for which a Send is refused. All but [`Unconfirmed`](Self::Unconfirmed) mean that **nothing was queued and
/// nothing will be**.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The deadline passed before anything was, or may have been, queued: trying again is safe.
    #[error("the deadline passed; nothing was queued")]
    DeadlineExceeded,
    /// The endpoint is switched off.
    #[error("the endpoint is disabled")]
    EndpointDisabled,
    /// The rate limiter did not answer, and the settings say to refuse then.
    #[error("the rate limiter is unavailable")]
    LimiterUnavailable(#[source] StoreError),
    /// The payload is over the plan's cap.
    #[error("the payload has {len} bytes; at most {len_max} are allowed")]
    PayloadTooLarge {
        /// Its length in bytes.
        len: usize,
        /// The cap in bytes.
        len_max: usize,
    },
    /// The queue did not take it, for a reason that [may not be queued](FailureKind::may_be_queued).
    #[error("the queue did not take the delivery")]
    QueueRefused(FailureKind),
    /// The workspace or the key has spent its tokens.
    #[error("the rate limit is exceeded")]
    RateLimited {
        /// Time until the same Send would be admitted, if no other request came.
        retry_after: Duration,
    },
    /// The subscription store could not be asked.
    #[error("the subscription store is unavailable")]
    StoreUnavailable(#[source] StoreError),
    /// The queue did not confirm: it may hold the delivery.
    #[error("the queue did not confirm the delivery; it may still arrive")]
    Unconfirmed {
        /// The delivery that may turn up after all.
        delivery: DeliveryId,
        /// True if the Send had an idempotency key, so that repeating it is safe.
        is_keyed: bool,
    },
    /// There is no such endpoint, or the key does not reach it; which, is not told.
    #[error("the endpoint does not exist")]
    UnknownEndpoint,
}

/// Reasons for which a trigger is refused. Each means that **nothing was queued and nothing will be**.
#[derive(Clone, Debug, Error)]
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
        /// Time until the same trigger would be admitted, if no other request came.
        retry_after: Duration,
    },
    /// The subscription store could not be asked.
    #[error("the subscription store is unavailable")]
    StoreUnavailable(#[source] StoreError),
    /// The workspace has no event type of that name.
    #[error("the event type does not exist")]
    UnknownEventType,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cause_that_an_error_shows_itself_is_shown_once() {
        #[derive(Debug, Error)]
        #[error("it failed: {0}")]
        struct Telling(#[source] StoreError);
        let error = Telling(StoreError::unavailable("planted"));
        let shown = Causes(&error).to_string();
        assert_eq!(shown, "it failed: the store is unavailable: planted");
    }
}
