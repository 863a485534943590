//! The first page: what happens now, and what fails.

use maud::html;
use nahook_queue::{EventQuery, EventSearch as _};

use super::Answer;
use super::endpoint::event_type_names;
use super::endpoints::{self, failing};
use super::events;
use crate::page::page;
use crate::view::View;

/// Events that the page shows.
const EVENTS: usize = 10;
/// Failing endpoints that the page shows.
const FAILING: usize = 20;
/// Events that the numbers are of.
const COUNTED: usize = 200;

pub(super) async fn show(view: View) -> Answer {
    let all = view.endpoints().await?;
    let known = failing(&view, &all).await?;
    let is_failing = |endpoint: &&nahook_control::EndpointRecord| {
        endpoint.is_active && known.contains_key(&endpoint.id)
    };
    let failing: Vec<_> = all
        .iter()
        .filter(is_failing)
        .take(FAILING)
        .cloned()
        .collect();
    let failing_number = all.iter().filter(is_failing).count();
    let disabled = all.iter().filter(|endpoint| !endpoint.is_active).count();
    let query = EventQuery {
        workspace: *view.workspace(),
        event_type: None,
        label: None,
        before: None,
        limit: COUNTED,
    };
    let recent = view.site.ports.events.events(&query).await?.events;
    let sum = |of: fn(&nahook_queue::EventRecord) -> u32| -> u64 {
        recent.iter().map(|event| u64::from(of(event))).sum()
    };
    let (total, delivered, given_up) = (
        sum(|event| event.deliveries),
        sum(|event| event.delivered),
        sum(|event| event.given_up),
    );
    let names = event_type_names(&view).await?;
    let rate = (delivered + given_up > 0).then(|| delivered * 100 / (delivered + given_up));
    let live = view.url("/live");
    Ok(page(
        &view,
        "Overview",
        &html! {
            h1 { "Overview" }
            div data-live=(live) {
                dl.tiles {
                    div { dt { "Endpoints" } dd { (all.len()) } }
                    div { dt { "Failing now" } dd { (failing_number) } }
                    div { dt { "Disabled" } dd { (disabled) } }
                    div { dt { "Delivered, of those settled" } dd { @match rate { Some(rate) => { (rate) " %" }, None => "–" } } }
                    div { dt { "Waiting" } dd { (total - delivered - given_up) } }
                    div { dt { "Given up" } dd { (given_up) } }
                }
                p.quiet { "Deliveries are those of the latest " (recent.len()) " events." }
                @if !failing.is_empty() {
                    h2 { "Failing endpoints" }
                    (endpoints::rows(&view, &failing, &known))
                    @if failing_number > FAILING { p { a href=(view.url("/endpoints?state=failing")) { "All of them" } } }
                }
                h2 { "Latest events" }
                @if recent.is_empty() {
                    div.card {
                        p { "No event was triggered yet." }
                        p { a.button.main href=(view.url("/trigger")) { "Trigger the first one" } }
                    }
                } @else {
                    (events::rows(&view, &recent[..recent.len().min(EVENTS)], &names))
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
