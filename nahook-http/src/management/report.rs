//! Reports a management request to operators: one line, and a metric.

use nahook_core::id::{ManagementTokenId, WorkspaceId};

use crate::metric::{self, Route};
use crate::unanswered::unanswered;
use crate::{ApiError, RequestContext};

/// Fills up as a request proceeds and is told when dropped: also when the client goes away in the middle, since what it
/// asked for may have been done.
///
/// It names the operation and never the path, which is the client's, and holds nothing of a body or a query.
pub(super) struct Report {
    context: RequestContext,
    operation: &'static str,
    token: Option<ManagementTokenId>,
    workspace: Option<WorkspaceId>,
    answer: Option<(u16, &'static str)>,
}

impl Report {
    pub(super) fn new(operation: &'static str, context: RequestContext) -> Self {
        Self {
            context,
            operation,
            token: None,
            workspace: None,
            answer: None,
        }
    }

    /// Notes the token, whose holder is known from now on.
    pub(super) fn token(
        &mut self,
        token: ManagementTokenId,
        workspace: WorkspaceId,
    ) -> Result<(), ApiError> {
        (self.token, self.workspace) = (Some(token), Some(workspace));
        self.context.authenticate(workspace)
    }

    pub(super) fn answered(&mut self, status: u16, code: &'static str) {
        self.answer = Some((status, code));
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        let (status, code) = self.answer.unwrap_or_else(unanswered);
        metric::count_request(Route::Management, status, code);
        let is_refused = status >= 400 && status != 500;
        let unlogged = if is_refused {
            self.context.log_refusal(self.workspace)
        } else {
            Some(0)
        };
        let address = self.context.address().filter(|_| is_refused);
        macro_rules! tell {
            ($level:ident) => {
                tracing::$level!(
                    request = %self.context.id,
                    client = address.map(tracing::field::display),
                    operation = self.operation,
                    token = self.token.map(tracing::field::display),
                    status,
                    code,
                    unlogged = unlogged.filter(|count| *count > 0),
                    duration_ms = self.context.arrived.elapsed().as_secs_f64() * 1_000.0,
                    "management"
                )
            };
        }
        if unlogged.is_some() {
            tell!(info);
        } else {
            tell!(debug);
        }
    }
}
