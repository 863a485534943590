//! Triggering an event by hand: a dry run first.

use std::sync::Arc;

use maud::{Markup, html};
use nahook_control::{EndpointDirectory as _, EndpointTarget, WouldBe};
use nahook_core::id::{EnvironmentId, EventTypeId};
use nahook_core::{Metadata, NewEvent, Payload, Scope, TriggerError};

use super::Answer;
use super::choices::Choices;
use super::endpoint_form::{labels, labels_field};
use crate::error::PageError;
use crate::page::{badge, field, page, redirect, table, token};
use crate::text::{count, visible};
use crate::view::View;

/// Endpoints that the page of a dry run shows.
const SHOWN_MAX: usize = 100;

/// Payload that the form begins with.
const SAMPLE: &str = "{\n  \"order_id\": \"ord_123\",\n  \"amount\": 49.99\n}";

/// The form as it was filled in.
struct Asked {
    event_type: EventTypeId,
    environment: Option<EnvironmentId>,
    event: NewEvent,
}

pub(super) async fn form(view: View) -> Answer {
    let event_types = Choices::read(&view).await?;
    let environments = view.management().environments(view.workspace()).await?;
    Ok(page(
        &view,
        "Trigger an event",
        &html! {
            p.crumbs { a href=(view.url("/events")) { "Events" } }
            h1 { "Trigger an event" }
            @if event_types.is_empty() {
                div.card { p { "There is no event type yet." } a.button.main href=(view.url("/event-types")) { "Make one" } }
            } @else {
                form.card method="post" action=(view.url("/trigger")) {
                    (token(&view))
                    (event_types.field("event_type", None, ""))
                    @let select = html! { select id="environment" name="environment" {
                        option value="" { "All" }
                        @for row in &environments { option value=(row.id) { (visible(&row.name)) } }
                    } };
                    (field("environment", "Environment", &select, ""))
                    @let payload = html! { textarea.code id="payload" name="payload" required { (SAMPLE) } };
                    (field("payload", "Payload", &payload, "A JSON object; receivers get it byte for byte."))
                    (labels_field(""))
                    button.main type="submit" name="step" value="check" { "Check who gets it" }
                }
            }
        },
    ))
}

async fn asked(view: &View) -> Result<Asked, PageError> {
    let form = &view.form;
    let chosen = Choices::read(view).await?.chosen(form.get("event_type"))?;
    let id = chosen.ok_or_else(|| PageError::invalid("Choose an event type"))?;
    let found = view.management().event_type(view.workspace(), id).await?;
    // Browsers send line breaks of text areas as CR LF.
    let payload = form.get("payload").replace("\r\n", "\n");
    let payload = Payload::new(payload).map_err(|error| PageError::invalid(error.to_string()))?;
    let metadata = labels(form.get("labels"))?;
    let metadata =
        Metadata::new(metadata).map_err(|error| PageError::invalid(error.to_string()))?;
    let mut event = NewEvent::new(found.event_type.name, payload);
    event.metadata = metadata;
    Ok(Asked {
        event_type: id,
        environment: form.value("environment")?,
        event,
    })
}

pub(super) async fn submit(view: View) -> Answer {
    let asked = asked(&view).await?;
    if view.form.get("step") == "send" {
        return send(&view, asked).await;
    }
    let dry_run = view
        .management()
        .dry_run(view.workspace(), asked.event_type, asked.environment)
        .await?;
    let (shown, others) = dry_run
        .endpoints
        .split_at(dry_run.endpoints.len().min(SHOWN_MAX));
    let ids: Vec<_> = shown.iter().map(|(id, _)| *id).collect();
    let endpoints = view.site.ports.endpoints.targets(&ids).await?;
    let queued = dry_run.endpoints.iter();
    let queued = queued.filter(|(_, fate)| *fate == WouldBe::Queued).count();
    Ok(page(
        &view,
        "Trigger an event",
        &html! {
            p.crumbs { a href=(view.url("/events")) { "Events" } }
            h1 { "Who gets " (asked.event.event_type) }
            p { "Nothing is queued yet." }
            (fates(&view, shown, &endpoints))
            @if !others.is_empty() { p.quiet { "And " (count(others.len(), "other endpoint", "other endpoints")) "." } }
            form method="post" action=(view.url("/trigger")) {
                (token(&view))
                @for name in ["event_type", "environment", "payload", "labels"] {
                    input type="hidden" name=(name) value=(view.form.get(name));
                }
                div.actions {
                    button.main type="submit" name="step" value="send" { "Trigger now: " (count(queued, "delivery", "deliveries")) }
                    a.button href=(view.url("/trigger")) { "Cancel" }
                }
            }
        },
    ))
}

fn fates(
    view: &View,
    fates: &[(nahook_core::id::EndpointId, WouldBe)],
    endpoints: &[Option<Arc<EndpointTarget>>],
) -> Markup {
    let rows: Vec<_> = fates
        .iter()
        .zip(endpoints)
        .map(|((id, fate), endpoint)| {
            let (class, text) = match fate {
                WouldBe::Queued => ("good", "Gets it"),
                WouldBe::Inactive => ("wait", "Disabled"),
                WouldBe::Unpublished => ("wait", "Not published in its environment"),
                WouldBe::OtherEnvironment => ("plain", "Other environment"),
                WouldBe::NotSubscribed => ("plain", "Not subscribed"),
            };
            html! {
                th scope="row" { @match endpoint { Some(endpoint) => (super::endpoints::link(view, *id, &endpoint.url)), None => (id) } }
                td { (badge(class, text)) }
            }
        })
        .collect();
    html! {
        @if rows.is_empty() { div.card { p { "There are no endpoints." } } }
        @else { (table("Endpoints", &["Endpoint", "Result"], &rows)) }
    }
}

async fn send(view: &View, asked: Asked) -> Answer {
    let scope = Scope {
        workspace: *view.workspace(),
        environment: asked.environment,
    };
    let name = asked.event.event_type.to_string();
    let api = &view.site.ports.api;
    let _under_way = api.begin_action(view.workspace()).await?;
    let fan_out = api.fan_out();
    let receipt = fan_out.trigger(asked.event, scope).await;
    let receipt = receipt.map_err(|error: TriggerError| PageError::invalid(error.to_string()))?;
    let message = receipt.message();
    let queued = receipt.delivery_ids().count();
    let resource = ("event", message.to_string());
    let details = vec![("eventType", name), ("deliveries", queued.to_string())];
    let actor = &view.visitor.actor;
    view.management()
        .record(view.workspace(), actor, resource, "triggered", details)
        .await?;
    let path = if queued > 0 {
        format!("/events/{message}?done=triggered&count={queued}")
    } else {
        "/events?done=triggered&count=0".to_owned()
    };
    Ok(redirect(&view.url(path)))
}
