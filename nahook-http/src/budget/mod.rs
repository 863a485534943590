//! One account for each workspace, from which every scarce thing of this process is drawn.

mod account;
mod kind;
mod metered;

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nahook_core::admission::{Plan, Rate};
use nahook_core::id::WorkspaceId;
use nahook_core::{Causes, StoreError};
use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use self::account::{Account, Added};
use self::kind::KINDS;
pub use self::kind::{Bound, BudgetKind, BudgetSettings};
pub use self::metered::Metered;
pub(crate) use self::metered::refusal;
use crate::metric;

/// Pieces of the table of accounts, each with a lock of its own.
const SHARDS: usize = 16;
/// A piece with fewer accounts is not swept.
const SWEEP_MIN: usize = 64;
/// Wait that is asked of whoever was refused because of what others hold: when they give it back is not known.
const HELD_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The accounts of all workspaces; a clone is a handle.
///
/// A workspace that has used up its share is refused, and so is everybody where all workspaces together have used up what there
/// is. What is taken is given back when its [`Permit`] is dropped.
#[derive(Clone)]
pub struct Budgets(Arc<Inner>);

struct Inner {
    settings: BudgetSettings,
    began: Instant,
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
    /// Amount of each kind that all workspaces hold.
    held: [AtomicU64; KINDS],
    /// Tells those who wait for room.
    given_back: [Notify; KINDS],
}

#[derive(Default)]
struct Shard {
    accounts: HashMap<WorkspaceId, Account>,
    /// Number of accounts that triggers the next sweep.
    sweep_at: usize,
}

/// Refusal of what was asked for. Nothing was taken.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("there is no {} left for {}", kind.name(), if *is_own_share { "the workspace" } else { "anybody" })]
pub struct Refused {
    /// What there is no room for.
    pub kind: BudgetKind,
    /// True if the workspace has used up its share; false if all together have used up what there is.
    pub is_own_share: bool,
    /// Time after which to ask again; never zero.
    pub retry_after: Duration,
}

/// An amount that a workspace holds until this is dropped.
#[must_use]
pub struct Permit {
    budgets: Budgets,
    workspace: WorkspaceId,
    kind: BudgetKind,
    amount: u64,
}

impl Refused {
    fn count(&self) {
        metric::count_budget_refusal(self.kind.name(), self.is_own_share);
    }
}

impl Budgets {
    /// Makes accounts of which nothing is drawn.
    pub fn new(settings: BudgetSettings) -> Self {
        Self(Arc::new(Inner {
            settings,
            began: Instant::now(),
            hasher: RandomState::new(),
            shards: Default::default(),
            held: Default::default(),
            given_back: Default::default(),
        }))
    }

    /// Takes an amount of something that is [held](Bound::Held), or refuses.
    pub fn try_take(
        &self,
        workspace: WorkspaceId,
        kind: BudgetKind,
        amount: u64,
    ) -> Result<Permit, Refused> {
        let permit = self.draw(workspace, kind, amount);
        permit.inspect_err(Refused::count)
    }

    /// Takes an amount of something that is [held](Bound::Held), waiting for room until the deadline at most.
    ///
    /// # Cancellation
    /// Dropping the future takes nothing.
    pub async fn take(
        &self,
        workspace: WorkspaceId,
        kind: BudgetKind,
        amount: u64,
        deadline: Instant,
    ) -> Result<Permit, Refused> {
        loop {
            // Before asking: what is given back meanwhile is not missed.
            let given_back = self.0.given_back[kind as usize].notified();
            let refused = match self.draw(workspace, kind, amount) {
                Ok(permit) => return Ok(permit),
                Err(refused) => refused,
            };
            if timeout_at(deadline, given_back).await.is_err() {
                refused.count();
                return Err(refused);
            }
        }
    }

    /// Spends an amount of something that has a [rate](Bound::Spent) if a token of it is left, or refuses.
    pub fn spend(
        &self,
        workspace: WorkspaceId,
        kind: BudgetKind,
        amount: u64,
    ) -> Result<(), Refused> {
        let Bound::Spent { interval, burst } = self.0.settings.bound(kind) else {
            return Ok(());
        };
        let rate = (interval, burst);
        let wait = self.with_account(workspace, |account, now| {
            let wait = account.wait(kind, rate, now);
            if wait.is_zero() {
                account.charge(kind, rate, amount, now);
            }
            wait
        });
        if wait.is_zero() {
            return Ok(());
        }
        let refused = Refused {
            kind,
            is_own_share: true,
            retry_after: wait,
        };
        refused.count();
        Err(refused)
    }

    /// Spends an amount that is known only afterwards, whether or not it is there.
    pub fn charge(&self, workspace: WorkspaceId, kind: BudgetKind, amount: u64) {
        if let Bound::Spent { interval, burst } = self.0.settings.bound(kind) {
            self.with_account(workspace, |account, now| {
                account.charge(kind, (interval, burst), amount, now);
            });
        }
    }

