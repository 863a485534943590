//! Clauses about managing patterns.

use nahook_control::{ManagementError, Select};
use nahook_core::id::EndpointId;

use super::shop::{Shop, made};
use crate::ManagementHarness;
use crate::declare::{event_type_name, pattern};

/// A pattern is made once, listed, counted, seen by the next look-up, and removed; what it gave is no subscription by name.
pub async fn a_pattern_is_managed<H: ManagementHarness>() {
    let shop = Shop::<H>::empty().await;
    let (management, workspace, actor) = (&shop.management, &shop.workspace, &shop.actor);
    let (a, b) = (shop.endpoint("a").await, shop.endpoint("b").await);
    let paid = shop.event_type("order.paid").await;
    let subscribe = async |endpoint: EndpointId, text: &str| {
        let pattern = pattern(text);
        shop.made(
            management
                .subscribe_to_pattern(workspace, actor, endpoint, pattern)
                .await,
        )
    };
    let order = subscribe(a.id, "order.*").await;
    let all = subscribe(a.id, "*").await;
    assert_eq!(subscribe(a.id, "order.*").await, order, "it exists");
    let of_b = subscribe(b.id, "order.*").await;
    let listed = shop.made(management.patterns(workspace, a.id).await);
    assert_eq!(
        listed,
        [order.clone(), all.clone()],
        "its own, the oldest first"
    );
    let rows = shop.read(&[Select::Patterns]).await;
    let every = [order.clone(), all.clone(), of_b.clone()];
    assert_eq!(rows.patterns, every, "every pattern, the oldest first");
    let named = shop.made(management.subscriptions(workspace, a.id).await);
    assert_eq!(named, [], "it is subscribed to nothing by name");
    let lost = management
        .create_event_type(workspace, actor, event_type_name("order.lost"), None)
        .await;
    assert_eq!(
        shop.made(lost).subscriber_count,
        2,
        "two endpoints, three patterns"
    );
    let counted = management.event_types(workspace).await.map_err(Into::into);
    let counted = shop.made(counted);
    let counts: Vec<_> = counted.iter().map(|view| view.subscriber_count).collect();
    assert_eq!(counts, [2, 2], "counted with what patterns give");
    shop.expect_subscribers("order.paid", Some(&[a.id, b.id]), "of patterns")
        .await;
    let rows = shop.read(&[Select::SubscribersTo(paid)]).await;
    let to_paid: Vec<_> = rows.subscribers.iter().map(|row| row.endpoint).collect();
    assert_eq!(to_paid, [a.id, b.id], "in the order of subscribing");

    shop.subscribe(a.id, &[paid]).await;
    let named = shop.made(management.subscriptions(workspace, a.id).await);
    assert_eq!(named.len(), 1, "by its name as well");
    for id in [order.id, all.id] {
        made!(shop.unsubscribe_from_pattern(a.id, id));
    }
    shop.expect_subscribers("order.paid", Some(&[a.id, b.id]), "by its name")
        .await;
    shop.expect_subscribers("order.lost", Some(&[b.id]), "no more")
        .await;
    let again = management.unsubscribe_from_pattern(workspace, actor, a.id, order.id);
    let again = again.await;
    assert!(
        matches!(again, Err(ManagementError::NotFound(_))),
        "it is gone: {again:?}"
    );
    let others = management.unsubscribe_from_pattern(workspace, actor, a.id, of_b.id);
    let others = others.await;
    assert!(
        matches!(others, Err(ManagementError::NotFound(_))),
        "it is ep_b's: {others:?}"
    );
    shop.made(management.unsubscribe(workspace, actor, a.id, paid).await);
    shop.expect_subscribers("order.paid", Some(&[b.id]), "in no way")
        .await;
}

/// An endpoint that is removed, by itself or with its application, takes its patterns along.
pub async fn what_is_removed_takes_its_patterns_along<H: ManagementHarness>() {
    let shop = Shop::<H>::empty().await;
    let (management, workspace, actor) = (&shop.management, &shop.workspace, &shop.actor);
    let application = shop.application(None, None).await;
    let new = nahook_control::NewEndpoint {
        url: Some("https://hooks.example/c".to_owned()),
        application: Some(application.id),
        ..nahook_control::NewEndpoint::default()
    };
    let of_application = shop.made(management.create_endpoint(workspace, actor, new).await);
    let (a, b) = (shop.endpoint("a").await, shop.endpoint("b").await);
    for endpoint in [a.id, of_application.id, b.id] {
        made!(shop.subscribe_to_pattern(endpoint, pattern("*")));
    }
    shop.made(management.delete_endpoint(workspace, actor, a.id).await);
    made!(shop.delete_application(application.id));
    let rows = shop.read(&[Select::Patterns]).await;
    let left: Vec<_> = rows.patterns.iter().map(|row| row.endpoint).collect();
    assert_eq!(left, [b.id], "the patterns that are left");
    shop.event_type("order.paid").await;
    shop.expect_subscribers("order.paid", Some(&[b.id]), "a later event type")
        .await;
}
