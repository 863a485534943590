//! Subscriptions of an endpoint: by name as boxes to check, and by pattern.

use std::collections::HashSet;
use std::str::FromStr;

use axum::extract::Path;
use maud::html;
use nahook_control::{EndpointRecord, ManagementError};
use nahook_core::id::{EventTypeId, PatternId};
use nahook_core::{EventTypeName, EventTypePattern};

use super::Answer;
use crate::access::Right;
use crate::error::PageError;
use crate::page::{check, field, page, page_of, redirect, shown, token, turns};
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

/// Event types on a page, and patterns.
const PAGE: u64 = 150;
const PATTERNS_MAX: u64 = 50;

pub(super) async fn show(view: View, Path(id): Path<String>) -> Answer {
    let endpoint = view.endpoint(&id).await?;
    let mut choices = choices(&view, &endpoint).await?;
    choices.sort_by(|(_, one), (_, other)| one.as_str().cmp(other.as_str()));
    let from = view.query.value::<u64>("from")?.unwrap_or(0);
    let (choices, has_more) = page_of(&choices, from, PAGE);
    let management = view.management();
    let subscribed = management
        .subscriptions(view.workspace(), endpoint.id)
        .await?;
    let subscribed: HashSet<_> = subscribed
        .iter()
        .map(|row| row.subscription.event_type)
        .collect();
    let patterns = management.patterns(view.workspace(), endpoint.id).await?;
    let (shown_patterns, has_more_patterns) = page_of(&patterns, 0, PATTERNS_MAX);
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
                        @for (id, name) in choices {
                            (shown("shown_event_type", id.as_str()))
                            @let label = html! { (name) @if by_pattern(name) { " " span.quiet { "(by a pattern)" } } };
                            (check("event_type", id.as_str(), subscribed.contains(id), &label))
                        }
                    }
                }
                @if !view.is_customer() {
                    fieldset disabled[!can_change] {
                        legend { "Patterns" }
                        @for row in shown_patterns {
                            (shown("shown_pattern", row.id.as_str()))
                            (check("pattern", row.id.as_str(), true, &html! { code { (row.pattern) } }))
                        }
                        @if has_more_patterns { p { "The oldest of " (patterns.len()) " patterns." } }
                        @let input = html! { input type="text" id="new_pattern" name="new_pattern" placeholder="order.*"; };
                        (field("new_pattern", "Add a pattern", &input, "“*” stands for one segment; “**” at the end for any number. Event types made later are matched, too."))
                    }
                }
                @if can_change { div.actions {
                    button.main type="submit" { "Save" }
                    a.button href=(view.url(&path)) { "Cancel" }
                } }
            }
            @if from > 0 || has_more { p.quiet { "Save before you turn the page." } }
            (turns((from, PAGE, has_more), ("Before", "Next"), |from| view.url(format_args!("{path}/subscriptions?from={from}"))))
        },
    ))
}

/// The ids of that kind in the form.
fn ids<T: FromStr>(view: &View, name: &'static str) -> impl Iterator<Item = T> {
    view.form.all(name).filter_map(|id| id.parse().ok())
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
    let checked: HashSet<EventTypeId> = ids(&view, "event_type")
        .filter(|id| choices.contains(id))
        .collect();
    let added: Vec<_> = checked.difference(&before).copied().collect();
    if !added.is_empty() {
        management
            .subscribe(workspace, actor, endpoint.id, added)
            .await?;
    }
    // What the visitor was not shown stays.
    let shown: HashSet<EventTypeId> = ids(&view, "shown_event_type").collect();
    for removed in before.difference(&checked) {
        if choices.contains(removed) && shown.contains(removed) {
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
    let kept: HashSet<PatternId> = ids(view, "pattern").collect();
    let shown: HashSet<PatternId> = ids(view, "shown_pattern").collect();
    for removed in shown.difference(&kept) {
        let removed = management.unsubscribe_from_pattern(workspace, actor, endpoint.id, *removed);
        match removed.await {
            // Somebody else was faster.
            Ok(()) | Err(ManagementError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
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
