//! Manifests about what exists already.

use std::time::Duration;

use nahook_core::admission::Rate;
use nahook_core::{IdSource, RandomIds, Timestamp};
use serde_json::{Value, json};

use crate::record::RetiredSecret;
use crate::{Change, KeyHash, KeyState, Manifest, Record, SecretText, Snapshot, Verb};

/// Time of the first declaration, and that of a later one.
const FIRST: Timestamp = Timestamp::from_millis(1_000);
const LATER: Timestamp = Timestamp::from_millis(2_000);

fn plan(existing: &Snapshot, workspace: &Value, now: Timestamp) -> Result<Vec<Change>, String> {
    let manifest = json!({ "workspaces": [workspace] });
    let manifest: Manifest = serde_json::from_value(manifest).unwrap();
    let ids: &dyn IdSource = &RandomIds;
    let changes = manifest.changes(existing, now, ids);
    changes.map_err(|error| error.to_string())
}

/// Adds what the declaration of that workspace makes.
fn declare(existing: &mut Snapshot, workspace: &Value) {
    for change in plan(existing, workspace, FIRST).unwrap() {
        assert_eq!(change.verb, Verb::Create, "{change:?}");
        match change.record {
            Record::ApiKey(row) => existing.api_keys.push(row),
            Record::Application(row) => existing.applications.push(row),
            Record::Endpoint(row) => existing.endpoints.push(row),
            Record::Environment(row) => existing.environments.push(row),
            Record::EventType(row) => existing.event_types.push(row),
            Record::ManagementToken(row) => existing.management_tokens.push(row),
            Record::Pattern(row) => existing.patterns.push(row),
            Record::Publication(row) => existing.publications.push(row),
            Record::Subscription(row) => existing.subscriptions.push(row),
            Record::Workspace(row) => existing.workspaces.push(row),
            Record::PortalSession(_) => panic!("no manifest makes one"),
        }
    }
}

/// A workspace with one of everything, none of it as it would be by default. Ids are made unique by `tag`.
fn full(tag: &str) -> Value {
    json!({
        "id": format!("ws_{tag}"),
        "name": format!("shop {tag}"),
        "plan": { "payload_len_max": 100, "key_rate": { "count": 7 } },
        "environments": [{
            "slug": "staging", "id": format!("env_{tag}"), "name": "Acceptance", "published": ["order.paid"],
        }],
        "event_types": [{ "name": "order.paid", "id": format!("evt_{tag}"), "description": "paid" }],
        "applications": [{
            "name": "customer", "id": format!("app_{tag}"), "external_id": "c-1", "metadata": { "a": "b" },
            "max_endpoints": 1, "show_event_types": false,
        }],
        "endpoints": [{
            "id": format!("ep_{tag}"), "url": "https://a.example/", "environment": "staging",
            "application": "customer", "config": { "a": 1 }, "metadata": { "a": "b" }, "description": "d",
            "auth_username": "u", "auth_password": "p", "is_active": false, "event_types": ["order.paid"],
        }],
        "api_keys": [{
            "name": "key", "id": format!("key_{tag}"), "key": format!("nhk_{tag}_{:024}", 0), "environment": "staging",
            "endpoint": format!("ep_{tag}"), "disabled": true,
        }],
        "management_tokens": [{
            "name": "token", "id": format!("tok_{tag}"), "token": format!("nhm_{tag}_{:024}", 0), "disabled": true,
        }],
    })
}

fn existing(tags: &[&str]) -> Snapshot {
    let mut existing = Snapshot::default();
    for tag in tags {
        declare(&mut existing, &full(tag));
    }
    existing
}

/// The workspace of `full("a")`, declared with this alone.
fn with(section: &str, declared: Value) -> Value {
    let mut workspace = json!({ "id": "ws_a", "name": "shop a" });
    workspace[section] = declared;
    workspace
}

