//! News that something on the page may have changed, as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::IntoResponse as _;
use futures_util::stream;
use nahook_core::Timestamp;
use nahook_queue::{CountsQuery, DeliveryCounts as _, EventQuery, EventSearch as _, Period};
use tokio::time::sleep;

use super::Answer;
use crate::error::PageError;
use crate::looks::PAUSE;
use crate::view::View;

/// Pause of a browser after news, which loads its page anew: while something changes all the time, that is what a view costs.
const AFTER_NEWS: Duration = Duration::from_secs(5);
/// Looks of one stream. Browsers open another when it ends, for which the session is checked anew; a server that stops waits no
/// longer.
const LOOKS: u32 = 4;
/// Events that are looked at: further deliveries change seldom.
const EVENTS: usize = 20;

/// Returns a number that differs when one of the latest events has changed. A customer's differs each time: nothing of other customers'
/// events goes into it.
async fn state(view: &View) -> Result<u64, PageError> {
    if view.is_customer() {
        return Ok(view.site.now().as_secs() / 6);
    }
    let (looks, now) = (&view.site.looks, view.site.now());
    if let Some(state) = looks.known(view.workspace(), now) {
        return Ok(state);
    }
    let state = look(view).await?;
    looks.keep(*view.workspace(), now, state);
    Ok(state)
}

async fn look(view: &View) -> Result<u64, PageError> {
    let query = EventQuery {
        workspace: *view.workspace(),
        event_type: None,
        labels: Vec::new(),
        idempotency_key: None,
        before: None,
        limit: EVENTS,
    };
    let latest = view.site.ports.events.events(&query).await?.events;
    let first = latest.first();
    let mut state = first.map_or(0, |event| event.accepted_at.as_nanos());
    for event in latest {
        let settled = u64::from(event.delivered + event.given_up);
        state = state.wrapping_mul(31).wrapping_add(settled);
    }
    // What is counted at the end of a minute is written in the next.
    let minute = u64::try_from(Period::Minute.len().as_nanos()).unwrap_or(u64::MAX);
    let since = view.site.now().as_nanos().saturating_sub(minute);
    let counts = CountsQuery {
        workspace: *view.workspace(),
        endpoint: None,
        period: Period::Minute,
        since: Period::Minute.start_of(Timestamp::from_nanos(since)),
    };
    for minute in view.site.ports.counts.counts(&counts).await? {
        let attempts = minute.counts.delivered + minute.counts.failed;
        state = state.wrapping_mul(31).wrapping_add(attempts);
    }
    if let Some(backlog) = view.site.backlogs.known(view.workspace()) {
        let oldest = backlog.stats.oldest_due_at.map_or(0, Timestamp::as_nanos);
        let (waiting, retries) = (backlog.stats.pending, backlog.stats.scheduled_retry);
        for number in [1, waiting, retries, oldest] {
            state = state.wrapping_mul(31).wrapping_add(number);
        }
    }
    Ok(state)
}

/// Tells of the next change, or that there was none for a while.
pub(super) async fn changes(view: View, headers: HeaderMap) -> Answer {
    let seen = headers.get("last-event-id");
    let seen = seen.and_then(|id| id.to_str().ok()?.parse().ok());
    let before = match seen {
        Some(seen) => seen,
        None => state(&view).await?,
    };
    let hello = format!("retry: 500\nid: {before}\n\n");
    let first = stream::once(std::future::ready(Ok::<_, Infallible>(Bytes::from(hello))));
    let news = stream::once(async move {
        for _ in 0..LOOKS {
            let Ok(now) = state(&view).await else { break };
            if now != before {
                let retry = AFTER_NEWS.as_millis();
                let news = format!("retry: {retry}\nevent: changed\nid: {now}\ndata:\n\n");
                return Ok(Bytes::from(news));
            }
            sleep(PAUSE).await;
        }
        Ok(Bytes::new())
    });
    let content_type = HeaderValue::from_static("text/event-stream");
    let body = Body::from_stream(stream::StreamExt::chain(first, news));
    Ok(([(header::CONTENT_TYPE, content_type)], body).into_response())
}
