//! Endpoints.

use std::collections::BTreeMap;
use std::sync::Arc;

use nahook_control::{
    BasicAuth, Change, ChangePlan, EndpointKind, EndpointPatch, EndpointRecord, ManagementError,
    ManagementStore as _, NewEndpoint, Planned, Record, SecretText, Select, Snapshot, Verb,
    signing_secret_is_valid,
};
use nahook_core::Clock as _;
use nahook_core::id::EnvironmentId;
use serde_json::json;

use crate::{Shop, expect_conflict, expect_invalid, expect_not_found, webhook};

fn labels(count: usize) -> BTreeMap<String, String> {
    (0..count).map(|n| (n.to_string(), String::new())).collect()
}

async fn patched(
    shop: &Shop,
    row: &EndpointRecord,
    patch: EndpointPatch,
) -> Result<EndpointRecord, ManagementError> {
    act!(shop.update_endpoint(row.id, patch))
}

#[tokio::test]
async fn a_new_endpoint_is_active_in_the_default_environment_and_can_sign() {
    let shop = Shop::empty().await;
    let row = shop.endpoint().await;
    let environments = shop.management.environments(&shop.workspace).await.unwrap();
    assert_eq!(row.environment, environments[0].id);
    assert!(row.is_active && row.auth.is_none() && row.previous_secret.is_none());
    assert!(signing_secret_is_valid(row.secret.expose()));
    let other = shop.endpoint().await;
    assert_ne!((other.id, &other.secret), (row.id, &row.secret));
}

#[tokio::test]
async fn what_cannot_be_delivered_to_is_refused() {
    let shop = Shop::empty().await;
    let with_url = |url: Option<&str>| NewEndpoint {
        url: url.map(str::to_owned),
        ..NewEndpoint::default()
    };
    expect_invalid(shop.create(with_url(None)).await, "url is required");
    let row = shop.endpoint().await;
    let patch = EndpointPatch {
        url: Some("mailto:a@b".to_owned()),
        ..EndpointPatch::default()
    };
    expect_invalid(patched(&shop, &row, patch).await, "URL");
}

#[tokio::test]
async fn a_slack_endpoint_has_its_url_in_its_configuration() {
    let shop = Shop::empty().await;
    let slack = |config: serde_json::Value| NewEndpoint {
        kind: EndpointKind::Slack,
        config: config.as_object().unwrap().clone(),
        ..NewEndpoint::default()
    };
    for config in [
        json!({}),
        json!({"webhookUrl": 1}),
        json!({"webhookurl": "https://a/"}),
    ] {
        expect_invalid(shop.create(slack(config)).await, "config.webhookUrl");
    }
    expect_invalid(
        shop.create(slack(json!({"webhookUrl": "x"}))).await,
        "webhookUrl: its URL",
    );
    let row = shop
        .create(slack(json!({"webhookUrl": "https://slack.example/x"})))
        .await
        .unwrap();
    assert_eq!(row.url, "https://slack.example/x");
    let moved = json!({"webhookUrl": "https://slack.example/y", "channel": "#a"});
    let patch = EndpointPatch {
        config: Some(moved.as_object().unwrap().clone()),
        ..EndpointPatch::default()
    };
    let row = patched(&shop, &row, patch).await.unwrap();
    assert_eq!(row.url, "https://slack.example/y");
}

#[tokio::test]
async fn an_environment_and_an_application_must_exist() {
    let shop = Shop::empty().await;
    let environment = NewEndpoint {
        environment: EnvironmentId::new("env_nowhere").ok(),
        ..webhook()
    };
    expect_not_found(shop.create(environment).await, "environment");
    let application = NewEndpoint {
        application: nahook_core::id::ApplicationId::new("app_nowhere").ok(),
        ..webhook()
    };
    expect_not_found(shop.create(application).await, "application");
}

