use super::*;

const NOW: Duration = Duration::from_secs(1);

fn workspaces<const N: usize>() -> [WorkspaceId; N] {
    std::array::from_fn(|n| WorkspaceId::from_bits(n as u128 + 1))
}

/// Draws one unit of that kind, whichever way it is drawn.
fn draw(
    budgets: &Budgets,
    workspace: WorkspaceId,
    kind: BudgetKind,
) -> Result<Option<Permit>, Refused> {
    match budgets.0.settings.bound(kind) {
        Bound::Held { .. } => budgets.try_take(workspace, kind, 1).map(Some),
        Bound::Spent { .. } => budgets.spend(workspace, kind, 1).map(|()| None),
    }
}

/// Bounds of three units for a workspace, and of five for all.
fn small() -> Budgets {
    let default = BudgetSettings::default();
    let kinds = BudgetKind::ALL.iter();
    Budgets::new(kinds.fold(default, |settings, kind| {
        let bound = match settings.bound(*kind) {
            Bound::Held { .. } => Bound::Held {
                workspace: 3,
                all: 5,
            },
            Bound::Spent { .. } => Bound::Spent {
                interval: NOW,
                burst: 3,
            },
        };
        settings.with_bound(*kind, bound)
    }))
}

#[tokio::test(start_paused = true)]
async fn every_kind_is_bounded_for_a_workspace_and_not_by_another_kind() {
    let budgets = small();
    let [greedy, modest] = workspaces();
    let mut held = Vec::new();
    for kind in BudgetKind::ALL {
        let first = [0; 3].map(|_| draw(&budgets, greedy, *kind).unwrap());
        let refused = draw(&budgets, greedy, *kind).unwrap_err();
        assert_eq!((refused.kind, refused.is_own_share), (*kind, true));
        assert!(refused.retry_after > Duration::ZERO, "{kind:?}");
        assert!(!kind.refusal().is_empty() && !kind.name().is_empty());
        held.push((first, draw(&budgets, modest, *kind).unwrap()));
    }
    // What is held is there again once it is given back, and what is spent after its time.
    drop(held);
    tokio::time::advance(3 * NOW).await;
    for kind in BudgetKind::ALL {
        for _ in 0..3 {
            draw(&budgets, greedy, *kind).unwrap();
        }
        assert_eq!(budgets.0.held[*kind as usize].load(Ordering::Relaxed), 0);
    }
}

#[tokio::test]
async fn every_kind_that_is_held_is_bounded_for_all_together() {
    let budgets = small();
    let [one, two, three] = workspaces();
    for kind in BudgetKind::ALL {
        let Bound::Held { .. } = budgets.0.settings.bound(*kind) else {
            continue;
        };
        let full = [one, two].map(|workspace| budgets.try_take(workspace, *kind, 3));
        // The second finds room for two.
        assert!(full[0].is_ok() && full[1].as_ref().is_err_and(|refused| !refused.is_own_share));
        let rest = budgets.try_take(two, *kind, 2).unwrap();
        let refused = budgets.try_take(three, *kind, 1).unwrap_err();
        assert!(!refused.is_own_share && refused.retry_after > Duration::ZERO);
        drop(rest);
        assert!(budgets.try_take(three, *kind, 1).is_ok());
    }
}

#[test]
fn every_kind_has_a_finite_bound_unless_said_otherwise() {
    let settings = BudgetSettings::default();
    for kind in BudgetKind::ALL {
        match settings.bound(*kind) {
            Bound::Held { workspace, all } => {
                assert!(workspace > 0 && workspace <= all / 4, "{kind:?}");
            }
            Bound::Spent { interval, burst } => {
                assert!(!interval.is_zero() && burst > 0, "{kind:?}");
            }
        }
    }
}

#[tokio::test]
async fn something_larger_than_the_bound_is_let_in_alone() {
    let budgets = small();
    let [one, two] = workspaces();
    let large = budgets.try_take(one, BudgetKind::BodyBytes, 100).unwrap();
    for workspace in [one, two] {
        assert!(
            budgets
                .try_take(workspace, BudgetKind::BodyBytes, 1)
                .is_err()
        );
    }
    drop(large);
    assert!(budgets.try_take(two, BudgetKind::BodyBytes, 1).is_ok());
}

#[tokio::test(start_paused = true)]
async fn overdrawn_account_is_paid_off_before_anything_else_is_let_in() {
    let budgets = small();
    let [wide] = workspaces();
    let kind = BudgetKind::Deliveries;
    budgets.spend(wide, kind, 20).unwrap();
    // Of the twenty, three were there and one has to come back before the next is.
    let refused = budgets.spend(wide, kind, 1).unwrap_err();
    assert_eq!(refused.retry_after, 18 * NOW);
    tokio::time::advance(Duration::from_nanos(17_999_999_999)).await;
    assert!(budgets.spend(wide, kind, 1).is_err());
    tokio::time::advance(Duration::from_nanos(1)).await;
    budgets.spend(wide, kind, 1).unwrap();
}

#[tokio::test(start_paused = true)]
async fn plans_rate_of_deliveries_counts() {
    let budgets = small();
    let [slow] = workspaces();
    let ten = NonZeroU32::new(10).unwrap();
    budgets.set_delivery_rate(slow, Rate::new(NonZeroU32::MIN, 60 * NOW, ten).unwrap());
    budgets.spend(slow, BudgetKind::Deliveries, 10).unwrap();
    let refused = budgets.spend(slow, BudgetKind::Deliveries, 1).unwrap_err();
    assert_eq!(refused.retry_after, 60 * NOW);
}

#[test]
fn plan_without_a_rate_of_deliveries_has_a_thousand_for_each_call() {
    let calls = Rate::per_second(NonZeroU32::new(5).unwrap());
    let plan = Plan {
        workspace_rate: calls,
        ..Plan::default()
    };
    let rate = delivery_rate(&plan).unwrap();
    assert_eq!(rate.interval(), Duration::from_micros(200));
    assert_eq!(rate.burst().get(), 5_000);
    assert_eq!(delivery_rate(&Plan::default()), None);
}

#[tokio::test(start_paused = true)]
async fn call_waits_for_room_until_its_deadline() {
    let budgets = small();
    let [busy] = workspaces();
    let kind = BudgetKind::CatalogChanges;
    let held = budgets.try_take(busy, kind, 3).unwrap();
    let deadline = Instant::now() + NOW;
    let refused = budgets.take(busy, kind, 1, deadline).await.unwrap_err();
    assert!(refused.is_own_share && Instant::now() == deadline);
    let waiting = {
        let budgets = budgets.clone();
        tokio::spawn(async move { budgets.take(busy, kind, 1, deadline + NOW).await })
    };
    tokio::task::yield_now().await;
    drop(held);
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn accounts_that_hold_and_owe_nothing_are_forgotten() {
    let budgets = small();
    for bits in 0..100_000 {
        let workspace = WorkspaceId::from_bits(bits);
        draw(&budgets, workspace, BudgetKind::BodyBytes).unwrap();
    }
    let shards = budgets.0.shards.iter();
    let known: usize = shards
        .map(|shard| shard.lock().unwrap().accounts.len())
        .sum();
    assert!(known <= 2 * SHARDS * SWEEP_MIN, "{known}");
}
