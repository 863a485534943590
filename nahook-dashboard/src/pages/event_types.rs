//! Event types.

use axum::extract::Path;
use maud::html;
use nahook_core::EventTypeName;
use nahook_core::id::EventTypeId;

use super::Answer;
use crate::error::PageError;
use crate::page::{confirm, field, page, page_of, redirect, table, text_field, token, turns};
use crate::text::{count, cut, time};
use crate::view::View;

/// Event types on a page.
const PAGE: u64 = 100;

/// Operators see all and make new ones; customers see what is published somewhere that they have an endpoint.
pub(super) async fn list(view: View) -> Answer {
    if view.is_customer() {
        return catalogue(view).await;
    }
    let text = view.query.get("q").trim();
    let from = view.query.value::<u64>("from")?.unwrap_or(0);
    let mut all = view.management().event_types(view.workspace()).await?;
    all.retain(|row| row.event_type.name.as_str().contains(text));
    all.sort_by(|one, other| {
        let (one, other) = (&one.event_type.name, &other.event_type.name);
        one.as_str().cmp(other.as_str())
    });
    let (shown, has_more) = page_of(&all, from, PAGE);
    let link = |from: u64| {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("q", text)
            .append_pair("from", &from.to_string())
            .finish();
        view.url(format_args!("/event-types?{query}"))
    };
    let rows: Vec<_> = shown
        .iter()
        .map(|row| {
            html! {
                th scope="row" { a href=(view.url(format_args!("/event-types/{}", row.event_type.id))) { (row.event_type.name) } }
                td { (cut(row.event_type.description.as_deref().unwrap_or("–"), 200)) }
                td.number { (row.subscriber_count) }
                td { (time(row.event_type.created_at)) }
            }
        })
        .collect();
    Ok(page(
        &view,
        "Event types",
        &html! {
            h1 { "Event types" }
            @if !text.is_empty() || from > 0 || has_more { form.filter method="get" action=(view.url("/event-types")) role="search" {
                div.field {
                    label for="q" { "A part of the name" }
                    input #q type="search" name="q" value=(text);
                }
                button type="submit" { "Search" }
            } }
            @if !rows.is_empty() { (table("Event types", &["Name", "Description", "Subscribers", "Created"], &rows)) }
            @else if text.is_empty() { div.card { p { "There is none yet." } } }
            @else { div.card { p { "There is no such event type." } } }
            (turns((from, PAGE, has_more), ("Before", "Next"), link))
            h2 { "Add an event type" }
            form.card method="post" action=(view.url("/event-types")) {
                (token(&view))
                @let name = html! { input type="text" id="name" name="name" required placeholder="order.paid"; };
                (field("name", "Name", &name, "Segments of letters, digits, hyphens and underscores, with dots between them."))
                (text_field("description", "Description", "", ""))
                button.main type="submit" { "Add it" }
            }
        },
    ))
}

/// The published event types, where the application shows them.
async fn catalogue(view: View) -> Answer {
    let application = view.visitor.application().ok_or_else(PageError::missing)?;
    if !application.show_event_types {
        return Err(PageError::missing());
    }
    let (management, workspace) = (view.management(), view.workspace());
    let mut environments: Vec<_> = view
        .endpoints()
        .await?
        .into_iter()
        .map(|endpoint| endpoint.environment)
        .collect();
    let all = management.environments(workspace).await?;
    environments.extend(all.iter().filter(|row| row.is_default).map(|row| row.id));
    environments.sort_unstable();
    environments.dedup();
    let mut published = std::collections::BTreeSet::new();
    for environment in environments {
        let rows = management.visibility(workspace, environment).await?;
        published.extend(
            rows.into_iter()
                .filter(|row| row.published)
                .map(|row| row.event_type),
        );
    }
    let mut all = management.event_types(workspace).await?;
    all.retain(|row| published.contains(&row.event_type.id));
    let from = view.query.value::<u64>("from")?.unwrap_or(0);
    let (shown, has_more) = page_of(&all, from, PAGE);
    let link = |from: u64| view.url(format_args!("/event-types?from={from}"));
    let rows: Vec<_> = shown
        .iter()
        .map(|row| {
            html! {
                th scope="row" { (row.event_type.name) }
                td { (cut(row.event_type.description.as_deref().unwrap_or("–"), 500)) }
            }
        })
        .collect();
    Ok(page(
        &view,
        "Event types",
        &html! {
            h1 { "Event types" }
            p { "An endpoint can be subscribed to each of these." }
            @if rows.is_empty() { div.card { p { "There is none yet." } } }
            @else { (table("Event types", &["Name", "Description"], &rows)) }
            (turns((from, PAGE, has_more), ("Before", "Next"), link))
        },
    ))
}

