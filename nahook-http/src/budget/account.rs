//! What one workspace holds and owes.

use std::time::Duration;

use nahook_core::admission::{Plan, Rate};

use super::delivery_rate;
use super::kind::{BudgetKind, KINDS};

/// Time for which a workspace's plan is remembered.
const PLAN_LASTS: Duration = Duration::from_mins(1);

/// The account of a workspace.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Account {
    held: [u64; KINDS],
    /// Time at which what was spent will have been paid off, since the budgets were made.
    paid_off: [Duration; KINDS],
    /// Amounts that the store keeps.
    kept: [Level; KINDS],
    /// The plan, and until when it is remembered at least.
    plan: Option<(Plan, Duration)>,
}

/// An amount that the store keeps, as it was measured last, and what was added since.
#[derive(Clone, Copy, Debug, Default)]
struct Level {
    measured: Option<u64>,
    added: u64,
    /// Time before which it is not measured again.
    measure_at: Duration,
}

/// The result of adding to what the store keeps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Added {
    /// There is room.
    Fits,
    /// There is none, and it is not measured before that time has passed.
    Full(Duration),
    /// The caller is to measure, of which so much was added before, and to ask again.
    Measure(u64),
}

/// Time for which others wait for one who measures.
const MEASURED_WITHIN: Duration = Duration::from_secs(5);
/// Pause between two measurements, at least.
const PAUSE: Duration = Duration::from_secs(1);
/// The same, as a multiple of what the last measurement took.
const PAUSE_FACTOR: u32 = 20;

impl Account {
    pub(super) fn set_plan(&mut self, plan: Plan, now: Duration) {
        self.plan = Some((plan, now.saturating_add(PLAN_LASTS)));
    }

    /// Adds to what the store keeps, `otherwise` at most if the plan is not known.
    pub(super) fn add(
        &mut self,
        kind: BudgetKind,
        otherwise: u64,
        amount: u64,
        now: Duration,
    ) -> Added {
        let max = match (kind, self.plan) {
            (BudgetKind::PendingDeliveries, Some((plan, _))) => plan.pending_max.into(),
            (BudgetKind::StoredBytes, Some((plan, _))) => plan.stored_len_max,
            _ => otherwise,
        };
        let level = &mut self.kept[kind as usize];
        let kept = level.measured.unwrap_or(0).saturating_add(level.added);
        // What was there before this process or since the account was forgotten is not known.
        let is_unknown = level.measured.is_none() && level.added > max / 100;
        if (kept >= max || is_unknown) && now >= level.measure_at {
            level.measure_at = now.saturating_add(MEASURED_WITHIN);
            return Added::Measure(level.added);
        }
        if kept >= max {
            return Added::Full(level.measure_at.saturating_sub(now).max(PAUSE));
        }
        level.added = level.added.saturating_add(amount);
        Added::Fits
    }

    /// Notes what was measured, which has what was added before.
    pub(super) fn set_kept(
        &mut self,
        kind: BudgetKind,
        (kept, before): (u64, u64),
        took: Duration,
        now: Duration,
    ) {
        let level = &mut self.kept[kind as usize];
        level.measured = Some(kept);
        level.added = level.added.saturating_sub(before);
        let pause = took.saturating_mul(PAUSE_FACTOR).max(PAUSE);
        level.measure_at = now.saturating_add(pause);
    }

    /// Takes the amount, or answers false if there is no room for it.
    pub(super) fn hold(&mut self, kind: BudgetKind, workspace_max: u64, amount: u64) -> bool {
        let held = &mut self.held[kind as usize];
        let taken = held.saturating_add(amount);
        let fits = *held == 0 || taken <= workspace_max;
        if fits {
            *held = taken;
        }
        fits
    }

    pub(super) fn give_back(&mut self, kind: BudgetKind, amount: u64) {
        let held = &mut self.held[kind as usize];
        *held = held.saturating_sub(amount);
    }

    /// Returns the time until a token is there: zero if one is.
    pub(super) fn wait(&self, kind: BudgetKind, rate: (Duration, u32), now: Duration) -> Duration {
        let (interval, burst) = self.rate(kind, rate);
        let room = interval.saturating_mul(burst.saturating_sub(1));
        let debt = self.paid_off[kind as usize].saturating_sub(now);
        debt.saturating_sub(room)
    }

    /// Spends that many tokens, whether or not they are there.
    pub(super) fn charge(
        &mut self,
        kind: BudgetKind,
        rate: (Duration, u32),
        amount: u64,
        now: Duration,
    ) {
        let (interval, _) = self.rate(kind, rate);
        let amount = u32::try_from(amount).unwrap_or(u32::MAX);
        let paid_off = &mut self.paid_off[kind as usize];
        *paid_off = now
            .max(*paid_off)
            .saturating_add(interval.saturating_mul(amount));
    }

    /// Returns true if the workspace holds nothing and owes nothing.
    pub(super) fn is_idle(&self, now: Duration) -> bool {
        let is_forgotten = |(_, until): (Plan, Duration)| until <= now;
        self.held.iter().all(|held| *held == 0)
            && self.paid_off.iter().all(|time| *time <= now)
            && self.plan.is_none_or(is_forgotten)
    }

    fn rate(&self, kind: BudgetKind, otherwise: (Duration, u32)) -> (Duration, u32) {
        let plan = self.plan.filter(|_| kind == BudgetKind::Deliveries);
        let rate = plan.and_then(|(plan, _)| delivery_rate(&plan));
        rate.map_or(otherwise, |rate: Rate| {
            (rate.interval(), rate.burst().get())
        })
    }
}
