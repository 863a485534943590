//! What each operation costs: the instructions of SQLite's machine, in a small workspace and in a large one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use nahook_control::{
    Actor, ApplicationPatch, Catalog as _, EndpointPatch, KeyState, Management, NewApiKey,
    NewApplication, NewEndpoint, NewEnvironment, NewPortalSession,
};
use nahook_core::SystemClock;
use nahook_core::id::{ApiKeyId, ApplicationId, EndpointId, EnvironmentId, EventTypeId};

use super::*;
use crate::{Role, SqliteSettings};

/// Operations that answer with as many rows as there are, which is what they are asked for.
const LISTS: &[&str] = &[
    "api_keys",
    "applications",
    // Counts all matching entries.
    "audit_log",
    "dry_run",
    "endpoints",
    "endpoints_of",
    "event_types",
    "management_tokens",
    "patterns",
    "subscriptions",
    "visibility",
];

/// A store whose one connection counts what it does.
#[derive(Clone)]
struct Counting {
    session: Arc<Mutex<Session>>,
    instructions: Arc<AtomicU64>,
    secrets: SecretBox,
}

#[async_trait::async_trait]
impl ManagementStore for Counting {
    async fn read(
        &self,
        workspace: &WorkspaceId,
        selection: &[Select],
    ) -> Result<Snapshot, StoreError> {
        let session = self.session.lock().unwrap();
        let mut rows = selected(session.connection(), *workspace, selection).unwrap();
        self.secrets.open_snapshot(&mut rows).unwrap();
        Ok(rows)
    }

    async fn change(
        &self,
        workspace: &WorkspaceId,
        plan: &Arc<dyn ChangePlan>,
    ) -> Result<Vec<Change>, ManagementError> {
        let mut session = self.session.lock().unwrap();
        let now = Timestamp::from_millis(1_000);
        session
            .attempt(|session| change(session, &self.secrets, *workspace, &**plan, now))
            .unwrap()
    }

    async fn audit_log(
        &self,
        workspace: &WorkspaceId,
        query: &AuditQuery,
    ) -> Result<AuditPage, StoreError> {
        let session = self.session.lock().unwrap();
        Ok(audit::page(session.connection(), *workspace, query).unwrap())
    }

    async fn find_endpoints(
        &self,
        workspace: &WorkspaceId,
        query: &EndpointQuery,
    ) -> Result<EndpointPage, StoreError> {
        let session = self.session.lock().unwrap();
        Ok(finding::page(session.connection(), *workspace, query).unwrap())
    }
}

/// A workspace with so many rows of every kind, on a connection that counts.
async fn workspace_with(rows: usize) -> (Counting, tempfile::TempDir) {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("nahook.db");
    let store = SqliteStore::open(&path, SqliteSettings::server()).unwrap();
    let types: Vec<_> = (0..rows)
        .map(|n| serde_json::json!({"id": format!("evt_{n}"), "name": format!("made{n}.thing")}))
        .collect();
    let endpoints: Vec<_> = (0..rows)
        .map(|n| {
            serde_json::json!({
                "id": format!("ep_{n}"), "url": "https://a.example/", "application": format!("app {n}"),
                "event_types": [format!("made{n}.thing"), "made0.thing", format!("made{n}.*")],
            })
        })
        .collect();
    let names: Vec<_> = (0..rows).map(|n| format!("made{n}.thing")).collect();
    let manifest = serde_json::from_value(serde_json::json!({"workspaces": [{
        "id": "ws_a", "name": "a",
        "environments": [{"id": "env_s", "slug": "staging", "published": names}, {"id": "env_t", "slug": "test"}],
        "event_types": types,
        "applications": (0..rows)
            .map(|n| serde_json::json!({"id": format!("app_{n}"), "name": format!("app {n}"), "external_id": format!("app {n}")}))
            .collect::<Vec<_>>(),
        "endpoints": endpoints,
        "api_keys": (0..rows)
            .map(|n| serde_json::json!({"id": format!("key_{n}"), "name": format!("k{n}"), "key": format!("nhk_us_{n:064}")}))
            .collect::<Vec<_>>(),
        "management_tokens": (0..rows)
            .map(|n| serde_json::json!({"id": format!("tok_{n}"), "name": format!("t{n}"), "token": format!("nhm_{n:064}")}))
            .collect::<Vec<_>>(),
    }]}));
    let manifest = manifest.unwrap();
    store
        .apply(&manifest, nahook_control::ApplyMode::Commit)
        .await
        .unwrap();
    let secrets = store.secrets().clone();
    drop(store);
    let connection = rusqlite::Connection::open(&path).unwrap();
    let instructions = Arc::<AtomicU64>::default();
    let counted = Arc::clone(&instructions);
    connection
        .progress_handler(
            1,
            Some(move || {
                counted.fetch_add(1, Ordering::Relaxed);
                false
            }),
        )
        .unwrap();
    let session = Arc::new(Mutex::new(Session::new(connection, Role::Server)));
    (
        Counting {
            session,
            instructions,
            secrets,
        },
        place,
    )
}

