//! The page of a delivery: its payload and its attempts.

use axum::extract::Path;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::IntoResponse as _;
use maud::{Markup, html};
use nahook_control::{EndpointKind, EndpointRecord};
use nahook_core::id::DeliveryId;
use nahook_core::{Payload, Timestamp};
use nahook_delivery::{Signer, header as sent};
use nahook_queue::{Attempt, AttemptRecord, DeliveryLog as _, DeliveryRecord, DeliveryStatus};

use super::Answer;
use super::endpoint::{event_type_names, event_type_text, reason, said};
use crate::access::Right;
use crate::error::PageError;
use crate::page::{all_labels, badge, button, page, redirect, status_badge};
use crate::text::{beginning, cut, maybe_time, time, visible};
use crate::view::View;

/// Bytes of a page that a payload takes.
const SHOWN_MAX: usize = 16 * 1024;
/// Bytes of a page that attempts take, but that the first of them is shown in any case.
const ATTEMPTS_LEN: usize = 48 * 1024;
/// Bytes of a page that one answer takes, which is twice what is kept of it.
const ANSWER_LEN: usize = 2 * Attempt::RESPONSE_BODY_LEN_MAX;

/// The delivery and its endpoint, if the visitor reaches them. A deleted endpoint's history is the operators'.
async fn delivery(
    view: &View,
    id: &str,
) -> Result<(DeliveryRecord, Option<EndpointRecord>), PageError> {
    let id: DeliveryId = id.parse().map_err(|_| PageError::missing())?;
    let log = &view.site.ports.api.ports().log;
    let found = log.delivery(id, view.workspace()).await?;
    let delivery = found.ok_or_else(PageError::missing)?;
    match view.endpoint(delivery.endpoint.as_str()).await {
        Ok(endpoint) => Ok((delivery, Some(endpoint))),
        Err(error) if view.is_customer() || error.status != axum::http::StatusCode::NOT_FOUND => {
            Err(error)
        }
        Err(_) => Ok((delivery, None)),
    }
}

/// A payload as a page shows it: the beginning of one that is long.
pub(super) fn payload_text(payload: Option<&Payload>, whole: Option<&str>) -> Markup {
    let Some(payload) = payload else {
        return html! { p.quiet { "The payload is not kept any more." } };
    };
    let text = String::from_utf8_lossy(payload.as_bytes());
    let len = payload.as_bytes().len();
    let beginning = beginning(&text, SHOWN_MAX);
    html! {
        pre tabindex="0" aria-label="Payload" data-copy="the payload" { (visible(beginning.unwrap_or(&text))) }
        p.quiet {
            (len) " bytes" @if beginning.is_some() { ", of which the first are shown" } ". "
            @if let Some(url) = whole { a href=(url) { "Download" } }
        }
    }
}