#[tokio::test]
async fn a_user_name_and_a_password_go_together() {
    let shop = Shop::empty().await;
    let with = |username: Option<&str>, password: Option<&str>| NewEndpoint {
        auth_username: username.map(str::to_owned),
        auth_password: password.map(SecretText::new),
        ..webhook()
    };
    expect_invalid(shop.create(with(Some("user"), None)).await, "go together");
    expect_invalid(shop.create(with(None, Some("pass"))).await, "go together");
    let row = shop.create(with(Some("user"), Some(""))).await.unwrap();
    assert_eq!(row.auth.map(|auth| auth.username), Some("user".to_owned()));
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_nothing_else() {
    let shop = Shop::empty().await;
    let row = shop
        .create(NewEndpoint {
            description: Some("before".to_owned()),
            metadata: labels(2),
            auth_username: Some("user".to_owned()),
            auth_password: Some(SecretText::new("pass")),
            ..webhook()
        })
        .await
        .unwrap();
    let same = patched(&shop, &row, EndpointPatch::default())
        .await
        .unwrap();
    assert_eq!(
        same, row,
        "an empty patch changes nothing, not even when it was changed"
    );

    shop.clock.advance(std::time::Duration::from_secs(1));
    let patch = EndpointPatch {
        description: Some(None),
        metadata: Some(labels(0)),
        is_active: Some(false),
        ..EndpointPatch::default()
    };
    let changed = patched(&shop, &row, patch).await.unwrap();
    let expected = EndpointRecord {
        description: None,
        metadata: labels(0),
        is_active: false,
        updated_at: changed.updated_at,
        ..row.clone()
    };
    assert_eq!(changed, expected);
    assert!(changed.updated_at > row.updated_at);
    let read = shop
        .management
        .endpoint(&shop.workspace, row.id)
        .await
        .unwrap();
    assert_eq!(read, changed);
}

#[tokio::test]
async fn authentication_is_changed_in_parts_and_removed_whole() {
    let shop = Shop::empty().await;
    let row = shop.endpoint().await;
    let auth = |row: &EndpointRecord| {
        let auth = row.auth.as_ref();
        auth.map(|auth| (auth.username.clone(), auth.password.expose().to_owned()))
    };
    let pair = |username: &str, password: &str| Some((username.to_owned(), password.to_owned()));
    let patch = |username: Option<Option<&str>>, password: Option<Option<&str>>| EndpointPatch {
        auth_username: username.map(|it| it.map(str::to_owned)),
        auth_password: password.map(|it| it.map(SecretText::new)),
        ..EndpointPatch::default()
    };
    expect_conflict(patched(&shop, &row, patch(Some(Some("u")), None)).await);
    expect_conflict(patched(&shop, &row, patch(None, Some(Some("p")))).await);
    let row = patched(&shop, &row, patch(Some(Some("u")), Some(Some("p"))))
        .await
        .unwrap();
    assert_eq!(auth(&row), pair("u", "p"));
    let row = patched(&shop, &row, patch(None, Some(Some("q"))))
        .await
        .unwrap();
    assert_eq!(auth(&row), pair("u", "q"));
    let row = patched(&shop, &row, patch(Some(Some("v")), None))
        .await
        .unwrap();
    assert_eq!(auth(&row), pair("v", "q"));
    for half in [
        patch(Some(None), Some(Some("p"))),
        patch(Some(Some("w")), Some(None)),
    ] {
        expect_invalid(patched(&shop, &row, half).await, "go together");
    }
    for removing in [
        patch(Some(None), None),
        patch(None, Some(None)),
        patch(Some(None), Some(None)),
    ] {
        let given = patch(Some(Some("u")), Some(Some("p")));
        patched(&shop, &row, given).await.unwrap();
        let row = patched(&shop, &row, removing).await.unwrap();
        assert_eq!(auth(&row), None);
    }
}

#[tokio::test]
async fn a_secret_is_rotated_as_often_as_asked() {
    let shop = Shop::empty().await;
    let first = shop.endpoint().await;
    let rotate = async || act!(shop.rotate_secret(first.id)).unwrap();
    let second = rotate().await;
    shop.clock.advance(std::time::Duration::from_secs(1));
    let third = rotate().await;
    assert_eq!(third.previous_secret.unwrap().secret, second.secret);
    assert_ne!(third.secret, first.secret);
    assert_eq!(third.updated_at, shop.clock.now());
}

#[tokio::test]
async fn old_secret_signs_for_24_hours_beside_the_new_one() {
    let shop = Shop::empty().await;
    let old = shop.endpoint().await;
    let row = act!(shop.rotate_secret(old.id)).unwrap();
    let secrets_after = |seconds: u64| {
        let after = std::time::Duration::from_secs(seconds);
        row.signing_secrets(shop.clock.now().saturating_add(after))
    };
    let both = [row.secret.clone(), old.secret];
    assert_eq!(secrets_after(24 * 60 * 60 - 1), both);
    assert_eq!(secrets_after(24 * 60 * 60), both[..1]);
}

/// Writes a row as it is.
#[derive(Debug)]
struct AsItIs(EndpointRecord);

impl ChangePlan for AsItIs {
    fn reads(&self) -> &[Select] {
        &[]
    }

    fn plan(&self, _: &Snapshot) -> Result<Planned, ManagementError> {
        let record = Record::Endpoint(self.0.clone());
        Ok(Planned {
            changes: vec![Change::new(Verb::Update, record)],
            ..Planned::default()
        })
    }
}

#[tokio::test]
async fn an_endpoint_from_before_a_rule_can_be_changed() {
    let shop = Shop::empty().await;
    let auth = |username: &str, password: &str| BasicAuth {
        username: username.to_owned(),
        password: SecretText::new(password),
    };
    let row = EndpointRecord {
        url: "http://a b/".to_owned(),
        description: Some("\0".to_owned()),
        metadata: labels(6),
        auth: Some(auth("a:b", "\0")),
        ..shop.endpoint().await
    };
    let plan: Arc<dyn ChangePlan> = Arc::new(AsItIs(row.clone()));
    shop.store.change(&shop.workspace, &plan).await.unwrap();
    for patch in [
        EndpointPatch {
            is_active: Some(false),
            ..EndpointPatch::default()
        },
        EndpointPatch {
            config: json!({"a": 1}).as_object().cloned(),
            ..EndpointPatch::default()
        },
        EndpointPatch {
            auth_username: Some(Some("new".to_owned())),
            ..EndpointPatch::default()
        },
    ] {
        patched(&shop, &row, patch).await.unwrap();
    }
    let after = shop.management.endpoint(&shop.workspace, row.id).await;
    let expected = EndpointRecord {
        is_active: false,
        config: json!({"a": 1}).as_object().cloned().unwrap(),
        auth: Some(auth("new", "\0")),
        ..row
    };
    assert_eq!(after.unwrap(), expected);
}
