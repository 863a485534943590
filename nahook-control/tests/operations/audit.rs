//! Entries of the audit log for changes.

use std::collections::BTreeMap;

use nahook_control::{
    ApplicationPatch, AuditQuery, EndpointPatch, KeyState, NewApiKey, NewApplication,
    NewEnvironment, SecretText,
};
use serde_json::{Map, Value};

use crate::{Shop, expect_invalid, webhook};

impl Shop {
    /// Returns the entries so far, the newest first, with the fields that an update names.
    async fn log(&self) -> Vec<(String, Option<String>)> {
        let query = AuditQuery {
            limit: 100,
            ..AuditQuery::default()
        };
        let page = self.management.audit_log(&self.workspace, &query).await;
        let told = |entry: nahook_control::AuditEntry| {
            let fields = entry.metadata.get("fields").cloned();
            (entry.action, fields)
        };
        page.unwrap().entries.into_iter().map(told).collect()
    }

    /// The newest entry.
    async fn told(&self) -> (String, Option<String>) {
        self.log().await.swap_remove(0)
    }
}

fn updated(kind: &str, fields: &str) -> (String, Option<String>) {
    (format!("{kind}.updated"), Some(fields.to_owned()))
}

#[tokio::test]
async fn an_updated_endpoint_is_told_with_the_fields_that_differ() {
    let shop = Shop::empty().await;
    let before = shop.log().await.len();
    let row = shop.endpoint().await;
    assert_eq!(shop.told().await, ("endpoint.created".to_owned(), None));
    let labels: BTreeMap<_, _> = [("k".to_owned(), "v".to_owned())].into();
    let config: Map<_, _> = [("a".to_owned(), Value::from(1))].into_iter().collect();
    let none = EndpointPatch::default;
    let patches = [
        (
            "url",
            EndpointPatch {
                url: Some("https://hooks.example/b".to_owned()),
                ..none()
            },
        ),
        (
            "description",
            EndpointPatch {
                description: Some(Some("d".to_owned())),
                ..none()
            },
        ),
        (
            "metadata",
            EndpointPatch {
                metadata: Some(labels),
                ..none()
            },
        ),
        (
            "isActive",
            EndpointPatch {
                is_active: Some(false),
                ..none()
            },
        ),
        (
            "auth",
            EndpointPatch {
                auth_username: Some(Some("u".to_owned())),
                auth_password: Some(Some(SecretText::new("p"))),
                ..none()
            },
        ),
        (
            "config",
            EndpointPatch {
                config: Some(config),
                ..none()
            },
        ),
    ];
    for (field, patch) in patches {
        for _ in 0..2 {
            act!(shop.update_endpoint(row.id, patch.clone())).unwrap();
        }
        assert_eq!(shop.told().await, updated("endpoint", field));
    }
    // Each was done twice, and the second time nothing differed. The URL stayed where only the configuration changed.
    assert_eq!(shop.log().await.len(), before + 7);
    let now = shop.management.endpoint(&shop.workspace, row.id).await;
    assert_eq!(now.unwrap().url, "https://hooks.example/b");
}

#[tokio::test]
async fn an_updated_application_is_told_with_the_fields_that_differ() {
    let shop = Shop::empty().await;
    let before = shop.log().await.len();
    let new = NewApplication {
        name: "a".to_owned(),
        external_id: None,
        metadata: BTreeMap::new(),
        max_endpoints: None,
        show_event_types: false,
    };
    let id = act!(shop.create_application(new)).unwrap().id;
    let update = async |patch: ApplicationPatch| act!(shop.update_application(id, patch));
    let none = ApplicationPatch::default;
    let labels: BTreeMap<_, _> = [("k".to_owned(), "v".to_owned())].into();
    for (field, patch) in [
        (
            "name",
            ApplicationPatch {
                name: Some("b".to_owned()),
                ..none()
            },
        ),
        (
            "metadata",
            ApplicationPatch {
                metadata: Some(labels),
                ..none()
            },
        ),
        (
            "maxEndpoints",
            ApplicationPatch {
                max_endpoints: Some(Some(3)),
                ..none()
            },
        ),
        (
            "showEventTypes",
            ApplicationPatch {
                show_event_types: Some(true),
                ..none()
            },
        ),
    ] {
        update(patch.clone()).await.unwrap();
        update(patch).await.unwrap();
        assert_eq!(shop.told().await, updated("application", field));
    }
    assert_eq!(shop.log().await.len(), before + 5);
    let too_many = ApplicationPatch {
        max_endpoints: Some(Some(u32::MAX)),
        ..none()
    };
    expect_invalid(update(too_many).await, "maxEndpoints");
}

