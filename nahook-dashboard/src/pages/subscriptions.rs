//! Subscriptions of an endpoint: by name as boxes to check, and by pattern.

use std::collections::HashSet;

use axum::extract::Path;
use maud::html;
use nahook_control::EndpointRecord;
use nahook_core::id::{EventTypeId, PatternId};
use nahook_core::{EventTypeName, EventTypePattern};

use super::Answer;
use crate::access::Right;
use crate::error::PageError;
use crate::page::{check, field, page, redirect, token};
use crate::text::visible;
use crate::view::View;

/// The event types that the visitor may choose from: a customer, those that the endpoint's environment publishes.
async fn choices(
    view: &View,
    endpoint: &EndpointRecord,
) -> Result<Vec<(EventTypeId, EventTypeName)>, PageError> {
    let management = view.management();
    let Some(application) = view.visitor.application() else {
        let all = management.event_types(view.workspace()).await?;
        let pair = |view: nahook_control::EventTypeView| (view.event_type.id, view.event_type.name);
        return Ok(all.into_iter().map(pair).collect());
    };
    if !application.show_event_types {
        return Err(PageError::missing());
    }
    let visible = management
        .visibility(view.workspace(), endpoint.environment)
        .await?;
    let published = visible.into_iter().filter(|row| row.published);
    Ok(published.map(|row| (row.event_type, row.name)).collect())
}

pub(super) async fn show(view: View, Path(id): Path<String>) -> Answer {
    let endpoint = view.endpoint(&id).await?;
    let mut choices = choices(&view, &endpoint).await?;
    choices.sort_by(|(_, one), (_, other)| one.as_str().cmp(other.as_str()));
    let management = view.management();
    let subscribed = management
        .subscriptions(view.workspace(), endpoint.id)
        .await?;
    let subscribed: HashSet<_> = subscribed
        .iter()
        .map(|row| row.subscription.event_type)
        .collect();
    let patterns = management.patterns(view.workspace(), endpoint.id).await?;
    let by_pattern = |name: &EventTypeName| patterns.iter().any(|row| row.pattern.matches(name));
    let path = format!("/endpoints/{}", endpoint.id);
    let can_change = view.visitor.can(Right::Change);
    Ok(page(
        &view,
        "Subscriptions",
        &html! {
            p.crumbs { a href=(view.url(&path)) { (visible(&endpoint.url)) } }
            h1 { "Subscriptions" }
            form method="post" action=(view.url(format_args!("{path}/subscriptions"))) {
                (token(&view))
                fieldset disabled[!can_change] {
                    legend { "Event types" }
                    @if choices.is_empty() { p { "There are no event types yet." } }
                    div.columns {
                        @for (id, name) in &choices {
                            @let label = html! { (name) @if by_pattern(name) { " " span.quiet { "(by a pattern)" } } };
                            (check("event_type", id.as_str(), subscribed.contains(id), &label))
                        }
                    }
                }
                @if !view.is_customer() {
                    fieldset disabled[!can_change] {
                        legend { "Patterns" }
                        @for row in &patterns {
                            (check("pattern", row.id.as_str(), true, &html! { code { (row.pattern) } }))
                        }
                        @let input = html! { input type="text" id="new_pattern" name="new_pattern" placeholder="order.*"; };
                        (field("new_pattern", "Add a pattern", &input, "“*” stands for one segment; “**” at the end for any number. Event types made later are matched, too."))
                    }
                }
                @if can_change { div.actions {
                    button.main type="submit" { "Save" }
                    a.button href=(view.url(&path)) { "Cancel" }
                } }
            }
        },
    ))
}

pub(super) async fn save(view: View, Path(id): Path<String>) -> Answer {
    let endpoint = view.endpoint(&id).await?;
    view.require(Right::Change)?;
    let choices: HashSet<_> = choices(&view, &endpoint)
        .await?
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    let (management, workspace) = (view.management(), view.workspace());
    let actor = &view.visitor.actor;
    let subscribed = management.subscriptions(workspace, endpoint.id).await?;
    let before: HashSet<_> = subscribed
        .iter()
        .map(|row| row.subscription.event_type)
        .collect();
    let checked: HashSet<EventTypeId> = view
        .form
        .all("event_type")
        .filter_map(|id| id.parse().ok())
        .filter(|id| choices.contains(id))
        .collect();
    let added: Vec<_> = checked.difference(&before).copied().collect();
    if !added.is_empty() {
        management
            .subscribe(workspace, actor, endpoint.id, added)
            .await?;
    }
    // What the visitor was not shown stays.
    for removed in before.difference(&checked) {
        if choices.contains(removed) {
            management
                .unsubscribe(workspace, actor, endpoint.id, *removed)
                .await?;
        }
    }
    if !view.is_customer() {
        save_patterns(&view, &endpoint).await?;
    }
    Ok(redirect(&view.url(format_args!(
        "/endpoints/{}?done=subscribed",
        endpoint.id
    ))))
}

async fn save_patterns(view: &View, endpoint: &EndpointRecord) -> Result<(), PageError> {
    let (management, workspace) = (view.management(), view.workspace());
    let actor = &view.visitor.actor;
    let kept: HashSet<PatternId> = view
        .form
        .all("pattern")
        .filter_map(|id| id.parse().ok())
        .collect();
    for row in management.patterns(workspace, endpoint.id).await? {
        if !kept.contains(&row.id) {
            management
                .unsubscribe_from_pattern(workspace, actor, endpoint.id, row.id)
                .await?;
        }
    }
    if let Some(text) = view.form.some("new_pattern") {
        let pattern: EventTypePattern = text
            .parse()
            .map_err(|error| PageError::invalid(format!("{error}")))?;
        management
            .subscribe_to_pattern(workspace, actor, endpoint.id, pattern)
            .await?;
    }
    Ok(())
}
