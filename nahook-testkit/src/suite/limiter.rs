//! Promises of every [`RateLimiter`].

mod standing;

use std::num::NonZeroU32;
use std::time::Duration;

use nahook_core::RateLimiter;
use nahook_core::admission::{Caller, Plan, Rate, Verdict};

pub use self::standing::*;
use crate::LimiterHarness;
use crate::declare::caller;

const NANOSECOND: Duration = Duration::from_nanos(1);

/// As many checks as the burst are admitted at once, and not one more.
pub async fn a_burst_is_admitted<H: LimiterHarness>() {
    for burst in [1, 2, 5, 100] {
        let harness = H::start().await;
        let caller = limited("ws_shop", "key_one", None, Some(rate(10, 1_000, burst)));
        for nth in 1..=burst {
            expect_admitted(
                &harness,
                &caller,
                &format!("check {nth} of a burst of {burst}"),
            )
            .await;
        }
        let wait = Duration::from_millis(100);
        expect_refused(&harness, &caller, wait, "the burst is spent").await;
    }
}

/// A refusal names the wait exactly: a nanosecond before its end the same check is refused, at its end admitted. So at
/// either level, for rates that divide evenly and others.
pub async fn refused_until_exactly_retry_after<H: LimiterHarness>() {
    let rates = [
        rate(1, 1_000, 1),
        rate(3, 1_000, 2),
        rate(7, 60_000, 5),
        rate(1_000, 1_000, 3),
        rate(1, 86_400_000, 1),
    ];
    for rate in rates {
        for (workspace, key) in [(Some(rate), None), (None, Some(rate))] {
            let harness = H::start().await;
            let caller = limited("ws_shop", "key_one", workspace, key);
            spend(&harness, &caller, rate.burst().get()).await;
            harness.advance(rate.interval() / 3);
            let wait = refusal(&harness, &caller, "the burst is spent").await;
            assert_eq!(
                wait,
                rate.interval().saturating_sub(rate.interval() / 3),
                "a third of the time until the next token has passed, at {rate:?}"
            );
            harness.advance(wait.saturating_sub(NANOSECOND));
            expect_refused(&harness, &caller, NANOSECOND, "a nanosecond too early").await;
            harness.advance(NANOSECOND);
            expect_admitted(&harness, &caller, "exactly at the end of the wait").await;
            expect_refused(
                &harness,
                &caller,
                rate.interval(),
                "the one token is spent again",
            )
            .await;
        }
    }
}

/// If both levels refuse, the longer wait is named; if one does, its own.
pub async fn the_longer_wait_counts<H: LimiterHarness>() {
    let (slow, fast) = (rate(1, 1_000, 1), rate(10, 1_000, 1));
    for (workspace, key) in [(slow, fast), (fast, slow)] {
        let harness = H::start().await;
        let caller = limited("ws_shop", "key_one", Some(workspace), Some(key));
        expect_admitted(&harness, &caller, "both levels have a token").await;
        expect_refused(&harness, &caller, slow.interval(), "both levels are spent").await;
        harness.advance(fast.interval());
        let left = slow.interval().saturating_sub(fast.interval());
        expect_refused(&harness, &caller, left, "one level is still spent").await;
        harness.advance(left);
        expect_admitted(&harness, &caller, "both levels have a token again").await;
    }
}

/// Tokens that one key spends at the workspace's level are spent for the workspace's other keys.
pub async fn a_workspace_limit_spans_its_keys<H: LimiterHarness>() {
    let harness = H::start().await;
    let shared = Some(rate(10, 1_000, 4));
    let one = limited("ws_shop", "key_one", shared, None);
    let two = limited("ws_shop", "key_two", shared, None);
    for nth in 0..4 {
        let caller = if nth % 2 == 0 { &one } else { &two };
        expect_admitted(&harness, caller, "the workspace has four tokens").await;
    }
    let wait = Duration::from_millis(100);
    expect_refused(
        &harness,
        &one,
        wait,
        "both keys together have spent the four",
    )
    .await;
    expect_refused(
        &harness,
        &two,
        wait,
        "both keys together have spent the four",
    )
    .await;
}

/// Tokens that one key spends at its own level are not spent for another.
pub async fn keys_are_independent<H: LimiterHarness>() {
    let harness = H::start().await;
    let own = Some(rate(10, 1_000, 2));
    let one = limited("ws_shop", "key_one", None, own);
    let two = limited("ws_shop", "key_two", None, own);
    spend(&harness, &one, 2).await;
    refusal(&harness, &one, "key_one has spent its two").await;
    spend(&harness, &two, 2).await;
}

/// A check that one level refuses spends nothing at the other, however often it is repeated.
pub async fn a_refusal_spends_nothing<H: LimiterHarness>() {
    let harness = H::start().await;
    let (shared, own) = (Some(rate(1, 1_000, 10)), Some(rate(1, 1_000, 2)));
    let one = limited("ws_shop", "key_one", shared, own);
    let two = limited("ws_shop", "key_two", shared, None);
    spend(&harness, &one, 2).await;
    for _ in 0..20 {
        refusal(&harness, &one, "key_one has spent its two").await;
    }
    // Eight of the workspace's ten are left: the refusals have spent none.
    spend(&harness, &two, 8).await;

    let harness = H::start().await;
    let (shared, own) = (Some(rate(1, 1_000, 1)), Some(rate(1, 60_000, 2)));
    let one = limited("ws_shop", "key_one", shared, own);
    let two = limited("ws_shop", "key_two", shared, None);
    expect_admitted(&harness, &two, "the workspace has one token").await;
    for _ in 0..20 {
        expect_refused(
            &harness,
            &one,
            Duration::from_secs(1),
            "the workspace is spent",
        )
        .await;
    }
    for _ in 0..2 {
        harness.advance(Duration::from_secs(1));
        expect_admitted(
            &harness,
            &one,
            "key_one has both of its tokens: the refusals have spent none",
        )
        .await;
    }
}

