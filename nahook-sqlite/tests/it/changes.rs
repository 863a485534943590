//! Changing a workspace: whole or not at all, seen at once, and nothing that was queued loses its history.

use std::collections::BTreeMap;
use std::sync::Arc;

use nahook_control::{
    Actor, ApplyMode, AuditEntry, AuditQuery, Catalog, Change, ChangePlan, KeyHash, KeyStore,
    Management, ManagementError, ManagementStore, NewApiKey, NewApplication, NewEndpoint,
    NewEnvironment, NewPortalSession, Planned, Record, Select, Snapshot, Verb,
};
use nahook_core::{DeliveryPublisher, FailureKind, Outcome, SubscriptionStore};
use nahook_queue::DeliveryLog;
use nahook_sqlite::{SqliteSettings, SqliteStore};
use nahook_testkit::SeededIds;
use nahook_testkit::declare::{
    Workspace, deliveries, environment_id, event, event_type_id, event_type_name, nth_endpoint_id,
    scope, workspace_id,
};
use rusqlite::Connection;

use crate::support::{self, EVENT_TYPE, NOW, Place, Still, WORKSPACE, all_failed, publish};

fn manage(store: &SqliteStore) -> Management<SqliteStore> {
    Management::new(store.clone()).with_clock(Still)
}

async fn declare(store: &SqliteStore) {
    let manifest = Workspace::new(WORKSPACE)
        .event_type(EVENT_TYPE)
        .environment("staging", &[EVENT_TYPE])
        .endpoints(2)
        .manifest();
    store.apply(&manifest, ApplyMode::Commit).await.unwrap();
}

fn application(max_endpoints: Option<u32>) -> NewApplication {
    NewApplication {
        name: "one".to_owned(),
        external_id: None,
        metadata: BTreeMap::new(),
        max_endpoints,
        show_event_types: false,
    }
}

fn count(connection: &Connection, rows: &str) -> i64 {
    let statement = format!("SELECT count(*) FROM nahook_{rows}");
    connection
        .query_row(&statement, [], |row| row.get(0))
        .unwrap()
}

#[tokio::test]
async fn what_is_removed_keeps_its_history_and_leaves_nothing_that_needs_it() {
    let place = Place::new();
    let store = place.open();
    declare(&store).await;
    let (management, actor, shop) = (manage(&store), Actor::operator(), workspace_id(WORKSPACE));
    let (endpoint, event_type) = (nth_endpoint_id(0), event_type_id(WORKSPACE, EVENT_TYPE));
    management
        .subscribe(&shop, &actor, endpoint, vec![event_type])
        .await
        .unwrap();
    let delivery = publish(&store, 1, 1).await[0].id();
    let staging = environment_id(WORKSPACE, "staging");
    let mut secrets = Vec::new();
    for (name, environment, endpoint) in [
        ("environment", Some(staging), None),
        ("endpoint", None, Some(endpoint)),
        ("free", None, None),
    ] {
        let name = name.to_owned();
        let new = NewApiKey {
            name,
            environment,
            endpoint,
        };
        secrets.push(
            management
                .create_api_key(&shop, &actor, new)
                .await
                .unwrap()
                .1,
        );
    }

    management
        .delete_endpoint(&shop, &actor, endpoint)
        .await
        .unwrap();
    management
        .delete_event_type(&shop, &actor, event_type)
        .await
        .unwrap();
    management
        .delete_environment(&shop, &actor, staging)
        .await
        .unwrap();

    let record = store.delivery(delivery, &shop).await.unwrap().unwrap();
    assert_eq!(
        (record.endpoint, record.event_type),
        (endpoint, Some(event_type))
    );
    assert!(record.has_payload && store.payload(delivery, &shop).await.unwrap().is_some());
    for (secret, is_let_in) in secrets.iter().zip([false, false, true]) {
        let found = store.api_key(&KeyHash::of(secret.expose())).await.unwrap();
        assert_eq!(found.is_some(), is_let_in);
    }
    assert!(all_failed(
        &publish(&store, 2, 1).await,
        FailureKind::EndpointGone
    ));
    let raw = place.raw();
    assert_eq!(count(&raw, "subscription") + count(&raw, "publication"), 0);
    assert_eq!(
        count(
            &raw,
            "environment WHERE slug = 'staging' AND deleted_at IS NOT NULL"
        ),
        1
    );

    // Names are free again, as other things; ids only where they are declared, and to nobody else.
    let slug = "staging".to_owned();
    let again = NewEnvironment {
        name: slug.clone(),
        slug,
    };
    assert_ne!(
        management
            .create_environment(&shop, &actor, again)
            .await
            .unwrap()
            .id,
        staging
    );
    let name = event_type_name(EVENT_TYPE);
    let again = management
        .create_event_type(&shop, &actor, name, None)
        .await
        .unwrap();
    assert_ne!(again.event_type.id, event_type);
    let others = Workspace::new("ws_other").endpoints(1).manifest();
    store.apply(&others, ApplyMode::Commit).await.unwrap_err();
    let declared = Workspace::new(WORKSPACE).endpoints(1).manifest();
    store.apply(&declared, ApplyMode::Commit).await.unwrap();
    assert!(publish(&store, 3, 1).await[0].outcome() == Outcome::Published);
    let record = store.delivery(delivery, &shop).await.unwrap().unwrap();
    assert_eq!(record.endpoint, endpoint);
    let revoked = KeyHash::of(secrets[1].expose());
    assert_eq!(store.api_key(&revoked).await.unwrap(), None);
}

