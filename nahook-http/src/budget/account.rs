//! What one workspace holds and owes.

use std::time::Duration;

use nahook_core::admission::Rate;

use super::kind::{BudgetKind, KINDS};

/// Time for which a workspace's plan is remembered.
const PLAN_LASTS: Duration = Duration::from_mins(1);

/// The account of a workspace.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Account {
    held: [u64; KINDS],
    /// Time at which what was spent will have been paid off, since the budgets were made.
    paid_off: [Duration; KINDS],
    /// The plan's rate of deliveries, and until when it is remembered at least.
    delivery_rate: Option<(Rate, Duration)>,
}

impl Account {
    pub(super) fn set_delivery_rate(&mut self, rate: Rate, now: Duration) {
        self.delivery_rate = Some((rate, now.saturating_add(PLAN_LASTS)));
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
        let is_forgotten = |(_, until): (Rate, Duration)| until <= now;
        self.held.iter().all(|held| *held == 0)
            && self.paid_off.iter().all(|time| *time <= now)
            && self.delivery_rate.is_none_or(is_forgotten)
    }

    fn rate(&self, kind: BudgetKind, otherwise: (Duration, u32)) -> (Duration, u32) {
        match self.delivery_rate {
            Some((rate, _)) if kind == BudgetKind::Deliveries => {
                (rate.interval(), rate.burst().get())
            }
            _ => otherwise,
        }
    }
}
