//! The page of an endpoint.

use axum::extract::Path;
use maud::{Markup, html};
use nahook_control::{EndpointKind, EndpointRecord, ManagementStore as _, Select};
use nahook_core::EventTypeName;
use nahook_core::id::{DeliveryId, EventTypeId};
use nahook_queue::{
    AttemptRecord, Counts, DeliveryLog as _, DeliveryQuery, DeliveryRecord, DeliverySearch as _,
    DeliveryStatus,
};
use std::collections::{BTreeSet, HashMap};

use super::Answer;
use super::endpoints::{failing, health};
use crate::access::Right;
use crate::chart::{Series, Span, latency, success};
use crate::error::PageError;
use crate::page::{all_labels, button, confirm, labels, page, redirect, status_badge, table};
use crate::text::{cut, maybe_time, time, visible};
use crate::view::View;

/// Deliveries on a page.
const PAGE: usize = 25;

/// Names of these event types, for lists.
pub(super) async fn event_type_names(
    view: &View,
    ids: impl IntoIterator<Item = Option<EventTypeId>>,
) -> Result<HashMap<EventTypeId, EventTypeName>, PageError> {
    let ids: BTreeSet<_> = ids.into_iter().flatten().collect();
    let wanted = [Select::EventTypesWith(ids.into_iter().collect())];
    let store = &view.site.ports.api.ports().store;
    let found = store.read(view.workspace(), &wanted).await?.event_types;
    Ok(found.into_iter().map(|row| (row.id, row.name)).collect())
}

/// The event type's name; its id where it is deleted.
pub(super) fn event_type_text(
    names: &HashMap<EventTypeId, EventTypeName>,
    id: Option<EventTypeId>,
) -> String {
    match id {
        None => "Sent directly".to_owned(),
        Some(id) => names
            .get(&id)
            .map_or_else(|| id.to_string(), ToString::to_string),
    }
}

/// The reason of a failed attempt, in a sentence.
pub(super) fn reason(record: &AttemptRecord) -> String {
    let attempt = &record.attempt;
    // The error of most of them says that again and nothing else.
    let code = attempt.status_code.map(|code| code.to_string());
    let is_said = |error: &&String| code.as_ref().is_some_and(|code| error.ends_with(code));
    match (
        attempt.status_code,
        attempt.error.as_ref().filter(|error| !is_said(error)),
    ) {
        (Some(code), Some(error)) => format!("The receiver answered {code}: {}", cut(error, 1_200)),
        (Some(code), None) => format!("The receiver answered {code}"),
        (None, Some(error)) => cut(error, 1_200),
        (None, None) => "There was no answer".to_owned(),
    }
}

/// Bytes of a page that the start of a receiver's answer takes beside the reason.
const SAID_LEN: usize = 300;

/// The start of what the receiver said, for those who may see it.
pub(super) fn said(view: &View, record: &AttemptRecord) -> Markup {
    let body = record.attempt.response_body.as_ref();
    let body = body.filter(|_| view.visitor.can(Right::Change));
    html! { @if let Some(body) = body { p.said { "It said: " code { (cut(body, SAID_LEN)) } } } }
}

/// The names of the endpoint's application and environment, for operators.
async fn names_of(
    view: &View,
    endpoint: &EndpointRecord,
) -> Result<[Option<String>; 2], PageError> {
    if view.is_customer() {
        return Ok([None, None]);
    }
    let mut wanted = vec![Select::Environments];
    wanted.extend(endpoint.application.map(Select::Application));
    let store = &view.site.ports.api.ports().store;
    let rows = store.read(view.workspace(), &wanted).await?;
    let mut environments = rows.environments.into_iter();
    let environment = environments.find(|row| row.id == endpoint.environment);
    let application = rows.applications.into_iter().next();
    Ok([
        application.map(|row| row.name),
        environment.map(|row| row.name),
    ])
}

