//! Managing workspaces from several processes at once, and what a change leaves behind.

use std::time::Duration;

use nahook_control::{
    Actor, ApplyMode, AuditQuery, Catalog, CatalogError, EndpointDirectory, HealthReport,
    HealthState, KeyHash, KeyStore, Management, ManagementError, ManagementStore, NewApiKey,
    NewApplication, NewEndpoint, NewPortalSession, Select,
};
use nahook_core::id::EventTypeId;
use nahook_core::{StoreErrorKind, SubscriptionStore, Timestamp};
use nahook_postgres::PostgresStore;
use nahook_testkit::ManualClock;
use nahook_testkit::declare::{
    Workspace, endpoint_id, environment_id, event_type_name, scope, workspace_id,
};
use nahook_testserver::PostgresServer;

use crate::support::{client, connect, outcomes, publish, settings, shop, shop_store, until};

async fn count(url: &str, query: &str) -> i64 {
    client(url)
        .await
        .query_one(query, &[])
        .await
        .unwrap()
        .get(0)
}

/// Every entry.
fn all() -> AuditQuery {
    AuditQuery {
        limit: 1_000,
        ..AuditQuery::default()
    }
}

fn customer() -> NewApplication {
    NewApplication {
        name: "customer".to_owned(),
        external_id: None,
        metadata: std::collections::BTreeMap::new(),
        max_endpoints: None,
        show_event_types: true,
    }
}

