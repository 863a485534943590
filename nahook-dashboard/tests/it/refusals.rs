//! Every route, by everybody who must not use it.

use axum::http::{StatusCode, header};
use nahook_control::PortalRole;
use nahook_dashboard::{dashboard_pages, portal_pages};

use crate::shop::{Browser, Shop, encoded, form};

/// Sends a request to the route with our ids in it.
async fn ask(
    shop: &Shop,
    browser: Option<&Browser>,
    base: &str,
    (method, route): (&str, &str),
) -> crate::shop::Answer {
    let ours = &shop.ours;
    let path = format!("{base}{}", ours.path(&ours.customers[0], route));
    let path = path.trim_end_matches('/').to_owned();
    if method == "GET" {
        shop.get(browser, &path).await
    } else {
        shop.post(browser, &path, &[("confirmed", "yes"), ("role", "admin")])
            .await
    }
}

/// What the store has of our workspace, in one text.
async fn contents(shop: &Shop) -> String {
    let (management, workspace) = (shop.management(), shop.ours.workspace);
    format!(
        "{:?} {:?} {:?} {:?}",
        management.endpoints(&workspace).await.unwrap(),
        management.applications(&workspace, 0, 99).await.unwrap(),
        management.management_tokens(&workspace).await.unwrap(),
        management.event_types(&workspace).await.unwrap(),
    )
}

#[tokio::test]
async fn nobody_sees_or_changes_anything_without_a_session() {
    let shop = Shop::open().await;
    let before = contents(&shop).await;
    for (base, pages) in [
        ("/dashboard", dashboard_pages()),
        ("/portal", portal_pages()),
    ] {
        assert!(pages.len() > 20);
        for page in pages {
            let answer = ask(&shop, None, base, page).await;
            let expected = match (page.0, base) {
                ("POST", _) => StatusCode::NOT_FOUND,
                (_, "/dashboard") => StatusCode::SEE_OTHER,
                _ => StatusCode::UNAUTHORIZED,
            };
            assert_eq!(answer.status, expected, "{base} {page:?}");
            assert!(!answer.body.contains("example/hooks"), "{base} {page:?}");
        }
    }
    assert_eq!(contents(&shop).await, before);
}

#[tokio::test]
async fn things_of_another_workspace_are_not_there() {
    let shop = Shop::open().await;
    let theirs = shop.operator(&shop.theirs).await;
    let before = contents(&shop).await;
    for page in dashboard_pages() {
        let answer = ask(&shop, Some(&theirs), "/dashboard", page).await;
        // Every workspace has event types by the same name, not by the same id.
        if page.1.contains('{') {
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{page:?}");
        }
        assert!(!answer.body.contains("ours-0"), "{page:?}");
        if page.1 == "/sign-out" {
            break;
        }
    }
    let theirs = shop.operator(&shop.theirs).await;
    for page in dashboard_pages() {
        if page.1 != "/sign-out" {
            let answer = ask(&shop, Some(&theirs), "/dashboard", page).await;
            let is_missing = answer.status == StatusCode::NOT_FOUND;
            assert!(
                is_missing || !page.1.contains('{'),
                "{page:?}: {}",
                answer.status
            );
            assert!(!answer.body.contains("ours-"), "{page:?}");
        }
    }
    assert_eq!(contents(&shop).await, before);
}

#[tokio::test]
async fn things_of_another_customer_are_not_there() {
    let shop = Shop::open().await;
    let ours = &shop.ours;
    let second = ours.customers[1].application;
    let browser = shop.customer(ours, second, PortalRole::Admin).await;
    let before = contents(&shop).await;
    for page in portal_pages() {
        if page.1 == "/sign-out" || page == ("POST", "/endpoints/new") {
            continue;
        }
        let answer = ask(&shop, Some(&browser), "/portal", page).await;
        if page.1.contains('{') {
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{page:?}");
        } else {
            assert_eq!(answer.status, StatusCode::OK, "{page:?}");
        }
        for text in [&*ours.customers[0].url, ours.customers[0].endpoint.as_str()] {
            assert!(!answer.body.contains(text), "{page:?}");
        }
    }
    assert_eq!(contents(&shop).await, before);
    // What a form says about another application does not count.
    let first = ours.customers[0].application;
    let fields = [
        ("url", "https://new.example/"),
        ("application", first.as_str()),
    ];
    let made = shop.post(Some(&browser), "/portal/endpoints/new", &fields);
    assert_eq!(made.await.status, StatusCode::SEE_OTHER);
    let management = shop.management();
    let own = management
        .endpoints_of(&ours.workspace, second)
        .await
        .unwrap();
    assert_eq!(own.len(), 2);
}

