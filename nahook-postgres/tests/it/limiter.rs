//! Two processes that share a limit.

use std::num::NonZeroU32;
use std::time::Duration;

use nahook_core::admission::{Caller, Plan, Rate, Verdict};
use nahook_core::{Clock, RateLimiter};
use nahook_postgres::{PostgresLimiter, PostgresStore};
use nahook_testkit::ManualClock;
use nahook_testkit::declare::caller;
use nahook_testserver::PostgresServer;

use crate::support::{client, connect, execute, settings};

const LOCK: &str = "LOCK TABLE nahook.limiter_arrival IN ACCESS EXCLUSIVE MODE";

async fn two() -> (String, [PostgresStore; 2], ManualClock) {
    let url = PostgresServer::shared().create_database();
    let clock = ManualClock::default();
    let one = connect(&url, settings(1).with_clock(clock.clone())).await;
    let other = connect(&url, settings(1).with_clock(clock.clone())).await;
    (url, [one, other], clock)
}

fn limited(key: &str, workspace: Option<u32>, own: Option<u32>) -> Caller {
    let rate = |burst: u32| {
        let burst = NonZeroU32::new(burst).unwrap();
        Rate::new(burst, Duration::from_secs(1), burst).unwrap()
    };
    Caller {
        plan: Plan {
            workspace_rate: workspace.map(rate),
            key_rate: own.map(rate),
            ..Plan::default()
        },
        ..caller("ws_shop", key)
    }
}

async fn admitted(limiter: &PostgresLimiter, caller: &Caller, checks: usize) -> usize {
    let mut admitted = 0;
    for _ in 0..checks {
        if limiter.check(caller).await.unwrap() == Verdict::Admit {
            admitted += 1;
        }
    }
    admitted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_bursts_are_shared_exactly() {
    let (_, [one, other], clock) = two().await;
    let caller = limited("key", None, Some(10));
    assert_eq!(admitted(&one.limiter(), &caller, 7).await, 7);
    assert_eq!(admitted(&other.limiter(), &caller, 7).await, 3);
    clock.advance(Duration::from_millis(100));
    assert_eq!(admitted(&one.limiter(), &caller, 2).await, 1);
    assert_eq!(admitted(&other.limiter(), &caller, 1).await, 0);
    clock.advance(Duration::from_hours(24));
    let both =
        admitted(&one.limiter(), &caller, 20).await + admitted(&other.limiter(), &caller, 20).await;
    assert_eq!(both, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bursts_stay_within_a_block_for_each_process() {
    let (_, [one, other], clock) = two().await;
    let caller = limited("key", Some(1_600), Some(1_600));
    // Each leaves a block begun, and a day passes.
    admitted(&one.limiter(), &caller, 1).await;
    admitted(&other.limiter(), &caller, 1).await;
    clock.advance(Duration::from_hours(24));
    let (mut both, mut is_going_on) = (0, true);
    while is_going_on {
        let now = admitted(&one.limiter(), &caller, 10).await
            + admitted(&other.limiter(), &caller, 10).await;
        both += now;
        is_going_on = now > 0;
    }
    assert!(
        (1_600..=1_600 + 2 * 100).contains(&both),
        "{both} of 1600 were admitted"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_that_lay_idle_adds_nothing_to_the_burst_of_one_process() {
    let (_, [one, _], clock) = two().await;
    let caller = limited("key", None, Some(160));
    assert_eq!(admitted(&one.limiter(), &caller, 1).await, 1);
    clock.advance(Duration::from_hours(24));
    assert_eq!(admitted(&one.limiter(), &caller, 200).await, 160);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_refused_costs_its_workspace_nothing() {
    let (_, [one, other], _) = two().await;
    let small = limited("key_small", Some(10), Some(2));
    let large = limited("key_large", Some(10), Some(100));
    assert_eq!(admitted(&one.limiter(), &small, 5).await, 2);
    assert_eq!(admitted(&other.limiter(), &small, 5).await, 0);
    assert_eq!(admitted(&other.limiter(), &large, 20).await, 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_is_spent_without_asking_the_database() {
    let (url, [one, _], _) = two().await;
    let caller = limited("key", Some(16_000), Some(16_000));
    assert_eq!(admitted(&one.limiter(), &caller, 1).await, 1);
    let mut holder = client(&url).await;
    let lock = holder.transaction().await.unwrap();
    execute(&lock, LOCK).await;
    // A sixteenth of the burst.
    assert_eq!(admitted(&one.limiter(), &caller, 999).await, 999);
    let asking = one.limiter().check(&caller).await;
    assert!(
        asking.is_err(),
        "the next one has to wait for the lock: {asking:?}"
    );
    lock.rollback().await.unwrap();
    assert_eq!(admitted(&one.limiter(), &caller, 1).await, 1);
}

fn refused(retry_after: Duration) -> Verdict {
    Verdict::Refuse { retry_after }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_repeated_without_asking_the_database() {
    let (url, [one, _], _) = two().await;
    let caller = limited("key", None, Some(1));
    assert_eq!(admitted(&one.limiter(), &caller, 2).await, 1);
    let mut holder = client(&url).await;
    let lock = holder.transaction().await.unwrap();
    execute(&lock, LOCK).await;
    assert_eq!(
        one.limiter().check(&caller).await.unwrap(),
        refused(Duration::from_secs(1))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_ends_with_a_clock_that_is_set_back() {
    for (workspace, own) in [(Some(1), None), (None, Some(1))] {
        let (_, [one, _], clock) = two().await;
        let caller = limited("key", workspace, own);
        let earlier = clock.now();
        clock.advance(Duration::from_hours(1));
        assert_eq!(admitted(&one.limiter(), &caller, 2).await, 1);
        clock.set(earlier);
        assert_eq!(
            one.limiter().check(&caller).await.unwrap(),
            refused(Duration::from_secs(1)),
            "and not an hour"
        );
        let mut later = 0;
        for _ in 0..3 {
            clock.advance(Duration::from_secs(1));
            later += admitted(&one.limiter(), &caller, 1).await;
        }
        assert!(later > 0, "waiting has not helped");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_ends_with_the_workspaces_rate() {
    let (_, [one, _], _) = two().await;
    let small = limited("key", Some(1), None);
    assert_eq!(admitted(&one.limiter(), &small, 2).await, 1);
    let large = limited("key", Some(100), None);
    assert_eq!(
        one.limiter().check(&large).await.unwrap(),
        refused(Duration::from_millis(10))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_ends_with_its_rate() {
    let (_, [one, other], _) = two().await;
    let large = limited("key", None, Some(1_600));
    assert_eq!(admitted(&one.limiter(), &large, 1).await, 1);
    let small = limited("key", None, Some(10));
    let both =
        admitted(&one.limiter(), &small, 20).await + admitted(&other.limiter(), &small, 20).await;
    // A block of the former rate counts as one token of the new one.
    assert_eq!(both, 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tokens_are_leased_at_once() {
    let (url, [one, _], _) = two().await;
    let client = client(&url).await;
    execute(
        &client,
        "CREATE SEQUENCE updates;
             CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 PERFORM nextval('public.updates'); RETURN NEW; END $$;
             CREATE TRIGGER counted BEFORE UPDATE ON nahook.limiter_arrival FOR EACH ROW
                 EXECUTE FUNCTION counted()",
    )
    .await;
    let caller = limited("key", None, Some(1_600));
    let granted = one.limiter().check_many(&caller, 1_000).await.unwrap();
    assert_eq!(granted.admitted, 1_000);
    let updates = "SELECT last_value FROM updates";
    let row = client.query_one(updates, &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 1);
}
