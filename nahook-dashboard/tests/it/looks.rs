//! Looks of the portal that sessions have of their own.

use axum::http::{StatusCode, header};
use nahook_control::{Actor, NewPortalSession, PortalRole};

use crate::shop::{Browser, HOSTILE, Shop};

fn session(labels: &[(&str, &str)]) -> NewPortalSession {
    let label = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    NewPortalSession {
        metadata: labels.iter().map(label).collect(),
        ..NewPortalSession::default()
    }
}

async fn enter(shop: &Shop, labels: &[(&str, &str)]) -> Browser {
    let ours = &shop.ours;
    let application = ours.customers[0].application;
    let code = shop.code_of(ours, application, session(labels)).await;
    let entered = shop.get(None, &format!("/portal?code={code}")).await;
    assert_eq!(entered.status, StatusCode::SEE_OTHER);
    shop.browser(&entered, "/portal/endpoints").await
}

const LOOK: [(&str, &str); 4] = [
    ("portal_name", "Acme & Söhne"),
    ("portal_logo", "⚡"),
    ("portal_accent", "#AA3377"),
    ("user", "anna"),
];

#[tokio::test]
async fn session_of_the_portal_has_a_look_of_its_own() {
    let shop = Shop::open().await;
    let (own, usual) = (enter(&shop, &LOOK).await, enter(&shop, &[]).await);
    let id = shop.ours.customers[0].endpoint;
    for path in [
        "/portal/endpoints",
        &format!("/portal/endpoints/{id}"),
        "/portal/endpoints/ep_missing",
    ] {
        let page = shop.get(Some(&own), path).await;
        for part in [
            "<title>",
            "Acme &amp; Söhne</title>",
            "⚡ </span>Acme &amp; Söhne",
            "/portal/assets/accent-aa3377.css",
        ] {
            assert!(page.body.contains(part), "{path}: {part}");
        }
        let page = shop.get(Some(&usual), path).await;
        for part in ["Acme", "⚡", "accent-"] {
            assert!(!page.body.contains(part), "{path}: {part}");
        }
    }
    let sheet = shop.get(None, "/portal/assets/accent-aa3377.css").await;
    assert_eq!(sheet.body, ":root { --accent: #aa3377; }\n");
    assert_eq!(
        sheet.headers[header::CONTENT_TYPE],
        "text/css; charset=utf-8"
    );
    // Forms are as good as those of another session.
    let out = shop.post(Some(&own), "/portal/sign-out", &[]).await;
    assert_eq!(out.status, StatusCode::OK);
    assert!(out.body.contains("Acme &amp; Söhne"));
}

#[tokio::test]
async fn longest_look_fits_a_cookie() {
    let shop = Shop::open().await;
    let name = "\u{1f600}".repeat(60);
    let look = [
        ("portal_name", &*name),
        ("portal_logo", "\u{1f600}\u{1f600}\u{1f600}"),
        ("portal_accent", "#aa3377"),
    ];
    let browser = enter(&shop, &look).await;
    assert!(browser.cookie.len() < 2_000, "{}", browser.cookie.len());
    let page = shop.get(Some(&browser), "/portal/endpoints").await;
    assert!(page.body.contains(&name));
}

#[tokio::test]
async fn hostile_look_is_text_or_refused() {
    let shop = Shop::open().await;
    let name = format!("</title>{}", &HOSTILE[..40]);
    let browser = enter(
        &shop,
        &[("portal_name", &name), ("portal_logo", "\u{202e}<b")],
    )
    .await;
    let page = shop.get(Some(&browser), "/portal/endpoints").await;
    for never in [
        "<script>",
        "</title>&",
        "</title><script",
        "<img",
        "<b\"",
        "\u{202e}",
    ] {
        assert!(!page.body.contains(never), "{never}");
    }
    assert!(page.body.contains("&lt;/title&gt;&lt;script&gt;"));
    assert!(page.body.contains("⟨U+202E⟩"));

    let (ours, management) = (&shop.ours, shop.management());
    let actor = Actor::operator();
    let application = ours.customers[0].application;
    for (label, value) in [
        ("portal_accent", "red; } body { display: none"),
        ("portal_accent", "#fff"),
        ("portal_accent", "url(https://evil.example)"),
        ("portal_name", "\n"),
        ("portal_logo", "four"),
    ] {
        let made = management.create_portal_session(
            &ours.workspace,
            &actor,
            application,
            session(&[(label, value)]),
        );
        let refused = made.await.unwrap_err().to_string();
        let named = format!("metadata.{label} ");
        assert!(refused.contains(&named), "{refused}");
        assert!(!refused.contains(value), "{refused}");
    }
    for name in [
        "accent-red.css",
        "accent-AA3377.css",
        "accent-aa3377%3B%7D.css",
        "accent-%23aa3377.css",
        "accent-.css",
    ] {
        let sheet = shop.get(None, &format!("/portal/assets/{name}")).await;
        assert_eq!(sheet.status, StatusCode::NOT_FOUND, "{name}");
    }
}

#[tokio::test]
async fn nobody_changes_the_look_of_a_session() {
    let shop = Shop::open().await;
    let own = enter(&shop, &LOOK).await;
    let (secret, _) = own.cookie.split_once('.').unwrap();
    for cookie in [
        secret.to_owned(),
        format!("{secret}.portal_name=Mine"),
        format!("{}x", own.cookie),
    ] {
        let changed = Browser {
            cookie,
            ..own.clone()
        };
        let page = shop.get(Some(&changed), "/portal/endpoints").await;
        assert_eq!(page.status, StatusCode::UNAUTHORIZED, "{}", changed.cookie);
    }
    // Nor is it a way into a session that has none.
    let application = shop.ours.customers[0].application;
    let usual = shop
        .customer(&shop.ours, application, PortalRole::Viewer)
        .await;
    let changed = Browser {
        cookie: format!("{}.portal_name=Mine", usual.cookie),
        ..usual
    };
    let page = shop.get(Some(&changed), "/portal/endpoints").await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
}

/// No colour of a customer can make a text unreadable: nothing is written in it or on it.
#[test]
fn accent_is_the_colour_of_a_line_alone() {
    let style = include_str!("../../assets/style.css");
    let uses: Vec<_> = style.match_indices("var(--accent)").collect();
    assert_eq!(uses.len(), 1);
    assert!(style.contains("border-top: 4px solid var(--accent)"));
}
