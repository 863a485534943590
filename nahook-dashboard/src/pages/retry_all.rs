//! Queueing an endpoint's failed deliveries again.

use std::time::Duration;

use axum::extract::Path;
use maud::html;
use nahook_control::EndpointRecord;
use nahook_core::Timestamp;
use nahook_queue::{DeliveryQuery, DeliveryRecord, DeliverySearch as _, DeliveryStatus};

use super::Answer;
use crate::access::Right;
use crate::error::PageError;
use crate::page::{field, page, redirect, token};
use crate::text::visible;
use crate::view::View;

/// Spans of time to choose from.
const SPANS: &[(&str, &str, u64)] = &[
    ("1h", "The last hour", 1),
    ("24h", "The last day", 24),
    ("7d", "The last week", 7 * 24),
    ("all", "All that are kept", 366 * 24),
];

fn since(view: &View, name: &str) -> Result<Timestamp, PageError> {
    let found = SPANS.iter().find(|(key, ..)| *key == name);
    let (.., hours) = found.ok_or_else(|| PageError::invalid("Choose a span of time"))?;
    let nanos = u64::try_from(Duration::from_hours(*hours).as_nanos()).unwrap_or(u64::MAX);
    let now = view.site.now().as_nanos();
    Ok(Timestamp::from_nanos(now.saturating_sub(nanos)))
}

/// Deliveries of each status that are counted: each of them is read.
const COUNTED_MAX: usize = 200;

/// The endpoint's latest deliveries that were given up.
async fn latest(view: &View, endpoint: &EndpointRecord) -> Result<Vec<DeliveryRecord>, PageError> {
    let mut latest = Vec::new();
    for status in [DeliveryStatus::Failed, DeliveryStatus::DeadLetter] {
        let query = DeliveryQuery {
            workspace: *view.workspace(),
            endpoint: endpoint.id,
            status: Some(status),
            since: None,
            before: None,
            limit: COUNTED_MAX,
        };
        let search = &view.site.ports.api.ports().search;
        latest.extend(search.deliveries(&query).await?);
    }
    Ok(latest)
}

pub(super) async fn ask(view: View, Path(id): Path<String>) -> Answer {
    let endpoint = view.endpoint(&id).await?;
    view.require(Right::Change)?;
    let path = format!("/endpoints/{}", endpoint.id);
    let latest = latest(&view, &endpoint).await?;
    let mut spans = Vec::new();
    for (key, name, _) in SPANS {
        let since = since(&view, key)?;
        let within = latest.iter().filter(|it| it.created_at >= since);
        spans.push((key, name, within.count()));
    }
    Ok(page(
        &view,
        "Retry failed deliveries",
        &html! {
            p.crumbs { a href=(view.url(&path)) { (visible(&endpoint.url)) } }
            h1 { "Retry failed deliveries" }
            form.card method="post" action=(view.url(format_args!("{path}/retry"))) {
                (token(&view))
                p { "Deliveries that failed or are dead letters are queued again, the oldest first. They keep their ids, so that the receiver can drop repeats." }
                @let select = html! { select id="since" name="since" {
                    @for (key, name, number) in &spans {
                        option value=(key) { (name) ": " @if *number >= COUNTED_MAX { (COUNTED_MAX) " or more" } @else { (number) } " deliveries" }
                    }
                } };
                (field("since", "Accepted in", &select, ""))
                div.actions {
                    button.main type="submit" { "Queue them again" }
                    a.button href=(view.url(&path)) { "Cancel" }
                }
            }
        },
    ))
}

pub(super) async fn retry(view: View, Path(id): Path<String>) -> Answer {
    let endpoint = view.endpoint(&id).await?;
    view.require(Right::Change)?;
    let since = since(&view, view.form.get("since"))?;
    let api = &view.site.ports.api;
    let (number, is_complete) = api
        .retry_since(view.workspace(), &view.visitor.actor, endpoint.id, since)
        .await?;
    let done = if is_complete {
        "retried-all"
    } else {
        "retried-some"
    };
    Ok(redirect(&view.url(format_args!(
        "/endpoints/{}?done={done}&count={number}",
        endpoint.id
    ))))
}
