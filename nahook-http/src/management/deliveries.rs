//! `/endpoints/{endpointId}/deliveries` and `/deliveries/{deliveryId}`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use nahook_control::ManagementError;
use nahook_core::Timestamp;
use nahook_core::id::{DeliveryId, EndpointId};
use nahook_queue::{
    DeliveryLog as _, DeliveryQuery, DeliveryRecord, DeliverySearch as _, DeliveryStatus,
};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::answer::Found;
use super::body::NoBody;
use super::call::Call;
use super::cursor::List;
use super::instant::show;
use super::path::PathId as _;
use super::query::{QueryArgs, parameter};
use super::refusal::missing;
use super::routes::{About, Routes};
use crate::problem::Problem;
use crate::{ApiError, BudgetKind};

/// Deliveries on a page unless the caller says otherwise, and at most (contract, section 2).
const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 100;
/// Bytes of labels and keys on a page, roughly; it ends early after that. Deliveries from before labels were bounded can
/// have hundreds of kilobytes each.
const PAGE_LEN_MAX: usize = 1024 * 1024;
/// Age of the oldest delivery that a list shows (contract, section 2).
const LISTED_FOR: Duration = Duration::from_hours(7 * 24);

pub(super) fn add(routes: &mut Routes) {
    let about = About::get(
        "/endpoints/{endpointId}/deliveries",
        "listDeliveries",
        "List an endpoint's deliveries",
    );
    let about = about.describe("Of the last seven days, the newest first, page by page.");
    routes.add(&about.refuses(&[Problem::InvalidCursor]), list);
    let about = About::get("/deliveries/{deliveryId}", "getDelivery", "Get a delivery");
    routes.add(
        &about.describe("With its payload if `include=payload` asks for it."),
        get,
    );
}

/// One event for one endpoint.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "id": "del_01kb0d9n8r7q6p5m4k3j2h1g0f",
    "idempotencyKey": "msg_01kb0d9n8r7q6p5m4k3j2h1g0e",
    "endpointId": "ep_orders",
    "eventTypeId": "evt_order_paid",
    "metadata": { "source": "checkout" },
    "status": "delivered",
    "totalAttempts": 1,
    "firstAttemptAt": "2026-11-26T08:00:00.010Z",
    "deliveredAt": "2026-11-26T08:00:00.110Z",
    "nextRetryAt": null,
    "hasPayload": true,
    "createdAt": "2026-11-26T08:00:00.000Z",
    "updatedAt": "2026-11-26T08:00:00.110Z",
}))]
pub(super) struct Delivery {
    /// Its id.
    id: String,
    /// The caller's key for it; a drawn one where the caller gave none.
    idempotency_key: String,
    /// The endpoint it is for.
    endpoint_id: String,
    /// The event type; null where a payload was sent to an endpoint directly.
    #[schema(required)]
    event_type_id: Option<String>,
    /// The event's labels.
    metadata: BTreeMap<String, String>,
    /// State of the delivery.
    #[schema(value_type = Status)]
    status: &'static str,
    /// Number of attempts that were made.
    total_attempts: u32,
    /// Instant at which the first attempt began.
    #[schema(required, format = DateTime)]
    first_attempt_at: Option<String>,
    /// Instant at which a receiver took it.
    #[schema(required, format = DateTime)]
    delivered_at: Option<String>,
    /// Instant at which the next attempt is due.
    #[schema(required, format = DateTime)]
    next_retry_at: Option<String>,
    /// True if its payload is kept.
    has_payload: bool,
    /// Instant at which the event was accepted.
    #[schema(format = DateTime)]
    created_at: String,
    /// Instant of the last change to any of this.
    #[schema(format = DateTime)]
    updated_at: String,
    /// Its payload, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = DeliveryPayload, required = false)]
    payload: Option<DeliveryPayload>,
}