async fn subscribers(store: &PostgresStore, name: &str) -> Option<usize> {
    let found = store
        .subscribers(&event_type_name(name), &scope("ws_shop", None))
        .await;
    found.unwrap().map(|found| found.endpoints.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_sees_a_change_at_once() {
    let (url, store) = shop_store(2).await;
    let other = connect(&url, settings(2)).await;
    let (ours, theirs) = (workspace_id("ws_shop"), Management::new(other.clone()));
    let actor = Actor::operator();
    let new = NewApiKey {
        name: "bound".to_owned(),
        endpoint: Some(endpoint_id("ep_0")),
        ..NewApiKey::default()
    };
    let (_, secret) = theirs.create_api_key(&ours, &actor, new).await.unwrap();
    let hash = KeyHash::of(secret.expose());
    // Kept in this process.
    until("the answers are kept", || async {
        subscribers(&store, "order.paid").await == Some(2)
            && store.api_key(&hash).await.unwrap().is_some()
    })
    .await;
    let deleted = theirs
        .delete_endpoint(&ours, &actor, endpoint_id("ep_0"))
        .await;
    deleted.unwrap();
    until("the endpoint is not subscribed any more", || async {
        subscribers(&store, "order.paid").await == Some(1)
    })
    .await;
    until("its key is revoked", || async {
        store.api_key(&hash).await.unwrap().is_none()
    })
    .await;
    assert_eq!(
        outcomes(&publish(&store, 1, 2).await),
        ["endpoint_gone", "published"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_row_stays_for_the_history_without_its_secrets() {
    let (url, store) = shop_store(1).await;
    let (workspace, actor) = (workspace_id("ws_shop"), Actor::operator());
    let management = Management::new(store);
    let new = NewApplication {
        name: "customer".to_owned(),
        external_id: Some("cust-1".to_owned()),
        metadata: std::collections::BTreeMap::new(),
        max_endpoints: None,
        show_event_types: true,
    };
    let application = management
        .create_application(&workspace, &actor, new)
        .await
        .unwrap();
    let endpoint = management
        .create_endpoint(
            &workspace,
            &actor,
            NewEndpoint {
                url: Some("https://hooks.example/a".to_owned()),
                auth_username: Some("user".to_owned()),
                auth_password: Some(nahook_control::SecretText::new("pass")),
                application: Some(application.id),
                ..NewEndpoint::default()
            },
        )
        .await
        .unwrap();
    management
        .rotate_secret(&workspace, &actor, endpoint.id)
        .await
        .unwrap();
    let session = NewPortalSession::default();
    management
        .create_portal_session(&workspace, &actor, application.id, session)
        .await
        .unwrap();
    management
        .delete_application(&workspace, &actor, application.id)
        .await
        .unwrap();
    let kept = format!(
        "SELECT count(*) FROM nahook.endpoint WHERE id = '{}' AND url = 'https://hooks.example/a' AND deleted_at > 0
            AND secret = '' AND previous_secret IS NULL AND auth_password IS NULL",
        endpoint.id
    );
    assert_eq!(count(&url, &kept).await, 1);
    let sessions = "SELECT count(*) FROM nahook.portal_session";
    assert_eq!(count(&url, sessions).await, 0);
}

/// Its id may be declared again, and then nothing of the former one may count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_belonged_to_a_removed_row_goes_with_it() {
    let url = PostgresServer::shared().create_database();
    let store = connect(&url, settings(2)).await;
    let declared = Workspace::new("ws_shop")
        .event_type("order.paid")
        .environment("staging", &["order.paid"])
        .endpoint("ep_alone", &["order.paid"])
        .endpoint("ep_customers", &["order.paid"]);
    let declared = declared.manifest();
    store.apply(&declared, ApplyMode::Commit).await.unwrap();
    let (workspace, actor) = (workspace_id("ws_shop"), Actor::operator());
    let management = Management::new(store.clone());
    let application = management
        .create_application(&workspace, &actor, customer())
        .await
        .unwrap();
    let attach = "UPDATE nahook.endpoint SET application = 1 WHERE id = 'ep_customers'";
    client(&url).await.batch_execute(attach).await.unwrap();
    let staging = environment_id("ws_shop", "staging");
    let endpoints = ["ep_alone", "ep_customers"].map(endpoint_id);
    for (name, endpoint, environment) in [
        ("alone", Some(endpoints[0]), None),
        ("customers", Some(endpoints[1]), None),
        ("staging", None, Some(staging)),
    ] {
        let new = NewApiKey {
            name: name.to_owned(),
            endpoint,
            environment,
        };
        let made = management.create_api_key(&workspace, &actor, new).await;
        made.unwrap();
    }
    let reports = |state| endpoints.map(|endpoint| HealthReport { endpoint, state });
    let failing = reports(HealthState::FailingSince(Timestamp::from_nanos(1)));
    store.report(&failing).await.unwrap();
    let left = "SELECT (SELECT count(*) FROM nahook.endpoint WHERE secret <> '')
        + (SELECT count(*) FROM nahook.endpoint_health) + (SELECT count(*) FROM nahook.subscription)
        + (SELECT count(*) FROM nahook.publication) + (SELECT count(*) FROM nahook.api_key WHERE state <> 2)";
    assert_eq!(count(&url, left).await, 2 + 2 + 2 + 1 + 3);
    let removed = async {
        let one = endpoints[0];
        management.delete_endpoint(&workspace, &actor, one).await?;
        let owner = application.id;
        management
            .delete_application(&workspace, &actor, owner)
            .await?;
        management
            .delete_environment(&workspace, &actor, staging)
            .await
    };
    removed.await.unwrap();
    assert_eq!(count(&url, left).await, 0);
    // Workers that are late change nothing any more.
    let before = store.audit_log(&workspace, &all()).await.unwrap();
    store.report(&failing).await.unwrap();
    store.report(&reports(HealthState::Disable)).await.unwrap();
    assert_eq!(count(&url, left).await, 0);
    assert_eq!(store.audit_log(&workspace, &all()).await.unwrap(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_an_id_of_its_own_can_be_declared_again() {
    let (_, store) = shop_store(2).await;
    let (workspace, actor) = (workspace_id("ws_shop"), Actor::operator());
    let management = Management::new(store.clone());
    let event_type = event_type_name("order.paid");
    let types = management.event_types(&workspace).await.unwrap();
    let id: EventTypeId = types[0].event_type.id;
    management
        .delete_endpoint(&workspace, &actor, endpoint_id("ep_0"))
        .await
        .unwrap();
    management
        .delete_event_type(&workspace, &actor, id)
        .await
        .unwrap();
    assert_eq!(subscribers(&store, event_type.as_str()).await, None);
    store.apply(&shop(2), ApplyMode::Commit).await.unwrap();
    assert_eq!(subscribers(&store, event_type.as_str()).await, Some(2));
    assert_eq!(outcomes(&publish(&store, 1, 2).await), ["published"; 2]);
    // An id that is another workspace's is not to be had, also once it is deleted there.
    management
        .delete_endpoint(&workspace, &actor, endpoint_id("ep_0"))
        .await
        .unwrap();
    let other = Workspace::new("ws_other").endpoint("ep_0", &[]).manifest();
    let refused = store.apply(&other, ApplyMode::Commit).await;
    assert!(
        matches!(refused, Err(nahook_control::CatalogError::Manifest(_))),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workspace_that_others_keep_locked_is_unavailable_and_nothing_changes() {
    let (url, store) = shop_store(0).await;
    let (workspace, actor) = (workspace_id("ws_shop"), Actor::operator());
    let before = store.audit_log(&workspace, &all()).await.unwrap();
    assert_eq!(
        before.total, 3,
        "the workspace, its environment, its event type"
    );
    let mut holder = client(&url).await;
    let locked = holder.transaction().await.unwrap();
    let lock = "SELECT row FROM nahook.workspace FOR NO KEY UPDATE";
    locked.query(lock, &[]).await.unwrap();
    let one = connect(&url, settings(1)).await;
    let management = Management::new(one.clone());
    let name = event_type_name("order.late");
    let refused = management
        .create_event_type(&workspace, &actor, name.clone(), None)
        .await;
    assert!(
        matches!(&refused, Err(ManagementError::Store(error)) if error.kind() == StoreErrorKind::Unavailable),
        "{refused:?}"
    );
    let refused = one.apply(&shop(1), ApplyMode::Commit).await;
    assert!(
        matches!(&refused, Err(CatalogError::Store(error)) if error.kind() == StoreErrorKind::Unavailable),
        "{refused:?}"
    );
    locked.rollback().await.unwrap();
    let told = store.audit_log(&workspace, &all()).await;
    assert_eq!(told.unwrap(), before);
    assert_eq!(subscribers(&store, "order.late").await, None);
    // The connection is fit for more.
    let made = management
        .create_event_type(&workspace, &actor, name, None)
        .await;
    assert_eq!(made.unwrap().subscriber_count, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_another_process_takes_meanwhile_is_a_conflict() {
    let (url, store) = shop_store(0).await;
    let (workspace, actor) = (workspace_id("ws_shop"), Actor::operator());
    // Nobody who is told of the lock would do this: the row is there, and no plan knows of it.
    let steal = "INSERT INTO nahook.event_type (id, workspace, name, created_at)
        SELECT 'evt_stolen', w.row, 'order.stolen', 0 FROM nahook.workspace w";
    client(&url).await.batch_execute(steal).await.unwrap();
    let refused = Management::new(store)
        .create_event_type(&workspace, &actor, event_type_name("order.stolen"), None)
        .await;
    assert!(
        matches!(refused, Err(ManagementError::Conflict(_))),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_together_is_of_one_instant() {
    let (url, store) = shop_store(1).await;
    let workspace = workspace_id("ws_shop");
    // Two rows that change together: whoever reads both sees both or neither.
    let writer = client(&url).await;
    let writing = tokio::spawn(async move {
        for round in 0..200 {
            let change = format!(
                "BEGIN; UPDATE nahook.endpoint SET description = '{round}';
                UPDATE nahook.event_type SET description = '{round}'; COMMIT"
            );
            writer.batch_execute(&change).await.unwrap();
        }
    });
    while !writing.is_finished() {
        let selection = [Select::EventTypes, Select::Endpoints];
        let rows = store.read(&workspace, &selection).await.unwrap();
        assert_eq!(
            rows.event_types[0].description, rows.endpoints[0].description,
            "of one instant"
        );
    }
    writing.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_and_sessions_go_in_their_time_and_not_before() {
    let url = PostgresServer::shared().create_database();
    let clock = ManualClock::default();
    let mut settings = settings(2).with_clock(clock.clone());
    settings.retention_interval = Duration::from_millis(20);
    let store = connect(&url, settings).await;
    store.apply(&shop(0), ApplyMode::Commit).await.unwrap();
    // More than one statement takes.
    let many = "INSERT INTO nahook.audit_entry (workspace, created_at, id, actor_kind, actor_id, actor_label, action,
            resource_type, resource_id, metadata)
        SELECT a.workspace, a.created_at, a.id || n, a.actor_kind, a.actor_id, a.actor_label, a.action, a.resource_type,
            a.resource_id, a.metadata
        FROM nahook.audit_entry a, generate_series(1, 800) n";
    client(&url).await.batch_execute(many).await.unwrap();
    let old = 3 * 801;
    let (workspace, actor) = (workspace_id("ws_shop"), Actor::operator());
    let management = Management::new(store.clone()).with_clock(clock.clone());
    let total = async || store.audit_log(&workspace, &all()).await.unwrap().total;
    assert_eq!(total().await, old);
    clock.advance(Duration::from_hours(1));
    let application = management
        .create_application(&workspace, &actor, customer())
        .await
        .unwrap();
    for minutes in [10, 60] {
        let session = NewPortalSession {
            expires_in_minutes: Some(minutes),
            ..NewPortalSession::default()
        };
        management
            .create_portal_session(&workspace, &actor, application.id, session)
            .await
            .unwrap();
    }
    let sessions = "SELECT count(*) FROM nahook.portal_session";
    clock.advance(Duration::from_mins(10));
    until("the shorter session is gone", || async {
        count(&url, sessions).await == 1
    })
    .await;
    clock.advance(Duration::from_hours(90 * 24) - Duration::from_mins(70));
    until("the longer one is gone, too", || async {
        count(&url, sessions).await == 0
    })
    .await;
    assert_eq!(total().await, old + 3, "exactly 90 days are kept");
    clock.advance(Duration::from_nanos(1));
    until("the old entries are gone", || async { total().await == 3 }).await;
}
