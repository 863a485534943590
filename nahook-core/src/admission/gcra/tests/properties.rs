//! For any rates, callers and times.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;

use super::{DAY_ONE, caller, check, limiter, rate, refusal};
use crate::Timestamp;
use crate::admission::{Caller, LimiterKey, Verdict};

/// One step of a script: wait, then somebody asks.
#[derive(Clone, Debug)]
struct Step {
    wait: u64,
    workspace: u128,
    key: u128,
}

#[derive(Clone, Debug)]
struct Script {
    of_workspace: Option<(u64, u32)>,
    of_key: Option<(u64, u32)>,
    steps: Vec<Step>,
}

fn scripts() -> impl Strategy<Value = Script> {
    let level = || proptest::option::weighted(0.8, (1_u64..50, 1_u32..6));
    let step = (
        prop_oneof![Just(0), 0_u64..8, 0_u64..200],
        0_u128..3,
        0_u128..3,
    )
        .prop_map(|(wait, workspace, key)| Step {
            wait,
            workspace,
            key: workspace * 10 + key,
        });
    (level(), level(), proptest::collection::vec(step, 1..120)).prop_map(
        |(of_workspace, of_key, steps)| Script {
            of_workspace,
            of_key,
            steps,
        },
    )
}

impl Script {
    fn caller(&self, step: &Step) -> Caller {
        let level = |(interval, burst)| rate(Duration::from_nanos(interval), burst);
        caller(
            step.workspace,
            step.key,
            self.of_workspace.map(level),
            self.of_key.map(level),
        )
    }
}

/// The textbook's token bucket, in exact integers: tokens are counted in interval-ths.
#[derive(Clone, Copy)]
struct Bucket {
    interval: u64,
    burst: u32,
    level: u64,
    at: u64,
}

impl Bucket {
    fn full((interval, burst): (u64, u32), at: u64) -> Self {
        Self {
            interval,
            burst,
            level: u64::from(burst) * interval,
            at,
        }
    }

    fn refill(&mut self, now: u64) {
        let most = u64::from(self.burst) * self.interval;
        self.level = (self.level + (now - self.at)).min(most);
        self.at = now;
    }

    fn wait(&self) -> u64 {
        self.interval.saturating_sub(self.level)
    }
}

proptest! {
    #[test]
    fn every_verdict_is_the_token_buckets(script in scripts()) {
        let (limiter, clock) = limiter();
        let mut now = DAY_ONE;
        let mut workspaces = HashMap::new();
        let mut keys = HashMap::new();
        for step in &script.steps {
            now += step.wait;
            clock.set(now);
            let mut levels = Vec::new();
            if let Some(level) = script.of_workspace {
                levels.push(workspaces.entry(step.workspace).or_insert_with(|| Bucket::full(level, now)));
            }
            if let Some(level) = script.of_key {
                levels.push(keys.entry(step.key).or_insert_with(|| Bucket::full(level, now)));
            }
            for level in &mut levels { level.refill(now); }
            let wait = levels.iter().map(|level| level.wait()).max().unwrap_or(0);
            let expected = if wait == 0 {
                for level in &mut levels { level.level -= level.interval; }
                Verdict::Admit
            } else {
                Verdict::Refuse { retry_after: Duration::from_nanos(wait) }
            };
            prop_assert_eq!(check(&limiter, &script.caller(step)), expected);
        }
    }

    #[test]
    fn no_window_holds_more_than_the_burst_and_what_came_back(script in scripts()) {
        let (limiter, clock) = limiter();
        let mut now = DAY_ONE;
        let mut admitted: HashMap<LimiterKey, Vec<u64>> = HashMap::new();
        for step in &script.steps {
            now += step.wait;
            clock.set(now);
            let caller = script.caller(step);
            if check(&limiter, &caller) == Verdict::Admit {
                admitted.entry(LimiterKey::Workspace(caller.workspace)).or_default().push(now);
                admitted.entry(LimiterKey::Key(caller.key)).or_default().push(now);
            }
        }
        for (key, times) in admitted {
            let level = match key {
                LimiterKey::Key(_) => script.of_key,
                LimiterKey::Workspace(_) => script.of_workspace,
            };
            let Some((interval, burst)) = level else { continue };
            for (first, from) in times.iter().enumerate() {
                for (last, to) in times.iter().enumerate().skip(first) {
                    let most = u64::from(burst) + (to - from) / interval;
                    prop_assert!((last - first + 1) as u64 <= most);
                }
            }
        }
    }

    #[test]
    fn refused_until_exactly_retry_after(script in scripts()) {
        let (limiter, clock) = limiter();
        let mut now = DAY_ONE;
        for step in &script.steps {
            now += step.wait;
            clock.set(now);
            let caller = script.caller(step);
            if let Verdict::Refuse { retry_after } = check(&limiter, &caller) {
                let wait = u64::try_from(retry_after.as_nanos()).unwrap();
                prop_assert!(wait > 0);
                clock.set(now + wait - 1);
                prop_assert_eq!(refusal(&limiter, &caller), Duration::from_nanos(1));
                now += wait;
                clock.set(now);
                prop_assert_eq!(check(&limiter, &caller), Verdict::Admit);
            }
        }
    }

    #[test]
    fn both_levels_are_charged_or_neither(script in scripts()) {
        let (limiter, clock) = limiter();
        let mut now = DAY_ONE;
        let debts = |snapshot: Vec<(LimiterKey, Timestamp)>| -> HashMap<_, _> { snapshot.into_iter().collect() };
        for step in &script.steps {
            now += step.wait;
            clock.set(now);
            let caller = script.caller(step);
            let before = debts(limiter.snapshot());
            let verdict = check(&limiter, &caller);
            let after = debts(limiter.snapshot());
            let levels = [
                (LimiterKey::Workspace(caller.workspace), script.of_workspace),
                (LimiterKey::Key(caller.key), script.of_key),
            ];
            for (key, level) in levels {
                let charged = after.get(&key).map_or(now, |time| time.as_nanos())
                    - before.get(&key).map_or(now, |time| time.as_nanos());
                let price = level.map_or(0, |(interval, _)| interval);
                let expected = if verdict == Verdict::Admit { price } else { 0 };
                prop_assert_eq!(charged, expected);
            }
        }
    }

    #[test]
    fn a_wandering_clock_locks_nobody_out_for_longer_than_an_interval(
        script in scripts(),
        jumps in proptest::collection::vec(0_u64..u64::MAX / 4, 120),
    ) {
        let (limiter, clock) = limiter();
        for (step, jump) in script.steps.iter().zip(jumps) {
            clock.set(jump);
            let caller = script.caller(step);
            if let Verdict::Refuse { retry_after } = check(&limiter, &caller) {
                let interval = |level: Option<(u64, u32)>| level.map_or(0, |(interval, _)| interval);
                let longest = interval(script.of_workspace).max(interval(script.of_key));
                prop_assert!(retry_after <= Duration::from_nanos(longest));
                clock.advance(retry_after);
                prop_assert_eq!(check(&limiter, &caller), Verdict::Admit);
            }
        }
    }
}
