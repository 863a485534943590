//! The ports of the pages, on every store.

use std::collections::BTreeMap;
use std::time::Duration;

use nahook_control::{
    Actor, KeyHash, NewApplication, NewPortalSession, PageSession, PortalRole, SessionHolder,
};
use nahook_core::id::{ApplicationId, MessageId};
use nahook_core::{
    Clock as _, EventTypeName, IdempotencyKey, Metadata, NewEvent, Payload, SystemClock, Timestamp,
};
use nahook_embed::{Hooks, HooksBuilder};
use nahook_queue::{
    CountsQuery, DeliveryCounts as _, EventQuery, EventRecord, EventSearch as _, Period,
};
use nahook_testkit::run;
use nahook_testserver::PostgresServer;

/// Runs the test on each of the stores.
async fn on_every_store(test: impl AsyncFn(Hooks)) {
    let directory = tempfile::tempdir().unwrap();
    let file = format!("sqlite://{}", directory.path().join("hooks.db").display());
    let database = PostgresServer::shared().create_database();
    for store in ["memory://", &file, &database] {
        let builder: HooksBuilder = Hooks::builder(store);
        let hooks = builder.open().await.unwrap();
        test(hooks.clone()).await;
        hooks.close().await.unwrap();
    }
}

#[test]
fn session_of_the_pages_is_found_until_it_is_ended() {
    run(on_every_store(async |hooks: Hooks| {
        let store = &hooks.backend().sessions;
        let now = SystemClock.now();
        let token = SessionHolder::Token(KeyHash::of("nhm_1"));
        let application = ApplicationId::from_bits(7);
        let customer = SessionHolder::Application(application, PortalRole::Editor);
        let session = |id: &str, holder| PageSession {
            id: KeyHash::of(id),
            workspace: hooks.workspace_id(),
            holder,
            created_at: now,
            seen_at: now,
            expires_at: now.saturating_add(Duration::from_hours(1)),
        };
        for (id, holder) in [("a", token), ("b", token), ("c", customer)] {
            store.start_session(&session(id, holder)).await.unwrap();
            let found = store.session(&KeyHash::of(id)).await.unwrap();
            assert_eq!(found, Some(session(id, holder)));
        }
        let later = now.saturating_add(Duration::from_mins(1));
        store.touch_session(&KeyHash::of("a"), later).await.unwrap();
        let found = store.session(&KeyHash::of("a")).await.unwrap();
        assert_eq!(found.unwrap().seen_at, later);
        assert!(store.end_session(&KeyHash::of("a")).await.unwrap());
        assert!(!store.end_session(&KeyHash::of("a")).await.unwrap());
        assert_eq!(store.session(&KeyHash::of("a")).await.unwrap(), None);
        assert_eq!(store.end_sessions(&token).await.unwrap(), 1);
        let in_any_role = SessionHolder::Application(application, PortalRole::Viewer);
        assert_eq!(store.end_sessions(&in_any_role).await.unwrap(), 1);
        for id in ["b", "c"] {
            assert_eq!(store.session(&KeyHash::of(id)).await.unwrap(), None);
        }
    }));
}

#[test]
fn code_of_the_portal_is_taken_once() {
    run(on_every_store(async |hooks: Hooks| {
        let (management, workspace) = (hooks.backend().management(), hooks.workspace_id());
        let actor = Actor::operator();
        let new = NewApplication {
            name: "Acme".to_owned(),
            external_id: None,
            metadata: BTreeMap::new(),
            max_endpoints: None,
            show_event_types: true,
        };
        let application = management.create_application(&workspace, &actor, new);
        let application = application.await.unwrap().id;
        let new = NewPortalSession {
            role: PortalRole::Viewer,
            ..NewPortalSession::default()
        };
        let made = management.create_portal_session(&workspace, &actor, application, new);
        let made = made.await.unwrap();
        let store = &hooks.backend().sessions;
        let code = KeyHash::of(made.code.expose());
        let unknown = store.take_portal_code(&KeyHash::of("?")).await.unwrap();
        assert_eq!(unknown, None);
        let (one, other) =
            tokio::join!(store.take_portal_code(&code), store.take_portal_code(&code));
        let taken: Vec<_> = [one.unwrap(), other.unwrap()]
            .into_iter()
            .flatten()
            .collect();
        assert_eq!(taken, [made.session]);
    }));
}

