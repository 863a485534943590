//! Events: the list, and the fate of one at each endpoint.

use std::collections::{BTreeSet, HashMap};

use axum::extract::Path;
use maud::{Markup, html};
use nahook_control::{ApplicationRecord, EndpointRecord, ManagementStore as _, Select, Snapshot};
use nahook_core::id::{DeliveryId, EndpointId, EventTypeId, MessageId};
use nahook_core::{EventTypeName, IdempotencyKey, Timestamp};
use nahook_queue::{DeliveryLog as _, EventQuery, EventRecord, EventSearch as _};

use super::Answer;
use super::choices::Choices;
use super::deliveries::payload_text;
use super::endpoint::{event_type_names, event_type_text};
use crate::error::PageError;
use crate::page::{all_labels, badge, labels, page, redirect, status_badge, table, turns};
use crate::text::{count, cut, maybe_time, time};
use crate::view::View;

/// Events on a page.
const PAGE: usize = 50;
/// Deliveries on an event's page.
const DELIVERIES: u64 = 50;
/// Deliveries of an event that its pages go through: each reads those before it as well.
const DELIVERIES_MAX: u64 = 1_000;

/// The fate of an event's deliveries in a few words.
fn fate(event: &EventRecord) -> Markup {
    let waiting = event.deliveries - event.delivered - event.given_up;
    html! {
        @if event.deliveries == 0 { (badge("plain", "No receiver")) }
        @if event.delivered > 0 { (badge("good", &format!("{} delivered", event.delivered))) " " }
        @if waiting > 0 { (badge("wait", &format!("{waiting} waiting"))) " " }
        @if event.given_up > 0 { (badge("bad", &format!("{} failed", event.given_up))) " " }
        @if event.deliveries >= EventRecord::COUNTED_MAX { span.quiet { "of the first " (EventRecord::COUNTED_MAX) } }
    }
}

pub(super) fn rows(
    view: &View,
    events: &[EventRecord],
    names: &HashMap<EventTypeId, EventTypeName>,
) -> Markup {
    let rows: Vec<_> = events
        .iter()
        .map(|event| {
            html! {
                th.id scope="row" { a href=(view.url(format_args!("/events/{}", event.id))) { (event.id) } }
                td { (event_type_text(names, event.event_type)) }
                td { (fate(event)) }
                td { (labels(&event.metadata)) }
                td { (time(event.accepted_at)) }
            }
        })
        .collect();
    table(
        "Events",
        &["Event", "Event type", "Deliveries", "Labels", "Accepted"],
        &rows,
    )
}

/// The page that an id leads to, if it is one.
fn page_of(id: &str) -> Option<String> {
    if id.parse::<MessageId>().is_ok() {
        return Some(format!("/events/{id}"));
    }
    if id.parse::<DeliveryId>().is_ok() {
        return Some(format!("/deliveries/{id}"));
    }
    let endpoint = id.starts_with("ep_") && id.parse::<EndpointId>().is_ok();
    endpoint.then(|| format!("/endpoints/{id}"))
}

pub(super) async fn list(view: View) -> Answer {
    let query = &view.query;
    let search = query.some("q").unwrap_or_default();
    if let Some(path) = page_of(&search) {
        return Ok(redirect(&view.url(path)));
    }
    // What is not an id is a label, or else an idempotency key.
    let label = search.split_once('=');
    let label = label.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()));
    let labels: Vec<_> = label.into_iter().collect();
    let idempotency_key = (!search.is_empty() && labels.is_empty())
        .then(|| IdempotencyKey::new(&search))
        .transpose()
        .map_err(|error| PageError::invalid(format!("The idempotency key: {error}")))?;
    let until = query.some("until");
    let until = until
        .map(|text| {
            nahook_http::parse_instant(&text).ok_or_else(|| {
                PageError::invalid("The time is one such as 2026-11-26 or 2026-11-26T08:00:00Z")
            })
        })
        .transpose()?;
    let before = match query.value::<MessageId>("before")? {
        Some(before) => Some(before),
        None => until.map(|at: Timestamp| MessageId::from_parts(at, 0)),
    };
    let types = Choices::read(&view).await?;
    let event_type = types.chosen(query.get("type"))?;
    let asked = EventQuery {
        workspace: *view.workspace(),
        event_type,
        labels,
        idempotency_key,
        before,
        limit: PAGE,
    };
    let found = view.site.ports.events.events(&asked).await?;
    let names = event_type_names(&view, found.events.iter().map(|it| it.event_type)).await?;
    let older = found.next.map(|next| {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("q", &search)
            .append_pair("type", event_type.as_ref().map_or("", |id| id.as_str()))
            .append_pair("before", &next.to_string())
            .finish();
        view.url(format_args!("/events?{query}"))
    });
    let live = before.is_none().then(|| view.url("/live"));
    Ok(page(
        &view,
        "Events",
        &html! {
            h1 { "Events" }
            div.actions { a.button.main href=(view.url("/trigger")) { "Trigger an event" } }
            form.filter method="get" action=(view.url("/events")) role="search" {
                div.field {
                    label for="q" { "Id, idempotency key, or label as name=value" }
                    input #q type="search" name="q" value=(search);
                }
                (types.field("type", event_type, "All"))
                div.field {
                    label for="until" { "Accepted before" }
                    input #until type="text" name="until" placeholder="2026-11-26T08:00:00Z" value=(view.query.get("until"));
                }
                button type="submit" { "Search" }
            }
            div data-live=[live] {
                @if found.events.is_empty() { div.card { p { "There is none here." @if older.is_some() { " There may be older ones." } } } }
                @else { (rows(&view, &found.events, &names)) }
            }
            div.actions {
                @if before.is_some() { a.button href=(view.url("/events")) { "Newest" } }
                @if let Some(older) = older { a.button href=(older) { "Older" } }
            }
        },
    ))
}

