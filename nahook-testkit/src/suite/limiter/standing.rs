//! Remaining allowances of callers, and the cost of several tokens at once.

use std::time::Duration;

use nahook_core::admission::{Allowance, Caller, Grant, Rate};
use nahook_core::{RateLimiter, Timestamp};

use super::{expect_admitted, expect_refused, limited, rate, spend};
use crate::LimiterHarness;

/// Wanting several tokens is like checking so often: as many are admitted as there are, the wait for the next is
/// exact, and what was refused has spent nothing.
pub async fn several_are_admitted_as_far_as_there_are_tokens<H: LimiterHarness>() {
    for (workspace, key) in levels(rate(10, 1_000, 7)) {
        let harness = H::start().await;
        let caller = limited("ws_shop", "key_one", workspace, key);
        let wait = Duration::from_millis(100);
        expect_grant(&harness, &caller, 3, 3, None).await;
        expect_grant(&harness, &caller, 0, 0, None).await;
        expect_grant(&harness, &caller, 20, 4, Some(wait)).await;
        expect_grant(&harness, &caller, 2, 0, Some(wait)).await;
        expect_refused(&harness, &caller, wait, "several have spent the burst").await;
        harness.advance(2 * wait);
        expect_grant(&harness, &caller, 20, 2, Some(wait)).await;
        harness.advance(wait);
        expect_admitted(&harness, &caller, "one token has come back").await;
    }
    let harness = H::start().await;
    let unlimited = limited("ws_shop", "key_one", None, None);
    expect_grant(&harness, &unlimited, 1_000, 1_000, None).await;
}

/// Asking how one stands spends nothing, before the first check and after.
pub async fn looking_spends_nothing<H: LimiterHarness>() {
    for (workspace, key) in levels(rate(10, 1_000, 5)) {
        let harness = H::start().await;
        let caller = limited("ws_shop", "key_one", workspace, key);
        for _ in 0..20 {
            standing(&harness, &caller).await;
        }
        spend(&harness, &caller, 3).await;
        for _ in 0..20 {
            standing(&harness, &caller).await;
        }
        spend(&harness, &caller, 2).await;
        let wait = Duration::from_millis(100);
        expect_refused(&harness, &caller, wait, "the burst is spent").await;
    }
}

/// The limit is the burst; what remains goes down with every token, stays at a refusal and comes back with time; the
/// reset is when all of it will be there.
pub async fn what_is_left_is_counted<H: LimiterHarness>() {
    let rate = rate(10, 1_000, 5);
    let interval = rate.interval();
    for (workspace, key) in levels(rate) {
        let harness = H::start().await;
        let caller = limited("ws_shop", "key_one", workspace, key);
        for spent in 0..5 {
            expect_standing(&harness, &caller, 5, 5 - spent, interval * spent).await;
            spend(&harness, &caller, 1).await;
        }
        expect_standing(&harness, &caller, 5, 0, interval * 5).await;
        expect_refused(&harness, &caller, interval, "the burst is spent").await;
        expect_standing(&harness, &caller, 5, 0, interval * 5).await;
        harness.advance(interval * 5 / 2);
        expect_standing(&harness, &caller, 5, 2, interval * 5 / 2).await;
        harness.advance(Duration::from_hours(1));
        expect_standing(&harness, &caller, 5, 5, Duration::ZERO).await;
    }
}

/// Of the two levels that one is shown that has fewer tokens left.
pub async fn the_tighter_level_is_shown<H: LimiterHarness>() {
    let (wide, narrow) = (rate(10, 1_000, 8), rate(10, 1_000, 3));
    let interval = narrow.interval();
    for (workspace, key) in [(wide, narrow), (narrow, wide)] {
        let harness = H::start().await;
        let caller = limited("ws_shop", "key_one", Some(workspace), Some(key));
        expect_standing(&harness, &caller, 3, 3, Duration::ZERO).await;
        spend(&harness, &caller, 2).await;
        expect_standing(&harness, &caller, 3, 1, interval * 2).await;
    }
    // What other keys spend of the workspace's makes it the tighter one.
    let harness = H::start().await;
    let one = limited("ws_shop", "key_one", Some(wide), Some(narrow));
    for other in ["key_two", "key_three"] {
        let other = limited("ws_shop", other, Some(wide), Some(narrow));
        spend(&harness, &other, 3).await;
    }
    expect_standing(&harness, &one, 8, 2, interval * 6).await;
}

/// A caller without a rate is shown the largest numbers there are, and that they are there now.
pub async fn without_a_rate_the_largest_numbers_are_shown<H: LimiterHarness>() {
    let harness = H::start().await;
    let unlimited = limited("ws_shop", "key_one", None, None);
    for _ in 0..3 {
        let now = now(&harness).await;
        let shown = standing(&harness, &unlimited).await;
        assert_eq!(shown, Allowance::unlimited(now), "there is no rate");
        expect_admitted(&harness, &unlimited, "there is no rate").await;
        harness.advance(Duration::from_secs(1));
    }
}

/// The rate at either level.
fn levels(rate: Rate) -> [(Option<Rate>, Option<Rate>); 3] {
    [
        (Some(rate), None),
        (None, Some(rate)),
        (Some(rate), Some(rate)),
    ]
}

async fn standing<H: LimiterHarness>(harness: &H, caller: &Caller) -> Allowance {
    let standing = harness.limiter().peek(caller).await;
    standing.expect("the limiter can be asked")
}

/// The limiter's own time, which it tells a caller without a rate.
async fn now<H: LimiterHarness>(harness: &H) -> Timestamp {
    let unlimited = limited("ws_clock", "key_clock", None, None);
    standing(harness, &unlimited).await.reset_at
}

async fn expect_standing<H: LimiterHarness>(
    harness: &H,
    caller: &Caller,
    limit: u32,
    remaining: u32,
    until_reset: Duration,
) {
    let expected = Allowance {
        limit,
        remaining,
        reset_at: now(harness).await.saturating_add(until_reset),
    };
    let shown = standing(harness, caller).await;
    assert_eq!(shown, expected, "{remaining} of {limit} are left");
}

async fn expect_grant<H: LimiterHarness>(
    harness: &H,
    caller: &Caller,
    wanted: u32,
    admitted: u32,
    refused: Option<Duration>,
) {
    let grant = harness.limiter().check_many(caller, wanted).await;
    assert_eq!(
        grant.expect("the limiter can be asked"),
        Grant { admitted, refused },
        "{wanted} are wanted"
    );
}