#[test]
fn events_are_listed_newest_first_with_the_fate_of_their_deliveries() {
    run(on_every_store(async |hooks: Hooks| {
        for url in ["https://one.example/", "https://two.example/"] {
            hooks.create_endpoint(url).on("order.paid").await.unwrap();
        }
        let three = hooks.create_endpoint("https://three.example/");
        three.on("order.refunded").await.unwrap();
        let mut triggered = Vec::new();
        for (name, label) in [
            ("order.paid", "1"),
            ("order.refunded", "2"),
            ("order.paid", "3"),
        ] {
            triggered.push(trigger(&hooks, name, label).await);
        }
        let search = &hooks.backend().event_search;
        let workspace = hooks.workspace_id();
        let all = EventQuery {
            workspace,
            event_type: None,
            labels: Vec::new(),
            idempotency_key: None,
            before: None,
            limit: 2,
        };
        let ids = |events: &[EventRecord]| events.iter().map(|event| event.id).collect::<Vec<_>>();
        let first = search.events(&all).await.unwrap();
        assert_eq!(ids(&first.events), [triggered[2], triggered[1]]);
        assert_eq!(
            (first.events[0].deliveries, first.events[0].delivered),
            (2, 0)
        );
        let before = first.next;
        let second = search
            .events(&EventQuery {
                before,
                ..all.clone()
            })
            .await;
        let second = second.unwrap();
        assert_eq!(
            (ids(&second.events), second.next),
            (vec![triggered[0]], None)
        );
        let labels = vec![("order".to_owned(), "2".to_owned())];
        let labelled = search
            .events(&EventQuery {
                labels,
                ..all.clone()
            })
            .await;
        assert_eq!(ids(&labelled.unwrap().events), [triggered[1]]);
        let event_type = first.events[0].event_type;
        let typed = search
            .events(&EventQuery {
                event_type,
                ..all.clone()
            })
            .await;
        assert_eq!(ids(&typed.unwrap().events), [triggered[2], triggered[0]]);
        let found = search.event_deliveries(triggered[0], &workspace, 9).await;
        let found = found.unwrap();
        assert_eq!(found.len(), 2);
        assert!(
            found
                .iter()
                .all(|delivery| delivery.message == triggered[0])
        );
        // Nothing of it is another workspace's.
        let other = hooks.workspace("other").await.unwrap().workspace_id();
        let page = search
            .events(&EventQuery {
                workspace: other,
                ..all
            })
            .await;
        assert_eq!(page.unwrap(), nahook_queue::EventPage::default());
        let found = search.event_deliveries(triggered[0], &other, 9).await;
        assert_eq!(found.unwrap(), []);
    }));
}

#[test]
fn what_was_sent_with_a_key_is_found_by_it() {
    run(on_every_store(async |hooks: Hooks| {
        let endpoint = hooks.create_endpoint("https://one.example/");
        let endpoint = endpoint.on("order.paid").await.unwrap().id;
        let mut sent = Vec::new();
        for key in ["order-1", "order-2", "ORDER-1", "' OR 1=1 --"] {
            let payload = serde_json::json!({});
            let made = hooks.send_once(endpoint, key, &payload).await.unwrap();
            sent.push((key, made.delivery));
        }
        trigger(&hooks, "order.paid", "order-1").await;
        let search = &hooks.backend().event_search;
        let asked = |key: &str, workspace| EventQuery {
            workspace,
            event_type: None,
            labels: Vec::new(),
            idempotency_key: Some(IdempotencyKey::new(key).unwrap()),
            before: None,
            limit: 9,
        };
        let workspace = hooks.workspace_id();
        for (key, delivery) in &sent {
            let found = search.events(&asked(key, workspace)).await.unwrap();
            let [event] = &found.events[..] else {
                panic!("{key}: {found:?}");
            };
            let deliveries = search.event_deliveries(event.id, &workspace, 9).await;
            assert_eq!(deliveries.unwrap()[0].id, *delivery, "{key}");
            assert_eq!(found.next, None);
            let older = EventQuery {
                before: Some(event.id),
                ..asked(key, workspace)
            };
            assert_eq!(search.events(&older).await.unwrap().events, []);
        }
        let other = hooks.workspace("other").await.unwrap().workspace_id();
        for (key, workspace) in [("order-3", workspace), ("order-1", other)] {
            let found = search.events(&asked(key, workspace)).await.unwrap();
            assert_eq!(found, nahook_queue::EventPage::default(), "{key}");
        }
    }));
}

/// Events and deliveries are counted in the store once the handle has closed.
#[test]
fn what_was_accepted_is_counted_when_the_handle_closes() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let file = format!("sqlite://{}", directory.path().join("hooks.db").display());
        let database = PostgresServer::shared().create_database();
        for store in [&file, &database] {
            let hooks = Hooks::open(store).await.unwrap();
            let made = hooks.create_endpoint("https://one.example/");
            made.on("order.paid").await.unwrap();
            for _ in 0..3 {
                trigger(&hooks, "order.paid", "1").await;
            }
            let workspace = hooks.workspace_id();
            hooks.close().await.unwrap();
            let hooks = Hooks::open(store).await.unwrap();
            let query = CountsQuery {
                workspace,
                endpoint: None,
                period: Period::Hour,
                since: Timestamp::default(),
            };
            let found = hooks.backend().counts.counts(&query).await.unwrap();
            let events: u64 = found.iter().map(|hour| hour.counts.events).sum();
            assert_eq!(events, 3, "{store}");
            hooks.close().await.unwrap();
        }
    });
}

async fn trigger(hooks: &Hooks, name: &str, label: &str) -> MessageId {
    let labels = BTreeMap::from([("order".to_owned(), label.to_owned())]);
    let event = NewEvent {
        event_type: EventTypeName::new(name).unwrap(),
        payload: Payload::new("{}".to_owned()).unwrap(),
        metadata: Metadata::new(labels).unwrap(),
    };
    let backend = hooks.backend();
    let fan_out = nahook_core::FanOut::new(
        std::sync::Arc::clone(&backend.subscriptions),
        std::sync::Arc::clone(&backend.publisher),
    );
    let receipt = fan_out.trigger(event, hooks.workspace_id()).await.unwrap();
    // Ids drawn in one millisecond are in no order, by which the store in memory lists.
    let drawn = SystemClock.now().as_millis();
    while SystemClock.now().as_millis() == drawn {
        tokio::task::yield_now().await;
    }
    receipt.deliveries()[0].id().message_if_first()
}
