use super::*;

const NOW: Duration = Duration::from_secs(1);

fn workspaces<const N: usize>() -> [WorkspaceId; N] {
    std::array::from_fn(|n| WorkspaceId::from_bits(n as u128 + 1))
}

/// Draws one unit of that kind, whichever way it is drawn, where so many are there.
async fn draw(
    budgets: &Budgets,
    workspace: WorkspaceId,
    kind: BudgetKind,
    there: u64,
) -> Result<Option<Permit>, Refused> {
    match budgets.0.settings.bound(kind) {
        Bound::Held { .. } => budgets.try_take(workspace, kind, 1).map(Some),
        Bound::Kept { .. } => {
            let measure = || std::future::ready(Ok(there));
            budgets
                .admit(workspace, kind, 1, measure)
                .await
                .map(|()| None)
        }
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
            Bound::Kept { .. } => Bound::Kept { workspace: 3 },
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
        let mut first = Vec::new();
        for there in 0..3 {
            first.push(draw(&budgets, greedy, *kind, there).await.unwrap());
        }
        let refused = draw(&budgets, greedy, *kind, 3).await.unwrap_err();
        assert_eq!((refused.kind, refused.is_own_share), (*kind, true));
        assert!(refused.retry_after > Duration::ZERO, "{kind:?}");
        assert!(!kind.refusal().is_empty() && !kind.name().is_empty());
        held.push((first, draw(&budgets, modest, *kind, 0).await.unwrap()));
    }
    // What is held is there again once it is given back, and what is spent after its time.
    drop(held);
    tokio::time::advance(3 * NOW).await;
    for kind in BudgetKind::ALL {
        for there in 0..3 {
            draw(&budgets, greedy, *kind, there).await.unwrap();
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
            Bound::Kept { workspace } => assert!(workspace < u64::MAX, "{kind:?}"),
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
    let plan = Plan {
        delivery_rate: Rate::new(NonZeroU32::MIN, 60 * NOW, ten),
        ..Plan::default()
    };
    budgets.set_plan(slow, &plan);
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
    let plan = Plan {
        delivery_rate: calls,
        ..plan
    };
    assert_eq!(delivery_rate(&plan), calls);
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
        draw(&budgets, workspace, BudgetKind::BodyBytes, 0)
            .await
            .unwrap();
    }
    let shards = budgets.0.shards.iter();
    let known: usize = shards
        .map(|shard| shard.lock().unwrap().accounts.len())
        .sum();
    assert!(known <= 2 * SHARDS * SWEEP_MIN, "{known}");
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_is_measured_where_there_seems_to_be_no_room() {
    let budgets = small();
    let [busy] = workspaces();
    let kind = BudgetKind::PendingDeliveries;
    let plan = Plan {
        pending_max: 1_000,
        ..Plan::default()
    };
    budgets.set_plan(busy, &plan);
    let add =
        |amount, kept: u64| budgets.admit(busy, kind, amount, move || std::future::ready(Ok(kept)));
    // One that is wider than the room is let in.
    add(5_000, 0).await.unwrap();
    // The store still has all of it, and is not asked again for a second.
    let refused = add(1, 5_000).await.unwrap_err();
    assert_eq!((refused.kind, refused.retry_after), (kind, NOW));
    assert!(add(1, 0).await.is_err());
    tokio::time::advance(NOW).await;
    add(1, 0).await.unwrap();
}
