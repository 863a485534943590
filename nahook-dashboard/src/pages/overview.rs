//! The first page: what happens now, and what fails.

use std::time::Duration;

use maud::{Markup, html};
use nahook_control::{EndpointHealth, EndpointPage, EndpointQuery};
use nahook_core::Timestamp;
use nahook_queue::{EventQuery, EventSearch as _};

use super::Answer;
use super::endpoint::event_type_names;
use super::{endpoints, events, search};
use crate::backlog::{Backlog, COUNTED_MAX};
use crate::chart::{Series, Span, latency, rate, success};
use crate::error::PageError;
use crate::page::page;
use crate::text::{duration, time};
use crate::view::View;

/// Events that the page shows.
const EVENTS: usize = 10;
/// Failing endpoints that the page shows.
const FAILING: u64 = 20;
/// Age from which on the page says when what waits was counted.
const FRESH_FOR: Duration = Duration::from_secs(10);

async fn endpoints_of(
    view: &View,
    health: Option<EndpointHealth>,
    limit: u64,
) -> Result<EndpointPage, PageError> {
    let query = EndpointQuery {
        health,
        limit,
        ..EndpointQuery::default()
    };
    let management = view.management();
    Ok(management.find_endpoints(view.workspace(), &query).await?)
}

fn bounded(count: u64) -> Markup {
    html! { (count) @if count >= COUNTED_MAX { " or more" } }
}

/// The backlog, as far as it is known yet.
fn waiting(backlog: Option<Backlog>, now: Timestamp) -> Markup {
    let Some(Backlog { stats, .. }) = backlog else {
        return html! { @for name in ["Waiting", "Oldest due", "Retries waiting"] { div { dt { (name) } dd { "…" } } } };
    };
    let age = stats.oldest_due_at.map(|since| now.saturating_since(since));
    html! {
        div { dt { "Waiting" } dd { (bounded(stats.pending + stats.delivering)) } }
        div { dt { "Oldest due" } dd { @match age { Some(age) => { "since " (duration(age)) }, None => "–" } } }
        div { dt { "Retries waiting" } dd { (bounded(stats.scheduled_retry)) } }
    }
}

pub(super) async fn show(view: View) -> Answer {
    let all = endpoints_of(&view, None, 0).await?;
    let failing = endpoints_of(&view, Some(EndpointHealth::Failing), FAILING).await?;
    let disabled = endpoints_of(&view, Some(EndpointHealth::Disabled), 0).await?;
    let since = endpoints::failing(&view, &failing.endpoints).await?;
    let query = EventQuery {
        workspace: *view.workspace(),
        event_type: None,
        labels: Vec::new(),
        idempotency_key: None,
        before: None,
        limit: EVENTS,
    };
    let recent = view.site.ports.events.events(&query).await?.events;
    let names = event_type_names(&view, recent.iter().map(|it| it.event_type)).await?;
    let span = Span::of(&view);
    let series = Series::read(&view, None, span).await?;
    let sum = series.sum();
    let now = view.site.now();
    let search = &view.site.ports.api.ports().search;
    let backlogs = &view.site.backlogs;
    let backlog = backlogs.latest(*view.workspace(), search, now).await;
    let is_old = |backlog: &Backlog| now.saturating_since(backlog.at) > FRESH_FOR;
    let live = view.url("/live");
    Ok(page(
        &view,
        "Overview",
        &html! {
            h1 { "Overview" }
            (search::form(&view, ""))
            div data-live=(live) {
                dl.tiles {
                    div { dt { "Endpoints" } dd { (all.total) } }
                    div { dt { "Failing now" } dd { (failing.total) } }
                    div { dt { "Disabled" } dd { (disabled.total) } }
                    (waiting(backlog, now))
                }
                @match backlog {
                    None => p.quiet { "What waits is being counted: load the page again in a moment." },
                    Some(backlog) if is_old(&backlog) => p.quiet { "What waits was counted at " (time(backlog.at)) "." },
                    Some(_) => {},
                }
                nav.tabs aria-label="Time" { ul {
                    @for other in Span::ALL {
                        @let url = view.url(format_args!("/?span={}", other.word()));
                        li { a href=(url) aria-current=[(other == span).then_some("page")] { "Last " (other.word()) } }
                    }
                } }
                dl.tiles {
                    div { dt { "Events" } dd { (rate(sum.events, span)) } }
                    div { dt { "Deliveries" } dd { (rate(sum.delivered, span)) } }
                    div { dt { "Success rate" } dd { (success(&sum)) } }
                    div { dt { "Given up" } dd { (sum.abandoned) } }
                    div { dt { "Median latency" } dd { (latency(&sum, 0.5)) } }
                    div { dt { "99th percentile" } dd { (latency(&sum, 0.99)) } }
                }
                (series.events())
                (series.attempts())
                @if !failing.endpoints.is_empty() {
                    h2 { "Failing endpoints" }
                    (endpoints::rows(&view, &failing.endpoints, &since))
                    @if failing.total > FAILING { p { a href=(view.url("/endpoints?state=failing")) { "All of them" } } }
                }
                h2 { "Latest events" }
                @if recent.is_empty() {
                    div.card {
                        p { "No event was triggered yet." }
                        p { a.button.main href=(view.url("/trigger")) { "Trigger the first one" } }
                    }
                } @else {
                    (events::rows(&view, &recent, &names))
                }
            }
            div.actions {
                a.button href=(view.url("/events")) { "All events" }
                a.button href=(view.url("/trigger")) { "Trigger an event" }
                a.button href=(view.url("/endpoints/new")) { "Add an endpoint" }
            }
        },
    ))
}
