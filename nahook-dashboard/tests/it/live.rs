//! The stream that keeps a page current.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};

use nahook_core::Clock as _;
use nahook_core::id::WorkspaceId;
use nahook_queue::{Counts, DeliveryCounts as _, Period, RollUp};

use crate::shop::{Browser, Shop};

/// Asks as a browser that knows an older state.
async fn news(shop: &Shop, browser: &Browser) -> String {
    let request = Request::get("/dashboard/live")
        .header(header::COOKIE, &browser.cookie)
        .header("last-event-id", "1");
    let news = shop.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(news.status, StatusCode::OK);
    news.body
}

#[tokio::test]
async fn view_rests_after_news() {
    let shop = Shop::open().await;
    let browser = shop.operator(&shop.ours).await;
    let news = news(&shop, &browser).await;
    let (hello, changed) = news.split_once("\n\n").unwrap();
    assert_eq!(hello, "retry: 500\nid: 1");
    assert!(
        changed.starts_with("retry: 5000\nevent: changed\nid: "),
        "{changed}"
    );
}

/// Counts attempts of the minute that is under way.
async fn count(shop: &Shop, workspace: WorkspaceId) {
    let roll_up = RollUp {
        workspace,
        endpoint: None,
        period: Period::Minute,
        start: Period::Minute.start_of(shop.clock.now()),
        counts: Counts::from_numbers(1..),
    };
    shop.store.add_counts(&[roll_up]).await.unwrap();
}

#[tokio::test]
async fn views_of_a_workspace_share_what_was_seen() {
    let shop = Shop::open().await;
    let ours = [
        shop.operator(&shop.ours).await,
        shop.operator(&shop.ours).await,
    ];
    let theirs = shop.operator(&shop.theirs).await;
    count(&shop, shop.theirs.workspace).await;
    let first = news(&shop, &ours[0]).await;
    assert_ne!(first, news(&shop, &theirs).await, "another workspace's");
    count(&shop, shop.ours.workspace).await;
    shop.clock.advance(Duration::from_millis(1_999));
    assert_eq!(news(&shop, &ours[1]).await, first);
    shop.clock.advance(Duration::from_millis(1));
    let second = news(&shop, &ours[1]).await;
    assert_ne!(second, first);
    assert_eq!(news(&shop, &ours[0]).await, second);
}

#[tokio::test]
async fn count_of_the_minute_before_is_news() {
    let shop = Shop::open().await;
    let browser = shop.operator(&shop.ours).await;
    let first = news(&shop, &browser).await;
    let minute = Period::Minute.start_of(shop.clock.now());
    shop.clock.advance(Duration::from_secs(61));
    let roll_up = RollUp {
        workspace: shop.ours.workspace,
        endpoint: None,
        period: Period::Minute,
        start: minute,
        counts: Counts::from_numbers(1..),
    };
    shop.store.add_counts(&[roll_up]).await.unwrap();
    assert_ne!(news(&shop, &browser).await, first);
}