pub(super) async fn show(view: View, Path(id): Path<String>) -> Answer {
    let endpoint = view.endpoint(&id).await?;
    let names_of = names_of(&view, &endpoint).await?;
    let known = failing(&view, std::slice::from_ref(&endpoint)).await?;
    let status = DeliveryStatus::parse(view.query.get("status"));
    let before = view.query.value::<DeliveryId>("before")?;
    let query = DeliveryQuery {
        workspace: *view.workspace(),
        endpoint: endpoint.id,
        status,
        since: None,
        before,
        limit: PAGE + 1,
    };
    let search = &view.site.ports.api.ports().search;
    let mut deliveries = search.deliveries(&query).await?;
    let has_more = deliveries.len() > PAGE;
    deliveries.truncate(PAGE);
    let trouble = trouble(&view, &query).await?;
    let names = event_type_names(&view, deliveries.iter().map(|it| it.event_type)).await?;
    let series = Series::read(&view, Some(endpoint.id), Span::Day).await?;
    let path = format!("/endpoints/{}", endpoint.id);
    let live = view.url("/live");
    let title = cut(&endpoint.url, 80);
    Ok(page(
        &view,
        &title,
        &html! {
            p.crumbs { a href=(view.url("/endpoints")) { "Endpoints" } }
            h1 { (visible(&endpoint.url)) }
            p { (health(&endpoint, &known)) }
            @if let Some((delivery, attempt)) = &trouble {
                div.notice.bad {
                    strong { "The latest delivery that was not taken" }
                    (reason(attempt)) " (" (time(attempt.attempt.started_at)) ", "
                    a href=(view.url(format_args!("/deliveries/{}", delivery.id))) { "see the attempt" } ")"
                    (said(&view, attempt))
                }
            }
            (actions(&view, &endpoint, &path))
            (facts(&view, &endpoint, &names_of))
            h2 { "Health" }
            (series.attempts())
            (numbers(&series.sum()))
            h2 #deliveries { "Deliveries" }
            (tabs(&view, &path, status))
            div data-live=(live) {
                @if deliveries.is_empty() { div.card { p { "There is none." } } }
                @else { (rows(&view, &deliveries, &names)) }
            }
            div.actions {
                @if before.is_some() { a.button href=(view.url(format_args!("{path}?status={}#deliveries", query_of(status)))) { "Newest" } }
                @if has_more && let Some(last) = deliveries.last() {
                    a.button href=(view.url(format_args!("{path}?status={}&before={}#deliveries", query_of(status), last.id))) { "Older" }
                }
            }
        },
    ))
}

/// Deliveries of each status among which a reason is looked for.
const LOOKED_AT: usize = 5;

/// The latest delivery that a receiver has not taken, and its last attempt. One that was made goes before an entry that says why none
/// was: what the receiver answered is the reason, that the endpoint is disabled is the consequence.
async fn trouble(
    view: &View,
    query: &DeliveryQuery,
) -> Result<Option<(DeliveryRecord, AttemptRecord)>, PageError> {
    let ports = view.site.ports.api.ports();
    let mut found = Vec::new();
    for status in [
        DeliveryStatus::ScheduledRetry,
        DeliveryStatus::Failed,
        DeliveryStatus::DeadLetter,
    ] {
        let query = DeliveryQuery {
            status: Some(status),
            before: None,
            limit: LOOKED_AT,
            ..query.clone()
        };
        found.extend(ports.search.deliveries(&query).await?);
    }
    found.sort_unstable_by_key(|delivery| std::cmp::Reverse(delivery.updated_at));
    found.truncate(LOOKED_AT);
    let mut consequence = None;
    for delivery in found {
        let attempts = ports.log.attempts(delivery.id, view.workspace()).await?;
        let Some(last) = attempts.unwrap_or_default().pop() else {
            continue;
        };
        if last.attempt.was_made() {
            return Ok(Some((delivery, last)));
        }
        consequence = consequence.or(Some((delivery, last)));
    }
    Ok(consequence)
}

