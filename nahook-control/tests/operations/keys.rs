//! Keys and tokens.

use nahook_control::{KeyHash, KeyState, NewApiKey};
use nahook_core::id::{EndpointId, EnvironmentId, ManagementTokenId};

use crate::{Shop, expect_conflict, expect_invalid, expect_not_found};

#[tokio::test]
async fn a_key_is_drawn_in_the_documented_form_and_kept_as_a_hash() {
    let shop = Shop::empty().await;
    let workspace = &shop.workspace;
    let key = |name: &str| NewApiKey {
        name: name.to_owned(),
        ..NewApiKey::default()
    };
    let (row, secret) = act!(shop.create_api_key(key("a"))).unwrap();
    let hex = secret.expose().strip_prefix("nhk_us_").unwrap();
    assert!(
        hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()),
        "64 hex digits"
    );
    assert_eq!(row.hash, KeyHash::of(secret.expose()));
    expect_conflict(act!(shop.create_api_key(key("a"))));
    expect_invalid(act!(shop.create_api_key(key(" "))), "name");
    let listed = shop.management.api_keys(workspace).await.unwrap();
    assert_eq!(listed, [row]);
}

#[tokio::test]
async fn what_a_key_is_bound_to_must_exist() {
    let shop = Shop::empty().await;
    let environment = NewApiKey {
        name: "a".to_owned(),
        environment: EnvironmentId::new("env_nowhere").ok(),
        ..NewApiKey::default()
    };
    let refused = act!(shop.create_api_key(environment));
    expect_not_found(refused, "environment");
    let endpoint = NewApiKey {
        name: "a".to_owned(),
        endpoint: EndpointId::new("ep_nowhere").ok(),
        ..NewApiKey::default()
    };
    let refused = act!(shop.create_api_key(endpoint));
    expect_not_found(refused, "endpoint");
}

#[tokio::test]
async fn a_token_is_disabled_enabled_and_revoked_for_good() {
    let shop = Shop::empty().await;
    let (workspace, actor) = (&shop.workspace, &shop.actor);
    let create = async |name: &str| act!(shop.create_management_token(name.to_owned()));
    let (row, secret) = create("tooling").await.unwrap();
    let hex = secret.expose().strip_prefix("nhm_").unwrap();
    assert_eq!(hex.len(), 64);
    expect_conflict(create("tooling").await);
    let set = async |id: ManagementTokenId, state| {
        let set = shop
            .management
            .set_management_token_state(workspace, actor, id, state);
        set.await.map(|row| row.state)
    };
    for state in [KeyState::Disabled, KeyState::Active, KeyState::Revoked] {
        assert_eq!(set(row.id, state).await.unwrap(), state);
    }
    expect_not_found(set(row.id, KeyState::Active).await, "management token");
    let nowhere = ManagementTokenId::new("tok_nowhere").unwrap();
    expect_not_found(set(nowhere, KeyState::Active).await, "management token");
}
