//! Beginning and end of sessions.

use std::time::Duration;

use axum::http::{StatusCode, header};
use nahook_control::{Actor, KeyState, PortalRole};

use crate::shop::{Browser, Shop};

async fn is_in(shop: &Shop, browser: &Browser) -> bool {
    let answer = shop.get(Some(browser), "/dashboard").await;
    answer.status == StatusCode::OK
}

#[tokio::test]
async fn unused_session_ends_after_two_hours_and_any_after_twelve() {
    let shop = Shop::open().await;
    let browser = shop.operator(&shop.ours).await;
    shop.clock.advance(Duration::from_mins(119));
    assert!(is_in(&shop, &browser).await);
    shop.clock.advance(Duration::from_hours(2));
    assert!(!is_in(&shop, &browser).await);
    let browser = shop.operator(&shop.ours).await;
    for hour in 1..=12 {
        shop.clock.advance(Duration::from_hours(1));
        assert_eq!(is_in(&shop, &browser).await, hour < 12, "{hour}");
    }
}

#[tokio::test]
async fn session_is_worth_what_its_token_is_worth() {
    let shop = Shop::open().await;
    let (ours, management) = (&shop.ours, shop.management());
    let browser = shop.operator(ours).await;
    for (state, is_usable) in [
        (KeyState::Disabled, false),
        (KeyState::Active, true),
        (KeyState::Revoked, false),
    ] {
        let actor = Actor::operator();
        management
            .set_management_token_state(&ours.workspace, &actor, ours.token_id, state)
            .await
            .unwrap();
        assert_eq!(is_in(&shop, &browser).await, is_usable, "{state:?}");
    }
}

#[tokio::test]
async fn signing_out_ends_one_session_or_all_of_the_tokens() {
    let shop = Shop::open().await;
    let browsers = [
        shop.operator(&shop.ours).await,
        shop.operator(&shop.ours).await,
        shop.operator(&shop.ours).await,
    ];
    let theirs = shop.operator(&shop.theirs).await;
    let out = shop
        .post(Some(&browsers[0]), "/dashboard/sign-out", &[])
        .await;
    assert!(
        out.headers[header::SET_COOKIE]
            .to_str()
            .unwrap()
            .contains("Max-Age=0")
    );
    assert!(!is_in(&shop, &browsers[0]).await);
    assert!(is_in(&shop, &browsers[1]).await);
    let everywhere = [("everywhere", "yes")];
    shop.post(Some(&browsers[1]), "/dashboard/sign-out", &everywhere)
        .await;
    assert!(!is_in(&shop, &browsers[2]).await);
    assert!(is_in(&shop, &theirs).await);
}

#[tokio::test]
async fn link_signs_in_once_within_ten_minutes() {
    let shop = Shop::open().await;
    let code = shop.link(&shop.ours).await;
    let path = "/dashboard/sign-in";
    // Looking at it does not use it up.
    for _ in 0..2 {
        let looked = shop.get(None, &format!("{path}?link={code}")).await;
        assert_eq!(looked.status, StatusCode::OK);
    }
    let first = shop.post(None, path, &[("link", &code)]).await;
    assert_eq!(first.status, StatusCode::SEE_OTHER);
    assert!(is_in(&shop, &shop.browser(&first, "/dashboard").await).await);
    let second = shop.post(None, path, &[("link", &code)]).await;
    assert_eq!(second.status, StatusCode::UNAUTHORIZED);
    let late = shop.link(&shop.ours).await;
    shop.clock.advance(Duration::from_mins(10));
    let late = shop.post(None, path, &[("link", &late)]).await;
    assert_eq!(late.status, StatusCode::UNAUTHORIZED);
    // A link is no session.
    let code = shop.link(&shop.ours).await;
    let browser = Browser {
        cookie: format!("nahook_dashboard={code}"),
        form_token: String::new(),
    };
    assert!(!is_in(&shop, &browser).await);
}

#[tokio::test]
async fn code_of_the_portal_opens_it_once_within_five_minutes() {
    let shop = Shop::open().await;
    let ours = &shop.ours;
    let application = ours.customers[0].application;
    let code = shop
        .portal_code(ours, application, PortalRole::Viewer)
        .await;
    let path = format!("/portal?code={code}");
    assert_eq!(shop.get(None, &path).await.status, StatusCode::SEE_OTHER);
    assert_eq!(shop.get(None, &path).await.status, StatusCode::UNAUTHORIZED);
    let late = shop
        .portal_code(ours, application, PortalRole::Viewer)
        .await;
    shop.clock.advance(Duration::from_mins(5));
    let late = shop.get(None, &format!("/portal?code={late}")).await;
    assert_eq!(late.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn session_of_the_portal_ends_with_its_application() {
    let shop = Shop::open().await;
    let ours = &shop.ours;
    let application = ours.customers[0].application;
    let browser = shop.customer(ours, application, PortalRole::Admin).await;
    let actor = Actor::operator();
    let management = shop.management();
    management
        .delete_application(&ours.workspace, &actor, application)
        .await
        .unwrap();
    let answer = shop.get(Some(&browser), "/portal/endpoints").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn guessing_tokens_is_slowed_down() {
    let shop = Shop::open().await;
    let path = "/dashboard/sign-in";
    for _ in 0..10 {
        let answer = shop.post(None, path, &[("token", "nhm_wrong")]).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
    let right = [("token", &*shop.ours.token)];
    let refused = shop.post(None, path, &right).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers[header::RETRY_AFTER], "300");
    shop.clock.advance(Duration::from_mins(5));
    let answer = shop.post(None, path, &right).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
}
