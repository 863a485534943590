//! Maps refusals of the management operations to errors of the API.

use nahook_control::ManagementError;
use nahook_control::rules::Broken;
use nahook_core::{Causes, StoreError};

use crate::ApiError;
use crate::problem::Problem;

/// 404: the workspace has no such thing. Other workspaces' things are not told from missing ones.
pub(super) fn missing(what: &str) -> ApiError {
    let mut letters = what.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    let text: String = first.into_iter().chain(letters).collect();
    ApiError::not_found(format!("{text} not found"))
}

/// 503: the store could not be asked.
pub(super) fn store_down(error: &StoreError) -> ApiError {
    tracing::error!(error = %Causes(error), "management failed");
    ApiError::unavailable("The store is unavailable")
}

impl From<ManagementError> for ApiError {
    fn from(error: ManagementError) -> Self {
        match error {
            ManagementError::Conflict(message) => Self::conflict(message),
            limit @ ManagementError::EndpointLimit { .. } => {
                Self::endpoint_limit_reached(limit.to_string())
            }
            ManagementError::Invalid(message) => Self::validation(message),
            ManagementError::NotFound(what) => missing(what),
            ManagementError::Store(error) => store_down(&error),
            _ => Self::internal(),
        }
    }
}

impl From<Broken> for ApiError {
    fn from(broken: Broken) -> Self {
        Self::validation(broken.to_string())
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        store_down(&error)
    }
}

impl ApiError {
    /// 409 `conflict`: it contradicts what exists.
    pub(crate) fn conflict(message: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        Self::new(Problem::Conflict, message)
    }

    /// 403 `application_endpoint_limit_reached`.
    fn endpoint_limit_reached(message: String) -> Self {
        Self::new(Problem::EndpointLimit, message)
    }

    /// 400 `invalid_cursor`: not a cursor that was made for this list.
    pub(super) fn invalid_cursor() -> Self {
        Self::new(Problem::InvalidCursor, "This is not a cursor of this list")
    }
}
