//! Lists that have several pages, and forms that have a part of what there is.

use std::time::Duration;

use axum::http::{StatusCode, header};
use nahook_control::{Actor, NewApiKey, PortalRole};
use nahook_core::EventTypeName;
use nahook_core::id::EventTypeId;
use nahook_queue::Next;

use crate::shop::{Browser, Shop};

#[tokio::test]
async fn what_a_form_would_touch_is_counted() {
    let shop = Shop::open().await;
    let operator = shop.operator(&shop.ours).await;
    let path = format!("/dashboard/endpoints/{}", shop.ours.customers[0].endpoint);
    let page = async |end: &str| {
        shop.get(Some(&operator), &format!("{path}/{end}"))
            .await
            .body
    };
    for end in ["disable", "delete"] {
        assert!(page(end).await.contains("1 delivery is waiting"), "{end}");
    }
    shop.answer_everything("no", Next::DeadLetter).await;
    for end in ["disable", "delete"] {
        assert!(
            page(end).await.contains("0 deliveries are waiting"),
            "{end}"
        );
    }
    for (hours, counts) in [(0, [1, 1, 1, 1]), (2, [0, 1, 1, 1]), (72, [0, 0, 1, 1])] {
        shop.clock.advance(Duration::from_hours(hours));
        // The session would have ended.
        let operator = shop.operator(&shop.ours).await;
        let page = shop.get(Some(&operator), &format!("{path}/retry")).await;
        for (span, count) in ["hour", "day", "week", "kept"].into_iter().zip(counts) {
            let option = format!("{span}: {count} deliveries");
            assert!(
                page.body.contains(&option),
                "{hours} {option}: {}",
                page.body
            );
        }
    }
}

/// Makes so many event types, whose names are in their order.
async fn event_types(shop: &Shop, number: usize) -> Vec<EventTypeId> {
    let (management, actor) = (shop.management(), Actor::operator());
    let mut made = Vec::new();
    for nth in 0..number {
        let name = EventTypeName::new(&format!("a.kind{nth:04}")).unwrap();
        let created = management.create_event_type(&shop.ours.workspace, &actor, name, None);
        made.push(created.await.unwrap().event_type.id);
    }
    made
}

/// The link to the page that follows.
fn next(page: &str) -> Option<String> {
    let links = page.split("<a class=\"button\" href=\"").skip(1);
    let mut links = links.filter_map(|rest| rest.split_once("\">"));
    let is_next = |text: &str| {
        ["Next<", "Older<", "Earlier "]
            .iter()
            .any(|it| text.starts_with(it))
    };
    let link = links.find(|(_, text)| is_next(text))?.0;
    Some(link.replace("&amp;", "&"))
}

