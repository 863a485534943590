//! The list of endpoints, with their health at a glance.

use std::collections::HashMap;

use maud::{Markup, html};
use nahook_control::{EndpointDirectory as _, EndpointHealth, EndpointQuery, EndpointRecord};
use nahook_core::Timestamp;
use nahook_core::id::EndpointId;

use super::Answer;
use crate::access::Right;
use crate::error::PageError;
use crate::page::{badge, page, table, turns};
use crate::text::{count, cut, time};
use crate::view::View;

/// Endpoints on a page.
const PAGE: u64 = 50;

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
pub(super) fn link(view: &View, id: EndpointId, url: &str) -> Markup {
    html! { a href=(view.url(format_args!("/endpoints/{id}"))) { (cut(url, 160)) } }
}

pub(super) fn rows(view: &View, endpoints: &[EndpointRecord], failing: &Failing) -> Markup {
    let rows: Vec<_> = endpoints
        .iter()
        .map(|endpoint| {
            html! {
                th scope="row" { (link(view, endpoint.id, &endpoint.url)) }
                td { (health(endpoint, failing)) }
                td { (cut(endpoint.description.as_deref().unwrap_or("–"), 240)) }
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
    let search = view.query.some("q");
    let first = view.query.value::<u64>("from")?.unwrap_or(0);
    let query = EndpointQuery {
        application: view.visitor.application().map(|own| own.id),
        text: search.clone(),
        health: match wanted.as_str() {
            "failing" => Some(EndpointHealth::Failing),
            "disabled" => Some(EndpointHealth::Disabled),
            _ => None,
        },
        offset: first,
        limit: PAGE,
    };
    let (management, workspace) = (view.management(), view.workspace());
    let found = management.find_endpoints(workspace, &query).await?;
    let known = failing(&view, &found.endpoints).await?;
    let search = search.unwrap_or_default();
    let link = |from: u64| {
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
            p.quiet { (count(usize::try_from(found.total).unwrap_or(usize::MAX), "endpoint", "endpoints")) }
            @if found.endpoints.is_empty() { div.card { p { "There is no such endpoint." } } }
            @else { (rows(&view, &found.endpoints, &known)) }
            (turns((first, PAGE, first.saturating_add(PAGE) < found.total), ("Newer", "Older"), link))
        },
    ))
}