pub(super) async fn create(view: View) -> Answer {
    let name = EventTypeName::new(view.form.get("name").trim())
        .map_err(|error| PageError::invalid(error.to_string()))?;
    let description = view.form.some("description");
    let actor = &view.visitor.actor;
    view.management()
        .create_event_type(view.workspace(), actor, name, description)
        .await?;
    Ok(redirect(&view.url("/event-types?done=created")))
}

fn id(text: &str) -> Result<EventTypeId, PageError> {
    text.parse().map_err(|_| PageError::missing())
}

pub(super) async fn show(view: View, Path(text): Path<String>) -> Answer {
    let id = id(&text)?;
    let row = view.management().event_type(view.workspace(), id).await?;
    let path = format!("/event-types/{id}");
    let name = row.event_type.name.to_string();
    Ok(page(
        &view,
        &name,
        &html! {
            p.crumbs { a href=(view.url("/event-types")) { "Event types" } }
            h1 { (name) }
            div.card { dl.facts {
                dt { "Id" } dd { code data-copy="the id" { (id) } }
                dt { "Subscribers" } dd { (row.subscriber_count) }
                dt { "Created" } dd { (time(row.event_type.created_at)) }
                dt { "Events" } dd { a href=(view.url(format_args!("/events?type={id}"))) { "Show them" } }
            } }
            form.card method="post" action=(view.url(&path)) {
                (token(&view))
                (text_field("description", "Description", row.event_type.description.as_deref().unwrap_or_default(), ""))
                div.actions {
                    button.main type="submit" { "Save" }
                    a.button.danger href=(view.url(format_args!("{path}/delete"))) { "Delete" }
                }
            }
        },
    ))
}

pub(super) async fn save(view: View, Path(text): Path<String>) -> Answer {
    let id = id(&text)?;
    let description = Some(view.form.some("description"));
    let actor = &view.visitor.actor;
    view.management()
        .update_event_type(view.workspace(), actor, id, description)
        .await?;
    Ok(redirect(
        &view.url(format_args!("/event-types/{id}?done=saved")),
    ))
}

pub(super) async fn ask_delete(view: View, Path(text): Path<String>) -> Answer {
    let id = id(&text)?;
    let row = view.management().event_type(view.workspace(), id).await?;
    let subscribers = usize::try_from(row.subscriber_count).unwrap_or(usize::MAX);
    let consequences = html! {
        p { strong { (row.event_type.name) } " goes with the subscriptions of " (count(subscribers, "endpoint", "endpoints"))
            ". Triggering it is an error from then on. What is queued is delivered all the same." }
    };
    let back = format!("/event-types/{id}");
    let action = format!("{back}/delete");
    Ok(confirm(
        &view,
        "Delete the event type",
        &consequences,
        &action,
        &back,
    ))
}

pub(super) async fn delete(view: View, Path(text): Path<String>) -> Answer {
    let id = id(&text)?;
    let actor = &view.visitor.actor;
    view.management()
        .delete_event_type(view.workspace(), actor, id)
        .await?;
    Ok(redirect(&view.url("/event-types?done=deleted")))
}
