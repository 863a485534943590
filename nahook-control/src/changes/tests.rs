//! Every rule of the table, at its edges, in manifests.

mod existing;

use std::collections::BTreeSet;

use crate::rules::{Field, ROWS};
use crate::{Change, Manifest, ManifestError, Record, SecretText, Snapshot, Verb};
use nahook_core::{RandomIds, Timestamp};
use serde_json::{Value, json};

/// A manifest with one of everything.
fn manifest() -> Value {
    json!({ "workspaces": [{
        "name": "a",
        "plan": { "workspace_rate": { "count": 1 } },
        "environments": [{ "slug": "staging" }],
        "event_types": [{ "name": "order.paid" }],
        "applications": [{ "name": "a" }],
        "endpoints": [{ "url": "https://a.example/", "auth_username": "u", "auth_password": "p" }],
        "api_keys": [{ "name": "a" }],
        "management_tokens": [{ "name": "a" }],
    }] })
}

/// The declaration in that section.
fn declaration<'a>(manifest: &'a mut Value, section: &str) -> &'a mut Value {
    let workspace = &mut manifest["workspaces"][0];
    match section {
        "workspaces" => workspace,
        "plan" => &mut workspace["plan"],
        "workspace_rate" => &mut workspace["plan"]["workspace_rate"],
        section => &mut workspace[section][0],
    }
}

fn with(section: &str, field: &str, value: &Value) -> Value {
    let mut manifest = manifest();
    let declaration = declaration(&mut manifest, section);
    match field.split_once('.') {
        Some((object, field)) => {
            declaration["type"] = "slack".into();
            declaration[object] = json!({ (field): value });
        }
        None => declaration[field] = value.clone(),
    }
    manifest
}

fn plan(existing: &Snapshot, manifest: &Value) -> Result<Vec<Change>, String> {
    let manifest: Manifest =
        serde_json::from_value(manifest.clone()).map_err(|error| error.to_string())?;
    let changes = manifest.changes(existing, Timestamp::default(), &RandomIds);
    changes.map_err(|error: ManifestError| error.to_string())
}

#[test]
fn every_field_of_a_manifest_has_a_rule() {
    let sections = ROWS.iter().filter(|row| !row.section.is_empty());
    for row in sections.clone() {
        let refused = plan(
            &Snapshot::default(),
            &with(row.section, "unknown", &json!(1)),
        );
        let refused = refused.unwrap_err();
        // The fields that there are stand in backticks.
        let (_, fields) = refused.split_once(", expected ").unwrap();
        let fields: BTreeSet<_> = fields.split('`').skip(1).step_by(2).collect();
        assert!(!fields.is_empty(), "{refused}");
        for field in fields {
            let has_rule = row.fields.iter().any(|it| it.name == field)
                || sections.clone().any(|it| it.section == field);
            assert!(has_rule, "{}.{field} has no rule", row.section);
        }
    }
}

#[test]
fn manifests_follow_the_table() {
    let mut tried = 0;
    for row in ROWS.iter().filter(|row| !row.section.is_empty()) {
        for Field { name, rule, .. } in row.fields {
            for sample in rule.samples() {
                let manifest = with(row.section, name, &sample.value);
                let planned = plan(&Snapshot::default(), &manifest).map(drop);
                if planned
                    .as_ref()
                    .is_err_and(|it| it.contains("unknown field"))
                {
                    continue;
                }
                tried += 1;
                let section = row.section;
                assert_eq!(
                    planned.is_ok(),
                    sample.is_allowed,
                    "{section}.{name} = {}: {planned:?}",
                    sample.value
                );
            }
        }
    }
    assert!(tried > 300, "only {tried} values were tried");
}