pub(super) async fn show(view: View, Path(id): Path<String>) -> Answer {
    let (delivery, endpoint) = delivery(&view, &id).await?;
    let log = &view.site.ports.api.ports().log;
    let attempts = log.attempts(delivery.id, view.workspace()).await?;
    let attempts = attempts.unwrap_or_default();
    let payload = log.payload(delivery.id, view.workspace()).await?;
    let before = view.query.value::<u32>("before")?.unwrap_or(u32::MAX);
    let names = event_type_names(&view, [delivery.event_type]).await?;
    let event_type = event_type_text(&names, delivery.event_type);
    let path = format!("/deliveries/{}", delivery.id);
    let can_change = view.visitor.can(Right::Change);
    let records = attempts.iter().rev().filter(|it| it.number < before);
    let known = records.clone().count();
    let mut len = 0;
    let shown: Vec<_> = records
        .map(|record| {
            let of = (&delivery, endpoint.as_ref(), &*event_type);
            (record.number, attempt(&view, record, of, payload.as_ref()))
        })
        .take_while(|(_, item)| {
            let is_first = len == 0;
            len += item.0.len();
            is_first || len <= ATTEMPTS_LEN
        })
        .collect();
    let live = view.url("/live");
    Ok(page(
        &view,
        &format!("Delivery {}", delivery.id),
        &html! {
            @if let Some(endpoint) = &endpoint {
                p.crumbs { a href=(view.url(format_args!("/endpoints/{}", endpoint.id))) { (visible(&endpoint.url)) } }
            }
            h1 { "Delivery of " (event_type) }
            div data-live=(live) {
                p { (status_badge(delivery.status)) " " (outcome(&delivery)) }
                @if delivery.status != DeliveryStatus::Delivered && let Some(last) = attempts.last() {
                    div.notice.bad { strong { "Why it was not taken" } (reason(last)) (said(&view, last)) }
                }
            }
            @if can_change { div.actions {
                @if delivery.status.is_given_up() && delivery.has_payload {
                    (button(&view, &format!("{path}/retry"), "main", "Retry now"))
                }
                @if delivery.has_payload && endpoint.is_some() {
                    (button(&view, &format!("{path}/resend"), "", "Send again as a new delivery"))
                }
            } }
            div.card { dl.facts {
                dt { "Id" } dd { code data-copy="the id" { (delivery.id) } }
                @if !view.is_customer() {
                    dt { "Event" } dd { a href=(view.url(format_args!("/events/{}", delivery.message))) { (delivery.message) } }
                }
                dt { "Event type" } dd { (event_type) }
                dt { "Accepted" } dd { (time(delivery.created_at)) }
                dt { "First attempt" } dd { (maybe_time(delivery.first_attempt_at)) }
                dt { "Delivered" } dd { (maybe_time(delivery.delivered_at)) }
                dt { "Next attempt" } dd { (maybe_time(delivery.next_retry_at)) }
                dt { "Idempotency key" } dd { code { (visible(delivery.idempotency_key.as_str())) } }
                @if !delivery.metadata.is_empty() {
                    dt { "Labels" }
                    dd { (all_labels(delivery.metadata.as_map())) }
                }
            } }
            h2 { "Attempts" }
            @if attempts.is_empty() { p { "None was made yet." } }
            ol.line { @for (_, item) in &shown { li { (item) } } }
            div.actions {
                @if before < u32::MAX { a.button href=(view.url(&path)) { "Latest attempts" } }
                @if let Some((first, _)) = shown.last() && shown.len() < known {
                    a.button href=(view.url(format_args!("{path}?before={first}"))) { "Earlier attempts" }
                }
            }
            h2 { "Payload" }
            (payload_text(payload.as_ref(), Some(&view.url(format_args!("{path}/payload")))))
        },
    ))
}

fn outcome(delivery: &DeliveryRecord) -> Markup {
    html! {
        @match delivery.status {
            DeliveryStatus::Delivered => { "A receiver took it " (maybe_time(delivery.delivered_at)) "." }
            DeliveryStatus::Delivering => { "It is being attempted now." }
            DeliveryStatus::Pending => { "It waits for its first attempt." }
            DeliveryStatus::ScheduledRetry => { "The next attempt is due " (maybe_time(delivery.next_retry_at)) "." }
            DeliveryStatus::Failed => { "It was given up before the end of its schedule: the endpoint was disabled, deleted or refused it for good." }
            DeliveryStatus::DeadLetter => { "Every attempt of its schedule failed." }
        }
    }
}

fn attempt(
    view: &View,
    record: &AttemptRecord,
    (delivery, endpoint, event_type): (&DeliveryRecord, Option<&EndpointRecord>, &str),
    payload: Option<&Payload>,
) -> Markup {
    let attempt = &record.attempt;
    let is_fine = attempt.error.is_none() && attempt.status_code.is_some_and(|code| code < 300);
    html! {
        p {
            strong { "Attempt " (record.number) } " "
            @if is_fine { (badge("good", "Taken")) } @else { (badge("bad", "Failed")) }
            " " (time(attempt.started_at)) ", took " (attempt.duration.as_millis()) " ms"
        }
        p { (reason(record)) }
        @if view.visitor.can(Right::Change) && let Some(body) = &attempt.response_body {
            details {
                summary { "The answer" }
                pre tabindex="0" aria-label={ "Answer to attempt " (record.number) } { (cut(body, ANSWER_LEN)) }
                @if body.len() + 3 >= Attempt::RESPONSE_BODY_LEN_MAX { p.quiet { "Only the start is kept." } }
            }
        }
        @if attempt.was_made() && let Some(endpoint) = endpoint {
            details {
                summary { "The request" }
                pre tabindex="0" aria-label={ "Request of attempt " (record.number) } {
                    (request(view, endpoint, delivery, record, event_type, payload))
                }
            }
        }
    }
}

