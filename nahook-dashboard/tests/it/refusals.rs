//! Every route, by everybody who must not use it.

use std::time::Duration;

use axum::http::{StatusCode, header};
use nahook_control::{Actor, KeyState, PortalRole};
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

/// Every page of a site is closed to that browser: it changes nothing there and sees nothing.
async fn assert_closed(shop: &Shop, browser: Option<&Browser>, base: &str, why: &str) {
    let before = contents(shop).await;
    let pages = if base == "/dashboard" {
        dashboard_pages()
    } else {
        portal_pages()
    };
    assert!(pages.len() > 20);
    for page in pages {
        let answer = ask(shop, browser, base, page).await;
        let expected = match (page.0, base) {
            ("POST", _) => StatusCode::NOT_FOUND,
            (_, "/dashboard") => StatusCode::SEE_OTHER,
            _ => StatusCode::UNAUTHORIZED,
        };
        assert_eq!(answer.status, expected, "{why}: {base} {page:?}");
        assert!(!answer.body.contains("example/hooks"), "{why}: {page:?}");
    }
    assert_eq!(contents(shop).await, before, "{why}");
}

#[tokio::test]
async fn nobody_sees_or_changes_anything_without_a_session() {
    let shop = Shop::open().await;
    for base in ["/dashboard", "/portal"] {
        assert_closed(&shop, None, base, "no session").await;
    }
}

/// The pages' routes are those of the list, all behind the guard, and these three before it.
#[test]
fn every_route_is_in_the_list_that_is_gone_through() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let folders = [folder.to_owned(), format!("{folder}/pages")];
    let files = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let mut routes = Vec::new();
    for file in files {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|it| it != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let calls = ["route", "nest", "merge", "route_service", "nest_service"];
        for call in calls {
            for (place, _) in text.match_indices(&format!(".{call}(")) {
                let rest = &text[place..];
                routes.push(rest[..=rest.find([',', ';']).unwrap()].to_owned());
            }
        }
    }
    routes.sort();
    let expected = [
        r#".route("/",""#,
        r#".route("/assets/{name}",""#,
        r#".route("/sign-in",""#,
        ".route(path,",
        ".route(path,",
    ];
    assert_eq!(routes, expected.map(|route| route.trim_end_matches('"')));
}

#[tokio::test]
async fn operators_session_that_has_ended_opens_nothing() {
    for why in ["unused", "old", "revoked", "disabled", "signed out"] {
        let shop = Shop::open().await;
        let ours = &shop.ours;
        let browser = shop.operator(ours).await;
        let set = async |state| {
            let (management, actor) = (shop.management(), Actor::operator());
            let token = ours.token_id;
            let set = management.set_management_token_state(&ours.workspace, &actor, token, state);
            set.await.unwrap();
        };
        match why {
            "unused" => shop.clock.advance(Duration::from_hours(2)),
            "old" => {
                for _ in 0..12 {
                    shop.get(Some(&browser), "/dashboard/system").await;
                    shop.clock.advance(Duration::from_hours(1));
                }
            }
            "revoked" => set(KeyState::Revoked).await,
            "disabled" => set(KeyState::Disabled).await,
            _ => {
                let out = shop.post(Some(&browser), "/dashboard/sign-out", &[]).await;
                assert_eq!(out.status, StatusCode::OK);
            }
        }
        assert_closed(&shop, Some(&browser), "/dashboard", why).await;
    }
}

#[tokio::test]
async fn customers_session_that_has_ended_opens_nothing() {
    for why in ["old", "deleted", "signed out", "ended by an operator"] {
        let shop = Shop::open().await;
        let ours = &shop.ours;
        let application = ours.customers[0].application;
        let browser = shop.customer(ours, application, PortalRole::Admin).await;
        match why {
            "old" => shop.clock.advance(Duration::from_hours(1)),
            "deleted" => {
                let (management, actor) = (shop.management(), Actor::operator());
                let deleted = management.delete_application(&ours.workspace, &actor, application);
                deleted.await.unwrap();
            }
            "signed out" => {
                let out = shop.post(Some(&browser), "/portal/sign-out", &[]).await;
                assert_eq!(out.status, StatusCode::OK);
            }
            _ => {
                let operator = shop.operator(ours).await;
                let path = format!("/dashboard/applications/{application}/sign-out");
                let out = shop.post(Some(&operator), &path, &[]).await;
                assert_eq!(out.status, StatusCode::SEE_OTHER);
            }
        }
        assert_closed(&shop, Some(&browser), "/portal", why).await;
    }
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
    let third = shop.theirs.customers[0].application;
    let third = shop.customer(&shop.theirs, third, PortalRole::Admin).await;
    let before = contents(&shop).await;
    let pages = portal_pages().into_iter();
    let pages = pages.flat_map(|page| [(&browser, page), (&third, page)]);
    for (browser, page) in pages {
        if page.1 == "/sign-out" || page == ("POST", "/endpoints/new") {
            continue;
        }
        let answer = ask(&shop, Some(browser), "/portal", page).await;
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
    for (browser, base, other) in [
        (customer, "/dashboard", "nahook_dashboard"),
        (operator, "/portal", "nahook_portal"),
    ] {
        let (_, secret) = browser.cookie.split_once('=').unwrap();
        let forged = Browser {
            cookie: format!("{other}={secret}"),
            ..browser.clone()
        };
        for browser in [browser, forged] {
            assert_closed(&shop, Some(&browser), base, "another site's").await;
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
    let ours = &shop.ours;
    let application = ours.customers[0].application;
    let mut visitors = Vec::new();
    for _ in 0..2 {
        visitors.push(shop.operator(ours).await);
        visitors.push(shop.customer(ours, application, PortalRole::Admin).await);
    }
    let before = contents(&shop).await;
    let posts = |base, browser, other, pages: Vec<(&'static str, &'static str)>| {
        let posts = pages.into_iter().filter(|page| page.0 == "POST");
        posts.map(move |(_, route)| (base, browser, other, route))
    };
    let dashboard = posts("/dashboard", &visitors[0], &visitors[2], dashboard_pages());
    let portal = posts("/portal", &visitors[1], &visitors[3], portal_pages());
    for (base, browser, other, route) in dashboard.chain(portal) {
        let path = format!("{base}{}", ours.path(&ours.customers[0], route));
        for token in ["", "0", &other.form_token] {
            let forged = Browser {
                form_token: token.to_owned(),
                ..browser.clone()
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
            let mut request = form(Some(browser), &path, &[]);
            request
                .headers_mut()
                .unwrap()
                .insert(name, value.parse().unwrap());
            let body = encoded(Some(browser), &[("confirmed", "yes")]);
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
