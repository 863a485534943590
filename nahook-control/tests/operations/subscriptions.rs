//! Subscriptions and event types.

use nahook_core::id::EventTypeId;
use nahook_testkit::declare::event_type_name;

use crate::{Shop, expect_conflict, expect_invalid, expect_not_found};

#[tokio::test]
async fn a_list_is_subscribed_to_whole_or_not_at_all() {
    let shop = Shop::empty().await;
    let workspace = &shop.workspace;
    let endpoint = shop.endpoint().await.id;
    let (paid, lost) = (
        shop.event_type("order.paid").await,
        shop.event_type("order.lost").await,
    );
    let nowhere = EventTypeId::new("evt_nowhere").unwrap();
    let subscribe = async |list: &[EventTypeId]| act!(shop.subscribe(endpoint, list.to_vec()));
    let names = async || {
        let views = shop
            .management
            .subscriptions(workspace, endpoint)
            .await
            .unwrap();
        views
            .iter()
            .map(|view| view.event_type_name.to_string())
            .collect::<Vec<_>>()
    };
    expect_not_found(subscribe(&[paid, nowhere]).await, "event type");
    assert_eq!(names().await, [""; 0]);
    assert_eq!(subscribe(&[]).await.unwrap(), 0);
    assert_eq!(
        subscribe(&[lost, lost]).await.unwrap(),
        1,
        "named twice, subscribed once"
    );
    assert_eq!(
        subscribe(&[paid, lost]).await.unwrap(),
        2,
        "those now subscribed"
    );
    assert_eq!(
        names().await,
        ["order.lost", "order.paid"],
        "the oldest first"
    );
    act!(shop.unsubscribe(endpoint, lost)).unwrap();
    assert_eq!(names().await, ["order.paid"]);
    let again = act!(shop.unsubscribe(endpoint, lost));
    expect_not_found(again, "subscription");
}

#[tokio::test]
async fn an_event_type_changes_its_description_alone() {
    let shop = Shop::empty().await;
    let paid = shop.event_type("order.paid").await;
    let name = event_type_name("order.paid");
    let taken = act!(shop.create_event_type(name, None));
    expect_conflict(taken);
    let describe = async |text: Option<Option<&str>>| {
        let text = text.map(|text| text.map(str::to_owned));
        act!(shop.update_event_type(paid, text))
    };
    let text = |view: nahook_control::EventTypeView| view.event_type.description;
    assert_eq!(
        text(describe(Some(Some("paid"))).await.unwrap()),
        Some("paid".to_owned())
    );
    assert_eq!(
        text(describe(None).await.unwrap()),
        Some("paid".to_owned()),
        "kept"
    );
    assert_eq!(text(describe(Some(None)).await.unwrap()), None, "removed");
    let long = "x".repeat(1025);
    expect_invalid(describe(Some(Some(&long))).await, "description");
}
