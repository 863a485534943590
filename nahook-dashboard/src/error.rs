//! Errors, which are pages too.

use axum::http::StatusCode;
use nahook_control::ManagementError;
use nahook_control::rules::Broken;
use nahook_core::StoreError;
use nahook_http::ApiError;

/// A page that says no.
#[derive(Debug)]
pub(crate) struct PageError {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    /// Seconds after which to ask again.
    pub(crate) retry_after: Option<u64>,
}

impl PageError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            retry_after: None,
        }
    }

    /// A thing that is not there, or that the visitor may not see: the answer does not tell which.
    pub(crate) fn missing() -> Self {
        Self::new(StatusCode::NOT_FOUND, "There is no such page")
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "Your role does not allow this")
    }
}

impl From<ApiError> for PageError {
    fn from(error: ApiError) -> Self {
        if error.status() == StatusCode::NOT_FOUND {
            return Self::missing();
        }
        Self {
            retry_after: error.retry_after_seconds(),
            ..Self::new(error.status(), error.message())
        }
    }
}

impl From<ManagementError> for PageError {
    fn from(error: ManagementError) -> Self {
        ApiError::from(error).into()
    }
}

impl From<StoreError> for PageError {
    fn from(error: StoreError) -> Self {
        ApiError::from(error).into()
    }
}

impl From<Broken> for PageError {
    fn from(error: Broken) -> Self {
        Self::invalid(error.to_string())
    }
}
