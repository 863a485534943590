//! One search for all: ids, keys and labels of events, and names and URLs of those who get them.

use std::collections::{BTreeMap, HashSet};

use maud::{Markup, html};
use nahook_core::id::{DeliveryId, MessageId};
use nahook_core::{IdempotencyKey, Timestamp};
use nahook_queue::{EventQuery, EventRecord, EventSearch as _};

use super::Answer;
use super::endpoint::event_type_names;
use super::{applications, endpoints, events};
use crate::error::PageError;
use crate::page::{page, redirect};
use crate::view::View;
use nahook_control::EndpointQuery;

/// Things of each kind that the page shows.
const SHOWN_MAX: u64 = 20;
/// Events whose labels say by which names a value is looked for: so many of the latest, and as many from before each of these times.
const LATEST: usize = 20;
const EARLIER_SECS: [u64; 2] = [3_600, 86_400];
/// Names that it is looked for by, those that most of these events have.
const NAMES_MAX: usize = 3;

/// The box that takes all that is searched for.
pub(super) fn form(view: &View, text: &str) -> Markup {
    html! {
        form.filter method="get" action=(view.url("/search")) role="search" {
            div.field.wide {
                label for="q" { "Find a customer, an endpoint or an event" }
                input #q type="search" name="q" value=(text) required aria-describedby="q-hint";
            }
            button type="submit" { "Search" }
            p.hint #q-hint { "A name, an external id, a URL, an id, an idempotency key, or a label of an event, such as the number of an order." }
        }
    }
}

/// The page of the event or of the delivery with that id.
fn only_page(text: &str) -> Option<String> {
    if text.parse::<MessageId>().is_ok() {
        return Some(format!("/events/{text}"));
    }
    let is_delivery = text.parse::<DeliveryId>().is_ok();
    is_delivery.then(|| format!("/deliveries/{text}"))
}

/// The labels that a text may stand for: with its name, or the value alone.
fn labels(text: &str, events: &[EventRecord]) -> Vec<(String, String)> {
    let mut names = BTreeMap::<_, usize>::new();
    for name in events
        .iter()
        .flat_map(|event| event.metadata.as_map().keys())
    {
        *names.entry(name).or_default() += 1;
    }
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort_by_key(|(_, events)| std::cmp::Reverse(*events));
    let names = names.into_iter().take(NAMES_MAX);
    let splits = [text.split_once('='), text.split_once(char::is_whitespace)];
    let with_names = splits.into_iter().flatten();
    names
        .map(|(name, _)| (name.as_str(), text))
        .chain(with_names)
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect()
}

async fn find_events(view: &View, text: &str) -> Result<Vec<EventRecord>, PageError> {
    let search = &view.site.ports.events;
    let latest = EventQuery {
        workspace: *view.workspace(),
        event_type: None,
        labels: Vec::new(),
        idempotency_key: None,
        before: None,
        limit: LATEST,
    };
    let shown_max = usize::try_from(SHOWN_MAX).unwrap_or(usize::MAX);
    let mut found = Vec::new();
    if let Ok(key) = IdempotencyKey::new(text) {
        let by_key = EventQuery {
            idempotency_key: Some(key),
            limit: shown_max,
            ..latest.clone()
        };
        found = search.events(&by_key).await?.events;
    }
    // What is looked at is bounded, and only of those that are found the deliveries are counted.
    let mut named = search.events(&latest).await?.events;
    for secs in EARLIER_SECS {
        let now = view.site.now().as_nanos();
        let at = Timestamp::from_nanos(now.saturating_sub(secs * 1_000_000_000));
        let earlier = EventQuery {
            before: Some(MessageId::from_parts(at, 0)),
            ..latest.clone()
        };
        named.extend(search.events(&earlier).await?.events);
    }
    let labels = labels(text, &named);
    if !labels.is_empty() {
        let by_label = EventQuery {
            labels,
            limit: shown_max,
            ..latest.clone()
        };
        found.extend(search.events(&by_label).await?.events);
    }
    let mut seen = HashSet::new();
    found.retain(|event| seen.insert(event.id));
    found.truncate(shown_max);
    Ok(found)
}

pub(super) async fn show(view: View) -> Answer {
    let Some(text) = view.query.some("q") else {
        let content = html! { h1 { "Search" } (form(&view, "")) };
        return Ok(page(&view, "Search", &content));
    };
    if let Some(path) = only_page(&text) {
        return Ok(redirect(&view.url(path)));
    }
    let (management, workspace) = (view.management(), view.workspace());
    let customers = management
        .applications_like(workspace, &text, SHOWN_MAX)
        .await?;
    let query = EndpointQuery {
        text: Some(text.clone()),
        limit: SHOWN_MAX,
        ..EndpointQuery::default()
    };
    let found = management.find_endpoints(workspace, &query).await?;
    let events = find_events(&view, &text).await?;
    // Of one thing the page is shown.
    let path = match (&customers[..], &found.endpoints[..], &events[..]) {
        ([one], [], []) => Some(format!("/applications/{}", one.id)),
        ([], [one], []) => Some(format!("/endpoints/{}", one.id)),
        ([], [], [one]) => Some(format!("/events/{}", one.id)),
        _ => None,
    };
    if let Some(path) = path {
        return Ok(redirect(&view.url(path)));
    }
    let known = endpoints::failing(&view, &found.endpoints).await?;
    let names = event_type_names(&view, events.iter().map(|it| it.event_type)).await?;
    let is_empty = customers.is_empty() && found.endpoints.is_empty() && events.is_empty();
    Ok(page(
        &view,
        "Search",
        &html! {
            h1 { "Search" }
            (form(&view, &text))
            @if is_empty {
                div.card {
                    p { "Nothing was found." }
                    p { "The labels of the latest ten thousand events were looked at. To look further back, search "
                        a href=(view.url("/events")) { "Events" } " for a label with its name, such as " code { "order=123" } "." }
                }
            }
            @if !customers.is_empty() { h2 { "Applications" } (applications::rows(&view, &customers)) }
            @if !found.endpoints.is_empty() {
                h2 { "Endpoints" @if found.total > SHOWN_MAX { ": the newest of " (found.total) } }
                (endpoints::rows(&view, &found.endpoints, &known))
            }
            @if !events.is_empty() { h2 { "Events" } (events::rows(&view, &events, &names)) }
        },
    ))
}