#[test]
fn what_is_not_declared_stays_as_it_is() {
    let mut there = existing(&["a"]);
    there.endpoints[0].previous_secret = Some(RetiredSecret {
        secret: SecretText::new("whsec_aA=="),
        signs_until: LATER,
    });
    assert_eq!(plan(&there, &full("a"), LATER), Ok(Vec::new()));
    let names_alone = json!({
        "id": "ws_a",
        "name": "shop a",
        "environments": [{ "slug": "staging" }],
        "event_types": [{ "name": "order.paid" }],
        "applications": [{ "id": "app_a", "name": "customer" }],
        "endpoints": [{ "id": "ep_a", "url": "https://a.example/" }],
        "api_keys": [{ "name": "key" }],
        "management_tokens": [{ "name": "token" }],
    });
    assert_eq!(plan(&there, &names_alone, LATER), Ok(Vec::new()));
}

#[test]
fn nothing_of_another_workspace_is_taken_for_ones_own() {
    let alone = plan(&Snapshot::default(), &full("b"), FIRST).unwrap();
    let beside = plan(&existing(&["a"]), &full("b"), FIRST).unwrap();
    let verbs = |changes: &[Change]| -> Vec<_> {
        let kind = |change: &Change| (change.verb, std::mem::discriminant(&change.record));
        changes.iter().map(kind).collect()
    };
    assert_eq!(verbs(&beside), verbs(&alone));
    for id in ["ws_a", "env_a", "evt_a", "app_a", "ep_a"] {
        assert!(!format!("{beside:?}").contains(id), "{id}");
    }
    let named = json!([{ "name": "customer", "external_id": "c-1" }]);
    let named = json!({ "id": "ws_b", "name": "shop b", "applications": named });
    let changes = plan(&existing(&["a"]), &named, FIRST).unwrap();
    assert!(changes.iter().all(|change| change.verb == Verb::Create));
    // By its id either: the store refuses the id as taken.
    let there = existing(&["a", "b"]);
    let stolen = json!([{ "id": "ep_b", "url": "https://a.example/" }]);
    let changes = plan(&there, &with("endpoints", stolen), LATER).unwrap();
    assert_eq!(
        changes.iter().map(|it| it.verb).collect::<Vec<_>>(),
        [Verb::Create]
    );
    let bound = json!([{ "name": "new", "endpoint": "ep_b" }]);
    let refused = plan(&there, &with("api_keys", bound), LATER);
    assert_eq!(refused, Err("there is no endpoint \"ep_b\"".to_owned()));
    let given = json!([{ "url": "https://b.example/", "application": "app_b" }]);
    let refused = plan(&there, &with("endpoints", given), LATER);
    assert_eq!(refused, Err("there is no application \"app_b\"".to_owned()));
    // What another one has too much of is its own affair.
    let mut there = there;
    there.applications[1].max_endpoints = Some(0);
    let more = json!([{ "url": "https://b.example/" }]);
    plan(&there, &with("endpoints", more), LATER).unwrap();
}

#[test]
fn what_is_fixed_is_not_changed() {
    let there = existing(&["a"]);
    for (section, declared, field) in [
        (
            "environments",
            json!({ "slug": "staging", "id": "env_x" }),
            "id",
        ),
        (
            "event_types",
            json!({ "name": "order.paid", "id": "evt_x" }),
            "id",
        ),
        (
            "endpoints",
            json!({ "id": "ep_a", "url": "https://a.example/", "environment": "production" }),
            "environment",
        ),
        (
            "endpoints",
            json!({ "id": "ep_a", "url": "https://a.example/", "type": "slack" }),
            "type",
        ),
        ("api_keys", json!({ "name": "key", "id": "key_x" }), "id"),
        (
            "api_keys",
            json!({ "name": "key", "key": "nhk_x_000000000000000000000000000000" }),
            "secret",
        ),
        (
            "api_keys",
            json!({ "name": "key", "environment": "production" }),
            "environment",
        ),
        (
            "management_tokens",
            json!({ "name": "token", "id": "tok_x" }),
            "id",
        ),
        (
            "management_tokens",
            json!({ "name": "token", "token": "nhm_x_000000000000000000000000000000" }),
            "secret",
        ),
    ] {
        let refused = plan(&there, &with(section, json!([declared])), LATER).unwrap_err();
        let says = format!("exists with another {field}, which cannot be changed");
        assert!(refused.ends_with(&says), "{refused}");
    }
    let two = json!({
        "id": "ws_a",
        "name": "shop a",
        "endpoints": [{ "id": "ep_2", "url": "https://b.example/" }],
        "api_keys": [{ "name": "key", "endpoint": "ep_2" }],
    });
    let refused = plan(&there, &two, LATER).unwrap_err();
    assert!(refused.contains("another endpoint"), "{refused}");
}