/// Goes from page to page, and counts how often each of these is on any.
async fn seen(shop: &Shop, browser: &Browser, path: &str, wanted: &[String]) -> Vec<usize> {
    let mut seen = vec![0; wanted.len()];
    let mut path = path.to_owned();
    loop {
        let page = shop.get(Some(browser), &path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        for (count, text) in seen.iter_mut().zip(wanted) {
            *count += usize::from(page.body.contains(text));
        }
        match next(&page.body) {
            Some(next) => path = next,
            None => return seen,
        }
    }
}

#[tokio::test]
async fn each_page_of_event_types_follows_the_one_before() {
    let shop = Shop::open().await;
    let made = event_types(&shop, 230).await;
    let operator = shop.operator(&shop.ours).await;
    let wanted: Vec<_> = made
        .iter()
        .map(|id| format!("/event-types/{id}\""))
        .collect();
    let seen = seen(&shop, &operator, "/dashboard/event-types", &wanted).await;
    assert_eq!(seen, vec![1; made.len()]);
    let page = shop
        .get(Some(&operator), "/dashboard/event-types?q=kind0229")
        .await;
    assert!(page.body.contains(&wanted[229]) && !page.body.contains(&wanted[228]));
    let application = shop.ours.customers[0].application;
    let customer = shop
        .customer(&shop.ours, application, PortalRole::Viewer)
        .await;
    let names: Vec<_> = (0..230).map(|nth| format!(">a.kind{nth:04}<")).collect();
    let seen = self::seen(&shop, &customer, "/portal/event-types", &names).await;
    assert_eq!(seen, vec![1; made.len()]);
}

#[tokio::test]
async fn each_page_of_keys_follows_the_one_before() {
    let shop = Shop::open().await;
    let (management, actor) = (shop.management(), Actor::operator());
    for nth in 0..60 {
        let new = NewApiKey {
            name: format!("key {nth:02}."),
            ..NewApiKey::default()
        };
        let workspace = &shop.ours.workspace;
        management
            .create_api_key(workspace, &actor, new)
            .await
            .unwrap();
    }
    let operator = shop.operator(&shop.ours).await;
    let wanted: Vec<_> = (0..60).map(|nth| format!("key {nth:02}.")).collect();
    assert_eq!(
        seen(&shop, &operator, "/dashboard/keys", &wanted).await,
        vec![1; 60]
    );
}

#[tokio::test]
async fn event_type_is_chosen_by_its_name_where_there_are_many() {
    let shop = Shop::open().await;
    let made = event_types(&shop, 150).await;
    let operator = shop.operator(&shop.ours).await;
    let event = format!("/events/{}\"", shop.ours.customers[0].event);
    let id = shop.ours.event_type;
    for (asked, is_found) in [
        ("order.paid", true),
        (id.as_str(), true),
        ("a.kind0001", false),
        (made[1].as_str(), false),
        ("evt_gone", false),
    ] {
        let path = format!("/dashboard/events?type={asked}");
        let page = shop.get(Some(&operator), &path).await;
        assert_eq!(page.status, StatusCode::OK, "{asked}");
        assert_eq!(page.body.contains(&event), is_found, "{asked}");
        assert!(!page.body.contains("<option value=\"evt_"), "{asked}");
    }
    let page = shop
        .get(Some(&operator), "/dashboard/events?type=no%20such")
        .await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    let fields = [
        ("event_type", "order.paid"),
        ("payload", "{}"),
        ("step", "send"),
    ];
    let sent = shop
        .post(Some(&operator), "/dashboard/trigger", &fields)
        .await;
    assert_eq!(sent.status, StatusCode::SEE_OTHER, "{}", sent.body);
    let to = sent.headers[header::LOCATION].to_str().unwrap();
    assert!(to.ends_with("count=2"), "{to}");
}

#[tokio::test]
async fn form_changes_the_subscriptions_that_it_shows() {
    let shop = Shop::open().await;
    let ours = &shop.ours;
    let made = event_types(&shop, 200).await;
    let (management, actor) = (shop.management(), Actor::operator());
    let endpoint = ours.customers[0].endpoint;
    let workspace = &ours.workspace;
    let both = vec![made[0], made[199]];
    management
        .subscribe(workspace, &actor, endpoint, both)
        .await
        .unwrap();
    let pattern =
        management.subscribe_to_pattern(workspace, &actor, endpoint, "b.*".parse().unwrap());
    let pattern = pattern.await.unwrap().id;
    let operator = shop.operator(ours).await;
    let path = format!("/dashboard/endpoints/{endpoint}/subscriptions");
    let (first, second) = (
        shop.get(Some(&operator), &path).await.body,
        shop.get(Some(&operator), &format!("{path}?from=150"))
            .await
            .body,
    );
    let has = |page: &str, id: &EventTypeId| {
        page.contains(&format!("name=\"shown_event_type\" value=\"{id}\""))
    };
    assert!(has(&first, &made[0]) && !has(&first, &made[199]));
    assert!(!has(&second, &made[0]) && has(&second, &made[199]));
    // Nothing is checked; the first page alone was shown.
    let shown = [
        ("shown_event_type", made[0].as_str()),
        ("shown_pattern", "pat_of_somebody_else"),
    ];
    let saved = shop.post(Some(&operator), &path, &shown).await;
    assert_eq!(saved.status, StatusCode::SEE_OTHER, "{}", saved.body);
    let left = management.subscriptions(workspace, endpoint).await.unwrap();
    let left: Vec<_> = left.iter().map(|row| row.subscription.event_type).collect();
    assert!(
        !left.contains(&made[0]) && left.contains(&made[199]) && left.contains(&ours.event_type)
    );
    assert_eq!(
        management
            .patterns(workspace, endpoint)
            .await
            .unwrap()
            .len(),
        1
    );
    let shown = [("shown_pattern", pattern.as_str())];
    shop.post(Some(&operator), &path, &shown).await;
    assert!(
        management
            .patterns(workspace, endpoint)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn form_changes_the_visibility_that_it_shows() {
    let shop = Shop::open().await;
    let ours = &shop.ours;
    let made = event_types(&shop, 300).await;
    let (management, actor) = (shop.management(), Actor::operator());
    let (workspace, staging) = (&ours.workspace, ours.environment);
    for id in [made[0], made[299]] {
        let published = management.set_visibility(workspace, &actor, staging, id, true);
        published.await.unwrap();
    }
    let operator = shop.operator(ours).await;
    let wanted: Vec<_> = made
        .iter()
        .map(|id| format!("name=\"shown\" value=\"{id}\""))
        .collect();
    let seen = seen(&shop, &operator, "/dashboard/environments", &wanted).await;
    assert_eq!(seen, vec![1; made.len()]);
    let shown = [("shown", made[0].as_str())];
    let path = "/dashboard/environments/visibility";
    let saved = shop.post(Some(&operator), path, &shown).await;
    assert_eq!(saved.status, StatusCode::SEE_OTHER, "{}", saved.body);
    let visible = management.visibility(workspace, staging).await.unwrap();
    let published = |id: EventTypeId| {
        visible
            .iter()
            .any(|row| row.event_type == id && row.published)
    };
    assert!(!published(made[0]) && published(made[299]));
}

#[tokio::test]
async fn each_page_of_attempts_follows_the_one_before() {
    let shop = Shop::open().await;
    for _ in 0..40 {
        shop.refuse_everything(&"<".repeat(4_000)).await;
    }
    let operator = shop.operator(&shop.ours).await;
    let path = format!("/dashboard/deliveries/{}", shop.ours.customers[0].delivery);
    let wanted: Vec<_> = (1..=40)
        .map(|number| format!("<strong>Attempt {number}</strong>"))
        .collect();
    assert_eq!(seen(&shop, &operator, &path, &wanted).await, vec![1; 40]);
}
