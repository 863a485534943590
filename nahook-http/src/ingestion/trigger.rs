//! `POST /api/ingest/event/{eventType}`.

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use nahook_core::{Caller, EventTypeName, FanOutScope, NewEvent, Receipt, TriggerError};
use tokio::time::{Instant, timeout_at};

use super::Ingestion;
use super::authenticate::authenticate;
use super::body::{ReadError, Unread};
use super::report::Report;
use crate::cause::Causes;
use crate::wire::{parse_trigger, write_receipt};
use crate::{ApiError, RequestContext, not_found};

/// The path parameter.
pub(super) const EVENT_TYPE: &str = "eventType";

/// The segment that names another route, however it is spelled.
const BATCH: &str = "batch";

/// Triggers one event.
pub(super) async fn trigger(
    State(ingestion): State<Ingestion>,
    path: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Response {
    // Percent-decoded once by the router; absent if that is not UTF-8.
    let name = path.ok().and_then(|path| {
        let mut path = path.iter();
        path.find_map(|(key, value)| (key == EVENT_TYPE).then(|| value.to_owned()))
    });
    if name.as_deref() == Some(BATCH) {
        return not_found().await;
    }
    let mut report = Report::new(RequestContext::of(request.extensions()));
    match ingestion.trigger(name, request, &mut report).await {
        Ok(receipt) => {
            report.accepted(&receipt);
            accepted(&receipt)
        }
        Err(refusal) => {
            report.refused(&refusal.error);
            refusal.into_response()
        }
    }
}

/// An error, and what is to become of the connection.
struct Refusal {
    error: ApiError,
    /// The rest of the request is left unread, so the connection cannot be used again.
    close: bool,
}

impl Ingestion {
    /// The steps, in the contract's order of checks.
    async fn trigger(
        &self,
        name: Option<String>,
        request: Request,
        report: &mut Report,
    ) -> Result<Receipt, Refusal> {
        let deadline = report.arrived() + self.engine.settings().timeout;
        let (head, body) = request.into_parts();
        let mut body = Unread::new(body, &head.headers);
        let event = async {
            let caller = timeout_at(deadline, authenticate(&*self.keys, &head.headers))
                .await
                .unwrap_or_else(|_| Err(ApiError::ingest_timeout()))?;
            report.caller(caller);
            FanOutScope::try_from(&caller).map_err(|_| ApiError::invalid_api_key())?;
            let event_type = parse_name(name.as_deref())?;
            report.event_type(&event_type);
            let len_max = caller.plan.payload_len_max;
            let body_len_max = len_max.saturating_add(self.settings.envelope_len_max);
            let json = body
                .read(body_len_max, deadline)
                .await
                .map_err(|error| not_read(error, &caller))?;
            let trigger = parse_trigger(&json, len_max)?;
            report.payload_len(trigger.payload.len());
            let event = NewEvent {
                event_type,
                payload: trigger.payload,
                metadata: trigger.metadata,
            };
            Ok((event, caller))
        };
        match event.await {
            Ok((event, caller)) => self.fan_out(deadline, event, &caller).await,
            Err(error) => {
                let discarded = body.discard(self.settings.discard_len_max, deadline).await;
                Err(Refusal {
                    error,
                    close: !discarded,
                })
            }
        }
    }

    async fn fan_out(
        &self,
        deadline: Instant,
        event: NewEvent,
        caller: &Caller,
    ) -> Result<Receipt, Refusal> {
        let triggered = self.engine.trigger_by(deadline, event, caller).await;
        triggered.map_err(|error| {
            if is_ours(&error) {
                tracing::error!(error = %Causes(&error), "trigger failed");
            }
            Refusal {
                error: ApiError::from(&error),
                close: false,
            }
        })
    }
}

fn parse_name(name: Option<&str>) -> Result<EventTypeName, ApiError> {
    let name =
        name.ok_or_else(|| ApiError::validation("the event type name is not valid UTF-8"))?;
    EventTypeName::new(name).map_err(|error| ApiError::validation(error.to_string()))
}

fn not_read(error: ReadError, caller: &Caller) -> ApiError {
    match error {
        ReadError::Broken => ApiError::validation("the body could not be read to its end"),
        ReadError::TooLate => ApiError::request_timeout(),
        ReadError::TooLong => ApiError::payload_too_large(caller.plan.payload_len_max),
    }
}

/// Whether a person who runs the server must know.
fn is_ours(error: &TriggerError) -> bool {
    matches!(
        error,
        TriggerError::LimiterUnavailable(_) | TriggerError::StoreUnavailable(_)
    )
}

fn accepted(receipt: &Receipt) -> Response {
    let mut json = Vec::new();
    write_receipt(receipt, &mut json);
    let content_type = HeaderValue::from_static("application/json");
    (
        StatusCode::ACCEPTED,
        [(header::CONTENT_TYPE, content_type)],
        json,
    )
        .into_response()
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.error.into_response();
        if self.close {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        response
    }
}
