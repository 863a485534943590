//! Broken limiters, over the one of the core.

use std::sync::Arc;
use std::time::Duration;

use nahook_core::admission::{Allowance, Caller, Grant, Verdict};
use nahook_core::id::{ApiKeyId, WorkspaceId};
use nahook_core::{GcraLimiter, RateLimiter, StoreError};
use nahook_testkit::{LimiterHarness, ManualClock};

use crate::broken::catches;

const ROUNDS_THE_WAIT_UP: u8 = 0;
const ROUNDS_THE_WAIT_DOWN: u8 = 1;
const FORGETS_THE_WORKSPACE: u8 = 2;
const SHARES_A_KEYS_RATE: u8 = 3;
const SPENDS_AT_A_REFUSAL: u8 = 4;
const MIXES_WORKSPACES: u8 = 5;
const NEVER_REFUSES: u8 = 6;
const REFUSES_WITHOUT_A_RATE: u8 = 7;
const LEVELS_ARE_CHECKED_APART: u8 = 8;
const LOOKING_SPENDS: u8 = 9;
const SHOWS_THE_KEYS_LEVEL: u8 = 10;
const SHOWS_THE_LAST_TOKEN_AS_NONE: u8 = 11;
const RESETS_AT_THE_NEXT_TOKEN: u8 = 12;
const SHOWS_ZERO_WITHOUT_A_RATE: u8 = 13;
const SEVERAL_OR_NONE: u8 = 14;
const SEVERAL_SPEND_WHEN_REFUSED: u8 = 15;

#[derive(Clone)]
struct Broken<const BUG: u8> {
    clock: ManualClock,
    inner: GcraLimiter,
}

impl<const BUG: u8> LimiterHarness for Broken<BUG> {
    type Limiter = Self;

    async fn start() -> Self {
        let clock = ManualClock::default();
        let inner = GcraLimiter::new(Arc::new(clock.clone()));
        Self { clock, inner }
    }

    fn limiter(&self) -> Self {
        self.clone()
    }

    fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }
}

impl<const BUG: u8> RateLimiter for Broken<BUG> {
    async fn check(&self, caller: &Caller) -> Result<Verdict, StoreError> {
        let mut caller = *caller;
        match BUG {
            FORGETS_THE_WORKSPACE => caller.plan.workspace_rate = None,
            SHARES_A_KEYS_RATE => caller.key = ApiKeyId::from_bits(1),
            MIXES_WORKSPACES => caller.workspace = WorkspaceId::from_bits(1),
            NEVER_REFUSES => return Ok(Verdict::Admit),
            REFUSES_WITHOUT_A_RATE if caller.plan.key_rate.is_none() => {
                caller.plan.key_rate =
                    caller
                        .plan
                        .workspace_rate
                        .or(nahook_core::admission::Rate::per_second(
                            std::num::NonZeroU32::new(100).unwrap(),
                        ));
            }
            _ => {}
        }
        if BUG == SPENDS_AT_A_REFUSAL || BUG == LEVELS_ARE_CHECKED_APART {
            // First the workspace's level and then the key's: the first has spent when the second refuses.
            let mut first = caller;
            first.plan.key_rate = None;
            caller.plan.workspace_rate = None;
            let workspace = self.inner.check(&first).await?;
            tokio::task::yield_now().await;
            let key = self.inner.check(&caller).await?;
            return Ok(if workspace == Verdict::Admit {
                key
            } else {
                workspace
            });
        }
        let verdict = self.inner.check(&caller).await?;
        Ok(match verdict {
            Verdict::Refuse { retry_after } if BUG == ROUNDS_THE_WAIT_UP => Verdict::Refuse {
                retry_after: Duration::from_secs(retry_after.as_secs() + 1),
            },
            Verdict::Refuse { retry_after } if BUG == ROUNDS_THE_WAIT_DOWN => Verdict::Refuse {
                retry_after: Duration::from_millis(
                    u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX),
                ),
            },
            verdict => verdict,
        })
    }

    async fn check_many(&self, caller: &Caller, wanted: u32) -> Result<Grant, StoreError> {
        let left = self.inner.peek(caller).await?.remaining;
        if BUG == SEVERAL_OR_NONE && left < wanted {
            return Ok(Grant {
                admitted: 0,
                refused: Some(Duration::from_secs(1)),
            });
        }
        let grant = self.inner.check_many(caller, wanted).await?;
        if BUG == SEVERAL_SPEND_WHEN_REFUSED && grant.refused.is_some() {
            self.advance(Duration::from_millis(1));
        }
        Ok(grant)
    }

    async fn peek(&self, caller: &Caller) -> Result<Allowance, StoreError> {
        let mut caller = *caller;
        if BUG == SHOWS_THE_KEYS_LEVEL && caller.plan.key_rate.is_some() {
            caller.plan.workspace_rate = None;
        }
        if BUG == LOOKING_SPENDS {
            self.inner.check(&caller).await?;
        }
        let mut shown = self.inner.peek(&caller).await?;
        match BUG {
            SHOWS_THE_LAST_TOKEN_AS_NONE => shown.remaining = shown.remaining.saturating_sub(1),
            RESETS_AT_THE_NEXT_TOKEN => {
                let interval = caller.plan.key_rate.or(caller.plan.workspace_rate);
                let interval = interval.map_or(Duration::ZERO, |rate| rate.interval());
                let now = nahook_core::Clock::now(&self.clock);
                shown.reset_at = shown.reset_at.min(now.saturating_add(interval));
            }
            SHOWS_ZERO_WITHOUT_A_RATE if shown.limit == u32::MAX => shown.remaining = 0,
            _ => {}
        }
        Ok(shown)
    }
}