#[tokio::test]
async fn change_to_what_is_there_already_is_not_told() {
    let shop = Shop::empty().await;
    let (management, workspace, actor) = (&shop.management, &shop.workspace, &shop.actor);
    let event_type = shop.event_type("order.paid").await;
    let environment = management.environments(workspace).await.unwrap().remove(0);
    let key = NewApiKey {
        name: "a".to_owned(),
        ..NewApiKey::default()
    };
    let key = management.create_api_key(workspace, actor, key).await;
    let key = key.unwrap().0.id;
    let token = management.create_management_token(workspace, actor, "a".to_owned());
    let token = token.await.unwrap().0.id;
    let before = shop.log().await.len();

    let name = Some(environment.name.clone());
    let same = management.update_environment(workspace, actor, environment.id, name);
    assert_eq!(same.await.unwrap(), environment);
    let same = management.update_event_type(workspace, actor, event_type, Some(None));
    same.await.unwrap();
    let active = KeyState::Active;
    let same = management.set_api_key_state(workspace, actor, key, active);
    same.await.unwrap();
    act!(shop.set_management_token_state(token, active)).unwrap();
    assert_eq!(shop.log().await.len(), before);
}

#[tokio::test]
async fn created_rows_are_told_with_the_names_and_ids_that_tell_them_apart() {
    let shop = Shop::empty().await;
    let (management, workspace) = (&shop.management, &shop.workspace);
    let endpoint = shop.endpoint().await;
    let event_type = shop.event_type("order.paid").await;
    act!(shop.subscribe(endpoint.id, vec![event_type])).unwrap();
    let query = AuditQuery {
        limit: 3,
        ..AuditQuery::default()
    };
    let page = management.audit_log(workspace, &query).await.unwrap();
    let details: Vec<Vec<(&str, &str)>> = page
        .entries
        .iter()
        .map(|entry| entry.metadata.iter())
        .map(|details| details.map(|(name, value)| (&**name, &**value)).collect())
        .collect();
    let expected = [
        vec![
            ("endpointId", endpoint.id.as_str()),
            ("eventTypeId", event_type.as_str()),
        ],
        vec![("name", "order.paid")],
        vec![("environmentId", endpoint.environment.as_str())],
    ];
    assert_eq!(details, expected);
}

#[tokio::test]
async fn what_changes_no_row_is_told_with_its_details() {
    let shop = Shop::empty().await;
    let details = vec![("count", "3".to_owned())];
    let resource = ("endpoint", "ep_1".to_owned());
    act!(shop.record(resource, "redelivered", details)).unwrap();
    let query = AuditQuery {
        limit: 100,
        ..AuditQuery::default()
    };
    let page = shop.management.audit_log(&shop.workspace, &query).await;
    let entry = page.unwrap().entries.swap_remove(0);
    assert_eq!(entry.action, "endpoint.redelivered");
    assert_eq!(entry.resource_id, "ep_1");
    assert_eq!(
        entry.metadata,
        [("count".to_owned(), "3".to_owned())].into()
    );
}

#[tokio::test]
async fn an_event_type_is_published_and_withdrawn_once() {
    let shop = Shop::empty().await;
    let (workspace, actor) = (&shop.workspace, &shop.actor);
    let new = NewEnvironment {
        name: "Staging".to_owned(),
        slug: "staging".to_owned(),
    };
    let staging = shop.management.create_environment(workspace, actor, new);
    let staging = staging.await.unwrap();
    let found = shop.management.environment(workspace, staging.id).await;
    assert_eq!(found.unwrap(), staging);
    let event_type = shop.event_type("order.paid").await;
    let set = async |environment, published| {
        let (management, id) = (&shop.management, event_type);
        let set = management.set_visibility(workspace, actor, environment, id, published);
        set.await.unwrap();
        shop.log().await.len()
    };
    let before = shop.log().await.len();
    for (published, entries) in [(true, 1), (true, 1), (false, 2), (false, 2)] {
        assert_eq!(set(staging.id, published).await, before + entries);
        let shown = shop.management.visibility(workspace, staging.id).await;
        assert_eq!(shown.unwrap()[0].published, published);
    }
    // The default environment publishes it already.
    let mut environments = shop.management.environments(workspace).await.unwrap();
    environments.retain(|row| row.is_default);
    assert_eq!(set(environments[0].id, true).await, before + 2);
}

#[tokio::test]
async fn the_workspaces_endpoints_are_listed() {
    let shop = Shop::empty().await;
    let made = [shop.endpoint().await, shop.create(webhook()).await.unwrap()];
    let listed = shop.management.endpoints(&shop.workspace).await.unwrap();
    assert_eq!(listed, made);
}