/// Tokens that one workspace spends are not spent for another.
pub async fn workspaces_are_independent<H: LimiterHarness>() {
    let harness = H::start().await;
    let shared = Some(rate(1, 1_000, 3));
    let one = limited("ws_shop", "key_one", shared, None);
    let other = limited("ws_other", "key_other", shared, None);
    spend(&harness, &one, 3).await;
    refusal(&harness, &one, "ws_shop has spent its three").await;
    spend(&harness, &other, 3).await;
}

/// A level without a rate never refuses.
pub async fn unlimited_is_unlimited<H: LimiterHarness>() {
    let harness = H::start().await;
    spend(&harness, &limited("ws_shop", "key_one", None, None), 10_000).await;
}

/// One token comes back in each interval, and no more than the burst in however long a time.
pub async fn tokens_come_back_one_by_one<H: LimiterHarness>() {
    let harness = H::start().await;
    let rate = rate(10, 1_000, 3);
    let caller = limited("ws_shop", "key_one", Some(rate), Some(rate));
    spend(&harness, &caller, 3).await;
    for _ in 0..5 {
        harness.advance(rate.interval());
        expect_admitted(&harness, &caller, "one token has come back").await;
        refusal(&harness, &caller, "one token only has come back").await;
    }
    harness.advance(Duration::from_hours(24));
    spend(&harness, &caller, 3).await;
    refusal(
        &harness,
        &caller,
        "a day brings back the burst and not more",
    )
    .await;
}

/// Checks that come at the same time are never admitted beyond the burst: exactly the burst is, while time stands still.
pub async fn concurrent_checks_never_over_admit<H: LimiterHarness>() {
    let harness = H::start().await;
    let shared = Some(rate(1, 1_000, 100));
    let checking: Vec<_> = (0..8)
        .map(|key| {
            let limiter = harness.limiter();
            let caller = limited("ws_shop", &format!("key_{key}"), shared, shared);
            tokio::spawn(async move {
                let mut admitted = 0;
                for _ in 0..50 {
                    let verdict = limiter.check(&caller).await;
                    if verdict.expect("the limiter can be asked") == Verdict::Admit {
                        admitted += 1;
                    }
                    tokio::task::yield_now().await;
                }
                admitted
            })
        })
        .collect();
    let mut admitted = 0;
    for task in checking {
        admitted += task.await.expect("checking does not panic");
    }
    assert_eq!(
        admitted, 100,
        "400 concurrent checks share a burst of 100 while time stands still"
    );
}

/// The slowest and the fastest rate that can be stated are kept without breaking anything.
pub async fn extreme_rates_are_kept<H: LimiterHarness>() {
    let harness = H::start().await;
    let slowest = Rate::new(
        NonZeroU32::MIN,
        Duration::from_nanos(u64::MAX / 2),
        NonZeroU32::MIN,
    );
    let slowest = limited("ws_slow", "key_slow", slowest, slowest);
    expect_admitted(&harness, &slowest, "the one token").await;
    refusal(&harness, &slowest, "the next token is 292 years away").await;
    let fastest = Rate::new(
        NonZeroU32::new(1_000_000_000).unwrap_or(NonZeroU32::MAX),
        Duration::from_secs(1),
        NonZeroU32::MAX,
    );
    let fastest = limited("ws_fast", "key_fast", fastest, fastest);
    spend(&harness, &fastest, 1_000).await;
    let long = Rate::new(NonZeroU32::MIN, Duration::from_hours(24), NonZeroU32::MAX);
    let long = limited("ws_long", "key_long", long, long);
    spend(&harness, &long, 1_000).await;
}

/// `count` each `period_millis`, at most `burst` at once.
fn rate(count: u32, period_millis: u64, burst: u32) -> Rate {
    let (count, burst) = (NonZeroU32::new(count), NonZeroU32::new(burst));
    let rate = Rate::new(
        count.expect("not zero"),
        Duration::from_millis(period_millis),
        burst.expect("not zero"),
    );
    rate.expect("a rate within bounds")
}

fn limited(workspace: &str, key: &str, shared: Option<Rate>, own: Option<Rate>) -> Caller {
    Caller {
        plan: Plan {
            workspace_rate: shared,
            key_rate: own,
            ..Plan::default()
        },
        ..caller(workspace, key)
    }
}

async fn check<H: LimiterHarness>(harness: &H, caller: &Caller) -> Verdict {
    let verdict = harness.limiter().check(caller).await;
    verdict.expect("the limiter can be asked")
}

async fn expect_admitted<H: LimiterHarness>(harness: &H, caller: &Caller, why: &str) {
    assert_eq!(check(harness, caller).await, Verdict::Admit, "{why}");
}

async fn refusal<H: LimiterHarness>(harness: &H, caller: &Caller, why: &str) -> Duration {
    match check(harness, caller).await {
        Verdict::Admit => panic!("admitted instead of refused: {why}"),
        Verdict::Refuse { retry_after } => {
            assert!(!retry_after.is_zero(), "a refusal names a wait, never zero");
            retry_after
        }
    }
}

async fn expect_refused<H: LimiterHarness>(
    harness: &H,
    caller: &Caller,
    retry_after: Duration,
    why: &str,
) {
    assert_eq!(
        check(harness, caller).await,
        Verdict::Refuse { retry_after },
        "{why}"
    );
}

async fn spend<H: LimiterHarness>(harness: &H, caller: &Caller, count: u32) {
    for nth in 1..=count {
        expect_admitted(harness, caller, &format!("token {nth} of {count}")).await;
    }
}
