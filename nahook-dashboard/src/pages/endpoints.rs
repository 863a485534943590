//! The list of endpoints, with their health at a glance.

use std::collections::HashMap;

use maud::{Markup, html};
use nahook_control::{EndpointDirectory as _, EndpointRecord};
use nahook_core::Timestamp;
use nahook_core::id::EndpointId;

use super::Answer;
use crate::access::Right;
use crate::error::PageError;
use crate::page::{badge, page, table};
use crate::text::{count, cut, time, visible};
use crate::view::View;

/// Endpoints on a page.
const PAGE: usize = 100;

/// Since when endpoints have only failed.
pub(super) type Failing = HashMap<EndpointId, Timestamp>;

/// Looks up which of the endpoints fail.
pub(super) async fn failing(
    view: &View,
    endpoints: &[EndpointRecord],
) -> Result<Failing, PageError> {
    let ids: Vec<_> = endpoints.iter().map(|endpoint| endpoint.id).collect();
    let targets = view.site.ports.endpoints.targets(&ids).await?;
    let failing = targets.into_iter().flatten();
    Ok(failing
        .filter_map(|target| Some((target.id, target.failing_since?)))
        .collect())
}

/// The health of an endpoint in a word.
pub(super) fn health(endpoint: &EndpointRecord, failing: &Failing) -> Markup {
    match failing.get(&endpoint.id) {
        _ if !endpoint.is_active => badge("plain", "Disabled"),
        Some(since) => html! { (badge("bad", "Failing")) " since " (time(*since)) },
        None => badge("good", "Healthy"),
    }
}

/// The endpoint's URL as a link to its page.
pub(super) fn link(view: &View, endpoint: &EndpointRecord) -> Markup {
    html! { a href=(view.url(format_args!("/endpoints/{}", endpoint.id))) { (visible(&cut(&endpoint.url, 160))) } }
}

pub(super) fn rows(view: &View, endpoints: &[EndpointRecord], failing: &Failing) -> Markup {
    let rows: Vec<_> = endpoints
        .iter()
        .map(|endpoint| {
            html! {
                th scope="row" { (link(view, endpoint)) }
                td { (health(endpoint, failing)) }
                td { (visible(&cut(endpoint.description.as_deref().unwrap_or("–"), 200))) }
                td { (time(endpoint.created_at)) }
            }
        })
        .collect();
    table(
        "Endpoints",
        &["URL", "Health", "Description", "Created"],
        &rows,
    )
}

pub(super) async fn list(view: View) -> Answer {
    let wanted = view.query.get("state").to_owned();
    let search = view.query.some("q").unwrap_or_default();
    let all = view.endpoints().await?;
    let known = failing(&view, &all).await?;
    let matches = |endpoint: &EndpointRecord| {
        let text = endpoint.description.as_deref().unwrap_or_default();
        let is_found = endpoint.url.contains(&search)
            || text.contains(&search)
            || endpoint.id.as_str() == search;
        is_found
            && match wanted.as_str() {
                "failing" => endpoint.is_active && known.contains_key(&endpoint.id),
                "disabled" => !endpoint.is_active,
                _ => true,
            }
    };
    let mut shown: Vec<_> = all.into_iter().filter(matches).collect();
    shown.reverse();
    let total = shown.len();
    let first = view.query.value::<usize>("from")?.unwrap_or(0).min(total);
    let last = (first + PAGE).min(total);
    let link = |from: usize| {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("state", &wanted)
            .append_pair("q", &search)
            .append_pair("from", &from.to_string())
            .finish();
        view.url(format_args!("/endpoints?{query}"))
    };
    Ok(page(
        &view,
        "Endpoints",
        &html! {
            h1 { "Endpoints" }
            @if view.visitor.can(Right::Change) {
                div.actions { a.button.main href=(view.url("/endpoints/new")) { "Add an endpoint" } }
            }
            form.filter method="get" action=(view.url("/endpoints")) role="search" {
                div.field {
                    label for="q" { "URL, description or id" }
                    input #q type="search" name="q" value=(search);
                }
                div.field {
                    label for="state" { "State" }
                    select #state name="state" {
                        @for (value, name) in [("", "All"), ("failing", "Failing"), ("disabled", "Disabled")] {
                            option value=(value) selected[wanted == value] { (name) }
                        }
                    }
                }
                button type="submit" { "Search" }
            }
            p.quiet { (count(total, "endpoint", "endpoints")) }
            @if total > 0 { (rows(&view, &shown[first..last], &known)) }
            @else { div.card { p { "There is no such endpoint." } } }
            div.actions {
                @if first > 0 { a.button href=(link(first.saturating_sub(PAGE))) { "Newer" } }
                @if last < total { a.button href=(link(last)) { "Older" } }
            }
        },
    ))
}
