//! Contents of every page.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use nahook_control::{EndpointDirectory as _, HealthReport, HealthState, PortalRole};
use nahook_core::Timestamp;
use nahook_core::id::EndpointId;
use nahook_dashboard::{dashboard_pages, portal_pages};
use nahook_queue::{Counts, DeliveryCounts as _, Period, RollUp};

use crate::shop::{Browser, HOSTILE, Shop, Tenant};

/// Every page that is looked at, with our ids in its path.
fn pages(shop: &Shop, base: &str, list: Vec<(&str, &str)>) -> Vec<String> {
    let pages = list.into_iter().filter(|page| page.0 == "GET");
    let pages = pages.filter(|page| page.1 != "/live");
    let ours = &shop.ours;
    pages
        .map(|(_, route)| format!("{base}{}", ours.path(&ours.customers[0], route)))
        .collect()
}

pub(crate) async fn both(shop: &Shop) -> Vec<(Browser, String)> {
    let ours = &shop.ours;
    let operator = shop.operator(ours).await;
    let customer = ours.customers[0].application;
    let customer = shop.customer(ours, customer, PortalRole::Admin).await;
    let mut all = Vec::new();
    for path in pages(shop, "/dashboard", dashboard_pages()) {
        // Nested, the first page has no slash at its end.
        all.push((operator.clone(), path.trim_end_matches('/').to_owned()));
    }
    for path in pages(shop, "/portal", portal_pages()) {
        all.push((customer.clone(), path));
    }
    all
}

#[tokio::test]
async fn hostile_text_is_text_on_every_page() {
    let shop = Shop::open().await;
    let mut shown = 0;
    for (browser, path) in both(&shop).await {
        let page = shop.get(Some(&browser), &path).await;
        if path.ends_with("/payload") {
            assert_eq!(
                page.headers[header::CONTENT_TYPE],
                "application/octet-stream"
            );
            assert!(
                page.headers[header::CONTENT_DISPOSITION]
                    .to_str()
                    .unwrap()
                    .starts_with("attachment")
            );
            continue;
        }
        for never in ["<script>", "<img", "<b>Staging"] {
            assert!(!page.body.contains(never), "{path}: {never}");
        }
        assert!(!without_values(&page.body).contains('\u{202e}'), "{path}");
        shown += page.body.matches("&lt;script&gt;").count();
    }
    assert!(HOSTILE.contains("<script>") && shown > 20, "{shown}");
}

/// The page without the contents of its fields, which have to stay as they are.
fn without_values(page: &str) -> String {
    let mut rest: String = page
        .split("value=\"")
        .enumerate()
        .map(|(place, part)| {
            if place == 0 {
                part
            } else {
                part.split_once('"').map_or("", |(_, rest)| rest)
            }
        })
        .collect();
    while let Some(begin) = rest.find("<textarea") {
        let len = rest[begin..].find("</textarea>").unwrap();
        rest.replace_range(begin..=begin + len, "");
    }
    rest
}

