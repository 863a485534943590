//! Everything an app does with its handle.

use nahook_embed::core::{Outcome, TriggerError};
use nahook_embed::queue::{DeliveryStatus, Redelivered};
use nahook_embed::{Hooks, HooksError, OpenError};
use nahook_testkit::run;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::receiver::Receiver;

pub(crate) async fn open(store: &str) -> Hooks {
    let builder = Hooks::builder(store).allow_endpoint_range("127.0.0.0/8".parse().unwrap());
    builder.open().await.unwrap()
}

/// Delivers in the background until the sender is used or dropped.
pub(crate) fn delivering(hooks: &Hooks) -> (oneshot::Sender<()>, JoinHandle<()>) {
    let (stop, stopped) = oneshot::channel();
    let hooks = hooks.clone();
    let running = tokio::spawn(async move {
        hooks
            .run(async {
                let _ = stopped.await;
            })
            .await;
    });
    (stop, running)
}

#[test]
fn what_is_triggered_arrives_signed_by_the_secret_of_its_endpoint() {
    run(async {
        let mut receiver = Receiver::start().await;
        let hooks = open("memory://").await;
        let endpoint = hooks.create_endpoint(&receiver.url).on("order.paid").await;
        let endpoint = endpoint.unwrap();
        let (_stop, _running) = delivering(&hooks);
        let order = json!({"order": "ord_123"});
        let receipt = hooks.trigger("order.paid", &order).await.unwrap();
        assert_eq!(receipt.delivery_ids().count(), 1);
        let (headers, body) = receiver.next().await;
        let webhook = standardwebhooks::Webhook::new(endpoint.secret.expose()).unwrap();
        webhook.verify(&body, &headers).unwrap();
        assert_eq!(body, order.to_string().as_bytes());
        let id = headers["webhook-id"].to_str().unwrap();
        assert_eq!(id, receipt.message().to_string());
    });
}

#[test]
fn what_was_queued_is_delivered_after_a_restart() {
    run(async {
        let mut receiver = Receiver::start().await;
        let directory = tempfile::tempdir().unwrap();
        let store = format!("sqlite://{}", directory.path().join("hooks.db").display());
        let hooks = open(&store).await;
        let endpoint = hooks.create_endpoint(&receiver.url).on("order.paid");
        endpoint.await.unwrap();
        hooks
            .trigger_raw("order.paid", r#"{ "n": 1 }"#)
            .await
            .unwrap();
        hooks.close().await.unwrap();
        let hooks = open(&store).await;
        let (stop, running) = delivering(&hooks);
        assert_eq!(receiver.bodies(1).await, [r#"{ "n": 1 }"#]);
        stop.send(()).unwrap();
        running.await.unwrap();
        hooks.close().await.unwrap();
    });
}

#[test]
fn an_unknown_event_type_is_an_error_unless_they_are_made() {
    run(async {
        let hooks = open("memory://").await;
        let refused = hooks.trigger("order.piad", &json!({})).await;
        let unknown = HooksError::Trigger(TriggerError::UnknownEventType);
        assert_eq!(refused.unwrap_err().to_string(), unknown.to_string());
        let refused = hooks.trigger("order paid", &json!({})).await;
        assert!(matches!(refused, Err(HooksError::EventType(_))));
        let refused = hooks.trigger("order.paid", "text").await;
        assert!(matches!(refused, Err(HooksError::Payload(_))));
        let making = Hooks::builder("memory://").create_event_types();
        let making = making.open().await.unwrap();
        let receipt = making.trigger("order.paid", &json!({})).await.unwrap();
        assert_eq!(receipt.deliveries(), []);
        assert_eq!(making.event_types().await.unwrap().len(), 1);
    });
}

#[test]
fn a_pattern_has_the_event_types_of_before_and_after() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let file = format!("sqlite://{}", folder.path().join("hooks.db").display());
        let mut stores = vec!["memory://".to_owned()];
        #[cfg(feature = "sqlite")]
        stores.push(file);
        #[cfg(feature = "postgres")]
        stores.push(nahook_testserver::PostgresServer::shared().create_database());
        for store in stores {
            let hooks = Hooks::builder(&store).create_event_types();
            let hooks = hooks.open().await.unwrap();
            hooks.ensure_event_type("order.old").await.unwrap();
            let url = "https://customer.example/hooks";
            let endpoint = hooks.create_endpoint(url).on("order.*").on("user.new");
            let endpoint = endpoint.await.unwrap().id;
            let count = async |event_type: &str| {
                let receipt = hooks.trigger(event_type, &json!({})).await.unwrap();
                receipt.delivery_ids().count()
            };
            assert_eq!(count("order.old").await, 1);
            // Made by this very event.
            assert_eq!(count("order.new").await, 1, "{store}");
            assert_eq!(count("order.new.late").await, 0);
            let named = hooks.subscriptions(endpoint).await.unwrap();
            assert_eq!(named.len(), 1);
            hooks.subscribe(endpoint, "**").await.unwrap();
            assert_eq!(count("order.new.late").await, 1);
            for pattern in ["**", "order.*", "none.*"] {
                hooks.unsubscribe(endpoint, pattern).await.unwrap();
            }
            assert_eq!(hooks.patterns(endpoint).await.unwrap(), []);
            assert_eq!(count("order.new").await, 0);
            assert_eq!(count("user.new").await, 1);
            let refused = hooks.subscribe(endpoint, "*.new").await;
            assert!(matches!(refused, Err(HooksError::Selector(_))));
            hooks.close().await.unwrap();
        }
    });
}