#[tokio::test]
async fn session_of_the_portal_is_none_of_the_dashboard_and_the_other_way_round() {
    let shop = Shop::open().await;
    let ours = &shop.ours;
    let customer = ours.customers[0].application;
    let customer = shop.customer(ours, customer, PortalRole::Admin).await;
    let operator = shop.operator(ours).await;
    for (browser, path, other) in [
        (customer, "/dashboard", "nahook_dashboard"),
        (operator, "/portal/endpoints", "nahook_portal"),
    ] {
        let (_, secret) = browser.cookie.split_once('=').unwrap();
        let forged = Browser {
            cookie: format!("{other}={secret}"),
            ..browser.clone()
        };
        for browser in [browser, forged] {
            let answer = shop.get(Some(&browser), path).await;
            assert_ne!(answer.status, StatusCode::OK, "{path}");
        }
    }
}

#[tokio::test]
async fn viewer_only_looks_and_editor_neither_sees_secrets_nor_deletes() {
    let shop = Shop::open().await;
    let ours = &shop.ours;
    let customer = &ours.customers[0];
    let viewer = shop
        .customer(ours, customer.application, PortalRole::Viewer)
        .await;
    let editor = shop
        .customer(ours, customer.application, PortalRole::Editor)
        .await;
    let before = contents(&shop).await;
    for page in portal_pages() {
        if page.1 == "/sign-out" {
            continue;
        }
        let answer = ask(&shop, Some(&viewer), "/portal", page).await;
        let is_form = page.0 == "POST"
            || ["new", "edit", "disable", "delete", "rotate", "retry"]
                .iter()
                .any(|end| page.1.ends_with(end));
        let expected = if is_form {
            StatusCode::FORBIDDEN
        } else {
            StatusCode::OK
        };
        assert_eq!(answer.status, expected, "{page:?}");
    }
    for end in ["delete", "rotate", "secret"] {
        for page in portal_pages()
            .into_iter()
            .filter(|page| page.1.ends_with(end))
        {
            let answer = ask(&shop, Some(&editor), "/portal", page).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{page:?}");
        }
    }
    assert_eq!(contents(&shop).await, before);
    let path = format!("/portal/endpoints/{}", customer.endpoint);
    let disabled = shop
        .post(Some(&editor), &format!("{path}/disable"), &[])
        .await;
    assert_eq!(disabled.status, StatusCode::SEE_OTHER);
    assert_ne!(contents(&shop).await, before);
}

#[tokio::test]
async fn token_that_reads_only_changes_nothing_and_sees_no_secret() {
    let shop = Shop::open().await;
    let reader = shop.reader(&shop.ours).await;
    let before = contents(&shop).await;
    let (forms, pages): (Vec<_>, Vec<_>) = dashboard_pages()
        .into_iter()
        .partition(|page| page.0 == "POST");
    for page in pages {
        let answer = ask(&shop, Some(&reader), "/dashboard", page).await;
        assert!(!answer.body.contains("whsec_"), "{page:?}");
    }
    for page in forms.iter().filter(|page| page.1 != "/sign-out") {
        let answer = ask(&shop, Some(&reader), "/dashboard", *page).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{page:?}");
        assert!(!answer.body.contains("whsec_"), "{page:?}");
    }
    assert_eq!(contents(&shop).await, before);
    let signed_out = shop.post(Some(&reader), "/dashboard/sign-out", &[]).await;
    assert_eq!(signed_out.status, StatusCode::OK);
}

#[tokio::test]
async fn form_of_another_page_or_site_changes_nothing() {
    let shop = Shop::open().await;
    let operator = shop.operator(&shop.ours).await;
    let other = shop.operator(&shop.ours).await;
    let before = contents(&shop).await;
    let posts = dashboard_pages()
        .into_iter()
        .filter(|page| page.0 == "POST");
    for (_, route) in posts {
        let ours = &shop.ours;
        let path = format!("/dashboard{}", ours.path(&ours.customers[0], route));
        for token in ["", "0", &other.form_token] {
            let forged = Browser {
                form_token: token.to_owned(),
                ..operator.clone()
            };
            let answer = shop
                .post(Some(&forged), &path, &[("confirmed", "yes")])
                .await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
        }
        for (name, value) in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            let mut request = form(Some(&operator), &path, &[]);
            request
                .headers_mut()
                .unwrap()
                .insert(name, value.parse().unwrap());
            let body = encoded(Some(&operator), &[("confirmed", "yes")]);
            let answer = shop.send(request.body(body).unwrap()).await;
            assert_eq!(
                answer.status,
                StatusCode::FORBIDDEN,
                "{path} {name} {value}"
            );
        }
    }
    assert_eq!(contents(&shop).await, before);
    let cross = form(None, "/dashboard/sign-in", &[]).header("sec-fetch-site", "cross-site");
    let body = encoded(None, &[("token", &shop.ours.token)]);
    let answer = shop.send(cross.body(body).unwrap()).await;
    assert!(!answer.headers.contains_key(header::SET_COOKIE));
}