#[test]
fn messages_name_the_field_and_its_bounds() {
    for (section, field, value, message) in [
        (
            "applications",
            "max_endpoints",
            json!(1_u32 << 31),
            "application \"a\": max_endpoints is 0 to 2147483647",
        ),
        (
            "api_keys",
            "name",
            json!(" "),
            "API key \" \": name has 1 to 255 characters, not all of them blank, none of them a control character",
        ),
        (
            "management_tokens",
            "token",
            json!("nhk_a_000000000000000000000000000000"),
            "management token \"a\": token has 28 to 512 characters, beginning with nhm_, only visible ASCII",
        ),
        (
            "endpoints",
            "config",
            json!({ "a": "x".repeat(8_192) }),
            "endpoint \"https://a.example/\": config has at most 64 fields, nested 8 deep, and 8192 bytes of JSON",
        ),
    ] {
        let refused = plan(&Snapshot::default(), &with(section, field, &value));
        assert_eq!(refused.unwrap_err(), message);
    }
}

#[test]
fn rows_from_before_a_rule_can_be_declared_again() {
    let mut existing = Snapshot::default();
    for change in plan(&existing, &manifest()).unwrap() {
        match change.record {
            Record::Workspace(row) => existing.workspaces.push(row),
            Record::Environment(row) => existing.environments.push(row),
            Record::Endpoint(row) => existing.endpoints.push(row),
            _ => {}
        }
    }
    existing.workspaces[0].plan.payload_len_max = 1;
    existing.environments[0].name = "x".repeat(51);
    let endpoint = &mut existing.endpoints[0];
    endpoint.url = "http://a b/".to_owned();
    endpoint.description = Some("\0".to_owned());
    endpoint.auth.as_mut().unwrap().password = SecretText::new("\0");
    let again = json!({ "workspaces": [{
        "name": "a",
        "environments": [{ "slug": "production" }],
        "endpoints": [{ "id": endpoint.id.as_str(), "url": "http://a b/", "is_active": false }],
    }] });
    let changes = plan(&existing, &again).unwrap();
    assert!(
        matches!(&changes[..], [change] if matches!(&change.record, Record::Endpoint(row) if !row.is_active)),
        "{changes:?}"
    );
}

#[test]
fn patterns_are_declared_beside_names_and_need_no_event_type() {
    let subscribed = |list: &[&str]| {
        let list = list.iter().map(|text| json!(text)).collect::<Vec<_>>();
        with("endpoints", "event_types", &Value::from(list))
    };
    let mut existing = Snapshot::default();
    let mut plan_next = |manifest: &Value| {
        let changes = plan(&existing, manifest).unwrap();
        let mut patterns = Vec::new();
        for Change { verb, record, .. } in changes {
            match (verb, record) {
                (Verb::Create, Record::Workspace(row)) => existing.workspaces.push(row),
                (Verb::Create, Record::Environment(row)) => existing.environments.push(row),
                (Verb::Create, Record::EventType(row)) => existing.event_types.push(row),
                (Verb::Create, Record::Endpoint(row)) => existing.endpoints.push(row),
                (Verb::Create, Record::Subscription(row)) => existing.subscriptions.push(row),
                (Verb::Remove, Record::Subscription(row)) => {
                    existing.subscriptions.retain(|other| other.id != row.id);
                }
                (verb, Record::Pattern(row)) => {
                    patterns.push((verb, row.pattern.to_string()));
                    existing.patterns.retain(|other| other.id != row.id);
                    existing
                        .patterns
                        .extend((verb == Verb::Create).then_some(row));
                }
                _ => {}
            }
        }
        (patterns, existing.subscriptions.len())
    };
    let both = subscribed(&["order.paid", "none.*", "none.*", "*"]);
    let made = |text: &str| (Verb::Create, text.to_owned());
    assert_eq!(plan_next(&both), (vec![made("none.*"), made("*")], 1));
    assert_eq!(plan_next(&both), (vec![], 1));
    let removed = (Verb::Remove, "none.*".to_owned());
    assert_eq!(
        plan_next(&subscribed(&["*", "none.**"])),
        (vec![removed, made("none.**")], 0)
    );
    let refused = plan(&Snapshot::default(), &subscribed(&["*.paid"])).unwrap_err();
    assert!(refused.contains("pattern"), "{refused}");
}
