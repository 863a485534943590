//! Request ids, and the net under panics.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::get;
use nahook_http::{EdgeLayer, RequestContext, not_found, with_fallbacks};

use crate::ingestion::support::{Bench, Fault, KEY, ORDER_PAID, ask, post};

fn request(path: &str, id: Option<&str>) -> Request<Body> {
    let mut request = Request::get(path);
    if let Some(id) = id {
        request = request.header("x-request-id", id);
    }
    request.body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a_reasonable_id_is_echoed() {
    let router = with_fallbacks(Router::new());
    let long = "x".repeat(128);
    for id in ["1", "a/b?c=d&e", "{7f6c}", &long] {
        let answer = ask(&router, request("/", Some(id))).await;
        assert_eq!(answer.header("x-request-id"), Some(id));
    }
}

#[tokio::test]
async fn an_unreasonable_id_is_replaced() {
    let router = with_fallbacks(Router::new());
    let long = "x".repeat(129);
    for id in ["", "a b", "\u{e9}", "a\tb", &long] {
        let answer = ask(&router, request("/", Some(id))).await;
        let drawn = answer.header("x-request-id").unwrap();
        assert!(drawn.starts_with("req_") && drawn.len() == 36, "{drawn}");
    }
}

#[tokio::test]
async fn drawn_ids_differ() {
    let router = with_fallbacks(Router::new());
    let one = ask(&router, request("/", None)).await;
    let other = ask(&router, request("/", None)).await;
    assert_ne!(one.header("x-request-id"), other.header("x-request-id"));
}

#[tokio::test]
async fn layers_on_layers_agree() {
    let show = get(|request: axum::extract::Request| async move {
        let context: &RequestContext = request.extensions().get().unwrap();
        context.id.to_string()
    });
    let nested = Router::new().route("/", show).layer(EdgeLayer::default());
    let router = with_fallbacks(nested).layer(EdgeLayer::default());
    let answer = ask(&router, request("/", None)).await;
    assert_eq!(answer.header("x-request-id").unwrap(), answer.body);
}

#[tokio::test]
async fn a_panic_is_a_500_and_no_more() {
    let mut bench = Bench::new().await;
    bench.keys = Arc::new(Fault::Panic);
    let router = bench.router();
    for _ in 0..2 {
        let mut request = post(ORDER_PAID, KEY, r#"{"payload":{}}"#);
        let headers = request.headers_mut();
        headers.insert("x-request-id", "mine".parse().unwrap());
        let answer = ask(&router, request).await;
        assert_eq!(answer.error(), (500, "internal_error".to_owned()));
        assert_eq!(answer.header("x-request-id"), Some("mine"));
        assert!(!String::from_utf8_lossy(&answer.body).contains("planted"));
    }
}

#[tokio::test]
async fn the_fallbacks_can_be_taken_alone() {
    let router = Router::new().fallback(not_found);
    let answer = ask(&router, request("/nowhere", None)).await;
    assert_eq!(answer.error(), (404, "not_found".to_owned()));
}