impl From<DeliveryRecord> for Delivery {
    fn from(row: DeliveryRecord) -> Self {
        Self {
            id: row.id.to_string(),
            idempotency_key: row.idempotency_key.as_str().to_owned(),
            endpoint_id: row.endpoint.to_string(),
            event_type_id: row.event_type.map(|id| id.to_string()),
            metadata: row.metadata.into(),
            status: row.status.as_str(),
            total_attempts: row.attempts,
            first_attempt_at: row.first_attempt_at.map(show),
            delivered_at: row.delivered_at.map(show),
            next_retry_at: row.next_retry_at.map(show),
            has_payload: row.has_payload,
            created_at: show(row.created_at),
            updated_at: show(row.updated_at),
            payload: None,
        }
    }
}

/// The schema of a delivery's status.
struct Status;

impl PartialSchema for Status {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("State of a delivery."))
            .enum_values(Some(DeliveryStatus::ALL.map(DeliveryStatus::as_str)))
            .into()
    }
}

impl ToSchema for Status {
    fn name() -> Cow<'static, str> {
        "DeliveryStatus".into()
    }
}

/// A delivery's payload, or why it is not here.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DeliveryPayload {
    /// State of the payload.
    status: PayloadStatus,
    /// The payload, byte for byte as it was sent; only if it is available.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object, required = false)]
    data: Option<Box<RawValue>>,
    /// Media type; only if the payload is available.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    content_type: Option<&'static str>,
}

/// State of a delivery's payload.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum PayloadStatus {
    /// It is.
    Available,
    /// It is not kept any more.
    NotFound,
    /// It could not be read now.
    Error,
}

impl DeliveryPayload {
    const fn without(status: PayloadStatus) -> Self {
        Self {
            status,
            data: None,
            content_type: None,
        }
    }

    fn of(json: &[u8]) -> Self {
        let text = std::str::from_utf8(json).ok();
        let data = text.and_then(|text| RawValue::from_string(text.to_owned()).ok());
        match data {
            Some(data) => Self {
                status: PayloadStatus::Available,
                data: Some(data),
                content_type: Some("application/json"),
            },
            None => Self::without(PayloadStatus::Error),
        }
    }
}

/// A page of deliveries.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DeliveryPage {
    /// The deliveries, the newest first.
    deliveries: Vec<Delivery>,
    /// Cursor of the next page; null if there is none.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// Which page is asked for.
#[derive(Debug, Deserialize)]
struct Page {
    limit: Option<usize>,
    cursor: Option<String>,
    #[serde(default, deserialize_with = "status")]
    status: Option<DeliveryStatus>,
}

fn status<'de, D: Deserializer<'de>>(query: D) -> Result<Option<DeliveryStatus>, D::Error> {
    let text = String::deserialize(query)?;
    let status = DeliveryStatus::parse(&text);
    status.map(Some).ok_or_else(|| {
        let statuses = DeliveryStatus::ALL.map(DeliveryStatus::as_str).join(", ");
        D::Error::custom(format!(
            "unknown variant `{text}`, expected one of {statuses}"
        ))
    })
}

impl QueryArgs for Page {
    fn parameters() -> Vec<Value> {
        let limit = json!({
            "type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT,
        });
        let cursor = json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{43}$" });
        let statuses = DeliveryStatus::ALL.map(DeliveryStatus::as_str);
        let status = json!({ "type": "string", "enum": statuses });
        let cursor_is = "The `nextCursor` of the page before: of the same endpoint and status.";
        vec![
            parameter("limit", "How many at most.", &limit, &json!(50)),
            json!({ "name": "cursor", "in": "query", "required": false, "description": cursor_is, "schema": cursor }),
            parameter(
                "status",
                "Only those that stand so.",
                &status,
                &json!("failed"),
            ),
        ]
    }
}