#[test]
fn workspaces_are_apart() {
    run(async {
        let hooks = open("memory://").await;
        let (acme, umbrella) = (
            hooks.workspace("acme").await,
            hooks.workspace("umbrella").await,
        );
        let (acme, umbrella) = (acme.unwrap(), umbrella.unwrap());
        let url = "https://customer.example/hooks";
        let endpoint = acme.create_endpoint(url).on("order.paid").await.unwrap();
        umbrella.ensure_event_type("order.paid").await.unwrap();
        let of = async |hooks: &Hooks| {
            let receipt = hooks.trigger("order.paid", &json!({})).await.unwrap();
            receipt.delivery_ids().count()
        };
        assert_eq!((of(&acme).await, of(&umbrella).await), (1, 0));
        umbrella.endpoint(endpoint.id).await.unwrap_err();
        umbrella.send(endpoint.id, &json!({})).await.unwrap_err();
        // The same name is the same workspace.
        let again = hooks.workspace("acme").await.unwrap();
        assert_eq!(again.endpoints().await.unwrap().len(), 1);
        let refused = hooks.workspace("acme/..").await;
        assert!(matches!(refused, Err(OpenError::Workspace(_))));
    });
}

#[test]
fn a_key_is_sent_once() {
    run(async {
        let hooks = open("memory://").await;
        let url = "https://customer.example/hooks";
        let endpoint = hooks.create_endpoint(url).await.unwrap().id;
        let first = hooks.send_once(endpoint, "order-7", &json!({"n": 1})).await;
        let again = hooks.send_once(endpoint, "order-7", &json!({"n": 2})).await;
        let (first, again) = (first.unwrap(), again.unwrap());
        assert_eq!(first.delivery, again.delivery);
        assert!(!first.is_replay && again.is_replay);
        let payload = hooks.payload(first.delivery).await.unwrap();
        assert_eq!(payload.as_bytes().as_ref(), br#"{"n":1}"#);
        let other = hooks.send_test_event(endpoint).await.unwrap();
        assert_ne!(other.delivery, first.delivery);
        let listed = hooks.deliveries(endpoint, None, 10).await.unwrap();
        assert_eq!(listed.len(), 2);
    });
}

#[test]
fn what_was_given_up_is_found_and_retried() {
    run(async {
        let mut receiver = Receiver::start().await;
        // Gone: the endpoint is disabled and its delivery has failed.
        receiver.answers(410);
        let hooks = open("memory://").await;
        let endpoint = hooks.create_endpoint(&receiver.url).on("order.paid").await;
        let endpoint = endpoint.unwrap().id;
        let (_stop, _running) = delivering(&hooks);
        let receipt = hooks.trigger("order.paid", &json!({"n": 1})).await.unwrap();
        let delivery = receipt.deliveries()[0].id();
        receiver.next().await;
        while hooks.delivery(delivery).await.unwrap().status == DeliveryStatus::Delivering
            || hooks.endpoint(endpoint).await.unwrap().is_active
        {
            tokio::task::yield_now().await;
        }
        let failed = hooks.delivery(delivery).await.unwrap().status;
        let listed = hooks.deliveries(endpoint, Some(failed), 10).await.unwrap();
        assert_eq!(listed[0].id, delivery);
        let attempts = hooks.attempts(delivery).await.unwrap();
        assert_eq!(attempts[0].attempt.status_code, Some(410));
        receiver.answers(204);
        hooks.enable_endpoint(endpoint).await.unwrap();
        let retried = hooks.retry(delivery).await.unwrap();
        assert_eq!(retried, Redelivered::Queued);
        assert_eq!(receiver.bodies(1).await, [r#"{"n":1}"#]);
        let unknown = receipt.message();
        let unknown = nahook_embed::core::id::DeliveryId::nth(unknown, 7);
        assert!(matches!(
            hooks.retry(unknown).await,
            Err(HooksError::UnknownDelivery)
        ));
    });
}

#[test]
fn an_endpoint_is_changed_and_removed() {
    run(async {
        let hooks = open("memory://").await;
        let url = "https://customer.example/hooks";
        let endpoint = hooks.create_endpoint(url).on("order.paid").on("order.sent");
        let endpoint = endpoint.description("billing").await.unwrap();
        let id = endpoint.id;
        assert_eq!(hooks.subscriptions(id).await.unwrap().len(), 2);
        hooks.unsubscribe(id, "order.sent").await.unwrap();
        hooks.unsubscribe(id, "order.sent").await.unwrap();
        hooks.subscribe(id, "order.lost").await.unwrap();
        let names: Vec<_> = hooks.subscriptions(id).await.unwrap();
        let names: Vec<_> = names.iter().map(|it| it.event_type_name.as_str()).collect();
        assert_eq!(names, ["order.paid", "order.lost"]);
        let rotated = hooks.rotate_secret(id).await.unwrap();
        assert_ne!(rotated.secret, endpoint.secret);
        hooks.disable_endpoint(id).await.unwrap();
        let receipt = hooks.trigger("order.paid", &json!({})).await.unwrap();
        assert_eq!(receipt.deliveries(), []);
        hooks.enable_endpoint(id).await.unwrap();
        let receipt = hooks.trigger("order.paid", &json!({})).await.unwrap();
        assert_eq!(receipt.deliveries()[0].outcome(), Outcome::Published);
        hooks.delete_endpoint(id).await.unwrap();
        assert_eq!(hooks.endpoints().await.unwrap().len(), 0);
        hooks.endpoint(id).await.unwrap_err();
    });
}

#[test]
fn a_url_that_names_no_back_end_says_what_is_expected() {
    run(async {
        let refused = Hooks::open("mysql://root:hunter2@db/x").await.unwrap_err();
        let said = refused.to_string();
        assert!(
            said.contains("sqlite://PATH") && !said.contains("hunter2"),
            "{said}"
        );
        let refused = Hooks::builder("memory://").queue("amqp://q").open().await;
        assert!(matches!(refused, Err(OpenError::Url(_))));
    });
}

#[test]
fn debug_output_shows_no_password_and_no_secret() {
    run(async {
        let builder = Hooks::builder("postgres://app:hunter2@db/app");
        let builder = builder.queue("nats://app:hunter2@queue");
        let shown = format!("{builder:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        let hooks = open("memory://").await;
        let endpoint = hooks.create_endpoint("https://customer.example/hunter2");
        let shown = format!("{:?}", endpoint.secret("whsec_hunter2"));
        assert!(!shown.contains("hunter2"), "{shown}");
    });
}

#[test]
fn text_that_is_no_url_is_not_shown_in_the_error() {
    run(async {
        for store in ["host=db password=hunter2", "app:hunter2@db/app"] {
            let refused = Hooks::open(store).await.unwrap_err().to_string();
            assert!(
                refused.contains("sqlite://PATH") && !refused.contains("hunter2"),
                "{refused}"
            );
            let builder = Hooks::builder("memory://").queue(store);
            let refused = builder.open().await.unwrap_err().to_string();
            assert!(!refused.contains("hunter2"), "{refused}");
        }
    });
}

#[test]
fn a_batch_makes_event_types_as_a_trigger_does() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let file = format!("sqlite://{}", directory.path().join("hooks.db").display());
        for store in ["memory://", &file] {
            let hooks = Hooks::builder(store).create_event_types();
            let hooks = hooks.open().await.unwrap();
            let url = "https://customer.example/hooks";
            hooks.create_endpoint(url).on("order.sent").await.unwrap();
            let names = ["order.paid", "order.sent", "order.paid"];
            let events = names.map(|name| {
                let payload = nahook_embed::core::Payload::new("{}").unwrap();
                nahook_embed::core::NewEvent::new(name.parse().unwrap(), payload)
            });
            let answers = hooks.trigger_batch(events.into()).await;
            let queued: Vec<_> = answers
                .into_iter()
                .map(|answer| answer.unwrap().delivery_ids().count())
                .collect();
            assert_eq!(queued, [0, 1, 0]);
            assert_eq!(hooks.event_types().await.unwrap().len(), 2);
        }
    });
}

#[test]
fn naming_a_workspace_again_leaves_its_name_alone() {
    run(async {
        let hooks = open("memory://").await;
        let acme = hooks.workspace("acme").await.unwrap();
        let renamed = format!(
            r#"{{"workspaces": [{{"id": "{}", "name": "Acme Ltd"}}]}}"#,
            acme.workspace_id()
        );
        let renamed = serde_json::from_str(&renamed).unwrap();
        let catalog = &hooks.backend().catalog;
        let mode = nahook_embed::control::ApplyMode::Commit;
        catalog.apply(&renamed, mode).await.unwrap();
        hooks.workspace("acme").await.unwrap();
        let workspaces = catalog.workspaces().await.unwrap();
        let mut names = workspaces.iter().map(|row| row.name.as_str());
        assert!(names.any(|name| name == "Acme Ltd"), "{workspaces:?}");
    });
}

#[test]
fn a_name_that_is_too_short_or_too_long_is_an_error_about_the_name() {
    run(async {
        let hooks = open("memory://").await;
        for name in ["", &"a".repeat(45)] {
            let refused = hooks.workspace(name).await;
            assert!(
                matches!(refused, Err(OpenError::Workspace(_))),
                "{refused:?}"
            );
        }
        hooks.workspace(&"a".repeat(44)).await.unwrap();
    });
}

#[test]
fn an_event_type_named_twice_is_subscribed_to_once() {
    run(async {
        let hooks = open("memory://").await;
        let endpoint = hooks.create_endpoint("https://customer.example/hooks");
        let endpoint = endpoint.on("order.paid").on("order.paid").await;
        let endpoint = endpoint.unwrap().id;
        assert_eq!(hooks.subscriptions(endpoint).await.unwrap().len(), 1);
    });
}

#[test]
fn a_file_is_open_once_and_free_once_its_handles_are_gone() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let store = format!("sqlite://{}", directory.path().join("hooks.db").display());
        let hooks = open(&store).await;
        let refused = Hooks::open(&store).await;
        assert!(matches!(refused, Err(OpenError::Store { .. })));
        let (stop, running) = delivering(&hooks);
        let (also_stop, also_running) = delivering(&hooks);
        drop(stop);
        running.await.unwrap();
        drop(also_stop);
        also_running.await.unwrap();
        drop(hooks);
        open(&store).await.close().await.unwrap();
    });
}

#[test]
fn delivering_ends_when_told_to_after_the_back_end_was_closed() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let store = format!("sqlite://{}", directory.path().join("hooks.db").display());
        let hooks = open(&store).await;
        let (stop, running) = delivering(&hooks);
        hooks.clone().close().await.unwrap();
        hooks.trigger("order.paid", &json!({})).await.unwrap_err();
        drop(stop);
        running.await.unwrap();
        drop(hooks);
        open(&store).await.close().await.unwrap();
    });
}

#[test]
fn a_dropped_run_delivers_no_more() {
    run(async {
        let mut receiver = Receiver::start().await;
        let hooks = open("memory://").await;
        let endpoint = hooks.create_endpoint(&receiver.url).on("order.paid");
        endpoint.await.unwrap();
        let (_stop, running) = delivering(&hooks);
        hooks.trigger("order.paid", &json!({"n": 1})).await.unwrap();
        receiver.next().await;
        running.abort();
        running.await.unwrap_err();
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        hooks.trigger("order.paid", &json!({"n": 2})).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        assert!(receiver.has_no_more());
    });
}
