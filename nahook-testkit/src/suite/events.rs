//! Promises of every [`EventSearch`].

use std::time::Duration;

use nahook_core::id::{DeliveryId, MessageId};
use nahook_core::{Delivery, Event, Metadata, Outcome};
use nahook_queue::{
    DeliveryLog, DeliveryStatus, EventPage, EventQuery, EventRecord, EventSearch, Next,
};

use super::queue::Shop;
use crate::EventSearchHarness;
use crate::declare::{
    event, event_type_id, idempotency_key, nth_endpoint_id, single_send, workspace_id,
};

/// All of the shop's events.
fn all() -> EventQuery {
    EventQuery {
        workspace: workspace_id("ws_shop"),
        event_type: None,
        labels: Vec::new(),
        idempotency_key: None,
        before: None,
        limit: 1_000,
    }
}

async fn page<H: EventSearchHarness>(shop: &Shop<H>, query: &EventQuery) -> EventPage {
    let page = shop.harness.events().events(query).await;
    page.expect("events can be asked for")
}

async fn ids<H: EventSearchHarness>(shop: &Shop<H>, query: &EventQuery) -> Vec<MessageId> {
    let page = page(shop, query).await;
    page.events.iter().map(|event| event.id).collect()
}

/// Publishes one event to these endpoints, by number.
async fn publish<H: EventSearchHarness>(shop: &Shop<H>, endpoints: &[usize]) -> Event {
    let event = shop.event();
    shop.publish_event(&event, endpoints).await;
    event
}

/// A workspace's events and no others, the one queued last first, each with what is known of it.
pub async fn the_newest_event_is_first<H: EventSearchHarness>() {
    let shop = Shop::<H>::with_endpoints(3).await;
    let mut expected = Vec::new();
    for width in 1..=3 {
        let endpoints: Vec<usize> = (0..width).collect();
        let event = publish(&shop, &endpoints).await;
        expected.insert(
            0,
            EventRecord {
                id: event.id,
                event_type: Some(event_type_id("ws_shop", "order.paid")),
                metadata: event.metadata,
                accepted_at: event.accepted_at,
                deliveries: u32::try_from(width).expect("a small number"),
                delivered: 0,
                given_up: 0,
            },
        );
        shop.advance(Duration::from_secs(1));
    }
    let found = page(&shop, &all()).await;
    assert_eq!(found.events, expected, "all of them, the newest first");
    assert_eq!(found.next, None, "there are no others");
}

/// Following the pages shows each event that was there at the first once, whatever is queued meanwhile.
pub async fn pages_show_each_event_once<H: EventSearchHarness>() {
    let shop = Shop::<H>::with_endpoints(2).await;
    let mut expected = Vec::new();
    for _ in 0..7 {
        expected.insert(0, publish(&shop, &[0, 1]).await.id);
    }
    let (mut seen, mut query) = (Vec::new(), EventQuery { limit: 3, ..all() });
    loop {
        let page = page(&shop, &query).await;
        assert!(page.events.len() <= 3, "no more than was asked for");
        seen.extend(page.events.iter().map(|event| event.id));
        let Some(next) = page.next else { break };
        query.before = Some(next);
        publish(&shop, &[0]).await;
    }
    assert_eq!(
        seen, expected,
        "each once, in order, and nothing that came later"
    );
}

/// An event is counted by what has become of its deliveries.
pub async fn deliveries_of_an_event_are_counted<H: EventSearchHarness>() {
    let shop = Shop::<H>::with_endpoints(6).await;
    let event = publish(&shop, &[0, 1, 2, 3, 4, 5]).await;
    let later = shop.now().saturating_add(Duration::from_hours(1));
    let ends = [
        Next::Delivered,
        Next::Failed,
        Next::DeadLetter,
        Next::Retry(later),
        Next::Delivered,
    ];
    let leased = shop.lease_all(1).await;
    assert_eq!(leased.len(), 6, "all can be leased");
    for (leased, next) in leased.iter().zip(ends) {
        shop.settle_held(leased.lease, next).await;
    }
    let found = page(&shop, &all()).await.events.remove(0);
    assert_eq!(found.id, event.id);
    let counted = (found.deliveries, found.delivered, found.given_up);
    assert_eq!(counted, (6, 2, 2), "of six, in whatever state");
}

