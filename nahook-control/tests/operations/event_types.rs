//! Event types, and how many are subscribed.

use crate::{Shop, expect_not_found};

#[tokio::test]
async fn event_types_are_listed_with_their_subscribers_until_they_are_deleted() {
    let shop = Shop::empty().await;
    let workspace = &shop.workspace;
    let (paid, lost) = (
        shop.event_type("order.paid").await,
        shop.event_type("order.lost").await,
    );
    for _ in 0..2 {
        let endpoint = shop.endpoint().await.id;
        let wanted = vec![lost];
        act!(shop.subscribe(endpoint, wanted)).unwrap();
    }
    let listed = async || {
        let views = shop.management.event_types(workspace).await.unwrap();
        let told = views
            .iter()
            .map(|view| (view.event_type.id, view.subscriber_count));
        told.collect::<Vec<_>>()
    };
    assert_eq!(listed().await, [(paid, 0), (lost, 2)]);
    let one = shop.management.event_type(workspace, lost).await.unwrap();
    assert_eq!((one.event_type.id, one.subscriber_count), (lost, 2));
    assert_eq!(
        act!(shop.update_event_type(lost, Some(Some("gone".to_owned()))))
            .unwrap()
            .subscriber_count,
        2
    );

    let delete = async || act!(shop.delete_event_type(lost));
    delete().await.unwrap();
    assert_eq!(listed().await, [(paid, 0)]);
    expect_not_found(delete().await, "event type");
}
