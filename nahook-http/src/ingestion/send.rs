//! `POST /api/ingest/{endpointId}` and `POST /api/ingest/batch`.

use std::sync::Arc;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use nahook_core::id::EndpointId;
use nahook_core::{Causes, NewSend, SendError};

use super::Ingestion;
use super::call::{Call, parameter};
use super::items::Items;
use super::report::Report;
use super::trigger::BATCH;
use crate::ApiError;
use crate::budget::refusal;
use crate::metric::Route;
use crate::wire::{ITEMS_MAX, parse_batch, parse_send, parse_send_item, write_sent};

/// The path parameter.
pub(super) const ENDPOINT: &str = "endpointId";

/// Sends to one endpoint.
pub(super) async fn send(
    State(ingestion): State<Arc<Ingestion>>,
    path: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Response {
    let endpoint = parameter(path, ENDPOINT);
    if endpoint.as_deref() == Some(BATCH) {
        return send_batch(State(ingestion), request).await;
    }
    let mut call = Call::new(&ingestion, Route::Send, request);
    let outcome = call.send(endpoint.as_deref()).await;
    call.answer(outcome).await
}

/// Sends to several endpoints.
pub(super) async fn send_batch(
    State(ingestion): State<Arc<Ingestion>>,
    request: Request,
) -> Response {
    let mut call = Call::new(&ingestion, Route::SendBatch, request);
    let outcome = call.send_batch().await;
    call.answer(outcome).await
}

impl Call<'_> {
    /// The steps, in the contract's order of checks.
    async fn send(&mut self, endpoint: Option<&str>) -> Result<(StatusCode, Vec<u8>), ApiError> {
        let caller = self.authenticate().await?;
        let json = self.read(&caller, 1).await?;
        let body = parse_send(&json, caller.plan.payload_len_max)?;
        self.report.payload_len(body.payload.len());
        // What is no id is no endpoint's.
        let endpoint = endpoint.and_then(|id| EndpointId::new(id).ok());
        let endpoint = endpoint.ok_or_else(endpoint_not_found)?;
        self.report.endpoint(endpoint);
        let asked = NewSend {
            endpoint,
            payload: body.payload,
            idempotency_key: body.idempotency_key,
        };
        self.keep(&caller, asked.payload.len()).await?;
        let engine = &self.ingestion.engine;
        let sent = engine.send_by(self.deadline, asked, &caller).await;
        let sent = sent.map_err(|error| refused(&error))?;
        self.report.sent(&sent);
        let mut json = Vec::with_capacity(160);
        write_sent(&sent, &mut json);
        Ok((StatusCode::ACCEPTED, json))
    }

    async fn send_batch(&mut self) -> Result<(StatusCode, Vec<u8>), ApiError> {
        let caller = self.authenticate().await?;
        let json = self.read(&caller, ITEMS_MAX).await?;
        let raw = parse_batch(&json)?;
        let (mut items, mut sends, mut places) = (Items::new(raw.len()), Vec::new(), Vec::new());
        for (place, raw) in raw.into_iter().enumerate() {
            let item = parse_send_item(raw, &json, caller.plan.payload_len_max);
            match item.map(|item| (item.endpoint, item.body)) {
                Ok((Some(endpoint), body)) => {
                    places.push(place);
                    sends.push(NewSend {
                        endpoint,
                        // The others of the batch may be done with long before this one.
                        payload: body.payload.detached(),
                        idempotency_key: body.idempotency_key,
                    });
                }
                Ok((None, _)) => items.refused(place, endpoint_not_found()),
                Err(error) => items.refused(place, error.into()),
            }
        }
        let len = sends.iter().map(|send| send.payload.len()).sum();
        self.keep(&caller, len).await?;
        let engine = &self.ingestion.engine;
        let answers = engine.send_batch_by(self.deadline, sends, &caller).await;
        for (place, answer) in places.into_iter().zip(answers) {
            match answer {
                Ok(sent) => {
                    Report::sent_item(&sent);
                    items.sent(place, sent);
                }
                Err(error) => items.refused(place, refused(&error)),
            }
        }
        self.report.items(&items);
        Ok(items.into_answer())
    }
}

fn endpoint_not_found() -> ApiError {
    ApiError::from(&SendError::UnknownEndpoint)
}

/// The engine's refusal in the words of the API. Whoever runs the server hears of what is ours to mend.
pub(crate) fn refused(error: &SendError) -> ApiError {
    if let SendError::StoreUnavailable(error) = error
        && let Some(refused) = refusal(error)
    {
        return refused.into();
    }
    if matches!(
        error,
        SendError::LimiterUnavailable(_) | SendError::StoreUnavailable(_)
    ) {
        tracing::error!(error = %Causes(error), "send failed");
    }
    ApiError::from(error)
}
