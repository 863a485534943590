//! Keys and tokens that are disabled, enabled and revoked: each for itself.

use nahook_control::{KeyState, NewApiKey};
use nahook_core::id::ApiKeyId;

use crate::{Shop, expect_not_found};

#[tokio::test]
async fn a_key_is_disabled_enabled_and_revoked_for_good() {
    let shop = Shop::empty().await;
    let (workspace, actor) = (&shop.workspace, &shop.actor);
    let create = async |name: &str| {
        let new = NewApiKey {
            name: name.to_owned(),
            ..NewApiKey::default()
        };
        act!(shop.create_api_key(new)).unwrap().0
    };
    let (first, second) = (create("a").await, create("b").await);
    let set = async |id: ApiKeyId, state| {
        let set = shop
            .management
            .set_api_key_state(workspace, actor, id, state);
        set.await.map(|row| (row.id, row.state))
    };
    for state in [KeyState::Disabled, KeyState::Active, KeyState::Revoked] {
        assert_eq!(set(second.id, state).await.unwrap(), (second.id, state));
        let listed = shop.management.api_keys(workspace).await.unwrap();
        let states: Vec<_> = listed.iter().map(|row| (row.id, row.state)).collect();
        let expected = [(first.id, KeyState::Active), (second.id, state)];
        assert_eq!(states, expected, "the other one is left alone");
    }
    expect_not_found(set(second.id, KeyState::Active).await, "API key");
    let nowhere = ApiKeyId::new("key_nowhere").unwrap();
    expect_not_found(set(nowhere, KeyState::Disabled).await, "API key");
}

#[tokio::test]
async fn a_tokens_state_is_its_own() {
    let shop = Shop::empty().await;
    let workspace = &shop.workspace;
    let create = async |name: &str| {
        let name = name.to_owned();
        act!(shop.create_management_token(name)).unwrap().0
    };
    let (first, second) = (create("a").await, create("b").await);
    let disabled = KeyState::Disabled;
    act!(shop.set_management_token_state(second.id, disabled)).unwrap();
    let listed = shop.management.management_tokens(workspace).await.unwrap();
    let states: Vec<_> = listed.iter().map(|row| (row.id, row.state)).collect();
    let expected = [(first.id, KeyState::Active), (second.id, disabled)];
    assert_eq!(states, expected);
}