/// The request as it was sent. The signature is made again with the endpoint's secrets, for those who may see them.
fn request(
    view: &View,
    endpoint: &EndpointRecord,
    delivery: &DeliveryRecord,
    record: &AttemptRecord,
    event_type: &str,
    payload: Option<&Payload>,
) -> String {
    let at: Timestamp = record.attempt.started_at;
    let mut lines = vec![
        format!("POST {}", cut(&endpoint.url, 2_048)),
        "content-type: application/json".to_owned(),
        format!("user-agent: {}", sent::AGENT.to_str().unwrap_or_default()),
        format!("{}: {}", sent::DELIVERY_ID, delivery.id),
    ];
    if delivery.event_type.is_some() {
        lines.push(format!("{}: {event_type}", sent::EVENT_TYPE));
    }
    lines.push(format!("{}: {}", sent::ATTEMPT, record.number));
    if endpoint.kind == EndpointKind::Webhook {
        let id = delivery.message.to_string();
        lines.push(format!("{}: {id}", sent::WEBHOOK_ID));
        lines.push(format!("{}: {}", sent::WEBHOOK_TIMESTAMP, at.as_secs()));
        let signature = payload
            .filter(|_| view.visitor.can(Right::Administer))
            .and_then(|payload| {
                let secrets = endpoint.signing_secrets(at);
                let secrets = secrets.iter().map(nahook_control::SecretText::expose);
                let signer = Signer::new(secrets).ok()?;
                Some(signer.sign(&id, at.as_secs(), payload.as_bytes()))
            });
        lines.push(format!(
            "{}: {}",
            sent::WEBHOOK_SIGNATURE,
            signature.as_deref().unwrap_or("v1,…")
        ));
    }
    if endpoint.auth.is_some() {
        lines.push("authorization: Basic …".to_owned());
    }
    lines.join("\n")
}

/// The payload as it was sent, as a file: no browser interprets it.
pub(super) async fn payload(view: View, Path(id): Path<String>) -> Answer {
    let (delivery, _) = delivery(&view, &id).await?;
    let log = &view.site.ports.api.ports().log;
    let payload = log.payload(delivery.id, view.workspace()).await?;
    let payload = payload.ok_or_else(PageError::missing)?;
    let name = format!("attachment; filename=\"{}.json\"", delivery.id);
    let name = HeaderValue::try_from(name).unwrap_or(HeaderValue::from_static("attachment"));
    let headers: [(HeaderName, HeaderValue); 2] = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        ),
        (header::CONTENT_DISPOSITION, name),
    ];
    Ok((headers, payload.as_bytes().to_vec()).into_response())
}

pub(super) async fn retry(view: View, Path(id): Path<String>) -> Answer {
    let (delivery, _) = delivery(&view, &id).await?;
    view.require(Right::Change)?;
    let api = &view.site.ports.api;
    api.retry_delivery(view.workspace(), &view.visitor.actor, delivery.id)
        .await?;
    let path = format!("/deliveries/{}?done=retried", delivery.id);
    Ok(redirect(&view.url(path)))
}

pub(super) async fn resend(view: View, Path(id): Path<String>) -> Answer {
    let (delivery, _) = delivery(&view, &id).await?;
    view.require(Right::Change)?;
    let api = &view.site.ports.api;
    let made = api
        .resend_delivery(view.workspace(), &view.visitor.actor, delivery.id)
        .await?;
    let path = format!("/deliveries/{made}?done=resent");
    Ok(redirect(&view.url(path)))
}