#[tokio::test]
async fn every_page_is_whole_and_closed_to_scripts_of_others() {
    let shop = Shop::open().await;
    for (browser, path) in both(&shop).await {
        let page = shop.get(Some(&browser), &path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.body);
        let policy = page.headers[header::CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"));
        assert!(policy.contains("frame-ancestors 'none'"));
        assert_eq!(page.headers[header::CACHE_CONTROL], "no-store");
        assert_eq!(page.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        for inline in [
            " style=",
            " onclick=",
            "<style",
            "javascript:",
            "//fonts",
            "https://cdn",
        ] {
            assert!(!page.body.contains(inline), "{path}: {inline}");
        }
        assert!(page.body.len() < 100_000, "{path}: {}", page.body.len());
    }
}

#[tokio::test]
async fn answer_of_a_receiver_is_text_for_who_may_change() {
    let shop = Shop::open().await;
    let ours = &shop.ours;
    let body = format!("<h1>no</h1>{HOSTILE}\u{fffd}{}", "x".repeat(4_000));
    shop.refuse_everything(&body).await;
    let customer = &ours.customers[0];
    let mut browsers = vec![(shop.operator(ours).await, "/dashboard", true)];
    for (role, sees) in [
        (PortalRole::Admin, true),
        (PortalRole::Editor, true),
        (PortalRole::Viewer, false),
    ] {
        let browser = shop.customer(ours, customer.application, role).await;
        browsers.push((browser, "/portal", sees));
    }
    for (browser, base, sees) in browsers {
        let path = format!("{base}/deliveries/{}", customer.delivery);
        let page = shop.get(Some(&browser), &path).await;
        assert_eq!(page.status, StatusCode::OK);
        let is_shown = page.body.contains("&lt;h1&gt;no&lt;/h1&gt;&lt;script&gt;");
        assert_eq!(is_shown, sees, "{path}");
        for never in ["<h1>no", "<script>", "<img", "\u{202e}"] {
            assert!(!page.body.contains(never), "{path}: {never}");
        }
    }
}

#[tokio::test]
async fn endpoint_says_why_it_fails_and_whose_it_is() {
    let shop = Shop::open().await;
    let ours = &shop.ours;
    shop.refuse_everything("the inbox is full").await;
    let customer = &ours.customers[0];
    let viewer = shop.customer(ours, customer.application, PortalRole::Viewer);
    let browsers = [
        (shop.operator(ours).await, "/dashboard", true),
        (viewer.await, "/portal", false),
    ];
    for (browser, base, is_operators) in browsers {
        let path = format!("{base}/endpoints/{}", customer.endpoint);
        let page = shop.get(Some(&browser), &path).await.body;
        assert!(page.contains("The receiver answered 500 ("), "{page}");
        assert!(!page.contains("with status 500"), "it was said: {page}");
        let owner = format!("/applications/{}\">&lt;script&gt;", customer.application);
        let environment = "<dt>Environment</dt><dd>Production</dd>";
        let answer = "It said: <code>the inbox is full</code>";
        for text in [&*owner, environment, answer] {
            assert_eq!(page.contains(text), is_operators, "{text}: {page}");
        }
    }
}

/// The receiver's names of the headers, which [`nahook_delivery::header`] sends.
#[tokio::test]
async fn request_is_shown_as_it_is_sent() {
    let shop = Shop::open().await;
    shop.refuse_everything("no").await;
    let customer = &shop.ours.customers[0];
    let operator = shop.operator(&shop.ours).await;
    let path = format!("/dashboard/deliveries/{}", customer.delivery);
    let page = shop.get(Some(&operator), &path).await;
    let agent = concat!("nahook/", env!("CARGO_PKG_VERSION"));
    for line in [
        format!("POST {}", customer.url),
        "content-type: application/json".to_owned(),
        format!("user-agent: {agent}"),
        format!("nahook-delivery-id: {}", customer.delivery),
        "nahook-event-type: order.paid".to_owned(),
        "nahook-attempt: 1".to_owned(),
        format!("webhook-id: {}", customer.event),
        "webhook-timestamp: 1795680000".to_owned(),
        "webhook-signature: v1,".to_owned(),
    ] {
        let starts = |text: &str| text.starts_with(&line);
        let is_shown = page.body.split(['\n', '>']).any(starts);
        assert!(is_shown, "{line}: {}", page.body);
    }
}

fn counted(tenant: &Tenant, endpoint: Option<EndpointId>, period: Period, first: u64) -> RollUp {
    RollUp {
        workspace: tenant.workspace,
        endpoint,
        period,
        start: period.start_of(Timestamp::from_millis(1_795_680_000_000)),
        counts: Counts::from_numbers(first..),
    }
}

#[tokio::test]
async fn counts_over_time_are_charts_with_a_table() {
    let shop = Shop::open().await;
    let (ours, theirs) = (&shop.ours, &shop.theirs);
    let [one, other] = [0, 1].map(|nth| Some(ours.customers[nth].endpoint));
    let counts = [
        counted(ours, None, Period::Minute, 41_000),
        counted(ours, None, Period::Hour, 52_000),
        counted(ours, one, Period::Hour, 63_000),
        counted(ours, other, Period::Hour, 74_000),
        counted(theirs, None, Period::Minute, 85_000),
        counted(theirs, None, Period::Hour, 85_000),
    ];
    shop.store.add_counts(&counts).await.unwrap();
    let operator = shop.operator(ours).await;
    let customer = ours.customers[0].application;
    let customer = shop.customer(ours, customer, PortalRole::Viewer).await;
    let id = ours.customers[0].endpoint;
    let (dashboard, portal) = (
        format!("/dashboard/endpoints/{id}"),
        format!("/portal/endpoints/{id}"),
    );
    for (browser, path, shown) in [
        (&operator, "/dashboard", "Taken: 41001, Not taken: 41002"),
        (&operator, "/dashboard?span=hour", "Accepted: 41000"),
        (
            &operator,
            "/dashboard?span=day",
            "Taken: 52001, Not taken: 52002",
        ),
        (&operator, "/dashboard?span=week", "Accepted: 52000"),
        (&operator, "/dashboard?span=%3Cscript%3E", "Accepted: 41000"),
        (&operator, &dashboard, "Taken: 63001, Not taken: 63002"),
        (&customer, &portal, "Taken: 63001, Not taken: 63002"),
    ] {
        let page = shop.get(Some(browser), path).await;
        assert!(page.body.contains(shown), "{path}: {shown}");
        for part in [
            "role=\"img\"",
            "<desc",
            "<rect class=\"good\"",
            "<details><summary>The numbers",
        ] {
            assert!(page.body.contains(part), "{path}: {part}");
        }
        for never in ["style=", "85000", "74001"] {
            assert!(!page.body.contains(never), "{path}: {never}");
        }
    }
}

#[tokio::test]
async fn assets_are_sent_compressed() {
    let shop = Shop::open().await;
    let page = shop.get(None, "/dashboard/sign-in").await;
    let links = page.body.split('"');
    for asset in links.filter(|text| text.starts_with("/dashboard/assets/")) {
        let request = Request::get(asset).header(header::ACCEPT_ENCODING, "br, gzip");
        let sent = shop.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(sent.headers[header::CONTENT_ENCODING], "gzip", "{asset}");
        let plain = shop.get(None, asset).await;
        assert!(
            !plain.headers.contains_key(header::CONTENT_ENCODING),
            "{asset}"
        );
        assert_eq!(plain.headers[header::VARY], "accept-encoding", "{asset}");
    }
}

#[tokio::test]
async fn assets_are_kept_for_good_under_names_of_their_contents() {
    let shop = Shop::open().await;
    let page = shop.get(None, "/dashboard/sign-in").await;
    let assets: Vec<_> = page
        .body
        .split('"')
        .filter(|text| text.starts_with("/dashboard/assets/"))
        .collect();
    assert_eq!(assets.len(), 3);
    for asset in assets {
        let answer = shop.get(None, asset).await;
        assert_eq!(answer.status, StatusCode::OK, "{asset}");
        let kept = answer.headers[header::CACHE_CONTROL].to_str().unwrap();
        assert!(kept.contains("immutable"), "{asset}");
    }
    let missing = shop.get(None, "/dashboard/assets/style.css").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn no_page_shows_a_secret_unasked() {
    let shop = Shop::open().await;
    let ours = &shop.ours;
    let management = shop.management();
    let endpoint = management
        .endpoint(&ours.workspace, ours.customers[0].endpoint)
        .await;
    let secret = endpoint.unwrap().secret.expose().to_owned();
    for (browser, path) in both(&shop).await {
        let page = shop.get(Some(&browser), &path).await;
        assert!(!page.body.contains(&secret), "{path}");
        assert!(!page.body.contains(&ours.token), "{path}");
    }
    let operator = shop.operator(ours).await;
    let path = format!("/dashboard/endpoints/{}/secret", ours.customers[0].endpoint);
    let shown = shop.post(Some(&operator), &path, &[]).await;
    assert!(shown.body.contains(&secret));
}

#[tokio::test]
async fn lists_of_endpoints_have_those_that_are_asked_for() {
    let shop = Shop::open().await;
    let ours = &shop.ours;
    let [one, other] = [0, 1].map(|nth| &ours.customers[nth]);
    let report = HealthReport {
        endpoint: other.endpoint,
        state: HealthState::FailingSince(Timestamp::from_millis(1_795_670_000_000)),
    };
    shop.store.report(&[report]).await.unwrap();
    let operator = shop.operator(ours).await;
    let customer = shop
        .customer(ours, one.application, PortalRole::Viewer)
        .await;
    let event = format!("/dashboard/events/{}", one.event);
    let by_id = format!("/dashboard/endpoints?q={}", one.endpoint);
    let others = format!("/portal/endpoints?q={}", other.endpoint);
    for (browser, path, shown) in [
        (&operator, "/dashboard/endpoints", [true, true]),
        (&operator, &by_id, [true, false]),
        (
            &operator,
            "/dashboard/endpoints?state=failing",
            [false, true],
        ),
        (
            &operator,
            "/dashboard/endpoints?state=disabled",
            [false, false],
        ),
        (&operator, "/dashboard/endpoints?from=1", [true, false]),
        (&operator, "/dashboard/endpoints?from=99", [false, false]),
        (&operator, "/dashboard", [false, true]),
        (&operator, &event, [true, true]),
        (&customer, "/portal/endpoints", [true, false]),
        (&customer, "/portal/endpoints?state=failing", [false, false]),
        (&customer, &others, [false, false]),
    ] {
        let page = shop.get(Some(browser), path).await;
        let has = |endpoint: &EndpointId| {
            let link = format!("/endpoints/{endpoint}\"");
            page.body.contains(&link)
        };
        let has = [has(&one.endpoint), has(&other.endpoint)];
        assert_eq!(has, shown, "{path}: {}", page.body);
    }
    let overview = shop.get(Some(&operator), "/dashboard").await;
    for tile in [
        "Endpoints</dt><dd>2<",
        "Failing now</dt><dd>1<",
        "Disabled</dt><dd>0<",
    ] {
        assert!(overview.body.contains(tile), "{tile}");
    }
}
