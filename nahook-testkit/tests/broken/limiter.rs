//! Broken limiters, over the one of the core.

use std::sync::Arc;
use std::time::Duration;

use nahook_core::{ApiKeyId, Caller, GcraLimiter, RateLimiter, StoreError, Verdict, WorkspaceId};
use nahook_testkit::{LimiterHarness, ManualClock};

use crate::catches;

const ROUNDS_THE_WAIT_UP: u8 = 0;
const ROUNDS_THE_WAIT_DOWN: u8 = 1;
const FORGETS_THE_WORKSPACE: u8 = 2;
const SHARES_A_KEYS_RATE: u8 = 3;
const SPENDS_AT_A_REFUSAL: u8 = 4;
const MIXES_WORKSPACES: u8 = 5;
const NEVER_REFUSES: u8 = 6;
const REFUSES_WITHOUT_A_RATE: u8 = 7;
const LEVELS_ARE_CHECKED_APART: u8 = 8;

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
                caller.plan.key_rate = caller.plan.workspace_rate.or(
                    nahook_core::Rate::per_second(std::num::NonZeroU32::new(100).unwrap()),
                );
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
    refuses_without_a_rate in Broken<REFUSES_WITHOUT_A_RATE> => unlimited_is_unlimited;
}