/// Numbers of the last day.
fn numbers(sum: &Counts) -> Markup {
    html! {
        dl.tiles {
            div { dt { "Success rate" } dd { (success(sum)) } }
            div { dt { "Given up" } dd { (sum.abandoned) } }
            div { dt { "Median latency" } dd { (latency(sum, 0.5)) } }
            div { dt { "99th percentile" } dd { (latency(sum, 0.99)) } }
        }
    }
}

fn query_of(status: Option<DeliveryStatus>) -> &'static str {
    status.map_or("", DeliveryStatus::as_str)
}

fn tabs(view: &View, path: &str, current: Option<DeliveryStatus>) -> Markup {
    let tabs = [
        (None, "All"),
        (Some(DeliveryStatus::Delivered), "Delivered"),
        (Some(DeliveryStatus::Pending), "Pending"),
        (Some(DeliveryStatus::ScheduledRetry), "Retrying"),
        (Some(DeliveryStatus::Failed), "Failed"),
        (Some(DeliveryStatus::DeadLetter), "Dead letter"),
    ];
    html! {
        nav.tabs aria-label="Deliveries by status" { ul {
            @for (status, name) in tabs {
                @let url = view.url(format_args!("{path}?status={}#deliveries", query_of(status)));
                li { a href=(url) aria-current=[(status == current).then_some("page")] { (name) } }
            }
        } }
    }
}

pub(super) fn rows(
    view: &View,
    deliveries: &[DeliveryRecord],
    names: &HashMap<EventTypeId, EventTypeName>,
) -> Markup {
    let rows: Vec<_> = deliveries
        .iter()
        .map(|delivery| {
            html! {
                th.id scope="row" { a href=(view.url(format_args!("/deliveries/{}", delivery.id))) { (delivery.id) } }
                td { (event_type_text(names, delivery.event_type)) }
                td { (status_badge(delivery.status)) }
                td.number { (delivery.attempts) }
                td { (labels(&delivery.metadata)) }
                td { (time(delivery.created_at)) }
                td { (maybe_time(delivery.next_retry_at)) }
            }
        })
        .collect();
    let head = [
        "Delivery",
        "Event type",
        "Status",
        "Attempts",
        "Labels",
        "Accepted",
        "Next attempt",
    ];
    table("Deliveries", &head, &rows)
}

fn actions(view: &View, endpoint: &EndpointRecord, path: &str) -> Markup {
    html! {
        @if view.visitor.can(Right::Change) {
            div.actions {
                (button(view, &format!("{path}/test"), "main", "Send a test event"))
                a.button href=(view.url(format_args!("{path}/edit"))) { "Change" }
                a.button href=(view.url(format_args!("{path}/retry"))) { "Retry failed deliveries" }
                @if endpoint.is_active { a.button href=(view.url(format_args!("{path}/disable"))) { "Disable" } }
                @else { (button(view, &format!("{path}/enable"), "", "Enable")) }
                @if view.visitor.can(Right::Administer) {
                    a.button.danger href=(view.url(format_args!("{path}/delete"))) { "Delete" }
                }
            }
        }
    }
}