/// An event's deliveries are shown in the order of subscribing, each as the log shows it alone, and no more than are asked for.
pub async fn deliveries_of_an_event_are_shown<H: EventSearchHarness>() {
    let shop = Shop::<H>::with_endpoints(4).await;
    publish(&shop, &[0, 1]).await;
    let event = publish(&shop, &[3, 1, 2, 0]).await;
    publish(&shop, &[2]).await;
    let ids: Vec<_> = (0..4).map(|n| DeliveryId::nth(event.id, n)).collect();
    let (mut delivering, mut settled) = (0, 0);
    for leased in shop.lease_all(1).await {
        if leased.message == event.id {
            // One of them is being attempted, and two are settled.
            if leased.endpoint == nth_endpoint_id(2) {
                delivering += 1;
                continue;
            }
            if leased.endpoint == nth_endpoint_id(0) {
                shop.settle_held(leased.lease, Next::Release).await;
                continue;
            }
            settled += 1;
            shop.settle_held(leased.lease, Next::Delivered).await;
        }
    }
    assert_eq!((delivering, settled), (1, 2), "all were there to be leased");
    let workspace = workspace_id("ws_shop");
    let events = shop.harness.events();
    let found = events.event_deliveries(event.id, &workspace, 100).await;
    let found = found.expect("deliveries can be asked for");
    let listed: Vec<_> = found.iter().map(|record| record.id).collect();
    assert_eq!(listed, ids, "in the order of subscribing");
    let statuses: Vec<_> = found.iter().map(|record| record.status).collect();
    assert_eq!(
        statuses,
        [
            DeliveryStatus::Delivered,
            DeliveryStatus::Delivered,
            DeliveryStatus::Delivering,
            DeliveryStatus::Pending,
        ],
    );
    for record in found {
        let alone = shop.harness.log().delivery(record.id, &workspace).await;
        let alone = alone.expect("the log can be asked");
        assert_eq!(alone, Some(record), "as it is shown alone");
    }
    let first = events.event_deliveries(event.id, &workspace, 3).await;
    let first = first.expect("deliveries can be asked for");
    let first: Vec<_> = first.iter().map(|record| record.id).collect();
    assert_eq!(first, ids[..3], "no more than were asked for");
}

/// Labels, and an event type, find the events that have them.
pub async fn labels_and_types_find_their_events<H: EventSearchHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let mut odd = shop.event();
    let labels = [("order", "1\0"), ("\\u0000", "%"), ("\"", "\\\n")];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    odd.metadata = Metadata::new(labels.into()).expect("three labels");
    shop.publish_event(&odd, &[0]).await;
    for _ in 0..2 {
        publish(&shop, &[0]).await;
    }
    let wanted = publish(&shop, &[0]).await;
    publish(&shop, &[0]).await;
    let (key, value) = wanted.metadata.as_map().first_key_value().expect("a label");
    let label = |key: &str, value: &str| EventQuery {
        labels: vec![(key.to_owned(), value.to_owned())],
        ..all()
    };
    assert_eq!(ids(&shop, &label(key, value)).await, [wanted.id]);
    for (key, value) in [("other", value.as_str()), (key, "other"), (key, "")] {
        assert_eq!(ids(&shop, &label(key, value)).await, [], "{key}: {value}");
    }
    let others = [("other", "\0"), ("%", "_"), (key, r#"\" % _"#)];
    let others = others.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let mut any = EventQuery {
        labels: others.to_vec(),
        ..all()
    };
    assert_eq!(ids(&shop, &any).await, [], "none of them");
    any.labels.push((key.clone(), value.clone()));
    assert_eq!(ids(&shop, &any).await, [wanted.id], "one of them");
    let of_type = |name: &str| EventQuery {
        event_type: Some(event_type_id("ws_shop", name)),
        ..all()
    };
    assert_eq!(ids(&shop, &of_type("order.paid")).await.len(), 5);
    assert_eq!(ids(&shop, &of_type("order.lost")).await, []);
}

/// An idempotency key finds what was sent with it, and is not found in another workspace.
pub async fn keys_find_what_was_sent_with_them<H: EventSearchHarness>() {
    let shop = Shop::<H>::with_endpoints(2).await;
    publish(&shop, &[0]).await;
    let mut expected = Vec::new();
    for (number, key) in (50..).zip(["order 1", "order 2", "order 10"]) {
        let send = single_send("ws_shop", nth_endpoint_id(1), Some(key), number, shop.now());
        let mut slots = [Delivery::new(send.event().id, 0, nth_endpoint_id(1))];
        shop.harness.publish(send.event(), &mut slots).await;
        assert_eq!(slots[0].outcome(), Outcome::Published, "it can be sent");
        expected.push((send.event().id, key));
    }
    let of_key = |key: &str| EventQuery {
        idempotency_key: Some(idempotency_key(key)),
        ..all()
    };
    for (id, key) in expected {
        assert_eq!(ids(&shop, &of_key(key)).await, [id], "{key}");
    }
    assert_eq!(ids(&shop, &of_key("order")).await, [], "never sent");
    let other = EventQuery {
        workspace: workspace_id("ws_other"),
        ..of_key("order 1")
    };
    assert_eq!(ids(&shop, &other).await, [], "it is ws_shop's");
}

/// Nothing is shown of another workspace, nor of an event that does not exist.
pub async fn other_workspaces_find_no_events<H: EventSearchHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let published = publish(&shop, &[0]).await;
    let other = EventQuery {
        workspace: workspace_id("ws_other"),
        ..all()
    };
    assert_eq!(ids(&shop, &other).await, [], "it is ws_shop's event");
    let unknown = event("ws_shop", "order.paid", 99, shop.now()).id;
    for (id, workspace) in [(published.id, "ws_other"), (unknown, "ws_shop")] {
        let workspace = workspace_id(workspace);
        let events = shop.harness.events();
        let found = events.event_deliveries(id, &workspace, 100).await;
        assert_eq!(found.expect("deliveries can be asked for"), []);
    }
}