async fn list(call: Call<EndpointId, Page, NoBody>) -> Result<Found<DeliveryPage>, ApiError> {
    let limit = call.query.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(ApiError::validation(format!("limit is 1 to {LIMIT_MAX}")));
    }
    let list = List {
        workspace: call.workspace,
        endpoint: call.path,
        status: call.query.status,
    };
    let before = call.query.cursor.as_deref();
    let before = before.map(|cursor| list.read(cursor).ok_or_else(ApiError::invalid_cursor));
    let now = call.api.now().as_nanos();
    let listed_for = u64::try_from(LISTED_FOR.as_nanos()).unwrap_or(u64::MAX);
    let query = DeliveryQuery {
        workspace: call.workspace,
        endpoint: call.path,
        status: list.status,
        since: Some(Timestamp::from_nanos(now.saturating_sub(listed_for))),
        before: before.transpose()?,
        // One more than is shown says whether there is a next page.
        limit: limit + 1,
    };
    let budgets = &call.api.budgets;
    let turn = budgets.take(call.workspace, BudgetKind::ListReads, 1, call.turn_by);
    let _turn = turn.await?;
    let mut rows = call.api.ports.search.deliveries(&query).await?;
    if rows.is_empty() {
        is_known(&call, &query).await?;
    }
    let shown = shown_of(&rows, limit);
    let has_more = rows.len() > shown;
    rows.truncate(shown);
    let end = rows.last().filter(|_| has_more);
    Ok(Found(DeliveryPage {
        next_cursor: end.map(|row| list.cursor(row.id)),
        deliveries: rows.into_iter().map(Delivery::from).collect(),
    }))
}

/// Number of the rows that a page shows: at most `limit`, and one at least.
fn shown_of(rows: &[DeliveryRecord], limit: usize) -> usize {
    let mut left = PAGE_LEN_MAX;
    let fits = |row: &&DeliveryRecord| {
        let labels = row.metadata.as_map().iter();
        let len: usize = labels.map(|(key, value)| key.len() + value.len()).sum();
        let is_room_left = left > 0;
        left = left.saturating_sub(len + row.idempotency_key.as_str().len());
        is_room_left
    };
    rows.iter().take(limit).take_while(fits).count()
}

/// Returns true if the endpoint exists or did: the history of a removed one stays readable.
async fn is_known(
    call: &Call<EndpointId, Page, NoBody>,
    query: &DeliveryQuery,
) -> Result<(), ApiError> {
    match call
        .api
        .management
        .endpoint(&call.workspace, call.path)
        .await
    {
        Ok(_) => return Ok(()),
        Err(ManagementError::NotFound(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let ever = DeliveryQuery {
        status: None,
        since: None,
        before: None,
        limit: 1,
        ..query.clone()
    };
    let rows = call.api.ports.search.deliveries(&ever).await?;
    if rows.is_empty() {
        return Err(missing(EndpointId::OF));
    }
    Ok(())
}

/// Facts about a delivery that are shown.
#[derive(Debug, Deserialize)]
struct Showing {
    include: Option<Include>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Include {
    Payload,
}

impl QueryArgs for Showing {
    fn parameters() -> Vec<Value> {
        let schema = json!({ "type": "string", "enum": ["payload"] });
        let example = json!("payload");
        vec![parameter(
            "include",
            "What to show, too.",
            &schema,
            &example,
        )]
    }
}

async fn get(call: Call<DeliveryId, Showing, NoBody>) -> Result<Found<Delivery>, ApiError> {
    let (log, id) = (&call.api.ports.log, call.path);
    let row = log.delivery(id, &call.workspace).await?;
    let row = row.ok_or_else(|| missing(DeliveryId::OF))?;
    let has_payload = row.has_payload;
    let mut shown = Delivery::from(row);
    if let Some(Include::Payload) = call.query.include {
        let payload = if has_payload {
            log.payload(id, &call.workspace).await
        } else {
            Ok(None)
        };
        shown.payload = Some(match payload {
            Ok(Some(payload)) => DeliveryPayload::of(payload.as_bytes()),
            Ok(None) => DeliveryPayload::without(PayloadStatus::NotFound),
            Err(error) => {
                let _told = super::refusal::store_down(&error);
                DeliveryPayload::without(PayloadStatus::Error)
            }
        });
    }
    Ok(Found(shown))
}