/// Costs of the operations by their names.
#[expect(clippy::too_many_lines, reason = "a line for each operation")]
async fn costs(rows: usize) -> BTreeMap<&'static str, u64> {
    let (store, _place) = workspace_with(rows).await;
    let management = Management::new(store.clone()).with_clock(SystemClock);
    let (workspace, actor) = (&"ws_a".parse().unwrap(), &Actor::operator());
    let mut costs = BTreeMap::new();
    macro_rules! cost {
        ($operation:ident($($argument:expr),*)) => {{
            let before = store.instructions.load(Ordering::Relaxed);
            let done = management.$operation(workspace, $($argument),*).await;
            let cost = store.instructions.load(Ordering::Relaxed) - before;
            costs.insert(stringify!($operation), cost);
            done.unwrap()
        }};
    }
    let application = ApplicationId::new("app_1").unwrap();
    let [endpoint, other] = ["ep_1", "ep_2"].map(|id| EndpointId::new(id).unwrap());
    let [environment, empty] = ["env_s", "env_t"].map(|id| EnvironmentId::new(id).unwrap());
    let [event_type, further] = ["evt_1", "evt_2"].map(|id| EventTypeId::new(id).unwrap());
    cost!(application(application));
    cost!(endpoint(endpoint));
    cost!(environment(environment));
    cost!(environments());
    cost!(event_type(event_type));
    let made = cost!(create_application(
        actor,
        NewApplication {
            name: "new".to_owned(),
            external_id: Some("new".to_owned()),
            metadata: BTreeMap::new(),
            max_endpoints: Some(5),
            show_event_types: true,
        }
    ))
    .id;
    cost!(update_application(
        actor,
        made,
        ApplicationPatch {
            name: Some("newer".to_owned()),
            ..ApplicationPatch::default()
        }
    ));
    cost!(create_portal_session(
        actor,
        made,
        NewPortalSession::default()
    ));
    cost!(create_endpoint(
        actor,
        NewEndpoint {
            url: Some("https://b.example/".to_owned()),
            application: Some(made),
            ..NewEndpoint::default()
        }
    ));
    cost!(update_endpoint(
        actor,
        endpoint,
        EndpointPatch {
            is_active: Some(false),
            ..EndpointPatch::default()
        }
    ));
    cost!(record_secret_read(actor, endpoint));
    cost!(rotate_secret(actor, endpoint));
    let name = "fresh.thing".parse().unwrap();
    let fresh = cost!(create_event_type(actor, name, None)).event_type.id;
    cost!(update_event_type(actor, fresh, Some(Some("d".to_owned()))));
    cost!(subscribe(actor, endpoint, vec![fresh, further]));
    cost!(unsubscribe(actor, endpoint, further));
    let pattern = cost!(subscribe_to_pattern(
        actor,
        other,
        "fresh.*".parse().unwrap()
    ))
    .id;
    cost!(unsubscribe_from_pattern(actor, other, pattern));
    cost!(delete_event_type(actor, fresh));
    cost!(set_visibility(actor, environment, event_type, false));
    let new = NewEnvironment {
        name: "n".to_owned(),
        slug: "new".to_owned(),
    };
    let new = cost!(create_environment(actor, new)).id;
    cost!(update_environment(actor, new, Some("m".to_owned())));
    cost!(delete_environment(actor, empty));
    cost!(create_api_key(
        actor,
        NewApiKey {
            name: "new".to_owned(),
            environment: Some(environment),
            endpoint: Some(endpoint),
        }
    ));
    cost!(set_api_key_state(
        actor,
        ApiKeyId::new("key_1").unwrap(),
        KeyState::Revoked
    ));
    let token = cost!(create_management_token(actor, "new".to_owned())).0.id;
    cost!(set_management_token_state(actor, token, KeyState::Revoked));
    cost!(delete_endpoint(actor, endpoint));
    cost!(delete_application(actor, application));
    cost!(record(
        actor,
        ("endpoint", endpoint.to_string()),
        "tested",
        Vec::new()
    ));
    costs
}

#[tokio::test]
async fn no_operation_costs_more_in_a_large_workspace() {
    let (small, large) = (costs(10).await, costs(3_000).await);
    assert_eq!(small.len(), large.len());
    for ((operation, small), large) in small.iter().zip(large.values()) {
        assert!(
            *large <= 2 * small,
            "{operation}: {small} and {large} instructions"
        );
    }
}

#[tokio::test]
async fn every_operation_is_measured_or_a_list() {
    let source = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../nahook-control/src/operations"
    );
    let measured = costs(10).await;
    for file in std::fs::read_dir(source).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for declared in text
            .lines()
            .filter_map(|line| line.strip_prefix("    pub async fn "))
        {
            let operation = declared.split('(').next().unwrap();
            assert!(
                measured.contains_key(operation) != LISTS.contains(&operation),
                "{operation} is to be measured, or a list"
            );
        }
    }
}
