//! Errors of the management operations and their store.

use nahook_core::StoreError;
use thiserror::Error;

use crate::rules::Broken;

/// Reasons for which an operation was refused or failed. Unless it is [`Store`](Self::Store), nothing has changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ManagementError {
    /// It contradicts what exists.
    #[error("{0}")]
    Conflict(String),
    /// The application has as many endpoints as it may have.
    #[error("the application may have {max} endpoints and has them")]
    EndpointLimit {
        /// Largest number of endpoints.
        max: u32,
    },
    /// A value that is not allowed.
    #[error("{0}")]
    Invalid(String),
    /// The workspace has no such thing.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// The store could not be asked; a change may have been made.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Broken> for ManagementError {
    fn from(broken: Broken) -> Self {
        Self::Invalid(broken.to_string())
    }
}

impl ManagementError {
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::Conflict(message.into())
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }
}
