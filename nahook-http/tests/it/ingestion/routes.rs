//! The ingestion routes and the OpenAPI document say the same of each other. For the Management API there is nothing to
//! compare: a route and its entry are one thing.

use std::collections::BTreeSet;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use nahook_http::openapi_document;

use crate::ingestion::support::{Bench, KEY, ask};

const METHODS: [&str; 8] = [
    "delete", "get", "head", "options", "patch", "post", "put", "trace",
];

/// The document's operations of the Ingestion API.
fn documented() -> BTreeSet<(String, String)> {
    let document = openapi_document();
    let paths = document["paths"].as_object().unwrap().iter();
    let ingestion = paths.filter(|(path, _)| !path.starts_with("/management/"));
    ingestion
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys();
            methods.map(|method| (method.clone(), path.clone()))
        })
        .collect()
}

/// The paths that a router has. There is no way to ask it but how it shows itself.
fn paths_of(router: &Router) -> BTreeSet<String> {
    let shown = format!("{router:?}");
    // The fallbacks are no routes.
    let before = shown.split("fallback_router").next().unwrap();
    let texts = before.split('"').skip(1).step_by(2);
    texts
        .filter(|text| text.starts_with('/'))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn every_ingestion_route_is_in_the_document_and_the_other_way_round() {
    let router = Bench::new().await.router();
    let paths = paths_of(&router);
    let mut served = BTreeSet::new();
    for template in &paths {
        let path = template
            .replace("{endpointId}", "ep_1")
            .replace("{eventType}", "order.paid");
        assert!(!path.contains('{'), "which parameter is in {template}?");
        for method in METHODS {
            let request = Request::builder()
                .method(Method::from_bytes(method.to_uppercase().as_bytes()).unwrap())
                .uri(&path)
                .header("authorization", format!("Bearer {KEY}"))
                .body(Body::empty());
            let answer = ask(&router, request.unwrap()).await;
            if answer.status != StatusCode::METHOD_NOT_ALLOWED {
                served.insert((method.to_owned(), template.clone()));
            }
        }
    }
    // Four operations, under each of two bases.
    assert_eq!(served.len(), 8, "{served:?}");
    assert_eq!(served, documented());
}
