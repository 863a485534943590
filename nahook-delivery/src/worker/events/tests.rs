use super::*;

fn disabled(workspace: u128) -> DeliveryEvent {
    DeliveryEvent::EndpointDisabled {
        workspace: WorkspaceId::from_bits(workspace),
        endpoint: EndpointId::from_bits(1),
    }
}

fn send(sender: &EventSender, workspace: u128) {
    sender.disabled(WorkspaceId::from_bits(workspace), EndpointId::from_bits(1));
}

#[tokio::test]
async fn reader_hears_what_is_sent_after_it_subscribed_and_then_the_end() {
    let sender = EventSender::default();
    send(&sender, 1);
    let mut events = sender.subscribe();
    send(&sender, 2);
    drop(sender);
    assert_eq!(events.next().await, Some(disabled(2)));
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn slow_reader_is_told_how_many_events_it_missed() {
    let sender = EventSender::default();
    let mut events = sender.subscribe();
    let sent = 2 * BUFFERED as u64;
    for _ in 0..sent {
        send(&sender, 1);
    }
    let Some(DeliveryEvent::Missed(missed)) = events.next().await else {
        panic!("it has missed some");
    };
    drop(sender);
    let mut heard = 0;
    while events.next().await.is_some() {
        heard += 1;
    }
    assert_eq!(missed + heard, sent);
}

#[tokio::test]
async fn reader_of_one_workspace_hears_of_no_other() {
    let sender = EventSender::default();
    let mut events = sender.subscribe().of(WorkspaceId::from_bits(2));
    for workspace in [1, 2, 3] {
        send(&sender, workspace);
    }
    drop(sender);
    assert_eq!(events.next().await, Some(disabled(2)));
    assert_eq!(events.next().await, None);
}
