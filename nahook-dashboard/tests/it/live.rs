//! The stream that keeps a page current.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};

use crate::shop::Shop;

#[tokio::test]
async fn view_rests_after_news() {
    let shop = Shop::open().await;
    let browser = shop.operator(&shop.ours).await;
    let request = Request::get("/dashboard/live")
        .header(header::COOKIE, &browser.cookie)
        .header("last-event-id", "1");
    let news = shop.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(news.status, StatusCode::OK);
    let (hello, changed) = news.body.split_once("\n\n").unwrap();
    assert_eq!(hello, "retry: 500\nid: 1");
    assert!(
        changed.starts_with("retry: 5000\nevent: changed\nid: "),
        "{changed}"
    );
}
