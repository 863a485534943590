//! One attempt: from a leased delivery and its endpoint to what is to become of both.

use std::time::Duration;

use nahook_control::{EndpointKind, EndpointTarget, HealthState};
use nahook_core::id::WorkspaceId;
use nahook_core::{Clock, IdSource, Timestamp};
use nahook_queue::{Attempt, LeasedDelivery, Next};
use tokio::time::{Instant, timeout};
use tracing::Instrument as _;

use super::contain::contain;
use super::judgement::{GONE, GONE_STATUS, Judgement, NoAnswer, judge};
use super::observe::{self, AttemptMetrics};
use super::request::{Addressee, request};
use super::settings::WorkerSettings;
use super::spans;
use crate::transport::{LocalCause, OutboundResponse, Transport, TransportError};

/// End of an attempt.
#[derive(Debug)]
pub(super) enum Ended {
    Attempted(Attempted),
    /// Nothing was sent, for a lack of this machine.
    NotMade(LocalCause),
}

/// Result of an attempt.
#[derive(Debug)]
pub(super) struct Attempted {
    pub(super) workspace: WorkspaceId,
    pub(super) attempt: Attempt,
    pub(super) next: Next,
    /// Health of the endpoint that the directory does not know yet.
    pub(super) health: Option<HealthState>,
}

/// Everything that an attempt needs besides its delivery and its endpoint.
pub(super) struct Means<'a, T> {
    pub(super) transport: &'a T,
    pub(super) clock: &'a dyn Clock,
    pub(super) ids: &'a dyn IdSource,
    pub(super) settings: &'a WorkerSettings,
    pub(super) metrics: &'a AttemptMetrics,
}

/// Makes the delivery's next attempt. Never panics, and ends by the settings' time-out.
///
/// What may be this machine's fault or the endpoint's counts as this machine's if `is_forgiven`.
pub(super) async fn attempt<T: Transport>(
    means: &Means<'_, T>,
    delivery: &LeasedDelivery,
    target: &EndpointTarget,
    addressee: &Addressee,
    is_forgiven: bool,
) -> Ended {
    let number = delivery.attempts.saturating_add(1);
    let begun = Instant::now();
    let started_at = means.clock.now();
    let span = spans::attempt(delivery, number);
    let posting = post(means, delivery, addressee, number, started_at).instrument(span.clone());
    let answer = contain(posting).await.unwrap_or(Err(NoAnswer::Panicked));
    let answer = match answer {
        Err(NoAnswer::Transport(TransportError::Local(cause))) => {
            if cause.is_certain() || is_forgiven {
                return Ended::NotMade(cause);
            }
            Err(cause.as_failure().into())
        }
        answer => answer,
    };
    let duration = begun.elapsed();
    let ended_at = means.clock.now();
    let outcome = observe::outcome(&answer);
    let response_body = answer
        .as_ref()
        .map_or(None, |answer| Attempt::body_text(&answer.body));
    let judgement = judge(&answer, ended_at);
    let next = next(means, number, &judgement, target, ended_at);
    let health = health(means.settings, &judgement, target, started_at, ended_at);
    let mut attempt = record(judgement, started_at, duration);
    attempt.response_body = response_body;
    if let (Some(error), Some(end)) = (&mut attempt.error, end(attempt.status_code, next, health)) {
        error.push_str(end);
    }
    let attempted = Attempted {
        workspace: delivery.workspace,
        attempt,
        next,
        health,
    };
    observe::attempted(
        delivery,
        number,
        &attempted.attempt,
        next,
        outcome,
        &span,
        means.metrics,
    );
    Ended::Attempted(attempted)
}

/// Builds the attempt row that the tenant is shown when an attempt ends more than itself.
fn end(status_code: Option<u16>, next: Next, health: Option<HealthState>) -> Option<&'static str> {
    match (next, health) {
        // Its own text says so.
        _ if status_code == Some(GONE_STATUS) => None,
        (Next::DeadLetter, Some(HealthState::Disable)) => Some(
            "; it was the last attempt, and the endpoint was disabled: it has failed for too long",
        ),
        (Next::DeadLetter, _) => Some("; it was the last attempt"),
        (_, Some(HealthState::Disable)) => {
            Some("; the endpoint was disabled: it has failed for too long")
        }
        (Next::Failed, _) => Some("; no further attempt is made"),
        _ => None,
    }
}

/// Builds the log's entry of a delivery that is abandoned without an attempt: no request, no answer, and why.
pub(super) fn not_attempted(now: Timestamp, reason: &str) -> Attempt {
    Attempt {
        started_at: now,
        duration: Duration::ZERO,
        status_code: None,
        error: Some(reason.to_owned()),
        response_body: None,
    }
}

async fn post<T: Transport>(
    means: &Means<'_, T>,
    delivery: &LeasedDelivery,
    addressee: &Addressee,
    number: u32,
    now: Timestamp,
) -> Result<OutboundResponse, NoAnswer> {
    let request = request(delivery, addressee, number, now)?;
    let answer = timeout(
        means.settings.attempt_timeout,
        means.transport.post(request),
    )
    .await;
    Ok(answer.map_err(|_| NoAnswer::GaveUp)??)
}

fn next<T>(
    means: &Means<'_, T>,
    number: u32,
    judgement: &Judgement,
    target: &EndpointTarget,
    now: Timestamp,
) -> Next {
    match judgement {
        Judgement::Accepted { .. } => Next::Delivered,
        Judgement::Gone => Next::Failed,
        // Nobody will ever look at it again, unlike a webhook's URL that can be mended.
        Judgement::Failed { .. } if has_no_url(target) => Next::Failed,
        Judgement::Failed { retry_after, .. } => means
            .settings
            .schedule
            .wait(number, *retry_after, means.ids.random())
            .map_or(Next::DeadLetter, |wait| {
                Next::Retry(now.saturating_add(wait))
            }),
    }
}

/// A Slack endpoint whose settings lack the URL.
fn has_no_url(target: &EndpointTarget) -> bool {
    target.kind == EndpointKind::Slack && target.url.is_empty()
}

/// Only what changes something is reported, so that while all is well nothing is written.
fn health(
    settings: &WorkerSettings,
    judgement: &Judgement,
    target: &EndpointTarget,
    started_at: Timestamp,
    now: Timestamp,
) -> Option<HealthState> {
    match (judgement, target.failing_since) {
        (Judgement::Accepted { .. }, since) => since.map(|_| HealthState::Healthy),
        (Judgement::Gone, _) => Some(HealthState::Disable),
        (Judgement::Failed { .. }, None) => Some(HealthState::FailingSince(started_at)),
        (Judgement::Failed { .. }, Some(since)) => {
            let too_long = now.saturating_since(since) >= settings.disable_after;
            too_long.then_some(HealthState::Disable)
        }
    }
}

fn record(judgement: Judgement, started_at: Timestamp, duration: Duration) -> Attempt {
    let (status_code, error) = match judgement {
        Judgement::Accepted { status } => (Some(status), None),
        Judgement::Failed { status, error, .. } => (status, Some(error)),
        Judgement::Gone => (Some(GONE_STATUS), Some(GONE.to_owned())),
    };
    Attempt {
        started_at,
        duration,
        status_code,
        error,
        response_body: None,
    }
}

#[cfg(test)]
mod tests;
