//! The adapters in memory.

use nahook_core::id::{EndpointId, WorkspaceId};
use nahook_core::{
    EventTypeName, EventTypeSelector, FanOut, IdempotencyKey, MemoryQueue, MemorySubscriptions,
    NewEvent, NewSend, Payload, Scope, SubscriptionStore,
};

#[tokio::test]
async fn patterns_count_for_event_types_of_before_and_after() {
    let subscriptions = MemorySubscriptions::default();
    let (shop, other) = (WorkspaceId::from_bits(1), WorkspaceId::from_bits(2));
    let [one, two, three] = [1, 2, 3].map(EndpointId::from_bits);
    let name = |text| EventTypeName::new(text).unwrap();
    let selector = |text| EventTypeSelector::new(text).unwrap();
    subscriptions.subscribe(shop, selector("order.paid"), one);
    subscriptions.subscribe(shop, selector("order.*"), two);
    subscriptions.subscribe(shop, selector("*"), one);
    subscriptions.subscribe(other, selector("*"), three);
    let seen = async |text| {
        let (name, scope) = (name(text), Scope::from(shop));
        let found = subscriptions.subscribers(&name, &scope).await;
        found.unwrap().map(|found| found.endpoints.to_vec())
    };
    assert_eq!(seen("order.paid").await, Some(vec![one, two]));
    assert_eq!(seen("order.lost").await, None);
    subscriptions.create_event_type(shop, name("order.lost"));
    subscriptions.create_event_type(shop, name("user.new"));
    assert_eq!(seen("order.lost").await, Some(vec![two, one]));
    assert_eq!(seen("user.new").await, Some(vec![one]));
}

#[tokio::test]
async fn endpoints_are_subscribed_once_in_their_workspace_and_keys_are_queued_once() {
    let (subscriptions, queue) = (MemorySubscriptions::default(), MemoryQueue::default());
    let (workspace, other) = (WorkspaceId::from_bits(1), WorkspaceId::from_bits(2));
    let (name, endpoint) = (EventTypeName::new("a").unwrap(), EndpointId::from_bits(1));
    for _ in 0..2 {
        subscriptions.subscribe(workspace, name.clone().into(), endpoint);
    }
    let engine = FanOut::new(subscriptions, queue.clone());
    let payload = Payload::new("{}").unwrap();
    let event = NewEvent::new(name, payload.clone());
    engine.trigger(event.clone(), workspace).await.unwrap();
    assert_eq!(queue.take().len(), 1);
    engine.trigger(event, other).await.unwrap_err();
    let send = NewSend {
        endpoint,
        payload,
        idempotency_key: IdempotencyKey::new("k").ok(),
    };
    engine.send(send.clone(), other).await.unwrap_err();
    let first = engine.send(send.clone(), workspace).await.unwrap();
    let again = engine.send(send, workspace).await.unwrap();
    assert_eq!((again.delivery, again.is_replay), (first.delivery, true));
    assert_eq!(queue.queued().len(), 1);
}