#[test]
fn revoked_keys_and_tokens_are_not_declared_again() {
    let mut there = existing(&["a"]);
    there.api_keys[0].state = KeyState::Revoked;
    there.management_tokens[0].state = KeyState::Revoked;
    for (section, name) in [("api_keys", "key"), ("management_tokens", "token")] {
        let refused = plan(&there, &with(section, json!([{ "name": name }])), LATER);
        assert!(refused.unwrap_err().contains("revoked"));
    }
}

#[test]
fn changed_rows_show_when_they_were_changed() {
    let there = existing(&["a"]);
    for (section, declared) in [
        ("environments", json!({ "slug": "staging", "name": "New" })),
        ("applications", json!({ "id": "app_a", "name": "New" })),
        (
            "endpoints",
            json!({ "id": "ep_a", "url": "https://a.example/", "description": "New" }),
        ),
    ] {
        let changes = plan(&there, &with(section, json!([declared])), LATER).unwrap();
        let [change] = &changes[..] else {
            panic!("{changes:?}")
        };
        let times = match &change.record {
            Record::Application(row) => (row.created_at, row.updated_at),
            Record::Endpoint(row) => (row.created_at, row.updated_at),
            Record::Environment(row) => (row.created_at, row.updated_at),
            other => panic!("{other:?}"),
        };
        assert_eq!(times, (FIRST, LATER), "{section}");
    }
}

#[test]
fn lists_that_are_declared_are_whole_and_no_others_change() {
    let mut there = existing(&["a"]);
    let more = json!({
        "id": "ws_a",
        "name": "shop a",
        "event_types": [{ "name": "order.sent" }],
        "environments": [{ "slug": "test", "published": ["order.paid"] }],
        "endpoints": [{ "id": "ep_2", "url": "https://b.example/", "event_types": ["order.paid"] }],
    });
    declare(&mut there, &more);
    let declared = json!({
        "id": "ws_a",
        "name": "shop a",
        "environments": [{ "slug": "staging", "published": ["order.sent"] }],
        "endpoints": [{ "id": "ep_a", "url": "https://a.example/", "event_types": ["order.sent"] }],
    });
    let sent = there.event_types[1].id;
    let changes = plan(&there, &declared, LATER).unwrap();
    assert_eq!(changes.len(), 4, "{changes:?}");
    assert_eq!(
        changes[0].record,
        Record::Publication(there.publications[0])
    );
    assert_eq!(
        changes[2].record,
        Record::Subscription(there.subscriptions[0])
    );
    let verbs = [0, 1, 2, 3].map(|at: usize| changes[at].verb);
    assert_eq!(
        verbs,
        [Verb::Remove, Verb::Create, Verb::Remove, Verb::Create]
    );
    assert!(matches!(changes[1].record, Record::Publication(row) if row.event_type == sent));
    assert!(matches!(changes[3].record, Record::Subscription(row) if row.event_type == sent));
}

#[test]
fn rate_is_for_each_second_and_its_burst_is_its_count_unless_said_otherwise() {
    let there = existing(&["a"]);
    let [seven, twenty] = [7_u32, 20].map(|count| count.try_into().unwrap());
    assert_eq!(there.workspaces[0].plan.key_rate, Rate::per_second(seven));
    let rate = json!({ "key_rate": { "count": 7, "period_secs": 60, "burst": 20 } });
    let changes = plan(&there, &with("plan", rate), LATER).unwrap();
    let Record::Workspace(row) = &changes[0].record else {
        panic!("{changes:?}")
    };
    let rate = Rate::new(seven, Duration::from_mins(1), twenty);
    assert_eq!(row.plan.key_rate, rate);
}

#[test]
fn workspace_has_at_most_ten_environments_of_its_own() {
    let there = existing(&["a", "b"]);
    // With `production` and `staging`, which are there.
    let so_many = |count: usize| {
        let environments = (0..count).map(|n| json!({ "slug": format!("env-{n}") }));
        with("environments", environments.collect())
    };
    assert_eq!(plan(&there, &so_many(8), LATER).unwrap().len(), 8);
    let refused = plan(&there, &so_many(9), LATER).unwrap_err();
    assert_eq!(refused, "workspace \"shop a\": at most 10 environments");
}

