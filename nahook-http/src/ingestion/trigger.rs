//! `POST /api/ingest/event/{eventType}` and `POST /api/ingest/event/batch`.

use std::sync::Arc;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use nahook_core::{Causes, EventTypeName, FailureKind, NewEvent, Outcome, Receipt, TriggerError};

use super::Ingestion;
use super::call::{Call, parameter};
use super::items::Items;
use super::report::Report;
use crate::ApiError;
use crate::budget::refusal;
use crate::metric::Route;
use crate::wire::{ITEMS_MAX, parse_batch, parse_trigger, parse_trigger_item, write_receipt};

/// The path parameter.
pub(super) const EVENT_TYPE: &str = "eventType";

/// The segment that names another route, however it is spelled.
pub(super) const BATCH: &str = "batch";

/// Triggers one event.
pub(super) async fn trigger(
    State(ingestion): State<Arc<Ingestion>>,
    path: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Response {
    let name = parameter(path, EVENT_TYPE);
    if name.as_deref() == Some(BATCH) {
        return trigger_batch(State(ingestion), request).await;
    }
    let mut call = Call::new(&ingestion, Route::Trigger, request);
    let outcome = call.trigger(name.as_deref()).await;
    call.answer(outcome).await
}

/// Triggers several events.
pub(super) async fn trigger_batch(
    State(ingestion): State<Arc<Ingestion>>,
    request: Request,
) -> Response {
    let mut call = Call::new(&ingestion, Route::TriggerBatch, request);
    let outcome = call.trigger_batch().await;
    call.answer(outcome).await
}

impl Call<'_> {
    /// The steps, in the contract's order of checks.
    async fn trigger(&mut self, name: Option<&str>) -> Result<(StatusCode, Vec<u8>), ApiError> {
        let caller = self.authenticate().await?;
        caller
            .fan_out_scope()
            .map_err(|_| ApiError::invalid_api_key())?;
        let event_type = parse_name(name)?;
        self.report.event_type(&event_type);
        let json = self.read(&caller, 1).await?;
        let trigger = parse_trigger(&json, caller.plan.payload_len_max)?;
        self.report.payload_len(trigger.payload.len());
        let event = NewEvent {
            event_type,
            payload: trigger.payload,
            metadata: trigger.metadata,
        };
        self.keep(&caller, event.payload.len()).await?;
        let engine = &self.ingestion.engine;
        let triggered = engine.trigger_by(self.deadline, event, &caller).await;
        let receipt = triggered.map_err(|error| refused(&error))?;
        if is_refused(&receipt) {
            // Space ran out after the call was let in.
            self.ingestion.pressure.check()?;
        }
        self.report.triggered(&receipt);
        let mut json = Vec::new();
        write_receipt(&receipt, &mut json);
        Ok((StatusCode::ACCEPTED, json))
    }

    async fn trigger_batch(&mut self) -> Result<(StatusCode, Vec<u8>), ApiError> {
        let caller = self.authenticate().await?;
        caller
            .fan_out_scope()
            .map_err(|_| ApiError::invalid_api_key())?;
        let json = self.read(&caller, ITEMS_MAX).await?;
        let raw = parse_batch(&json)?;
        let (mut items, mut events, mut places) = (Items::new(raw.len()), Vec::new(), Vec::new());
        for (place, raw) in raw.into_iter().enumerate() {
            match parse_trigger_item(raw, &json, caller.plan.payload_len_max) {
                Ok(item) => {
                    places.push(place);
                    events.push(NewEvent {
                        event_type: item.event_type,
                        // The others of the batch may be done with long before this one.
                        payload: item.body.payload.detached(),
                        metadata: item.body.metadata,
                    });
                }
                Err(error) => items.refused(place, error.into()),
            }
        }
        let len = events.iter().map(|event| event.payload.len()).sum();
        self.keep(&caller, len).await?;
        let engine = &self.ingestion.engine;
        let triggered = engine
            .trigger_batch_by(self.deadline, events, &caller)
            .await;
        let answers = triggered.map_err(|_| ApiError::invalid_api_key())?;
        for (place, answer) in places.into_iter().zip(answers) {
            match answer {
                Ok(receipt) => {
                    Report::triggered_item(&receipt);
                    items.triggered(place, receipt);
                }
                Err(error) => items.refused(place, refused(&error)),
            }
        }
        self.report.items(&items);
        Ok(items.into_answer())
    }
}

/// Returns true if the queue has refused every delivery.
fn is_refused(receipt: &Receipt) -> bool {
    let refused = Outcome::Failed(FailureKind::QueueUnavailable);
    let deliveries = receipt.deliveries();
    // Most often the first one tells.
    !deliveries.is_empty() && deliveries.iter().all(|it| it.outcome() == refused)
}

fn parse_name(name: Option<&str>) -> Result<EventTypeName, ApiError> {
    let name =
        name.ok_or_else(|| ApiError::validation("the event type name is not valid UTF-8"))?;
    EventTypeName::new(name).map_err(|error| ApiError::validation(error.to_string()))
}

/// The engine's refusal in the words of the API. Whoever runs the server hears of what is ours to mend.
fn refused(error: &TriggerError) -> ApiError {
    if let TriggerError::StoreUnavailable(error) = error
        && let Some(refused) = refusal(error)
    {
        return refused.into();
    }
    if matches!(
        error,
        TriggerError::LimiterUnavailable(_) | TriggerError::StoreUnavailable(_)
    ) {
        tracing::error!(error = %Causes(error), "trigger failed");
    }
    ApiError::from(error)
}
