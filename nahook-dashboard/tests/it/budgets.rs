//! Forms, which draw on what their workspace may take.

use std::time::Duration;

use axum::body::Body;
use axum::http::{StatusCode, header};
use nahook_control::PortalRole;
use nahook_dashboard::{dashboard_pages, portal_pages};
use nahook_http::{Bound, BudgetKind, BudgetSettings, Budgets};

use crate::shop::{Shop, encoded, form};

/// Budgets with that bound, and the usual ones besides.
fn budgets(kind: BudgetKind, bound: Bound) -> Budgets {
    Budgets::new(BudgetSettings::default().with_bound(kind, bound))
}

#[tokio::test]
async fn every_form_is_a_call_of_its_workspace() {
    let bound = Bound::Spent {
        interval: Duration::from_hours(1),
        burst: 1,
    };
    let shop = Shop::with(budgets(BudgetKind::ManagementCalls, bound)).await;
    let ours = &shop.ours;
    let operator = shop.operator(ours).await;
    let customer = ours.customers[0].application;
    let customer = shop.customer(ours, customer, PortalRole::Admin).await;
    let system = "/dashboard/environments/env_none";
    let first = shop.post(Some(&operator), system, &[("name", "a")]).await;
    assert_eq!(first.status, StatusCode::NOT_FOUND, "{}", first.body);
    let dashboard = dashboard_pages().into_iter();
    let dashboard = dashboard.map(|page| (page, "/dashboard", &operator));
    let portal = portal_pages().into_iter();
    let portal = portal.map(|page| (page, "/portal", &customer));
    let mut forms = 0;
    for ((method, route), base, browser) in dashboard.chain(portal) {
        let path = format!("{base}{}", ours.path(&ours.customers[0], route));
        if method == "POST" {
            let answer = shop.post(Some(browser), &path, &[]).await;
            assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{path}");
            assert!(answer.headers.contains_key(header::RETRY_AFTER), "{path}");
            forms += 1;
        }
    }
    assert!(forms > 30, "{forms}");
    // Another workspace has an account of its own, and who only looks draws nothing.
    let other = shop.operator(&shop.theirs).await;
    let theirs = shop.post(Some(&other), system, &[("name", "a")]).await;
    assert_eq!(theirs.status, StatusCode::NOT_FOUND);
    let page = shop.get(Some(&operator), "/dashboard/keys").await;
    assert_eq!(page.status, StatusCode::OK);
}

#[tokio::test]
async fn long_form_takes_memory_of_its_workspace() {
    let bound = Bound::Held {
        workspace: 64 * 1024,
        all: 64 * 1024,
    };
    let budgets = budgets(BudgetKind::BodyBytes, bound);
    let held = budgets.clone();
    let shop = Shop::with(budgets).await;
    let operator = shop.operator(&shop.ours).await;
    let line = "x".repeat(80_000);
    let path = "/dashboard/environments/env_none";
    let fields = [("name", "a"), ("more", &*line)];
    let alone = shop.post(Some(&operator), path, &fields).await;
    assert_eq!(alone.status, StatusCode::NOT_FOUND, "{}", alone.body);
    let workspace = shop.ours.workspace;
    let taken = held.try_take(workspace, BudgetKind::BodyBytes, 60_000);
    let refused = shop.post(Some(&operator), path, &fields).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    drop(taken.unwrap());
    let again = shop.post(Some(&operator), path, &fields).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND, "it was given back");
}

#[tokio::test]
async fn stranger_signs_in_by_a_short_form() {
    let shop = Shop::open().await;
    let token = "x".repeat(5_000);
    let request = form(None, "/dashboard/sign-in", &[]);
    let body = encoded(None, &[("token", &token)]);
    let refused = shop.send(request.body(body).unwrap()).await;
    assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
    // One that never ends is not read any further.
    let endless = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>("x".repeat(1_000)));
    let request = form(None, "/dashboard/sign-in", &[]);
    let refused = shop
        .send(request.body(Body::from_stream(endless)).unwrap())
        .await;
    assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
}
