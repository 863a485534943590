//! `/deliveries/{deliveryId}/attempts`.

use nahook_core::id::DeliveryId;
use nahook_queue::{AttemptRecord, DeliveryLog as _};
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::Listed;
use super::body::NoBody;
use super::call::Call;
use super::instant::show;
use super::path::PathId as _;
use super::query::NoQuery;
use super::refusal::missing;
use super::routes::{About, Routes};
use crate::ApiError;

pub(super) fn add(routes: &mut Routes) {
    let about = About::get(
        "/deliveries/{deliveryId}/attempts",
        "listAttempts",
        "List a delivery's attempts",
    );
    routes.add(&about.describe("The oldest first."), list);
}

/// One request to a delivery's endpoint, as it went.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Attempt, example = json!({
    "id": "att_01kb0d9n8r7q6p5m4k3j2h1g0f_1",
    "attemptNumber": 1,
    "status": "failed",
    "responseStatusCode": 502,
    "responseTimeMs": 87,
    "errorMessage": "the receiver answered 502",
    "responseBody": "<html>Bad gateway</html>",
    "createdAt": "2026-11-26T08:00:00.010Z",
}))]
struct AttemptView {
    /// Its id.
    id: String,
    /// Counted from 1.
    attempt_number: u32,
    /// Result of the attempt.
    status: AttemptStatus,
    /// The receiver's status, if it answered.
    #[schema(required)]
    response_status_code: Option<u16>,
    /// Duration of the answer in milliseconds, if there was one.
    #[schema(required, maximum = 2_147_483_647)]
    response_time_ms: Option<u32>,
    /// Why it failed.
    #[schema(required)]
    error_message: Option<String>,
    /// Start of the answer's body as text, at most 4 KiB of it: the receiver's own words, not to be trusted. Absent where nothing
    /// of it arrived with the head or soon after.
    #[serde(skip_serializing_if = "Option::is_none")]
    response_body: Option<String>,
    /// Instant at which it began.
    #[schema(format = DateTime)]
    created_at: String,
}

/// Result of an attempt.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum AttemptStatus {
    /// The receiver took it.
    Success,
    /// It did not.
    Failed,
}

impl AttemptView {
    fn of(delivery: DeliveryId, row: AttemptRecord) -> Self {
        let text = delivery.to_string();
        let digits = text.strip_prefix(DeliveryId::PREFIX).unwrap_or(&text);
        let attempt = row.attempt;
        let is_success = attempt.error.is_none()
            && attempt
                .status_code
                .is_some_and(|status| (200..300).contains(&status));
        // Clients keep it in 32 bits with a sign.
        let millis = attempt.duration.as_millis().min(2_147_483_647);
        let millis = u32::try_from(millis).unwrap_or_default();
        Self {
            id: format!("att_{digits}_{}", row.number),
            attempt_number: row.number,
            status: if is_success {
                AttemptStatus::Success
            } else {
                AttemptStatus::Failed
            },
            response_status_code: attempt.status_code,
            response_time_ms: attempt.status_code.map(|_| millis),
            error_message: attempt.error,
            response_body: attempt.response_body,
            created_at: show(attempt.started_at),
        }
    }
}

async fn list(call: Call<DeliveryId, NoQuery, NoBody>) -> Result<Listed<AttemptView>, ApiError> {
    let (log, id) = (&call.api.ports.log, call.path);
    let rows = log.attempts(id, &call.workspace).await?;
    let rows = rows.ok_or_else(|| missing(DeliveryId::OF))?;
    let attempts = rows.into_iter().map(|row| AttemptView::of(id, row));
    Ok(Listed(attempts.collect()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nahook_core::Timestamp;
    use nahook_queue::Attempt;
    use serde_json::json;

    use super::*;

    #[test]
    fn attempt_succeeded_if_it_was_answered_with_2xx_and_without_an_error() {
        for (status_code, error, status) in [
            (Some(200), None, "success"),
            (Some(299), None, "success"),
            (Some(199), None, "failed"),
            (Some(300), None, "failed"),
            (Some(200), Some("e"), "failed"),
            (None, Some("e"), "failed"),
            (None, None, "failed"),
        ] {
            let attempt = Attempt {
                started_at: Timestamp::default(),
                duration: Duration::MAX,
                status_code,
                error: error.map(str::to_owned),
                response_body: None,
            };
            let row = AttemptRecord { number: 1, attempt };
            let view = AttemptView::of(DeliveryId::from_bits(1), row);
            let shown = serde_json::to_value(view).unwrap();
            assert_eq!(shown["status"], status, "{status_code:?} {error:?}");
            let millis = status_code.map(|_| i32::MAX);
            assert_eq!(shown["responseTimeMs"], json!(millis));
        }
    }
}