#[test]
fn endpoint_beyond_a_lowered_cap_can_be_changed() {
    let there = existing(&["a"]);
    let declared = json!({
        "id": "ws_a",
        "name": "shop a",
        "applications": [{ "id": "app_a", "name": "customer", "max_endpoints": 0 }],
        "endpoints": [{ "id": "ep_a", "url": "https://a.example/", "description": "New" }],
    });
    assert_eq!(plan(&there, &declared, LATER).unwrap().len(), 2);
}

#[test]
fn default_environment_takes_no_list_and_half_an_authentication_is_none() {
    let there = existing(&["a"]);
    let list = json!([{ "slug": "production", "published": ["order.paid"] }]);
    let refused = plan(&there, &with("environments", list), LATER).unwrap_err();
    assert!(refused.ends_with("publishes every event type"), "{refused}");
    for half in ["auth_username", "auth_password"] {
        let half = json!([{ "id": "ep_a", "url": "https://a.example/", (half): "x" }]);
        let refused = plan(&there, &with("endpoints", half), LATER).unwrap_err();
        assert!(refused.ends_with("go together"), "{refused}");
    }
}

#[test]
fn application_is_named_by_its_id_then_its_external_id_then_its_name() {
    let mut there = existing(&[]);
    let confusing = json!({
        "id": "ws_a",
        "name": "shop a",
        "applications": [
            { "id": "app_1", "name": "app_3", "external_id": "x" },
            { "id": "app_2", "name": "x", "external_id": "app_3" },
            { "id": "app_3", "name": "y", "external_id": "z" },
        ],
    });
    declare(&mut there, &confusing);
    for (text, id) in [("app_3", "app_3"), ("x", "app_1"), ("y", "app_3")] {
        let endpoint = json!([{ "url": "https://a.example/", "application": text }]);
        let changes = plan(&there, &with("endpoints", endpoint), LATER).unwrap();
        let Record::Endpoint(row) = &changes[0].record else {
            panic!("{changes:?}")
        };
        assert_eq!(row.application.unwrap().as_str(), id, "{text}");
    }
}

#[test]
fn endpoint_of_a_url_is_another_one_in_another_environment() {
    let there = existing(&["a"]);
    let same_url = json!([{ "url": "https://a.example/" }]);
    let changes = plan(&there, &with("endpoints", same_url), LATER).unwrap();
    assert_eq!(changes[0].verb, Verb::Create);
}

#[test]
fn short_secrets_are_refused_and_existing_ones_stay() {
    let mut there = existing(&["a"]);
    there.api_keys[0].hash = KeyHash::of("nhk_");
    there.management_tokens[0].hash = KeyHash::of("nhm_short");
    there.endpoints[0].secret = SecretText::new("whsec_aA==");
    let short = |key: &str, token: &str, secret: &str| {
        json!({
            "id": "ws_a",
            "name": "shop a",
            "endpoints": [{ "id": "ep_a", "url": "https://a.example/", "secret": secret }],
            "api_keys": [{ "name": "key", "key": key }],
            "management_tokens": [{ "name": "token", "token": token }],
        })
    };
    let kept = short("nhk_", "nhm_short", "whsec_aA==");
    assert_eq!(plan(&there, &kept, LATER), Ok(Vec::new()));
    let long = "0123456789abcdef01234567";
    for (section, declared, told) in [
        ("api_keys", json!({ "name": "b", "key": "nhk_" }), "nhk_"),
        (
            "api_keys",
            json!({ "name": "b", "key": format!("nhk_{}", &long[1..]) }),
            "28 to 512 characters",
        ),
        (
            "management_tokens",
            json!({ "name": "b", "token": format!("nhm_{}", &long[1..]) }),
            "28 to 512 characters",
        ),
        (
            "endpoints",
            json!({ "url": "https://b.example/", "secret": "whsec_aA==" }),
            "16 bytes or more",
        ),
    ] {
        let refused = plan(&there, &with(section, json!([declared])), LATER).unwrap_err();
        assert!(refused.contains(told), "{refused}");
    }
    let enough = json!([{ "name": "b", "token": format!("nhm_{long}") }]);
    let made = plan(&there, &with("management_tokens", enough), LATER).unwrap();
    assert_eq!(made.len(), 1);
}