catches! { limiter:
    rounds_the_wait_up in Broken<ROUNDS_THE_WAIT_UP> =>
        a_burst_is_admitted, refused_until_exactly_retry_after, the_longer_wait_counts;
    rounds_the_wait_down in Broken<ROUNDS_THE_WAIT_DOWN> => refused_until_exactly_retry_after;
    forgets_the_workspace in Broken<FORGETS_THE_WORKSPACE> =>
        a_workspace_limit_spans_its_keys, a_refusal_spends_nothing, workspaces_are_independent;
    shares_a_keys_rate in Broken<SHARES_A_KEYS_RATE> => keys_are_independent;
    spends_at_a_refusal in Broken<SPENDS_AT_A_REFUSAL> => a_refusal_spends_nothing;
    levels_are_checked_apart in Broken<LEVELS_ARE_CHECKED_APART> => the_longer_wait_counts;
    mixes_workspaces in Broken<MIXES_WORKSPACES> => workspaces_are_independent;
    never_refuses in Broken<NEVER_REFUSES> =>
        a_burst_is_admitted, tokens_come_back_one_by_one, concurrent_checks_never_over_admit,
        extreme_rates_are_kept;
    looking_spends in Broken<LOOKING_SPENDS> => looking_spends_nothing, what_is_left_is_counted;
    shows_the_keys_level in Broken<SHOWS_THE_KEYS_LEVEL> => the_tighter_level_is_shown;
    shows_the_last_token_as_none in Broken<SHOWS_THE_LAST_TOKEN_AS_NONE> => what_is_left_is_counted;
    resets_at_the_next_token in Broken<RESETS_AT_THE_NEXT_TOKEN> => what_is_left_is_counted;
    shows_zero_without_a_rate in Broken<SHOWS_ZERO_WITHOUT_A_RATE> =>
        without_a_rate_the_largest_numbers_are_shown;
    several_or_none in Broken<SEVERAL_OR_NONE> => several_are_admitted_as_far_as_there_are_tokens;
    several_spend_when_refused in Broken<SEVERAL_SPEND_WHEN_REFUSED> =>
        several_are_admitted_as_far_as_there_are_tokens;
    refuses_without_a_rate in Broken<REFUSES_WITHOUT_A_RATE> => unlimited_is_unlimited;
}
