//! Letting callers in, and telling them how they stand.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::contain::{contain, panicked};
use crate::{
    Allowance, Caller, Clock, FanOutSettings, Grant, LimiterDown, RateLimiter, SendError,
    StoreError, TriggerError, Verdict,
};

/// How many of those who wanted in were let in, the first ones.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) admitted: usize,
    /// Whether they were because the limiter is down.
    pub(super) is_bypassed: bool,
    /// Why the others were not.
    pub(super) refusal: Option<Refusal>,
}

/// Why somebody was not let in.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    /// The limiter is down, and the settings say to refuse then.
    LimiterDown(StoreError),
    RateLimited(Duration),
}

/// Spends the caller's tokens: one for each of so many.
pub(super) async fn admit(
    limiter: &impl RateLimiter,
    caller: &Caller,
    wanted: usize,
    settings: &FanOutSettings,
) -> Admission {
    let grant = match u32::try_from(wanted) {
        Ok(0) => return Admission::of_all(0, false),
        Ok(1) => contain(|| limiter.check(caller))
            .await
            .unwrap_or_else(panicked)
            .map(|verdict| match verdict {
                Verdict::Admit => (1, None),
                Verdict::Refuse { retry_after } => (0, Some(retry_after)),
            }),
        several => contain(|| limiter.check_many(caller, several.unwrap_or(u32::MAX)))
            .await
            .unwrap_or_else(panicked)
            .map(|Grant { admitted, refused }| (admitted as usize, refused)),
    };
    match (grant, settings.limiter_down) {
        (Ok((_, None)), _) => Admission::of_all(wanted, false),
        (Ok((admitted, Some(retry_after))), _) => Admission {
            admitted: admitted.min(wanted),
            is_bypassed: false,
            refusal: Some(Refusal::RateLimited(retry_after)),
        },
        (Err(_), LimiterDown::Admit) => Admission::of_all(wanted, true),
        (Err(error), LimiterDown::Refuse) => Admission {
            admitted: 0,
            is_bypassed: false,
            refusal: Some(Refusal::LimiterDown(error)),
        },
    }
}

impl Admission {
    fn of_all(wanted: usize, is_bypassed: bool) -> Self {
        Self {
            admitted: wanted,
            is_bypassed,
            refusal: None,
        }
    }
}

impl From<Refusal> for TriggerError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::LimiterDown(error) => Self::LimiterUnavailable(error),
            Refusal::RateLimited(retry_after) => Self::RateLimited { retry_after },
        }
    }
}

impl From<Refusal> for SendError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::LimiterDown(error) => Self::LimiterUnavailable(error),
            Refusal::RateLimited(retry_after) => Self::RateLimited { retry_after },
        }
    }
}

/// How the caller stands with its limits. A limiter that does not answer limits nobody: the plan's own numbers then.
pub(super) async fn standing(
    limiter: &impl RateLimiter,
    clock: &dyn Clock,
    deadline: Instant,
    caller: &Caller,
) -> Allowance {
    let peeking = timeout_at(deadline, contain(|| limiter.peek(caller)));
    match peeking.await {
        Ok(Ok(Ok(allowance))) => allowance,
        _ => Allowance::of_plan(&caller.plan, clock.now()),
    }
}
