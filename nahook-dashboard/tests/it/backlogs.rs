//! The backlog, on the overview.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use nahook_control::{Actor, NewEndpoint};
use nahook_core::id::WorkspaceId;
use nahook_core::{Clock as _, StoreError};
use nahook_http::Budgets;
use nahook_memory::MemoryStore;
use nahook_queue::{
    DeliveryQuery, DeliveryRecord, DeliverySearch, DeliveryStats, Next, StatsQuery,
};
use tokio::sync::Semaphore;

use crate::shop::{Browser, Shop};

/// A search whose counts wait for a permit, and fail once there is none to come.
struct Slow {
    store: Arc<MemoryStore>,
    permits: Arc<Semaphore>,
    counts: Arc<AtomicUsize>,
}

#[async_trait]
impl DeliverySearch for Slow {
    async fn deliveries(&self, query: &DeliveryQuery) -> Result<Vec<DeliveryRecord>, StoreError> {
        self.store.deliveries(query).await
    }

    async fn stats(&self, query: &StatsQuery) -> Result<DeliveryStats, StoreError> {
        self.counts.fetch_add(1, Ordering::SeqCst);
        let permit = self.permits.acquire().await;
        permit.map_err(StoreError::unavailable)?.forget();
        self.store.stats(query).await
    }

    async fn stored_len(&self, workspace: &WorkspaceId) -> Result<u64, StoreError> {
        self.store.stored_len(workspace).await
    }
}

async fn slow() -> (Shop, Arc<Semaphore>, Arc<AtomicUsize>) {
    let (permits, counts) = (Arc::new(Semaphore::new(0)), Arc::default());
    let (held, counted) = (Arc::clone(&permits), Arc::clone(&counts));
    let search = |store| Slow {
        store,
        permits: held,
        counts: counted,
    };
    let search = |store| Arc::new(search(store)) as _;
    let shop = Shop::searching(Budgets::default(), search).await;
    (shop, permits, counts)
}

async fn overview(shop: &Shop, browser: &Browser) -> String {
    let page = shop.get(Some(browser), "/dashboard").await;
    assert_eq!(page.status, 200, "{}", page.body);
    page.body
}

fn assert_shows(page: &str, tiles: [&str; 3]) {
    for (name, value) in ["Waiting", "Oldest due", "Retries waiting"]
        .iter()
        .zip(tiles)
    {
        let tile = format!("<dt>{name}</dt><dd>{value}</dd>");
        assert!(page.contains(&tile), "{tile}: {page}");
    }
}

#[tokio::test]
async fn overview_shows_what_waits_however_many_endpoints_there_are() {
    let shop = Shop::open().await;
    let (ours, management, actor) = (&shop.ours, shop.management(), Actor::operator());
    for nth in 0..1_500 {
        let new = NewEndpoint {
            url: Some(format!("https://more.example/{nth}")),
            ..NewEndpoint::default()
        };
        let made = management.create_endpoint(&ours.workspace, &actor, new);
        made.await.unwrap();
    }
    let operator = shop.operator(ours).await;
    assert_shows(&overview(&shop, &operator).await, ["2", "since 0 s", "0"]);
    let at = shop.clock.now().saturating_add(Duration::from_mins(90));
    shop.answer_everything("no", Next::Retry(at)).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_mins(1)).await;
    assert_shows(&overview(&shop, &operator).await, ["0", "–", "2"]);
    shop.clock.advance(Duration::from_mins(100));
    tokio::time::advance(Duration::from_mins(1)).await;
    let page = overview(&shop, &operator).await;
    assert_shows(&page, ["0", "since 10 min 0 s", "2"]);
    assert!(!page.contains("What waits was counted"));
}

#[tokio::test(start_paused = true)]
async fn pages_share_a_count_that_takes_long_and_do_not_wait_for_it() {
    let (shop, permits, counts) = slow().await;
    let operator = shop.operator(&shop.ours).await;
    for _ in 0..3 {
        let page = overview(&shop, &operator).await;
        assert_shows(&page, ["…", "…", "…"]);
        assert!(page.contains("What waits is being counted"));
    }
    assert_eq!(counts.load(Ordering::SeqCst), 1, "all wait for the same");
    permits.add_permits(1);
    assert_shows(&overview(&shop, &operator).await, ["2", "since 0 s", "0"]);
    // It took more than a second, so that it is not made again for twenty. Pages say how old it is.
    shop.clock.advance(Duration::from_secs(20));
    tokio::time::advance(Duration::from_secs(20)).await;
    let page = overview(&shop, &operator).await;
    assert_shows(&page, ["2", "since 20 s", "0"]);
    assert!(page.contains("What waits was counted at "), "{page}");
    assert_eq!(counts.load(Ordering::SeqCst), 1, "it rests");
    tokio::time::advance(Duration::from_mins(1)).await;
    assert_shows(&overview(&shop, &operator).await, ["2", "since 20 s", "0"]);
    assert_eq!(counts.load(Ordering::SeqCst), 2, "the old one is shown");
    // Another workspace has its own.
    let theirs = shop.operator(&shop.theirs).await;
    assert_shows(&overview(&shop, &theirs).await, ["…", "…", "…"]);
    assert_eq!(counts.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn count_that_fails_is_made_again() {
    let (shop, permits, counts) = slow().await;
    let operator = shop.operator(&shop.ours).await;
    assert_eq!(counts.load(Ordering::SeqCst), 1, "signing in shows it");
    permits.close();
    for made in 1..4 {
        assert_shows(&overview(&shop, &operator).await, ["…", "…", "…"]);
        assert_eq!(counts.load(Ordering::SeqCst), made);
        tokio::time::advance(Duration::from_mins(1)).await;
    }
}