pub(super) async fn show(view: View, Path(id): Path<String>) -> Answer {
    let id: MessageId = id.parse().map_err(|_| PageError::missing())?;
    let events = &view.site.ports.events;
    let from = view.query.value::<u64>("from")?.unwrap_or(0);
    let from = from.min(DELIVERIES_MAX - DELIVERIES);
    let [passed, limit] =
        [from, from + DELIVERIES + 1].map(|number| usize::try_from(number).unwrap_or(usize::MAX));
    let mut deliveries = events.event_deliveries(id, view.workspace(), limit).await?;
    let Some(first) = deliveries.first().cloned() else {
        return Err(PageError::missing());
    };
    let has_more = deliveries.len() == limit;
    deliveries.truncate(limit - 1);
    deliveries.drain(..passed.min(deliveries.len()));
    let is_beyond = from + DELIVERIES >= DELIVERIES_MAX;
    let names = event_type_names(&view, [first.event_type]).await?;
    let ids: Vec<_> = deliveries
        .iter()
        .map(|delivery| delivery.endpoint)
        .collect();
    let receivers = Receivers::read(&view, &ids).await?;
    let log = &view.site.ports.api.ports().log;
    let payload = log.payload(first.id, view.workspace()).await?;
    let event_type = event_type_text(&names, first.event_type);
    let rows: Vec<_> = deliveries
        .iter()
        .map(|delivery| {
            let (endpoint, application) = receivers.of(delivery.endpoint);
            html! {
                th scope="row" {
                    @match endpoint {
                        Some(endpoint) => (super::endpoints::link(&view, endpoint.id, &endpoint.url)),
                        None => { (delivery.endpoint) " (deleted)" },
                    }
                }
                td { @if let Some(application) = application {
                    a href=(view.url(format_args!("/applications/{}", application.id))) { (cut(&application.name, 120)) }
                } @else { "–" } }
                td { (status_badge(delivery.status)) }
                td.number { (delivery.attempts) }
                td { (maybe_time(delivery.delivered_at)) }
                td { (maybe_time(delivery.next_retry_at)) }
                td { a href=(view.url(format_args!("/deliveries/{}", delivery.id))) { "Attempts" span.quiet { " of " (delivery.id) } } }
            }
        })
        .collect();
    let head = [
        "Endpoint",
        "Application",
        "Status",
        "Attempts",
        "Delivered",
        "Next attempt",
        "Delivery",
    ];
    let live = view.url("/live");
    let whole = view.url(format_args!("/deliveries/{}/payload", first.id));
    Ok(page(
        &view,
        &format!("Event {id}"),
        &html! {
            p.crumbs { a href=(view.url("/events")) { "Events" } }
            h1 { (event_type) }
            div.card { dl.facts {
                dt { "Id" } dd { code data-copy="the id" { (id) } }
                dt { "Accepted" } dd { (time(first.created_at)) }
                @if !first.metadata.is_empty() {
                    dt { "Labels" }
                    dd { (all_labels(first.metadata.as_map())) }
                }
            } }
            h2 #deliveries {
                @if from == 0 && !has_more { (count(rows.len(), "delivery", "deliveries")) }
                @else { "Deliveries " (from + 1) " to " (passed + rows.len()) @if has_more { " of more" } }
            }
            div data-live=(live) { (table("Deliveries", &head, &rows)) }
            (turns((from, DELIVERIES, has_more && !is_beyond), ("Before", "Next"), |from| view.url(format_args!("/events/{id}?from={from}#deliveries"))))
            @if has_more && is_beyond { p.quiet { "Further ones are on the pages of their endpoints." } }
            @if first.event_type.is_some() && !has_more {
                p.quiet { "An endpoint that is not among them was disabled, not subscribed to " (event_type)
                    ", or in an environment that does not publish it, when the event was accepted." }
            }
            h2 { "Payload" }
            (payload_text(payload.as_ref(), Some(&whole)))
        },
    ))
}

/// Endpoints that an event went to, and whose they are.
struct Receivers(Snapshot);

impl Receivers {
    async fn read(view: &View, ids: &[EndpointId]) -> Result<Self, PageError> {
        let (store, workspace) = (&view.site.ports.api.ports().store, view.workspace());
        let wanted: Vec<_> = ids.iter().copied().map(Select::Endpoint).collect();
        let mut rows = store.read(workspace, &wanted).await?;
        let owners = rows.endpoints.iter().filter_map(|row| row.application);
        let owners: BTreeSet<_> = owners.collect();
        let wanted: Vec<_> = owners.into_iter().map(Select::Application).collect();
        rows.applications = store.read(workspace, &wanted).await?.applications;
        Ok(Self(rows))
    }

    fn of(&self, id: EndpointId) -> (Option<&EndpointRecord>, Option<&ApplicationRecord>) {
        let endpoint = self.0.endpoints.iter().find(|row| row.id == id);
        let owner = endpoint.and_then(|row| row.application);
        let application = self.0.applications.iter().find(|row| owner == Some(row.id));
        (endpoint, application)
    }
}