fn facts(
    view: &View,
    endpoint: &EndpointRecord,
    [application, environment]: &[Option<String>; 2],
) -> Markup {
    let path = format!("/endpoints/{}", endpoint.id);
    let subscribes = view
        .visitor
        .application()
        .is_none_or(|application| application.show_event_types);
    html! {
        div.card { dl.facts {
            dt { "Id" } dd { code data-copy="the id" { (endpoint.id) } }
            @if let Some(description) = &endpoint.description { dt { "Description" } dd { (cut(description, 5_000)) } }
            dt { "Kind" } dd { @match endpoint.kind { EndpointKind::Webhook => "Signed webhook", EndpointKind::Slack => "Slack" } }
            @if !view.is_customer() {
                @if let (Some(id), Some(name)) = (endpoint.application, application) {
                    dt { "Application" } dd { a href=(view.url(format_args!("/applications/{id}"))) { (cut(name, 240)) } }
                }
                @if let Some(name) = environment { dt { "Environment" } dd { (cut(name, 240)) } }
            }
            @if !endpoint.metadata.is_empty() {
                dt { "Labels" }
                dd { (all_labels(&endpoint.metadata)) }
            }
            @if let Some(auth) = &endpoint.auth { dt { "Basic authentication" } dd { "as " code { (visible(&auth.username)) } } }
            @if subscribes {
                dt { "Subscriptions" } dd { a href=(view.url(format_args!("{path}/subscriptions"))) { "Show and change" } }
            }
            @if endpoint.kind == EndpointKind::Webhook && view.visitor.can(Right::Administer) {
                dt { "Signing secret" }
                dd { div.actions {
                    (button(view, &format!("{path}/secret"), "", "Show the secret"))
                    a.button href=(view.url(format_args!("{path}/rotate"))) { "Rotate it" }
                } }
            }
            dt { "Changed" } dd { (time(endpoint.updated_at)) }
        } }
    }
}

/// Shows the secret. By a form, so that it is in no history.
pub(super) async fn secret(view: View, Path(id): Path<String>) -> Answer {
    let endpoint = view.endpoint(&id).await?;
    view.require(Right::Administer)?;
    let management = view.management();
    let actor = &view.visitor.actor;
    management
        .record_secret_read(view.workspace(), actor, endpoint.id)
        .await?;
    let now = view.site.now();
    let back = view.url(format_args!("/endpoints/{}", endpoint.id));
    Ok(page(
        &view,
        "Signing secret",
        &html! {
            p.crumbs { a href=(back) { (visible(&endpoint.url)) } }
            h1 { "Signing secret" }
            div.card {
                p { "The receiver checks signatures with it. Keep it as you keep passwords." }
                p { code data-copy="the secret" { (endpoint.secret.expose()) } }
                @if let Some(previous) = endpoint.previous_secret.as_ref().filter(|it| it.signs_until > now) {
                    p.quiet { "The previous secret signs beside it until " (time(previous.signs_until)) "." }
                }
                a.button href=(back) { "Done" }
            }
        },
    ))
}

pub(super) async fn ask_rotate(view: View, Path(id): Path<String>) -> Answer {
    let endpoint = view.endpoint(&id).await?;
    view.require(Right::Administer)?;
    let path = format!("/endpoints/{}", endpoint.id);
    let consequences = html! {
        p { "The endpoint gets a new secret. The one of now signs beside it for 24 hours, in which the receiver has to get the new one." }
        @if endpoint.previous_secret.is_some() { p { "The secret before that ends at once." } }
    };
    let action = format!("{path}/rotate");
    Ok(confirm(
        &view,
        "Rotate the secret",
        &consequences,
        &action,
        &path,
    ))
}

pub(super) async fn rotate(view: View, Path(id): Path<String>) -> Answer {
    let endpoint = view.endpoint(&id).await?;
    view.require(Right::Administer)?;
    let actor = &view.visitor.actor;
    let management = view.management();
    management
        .rotate_secret(view.workspace(), actor, endpoint.id)
        .await?;
    let path = format!("/endpoints/{}?done=rotated", endpoint.id);
    Ok(redirect(&view.url(path)))
}

/// Sends a test event, and leads to its delivery.
pub(super) async fn test(view: View, Path(id): Path<String>) -> Answer {
    let endpoint = view.endpoint(&id).await?;
    view.require(Right::Change)?;
    let api = &view.site.ports.api;
    let sent = api
        .send_test_event(view.workspace(), endpoint.id, None)
        .await?;
    Ok(redirect(
        &view.url(format_args!("/deliveries/{sent}?done=test-sent")),
    ))
}
