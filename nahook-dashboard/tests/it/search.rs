//! The search for everything.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{StatusCode, header};
use nahook_core::{EventTypeName, FanOut, NewEvent, Payload};

use crate::shop::{HOSTILE, Shop};

fn path_of(text: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    format!(
        "/dashboard/search?{}",
        query.append_pair("q", text).finish()
    )
}

#[tokio::test]
async fn one_thing_that_is_found_is_shown_at_once() {
    let shop = Shop::open().await;
    let operator = shop.operator(&shop.ours).await;
    let [one, other] = [0, 1].map(|nth| &shop.ours.customers[nth]);
    let application = format!("/applications/{}", one.application);
    let endpoint = format!("/endpoints/{}", other.endpoint);
    for (text, expected) in [
        (one.event.to_string(), format!("/events/{}", one.event)),
        (
            one.delivery.to_string(),
            format!("/deliveries/{}", one.delivery),
        ),
        (one.application.to_string(), application.clone()),
        ("CUSTOMER-0".to_owned(), application.clone()),
        (" ours 0 ".to_owned(), application),
        (other.endpoint.to_string(), endpoint.clone()),
        (other.url.clone(), endpoint),
        (format!("order={HOSTILE}"), format!("/events/{}", one.event)),
    ] {
        let answer = shop.get(Some(&operator), &path_of(&text)).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{text}");
        let location = answer.headers[header::LOCATION].to_str().unwrap();
        assert_eq!(location, format!("/dashboard{expected}"), "{text}");
    }
}

#[tokio::test]
async fn several_things_are_listed_by_kind() {
    let shop = Shop::open().await;
    let operator = shop.operator(&shop.ours).await;
    let customers = &shop.ours.customers;
    for (text, has_events) in [("ours", false), (HOSTILE, true)] {
        let page = shop.get(Some(&operator), &path_of(text)).await;
        assert_eq!(page.status, StatusCode::OK, "{text}");
        for customer in customers {
            for link in [
                format!("/applications/{}\"", customer.application),
                format!("/endpoints/{}\"", customer.endpoint),
            ] {
                let is_shown = page.body.contains(&link);
                assert!(is_shown, "{text}: {link}");
            }
        }
        let link = format!("/events/{}\"", customers[0].event);
        assert_eq!(page.body.contains(&link), has_events, "{text}");
        assert!(!page.body.contains("<script>") && !page.body.contains("<img"));
    }
    // A label's value, with its name before it.
    let path = path_of(&format!("order {HOSTILE}"));
    let page = shop.get(Some(&operator), &path).await;
    let location = page.headers[header::LOCATION].clone();
    let event = format!("/dashboard/events/{}", customers[0].event);
    assert_eq!(location.to_str().unwrap(), event);
}

#[tokio::test]
async fn nothing_of_another_workspace_is_found() {
    let shop = Shop::open().await;
    let operator = shop.operator(&shop.ours).await;
    let theirs = &shop.theirs.customers[0];
    for text in [
        "theirs",
        theirs.application.as_str(),
        theirs.endpoint.as_str(),
        &theirs.url,
        "nothing",
    ] {
        let page = shop.get(Some(&operator), &path_of(text)).await;
        assert!(page.body.contains("Nothing was found."), "{text}");
    }
}

#[tokio::test]
async fn event_names_the_customers_that_it_went_to() {
    let shop = Shop::open().await;
    let ours = &shop.ours;
    let operator = shop.operator(ours).await;
    let path = format!("/dashboard/events/{}", ours.customers[0].event);
    let page = shop.get(Some(&operator), &path).await;
    for customer in &ours.customers {
        let link = format!("/applications/{}\">", customer.application);
        assert!(page.body.contains(&link), "{link}");
    }
    assert!(page.body.contains("not subscribed to order.paid"));
    // The deliveries of an endpoint tell the labels, too.
    let path = format!("/dashboard/endpoints/{}", ours.customers[0].endpoint);
    let page = shop.get(Some(&operator), &path).await;
    assert!(page.body.contains("<code>order=&lt;script&gt;"));
}

#[tokio::test]
async fn label_is_found_by_its_value_where_the_latest_events_have_none() {
    let shop = Shop::open().await;
    shop.clock.advance(Duration::from_hours(2));
    let engine = FanOut::new(Arc::clone(&shop.store), Arc::clone(&shop.store));
    let engine = engine.with_clock(shop.clock.clone());
    for _ in 0..30 {
        let name = EventTypeName::new("order.paid").unwrap();
        let event = NewEvent::new(name, Payload::new("{}").unwrap());
        engine.trigger(event, shop.ours.workspace).await.unwrap();
    }
    let operator = shop.operator(&shop.ours).await;
    let page = shop.get(Some(&operator), &path_of(HOSTILE)).await;
    let link = format!("/events/{}\"", shop.ours.customers[0].event);
    assert!(page.body.contains(&link), "{}", page.body);
}
