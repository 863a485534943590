//! Steps that every ingestion route has around its own.

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use nahook_core::admission::{Allowance, Caller};
use tokio::time::{Instant, timeout_at};

use super::Ingestion;
use super::authenticate::authenticate;
use super::body::{Charged, ReadError, Unread};
use super::report::Report;
use crate::metric::Route;
use crate::{ApiError, BudgetKind, Permit, RequestContext};

/// Bytes that a body may have beyond its plan's payload cap: for metadata, field names and white space. A batch's may have as many for
/// each of its twenty items.
const ENVELOPE_LEN_MAX: usize = 128 * 1024;

/// Bytes of a refused request's body that are read and dropped, so that a client that sends before it listens gets to its answer and
/// the connection lives on. A longer rest closes the connection.
const DISCARD_LEN_MAX: usize = 1024 * 1024;

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// A request on its way through a route's steps.
pub(super) struct Call<'a> {
    pub(super) ingestion: &'a Ingestion,
    /// Instant by which the answer has to be there.
    pub(super) deadline: Instant,
    pub(super) report: Report,
    headers: HeaderMap,
    body: Unread,
    is_read: bool,
    /// Budget of the body, held until the call is answered.
    charged: Option<Permit>,
    caller: Option<Caller>,
}

impl<'a> Call<'a> {
    pub(super) fn new(ingestion: &'a Ingestion, route: Route, request: Request) -> Self {
        let report = Report::new(route, RequestContext::of(request.extensions()));
        let (head, body) = request.into_parts();
        Self {
            ingestion,
            deadline: report.arrived() + ingestion.engine.fan_out().timeout(),
            report,
            body: Unread::new(body, &head.headers),
            headers: head.headers,
            is_read: false,
            charged: None,
            caller: None,
        }
    }

    /// Authenticates the caller, and refuses the call if no new events are taken for now.
    pub(super) async fn authenticate(&mut self) -> Result<Caller, ApiError> {
        let authenticating = authenticate(&*self.ingestion.keys, &self.headers);
        let caller = timeout_at(self.deadline, authenticating)
            .await
            .unwrap_or_else(|_| Err(ApiError::ingest_timeout()))?;
        self.caller = Some(caller);
        let budgets = &self.ingestion.budgets;
        budgets.set_plan(caller.workspace, &caller.plan);
        self.report.caller(&caller)?;
        // Strangers are not told how the server is doing.
        self.ingestion.pressure.check()?;
        Ok(caller)
    }

    /// The body of so many payloads.
    pub(super) async fn read(
        &mut self,
        caller: &Caller,
        payloads: usize,
    ) -> Result<Bytes, ApiError> {
        let payload_len_max = caller.plan.payload_len_max;
        let len_max = payload_len_max
            .saturating_add(ENVELOPE_LEN_MAX)
            .saturating_mul(payloads);
        let mut charged = Charged::new(&self.ingestion.budgets, caller.workspace);
        let read = self.body.read(len_max, self.deadline, &mut charged).await;
        self.charged = charged.into_permit();
        self.is_read = read.is_ok();
        read.map_err(|error| match error {
            ReadError::Broken => ApiError::validation("the body could not be read to its end"),
            ReadError::Refused(refused) => refused.into(),
            ReadError::TooLate => ApiError::request_timeout(),
            ReadError::TooLong => ApiError::body_too_large(len_max),
        })
    }

    /// Makes room for payloads of so many bytes in all, or refuses them.
    pub(super) async fn keep(&mut self, caller: &Caller, len: usize) -> Result<(), ApiError> {
        let Some(search) = &self.ingestion.search else {
            return Ok(());
        };
        let (workspace, kind) = (caller.workspace, BudgetKind::StoredBytes);
        let measure = || search.stored_len(&workspace);
        let admitted = self
            .ingestion
            .budgets
            .admit(workspace, kind, len as u64, measure);
        let admitted = timeout_at(self.deadline, admitted).await;
        Ok(admitted.map_err(|_| ApiError::ingest_timeout())??)
    }

    /// Answers what the steps have come to. Every answer to somebody who is known shows how they stand.
    pub(super) async fn answer(
        mut self,
        outcome: Result<(StatusCode, Vec<u8>), ApiError>,
    ) -> Response {
        let is_limited =
            matches!(&outcome, Err(error) if error.status() == StatusCode::TOO_MANY_REQUESTS);
        let mut response = match outcome {
            Ok((status, json)) => {
                self.report.accepted(status);
                let content_type = HeaderValue::from_static("application/json");
                (status, [(header::CONTENT_TYPE, content_type)], json).into_response()
            }
            Err(error) => {
                self.report.refused(&error);
                error.into_response()
            }
        };
        let headers = response.headers_mut();
        if let Some(caller) = self.caller {
            let standing = self.ingestion.engine.standing_by(self.deadline, &caller);
            show(standing.await, is_limited, headers);
        }
        self.charged.take();
        if !self.is_read {
            // Left unread, the rest would be taken for the connection's next request.
            if !self.body.discard(DISCARD_LEN_MAX, self.deadline).await {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
        }
        response
    }
}

fn show(standing: Allowance, is_limited: bool, headers: &mut HeaderMap) {
    // One token may have come back since this caller was refused.
    let remaining = if is_limited { 0 } else { standing.remaining };
    let nanos = standing.reset_at.as_nanos();
    headers.insert(LIMIT, standing.limit.into());
    headers.insert(REMAINING, remaining.into());
    headers.insert(RESET, nanos.div_ceil(1_000_000_000).into());
}

/// The path's parameter of that name, percent-decoded once by the router; absent if that is not UTF-8. An application
/// that these routes are nested in may have parameters of its own.
pub(super) fn parameter(
    path: Result<RawPathParams, RawPathParamsRejection>,
    name: &str,
) -> Option<String> {
    let path = path.ok()?;
    let mut path = path.iter();
    path.find_map(|(key, value)| (key == name).then(|| value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caller_over_the_limit_has_nothing_left_and_resets_are_rounded_up() {
        for (is_limited, nanos, shown) in [
            (false, 7_000_000_000, ["3", "1", "7"]),
            (true, 7_000_000_001, ["3", "0", "8"]),
        ] {
            let standing = Allowance {
                limit: 3,
                remaining: 1,
                reset_at: nahook_core::Timestamp::from_nanos(nanos),
            };
            let mut headers = HeaderMap::new();
            show(standing, is_limited, &mut headers);
            assert_eq!(
                [LIMIT, REMAINING, RESET].map(|name| headers[name].clone()),
                shown
            );
        }
    }
}