#[tokio::test]
async fn an_application_goes_with_its_endpoints_and_sessions() {
    let place = Place::new();
    let store = place.open();
    declare(&store).await;
    let (management, actor, shop) = (manage(&store), Actor::operator(), workspace_id(WORKSPACE));
    let made = management
        .create_application(&shop, &actor, application(None))
        .await
        .unwrap();
    let session = NewPortalSession::default();
    management
        .create_portal_session(&shop, &actor, made.id, session)
        .await
        .unwrap();
    let new = NewEndpoint {
        url: Some("https://hooks.example/".to_owned()),
        application: Some(made.id),
        ..NewEndpoint::default()
    };
    let endpoint = management
        .create_endpoint(&shop, &actor, new)
        .await
        .unwrap()
        .id;
    let event_type = event_type_id(WORKSPACE, EVENT_TYPE);
    management
        .subscribe(&shop, &actor, endpoint, vec![event_type])
        .await
        .unwrap();
    let subscribed = |store: SqliteStore| async move {
        let name = event_type_name(EVENT_TYPE);
        let found = store
            .subscribers(&name, &scope(WORKSPACE, None))
            .await
            .unwrap();
        found.unwrap().endpoints.to_vec()
    };
    assert_eq!(subscribed(store.clone()).await, [endpoint]);
    assert_eq!(count(&place.raw(), "portal_session"), 1);

    management
        .delete_application(&shop, &actor, made.id)
        .await
        .unwrap();
    assert_eq!(subscribed(store.clone()).await, []);
    let raw = place.raw();
    assert_eq!(
        count(&raw, "portal_session") + count(&raw, "subscription"),
        0
    );
    assert_eq!(management.endpoints(&shop).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cap_holds_whoever_comes_at_once() {
    let place = Place::new();
    let store = place.open();
    declare(&store).await;
    let beside = SqliteStore::open(place.file(), SqliteSettings::tool()).unwrap();
    let (actor, shop) = (Actor::operator(), workspace_id(WORKSPACE));
    let made = manage(&store)
        .create_application(&shop, &actor, application(Some(3)))
        .await;
    let id = made.unwrap().id;
    let mut tasks = Vec::new();
    for n in 0..16 {
        let management = manage(if n % 2 == 0 { &store } else { &beside });
        let actor = actor.clone();
        tasks.push(tokio::spawn(async move {
            let new = NewEndpoint {
                url: Some(format!("https://hooks.example/{n}")),
                application: Some(id),
                ..NewEndpoint::default()
            };
            management
                .create_endpoint(&workspace_id(WORKSPACE), &actor, new)
                .await
        }));
    }
    let mut made = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => made += 1,
            Err(error) => assert!(matches!(error, ManagementError::EndpointLimit { max: 3 })),
        }
    }
    assert_eq!(made, 3);
    assert_eq!(
        manage(&store).endpoints_of(&shop, id).await.unwrap().len(),
        3
    );
}