    /// Adds to what the store [keeps](Bound::Kept) of the workspace, or refuses. `measure` says how much that is; it is asked when
    /// that is not known, or when there seems to be no room, and not again for a second and for twenty times as long as it took.
    pub async fn admit<F>(
        &self,
        workspace: WorkspaceId,
        kind: BudgetKind,
        amount: u64,
        measure: impl Fn() -> F + Send,
    ) -> Result<(), Refused>
    where
        F: Future<Output = Result<u64, StoreError>> + Send,
    {
        let Bound::Kept { workspace: max } = self.0.settings.bound(kind) else {
            return Ok(());
        };
        loop {
            let add = |account: &mut Account, now| account.add(kind, max, amount, now);
            match self.with_account(workspace, add) {
                Added::Fits => return Ok(()),
                Added::Full(retry_after) => {
                    let refused = Refused {
                        kind,
                        is_own_share: true,
                        retry_after,
                    };
                    refused.count();
                    return Err(refused);
                }
                Added::Measure(before) => {
                    let began = Instant::now();
                    match measure().await {
                        Ok(kept) => self.with_account(workspace, |account, now| {
                            account.set_kept(kind, (kept, before), began.elapsed(), now);
                        }),
                        // Until the next attempt what is known counts.
                        Err(error) => {
                            let error = Causes(&error).to_string();
                            tracing::warn!(error, "what a workspace keeps could not be measured");
                        }
                    }
                }
            }
        }
    }

    /// Sets the plan by which the workspace spends and keeps.
    pub fn set_plan(&self, workspace: WorkspaceId, plan: &Plan) {
        self.with_account(workspace, |account, now| account.set_plan(*plan, now));
    }

    fn draw(
        &self,
        workspace: WorkspaceId,
        kind: BudgetKind,
        amount: u64,
    ) -> Result<Permit, Refused> {
        let permit = |amount| Permit {
            budgets: self.clone(),
            workspace,
            kind,
            amount,
        };
        let bound = self.0.settings.bound(kind);
        let Bound::Held {
            workspace: max,
            all,
        } = bound
        else {
            return Ok(permit(0));
        };
        let refused = |is_own_share| Refused {
            kind,
            is_own_share,
            retry_after: HELD_RETRY_AFTER,
        };
        if !self.with_account(workspace, |account, _| account.hold(kind, max, amount)) {
            return Err(refused(true));
        }
        let fits = |held: u64| {
            let taken = held.saturating_add(amount);
            (held == 0 || taken <= all).then_some(taken)
        };
        let total = &self.0.held[kind as usize];
        let drawn = total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        let Ok(before) = drawn else {
            self.with_account(workspace, |account, _| account.give_back(kind, amount));
            return Err(refused(false));
        };
        metric::set_budget_held(kind.name(), before.saturating_add(amount));
        Ok(permit(amount))
    }

    fn give_back(&self, workspace: WorkspaceId, kind: BudgetKind, amount: u64) {
        self.with_account(workspace, |account, _| account.give_back(kind, amount));
        let before = self.0.held[kind as usize].fetch_sub(amount, Ordering::Relaxed);
        metric::set_budget_held(kind.name(), before.saturating_sub(amount));
        self.0.given_back[kind as usize].notify_waiters();
    }

    fn with_account<T>(
        &self,
        workspace: WorkspaceId,
        act: impl FnOnce(&mut Account, Duration) -> T,
    ) -> T {
        let now = self.0.began.elapsed();
        let mut shard = self.shard(workspace);
        if shard.accounts.len() >= shard.sweep_at.max(SWEEP_MIN) {
            shard.accounts.retain(|_, account| !account.is_idle(now));
            shard.sweep_at = 2 * shard.accounts.len();
        }
        act(shard.accounts.entry(workspace).or_default(), now)
    }

    fn shard(&self, workspace: WorkspaceId) -> MutexGuard<'_, Shard> {
        let hash = self.0.hasher.hash_one(workspace);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "only the lowest bits count"
        )]
        let shard = &self.0.shards[hash as usize % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Deliveries for each call that a plan's rate of calls allows, where the plan says nothing of deliveries.
const DELIVERIES_PER_CALL: u32 = 1_000;

/// Returns the plan's rate of deliveries; the budgets' own if `None`.
pub(crate) fn delivery_rate(plan: &Plan) -> Option<Rate> {
    if plan.delivery_rate.is_some() {
        return plan.delivery_rate;
    }
    let calls = plan.workspace_rate?;
    let count = NonZeroU32::MIN.saturating_mul(NonZeroU32::new(DELIVERIES_PER_CALL)?);
    Rate::new(count, calls.interval(), calls.burst().saturating_mul(count))
}

impl Default for Budgets {
    fn default() -> Self {
        Self::new(BudgetSettings::default())
    }
}

impl Permit {
    /// Takes more of the same, or refuses and keeps what there is.
    pub(crate) fn grow(&mut self, amount: u64) -> Result<(), Refused> {
        let mut more = self.budgets.try_take(self.workspace, self.kind, amount)?;
        self.amount += std::mem::take(&mut more.amount);
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.amount > 0 {
            self.budgets
                .give_back(self.workspace, self.kind, self.amount);
        }
    }
}

impl fmt::Debug for Budgets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budgets")
            .field("settings", &self.0.settings)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("kind", &self.kind)
            .field("amount", &self.amount)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
