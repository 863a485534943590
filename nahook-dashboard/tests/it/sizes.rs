//! Lengths of pages where everything is as long as it may be, and there is much of it.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use nahook_control::{
    Actor, EndpointDirectory as _, HealthReport, HealthState, NewApiKey, NewApplication,
    NewEndpoint, NewEnvironment, PortalRole,
};
use nahook_core::{Clock as _, EventTypeName, FanOut, Metadata, NewEvent, Payload};
use nahook_queue::{Counts, DeliveryCounts as _, Period, RollUp};

use crate::contents::both;
use crate::shop::Shop;

/// A character that takes twelve bytes on a page.
const LONG: &str = "\u{202e}";

/// Bytes of a page. With its assets and the heads of the answers it is 100 KB.
const PAGE_LEN_MAX: usize = 92_000;

fn labels(value_len: usize) -> BTreeMap<String, String> {
    let label = |nth| (format!("{nth}{}", LONG.repeat(127)), LONG.repeat(value_len));
    (0..5).map(label).collect()
}

/// Fills our workspace with more of everything than a page shows.
async fn crowd(shop: &Shop) {
    let (ours, management, actor) = (&shop.ours, shop.management(), Actor::operator());
    let workspace = &ours.workspace;
    for _ in 0..30 {
        shop.refuse_everything(&LONG.repeat(1_365)).await;
    }
    for nth in 0..8 {
        let new = NewEnvironment {
            name: LONG.repeat(50),
            slug: format!("{nth}{}", "s".repeat(49)),
        };
        management
            .create_environment(workspace, &actor, new)
            .await
            .unwrap();
    }
    let mut event_types = vec![ours.event_type];
    for nth in 0..320 {
        let name = EventTypeName::new(&format!("{nth}{:t<125}", "")).unwrap();
        let description = Some(LONG.repeat(1_024));
        let made = management.create_event_type(workspace, &actor, name, description);
        event_types.push(made.await.unwrap().event_type.id);
    }
    for nth in 0..70 {
        let name = |kind| format!("{kind}{nth}{}", LONG.repeat(240));
        let new = NewApplication {
            name: name("app"),
            external_id: Some(name("id")),
            metadata: labels(1_024),
            max_endpoints: None,
            show_event_types: true,
        };
        management
            .create_application(workspace, &actor, new)
            .await
            .unwrap();
        let new = NewApiKey {
            name: name("key"),
            ..NewApiKey::default()
        };
        management
            .create_api_key(workspace, &actor, new)
            .await
            .unwrap();
        let made = management.create_management_token(workspace, &actor, name("token"));
        made.await.unwrap();
    }
    let customer = &ours.customers[0];
    for nth in 0..120 {
        let new = NewEndpoint {
            url: Some(format!("https://{nth}.example/?{:&<2000}", "")),
            description: Some(LONG.repeat(1_024)),
            application: Some(customer.application),
            metadata: labels(1_024),
            ..NewEndpoint::default()
        };
        let made = management.create_endpoint(workspace, &actor, new).await;
        let endpoint = made.unwrap().id;
        let subscribed = management.subscribe(workspace, &actor, endpoint, vec![ours.event_type]);
        subscribed.await.unwrap();
        let report = HealthReport {
            endpoint,
            state: HealthState::FailingSince(shop.clock.now()),
        };
        shop.store.report(&[report]).await.unwrap();
    }
    for nth in 0..60 {
        let text = format!("{nth}{:p<126}.**", "");
        let pattern = text.get(text.len() - 128..).unwrap_or(&text).parse();
        let endpoint = customer.endpoint;
        let made = management.subscribe_to_pattern(workspace, &actor, endpoint, pattern.unwrap());
        made.await.unwrap();
    }
    let engine = FanOut::new(
        std::sync::Arc::clone(&shop.store),
        std::sync::Arc::clone(&shop.store),
    );
    let engine = engine.with_clock(shop.clock.clone());
    for _ in 0..60 {
        let payload = BTreeMap::from([("note", LONG.repeat(100_000))]);
        let event = NewEvent {
            event_type: EventTypeName::new("order.paid").unwrap(),
            payload: Payload::of(&payload).unwrap(),
            metadata: Metadata::new(labels(1_024)).unwrap(),
        };
        engine.trigger(event, *workspace).await.unwrap();
    }
    count(shop).await;
}

/// Counts something in every minute and hour that a chart shows.
async fn count(shop: &Shop) {
    let mut roll_ups = Vec::new();
    for (period, number) in [(Period::Minute, 60_u32), (Period::Hour, 200)] {
        for nth in 0..number {
            let back = u64::try_from((period.len() * nth).as_nanos()).unwrap();
            let at = nahook_core::Timestamp::from_nanos(shop.clock.now().as_nanos() - back);
            for endpoint in [None, Some(shop.ours.customers[0].endpoint)] {
                roll_ups.push(RollUp {
                    workspace: shop.ours.workspace,
                    endpoint,
                    period,
                    start: period.start_of(at),
                    counts: Counts::from_numbers(1_234_567_890..),
                });
            }
        }
    }
    shop.store.add_counts(&roll_ups).await.unwrap();
}

#[tokio::test]
async fn no_page_is_long_whatever_it_shows() {
    let shop = Shop::open().await;
    crowd(&shop).await;
    let mut asked = both(&shop).await;
    let ours = &shop.ours;
    let operator = shop.operator(ours).await;
    let customer = shop.customer(ours, ours.customers[0].application, PortalRole::Admin);
    let customer = customer.await;
    let management = shop.management();
    let last = management
        .endpoints(&ours.workspace)
        .await
        .unwrap()
        .pop()
        .unwrap();
    for path in [
        "?span=day",
        "?span=week",
        "/search?q=app",
        "/search?q=example",
        "/events?type=order.paid",
        "/endpoints?state=failing",
        "/event-types?from=100",
        "/keys?from=25&tokens=25",
        "/environments?from=40",
        "/audit?from=200",
        "/applications?from=10",
        &format!("/endpoints/{}", last.id),
        &format!("/endpoints/{}/edit", last.id),
        &format!("/endpoints/{}/subscriptions?from=100", last.id),
    ] {
        asked.push((operator.clone(), format!("/dashboard{path}")));
    }
    for path in ["/endpoints?from=50", "/event-types?from=100"] {
        asked.push((customer.clone(), format!("/portal{path}")));
    }
    let mut longest = 0;
    for (browser, path) in asked {
        if path.ends_with("/payload") {
            continue;
        }
        let page = shop.get(Some(&browser), &path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        let len = page.body.len();
        assert!(len < PAGE_LEN_MAX, "{path}: {len} bytes");
        longest = longest.max(len);
    }
    assert!(longest > PAGE_LEN_MAX / 2, "{longest}: nothing is long");
}
