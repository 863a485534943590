//! Every operation of the Management API once, for measuring what each costs.
//!
//! # Panics
//! All of it panics where an operation is refused: it is called by tests.
#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "it fails like a test; said once for the module"
)]

use std::collections::BTreeMap;

use nahook_control::{
    Actor, ApplicationPatch, EndpointPatch, KeyState, Management, ManagementStore, Manifest,
    NewApiKey, NewApplication, NewEndpoint, NewEnvironment, NewPortalSession,
};
use nahook_core::id::{ApiKeyId, ApplicationId, EndpointId, EnvironmentId, EventTypeId};

use crate::declare::{event_type_name, workspace_id};

/// Operations that answer with as many rows as there are, which is what they are asked for.
pub const LISTS: &[&str] = &[
    "api_keys",
    "applications",
    "applications_like",
    // Counts all matching entries.
    "audit_log",
    "dry_run",
    "endpoints",
    "endpoints_of",
    "event_types",
    "find_endpoints",
    "management_tokens",
    "patterns",
    "subscriptions",
    "visibility",
];

/// The manifest of the workspace `ws_a` with so many rows of every kind.
#[must_use]
pub fn workspace_with(rows: usize) -> Manifest {
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
    manifest.expect("a manifest")
}

/// Runs each operation that is no list in the workspace of [`workspace_with`], and notes after each what `count` has counted meanwhile,
/// by the operation's name.
#[expect(clippy::too_many_lines, reason = "a line for each operation")]
pub async fn costs<S: ManagementStore>(
    management: &Management<S>,
    count: impl Fn() -> u64,
) -> BTreeMap<&'static str, u64> {
    let (workspace, actor) = (&workspace_id("ws_a"), &Actor::operator());
    let mut costs = BTreeMap::new();
    macro_rules! cost {
        ($operation:ident($($argument:expr),*)) => {{
            let before = count();
            let done = management.$operation(workspace, $($argument),*).await;
            costs.insert(stringify!($operation), count() - before);
            done.expect(stringify!($operation))
        }};
    }
    let application = ApplicationId::new("app_1").expect("an application's id");
    let [endpoint, other] =
        ["ep_1", "ep_2"].map(|id| EndpointId::new(id).expect("an endpoint's id"));
    let [environment, empty] =
        ["env_s", "env_t"].map(|id| EnvironmentId::new(id).expect("an environment's id"));
    let [event_type, further] =
        ["evt_1", "evt_2"].map(|id| EventTypeId::new(id).expect("an event type's id"));
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
    let name = event_type_name("fresh.thing");
    let fresh = cost!(create_event_type(actor, name, None)).event_type.id;
    cost!(update_event_type(actor, fresh, Some(Some("d".to_owned()))));
    cost!(subscribe(actor, endpoint, vec![fresh, further]));
    cost!(unsubscribe(actor, endpoint, further));
    let pattern = cost!(subscribe_to_pattern(
        actor,
        other,
        "fresh.*".parse().expect("a pattern")
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
        ApiKeyId::new("key_1").expect("a key's id"),
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

/// Asserts that every operation is measured or a list, by the source of `nahook-control`.
pub fn assert_complete(measured: &BTreeMap<&'static str, u64>, operations: &std::path::Path) {
    for file in std::fs::read_dir(operations).expect("the sources") {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("a source");
        let lines = text.lines();
        for declared in lines.filter_map(|line| line.strip_prefix("    pub async fn ")) {
            let operation = declared.split('(').next().unwrap_or_default();
            assert!(
                measured.contains_key(operation) != LISTS.contains(&operation),
                "{operation} is to be measured, or a list"
            );
        }
    }
}