/// A decision that was made beforehand.
struct Decided(Planned);

impl ChangePlan for Decided {
    fn reads(&self) -> &[Select] {
        &[Select::EventTypes]
    }

    fn plan(&self, _snapshot: &Snapshot) -> Result<Planned, ManagementError> {
        Ok(self.0.clone())
    }
}

/// Returns changes that remove a workspace's two endpoints, each with its audit entry.
async fn removals(store: &SqliteStore) -> Vec<Change> {
    let selection = [Select::Endpoints];
    let rows = store
        .read(&workspace_id(WORKSPACE), &selection)
        .await
        .unwrap();
    let copies = Workspace::new("ws_copy").endpoints(2).manifest();
    let mut changes = copies
        .changes(&Snapshot::default(), NOW, &SeededIds::new(1))
        .unwrap();
    changes.retain(|change| matches!(change.record, Record::Endpoint(_)));
    for (change, row) in changes.iter_mut().zip(rows.endpoints) {
        change.verb = Verb::Remove;
        change.record = Record::Endpoint(row);
    }
    changes
}

#[tokio::test]
async fn a_refused_change_leaves_no_trace() {
    let place = Place::new();
    let store = place.open();
    declare(&store).await;
    let shop = workspace_id(WORKSPACE);
    let query = AuditQuery {
        limit: 100,
        ..AuditQuery::default()
    };
    let before = store.audit_log(&shop, &query).await.unwrap();
    let mut changes = removals(&store).await;
    // The second goes twice: the third change finds it gone, and the first two are undone.
    changes.push(changes[1].clone());
    let entry = |change| AuditEntry::of(change, &Actor::operator(), NOW, &SeededIds::new(2));
    let audit = vec![entry(&changes[0])];
    let plan: Arc<dyn ChangePlan> = Arc::new(Decided(Planned { changes, audit }));
    let refused = store.change(&shop, &plan).await.unwrap_err();
    assert!(
        matches!(refused, ManagementError::NotFound("endpoint")),
        "{refused}"
    );
    let rows = store.read(&shop, &[Select::Endpoints]).await.unwrap();
    assert_eq!(rows.endpoints.len(), 2);
    assert_eq!(store.audit_log(&shop, &query).await.unwrap(), before);
    // Nor does the writer remember what was undone.
    let event = event(WORKSPACE, EVENT_TYPE, 1, NOW);
    let mut slots = deliveries(&event, &[nth_endpoint_id(0), nth_endpoint_id(1)]);
    store.publish(&event, &mut slots).await;
    assert!(support::all_published(&slots));
}

#[tokio::test]
async fn a_portal_session_makes_no_cache_read_again() {
    let place = Place::new();
    let store = place.open();
    declare(&store).await;
    let (management, actor, shop) = (manage(&store), Actor::operator(), workspace_id(WORKSPACE));
    let made = management
        .create_application(&shop, &actor, application(None))
        .await
        .unwrap();
    let version = |place: &Place| -> i64 {
        let statement = "SELECT version FROM nahook_catalog_state";
        place
            .raw()
            .query_row(statement, [], |row| row.get(0))
            .unwrap()
    };
    let before = version(&place);
    let session = NewPortalSession::default();
    management
        .create_portal_session(&shop, &actor, made.id, session)
        .await
        .unwrap();
    assert_eq!(version(&place), before);
    management
        .delete_application(&shop, &actor, made.id)
        .await
        .unwrap();
    assert_eq!(version(&place), before + 1);
}
