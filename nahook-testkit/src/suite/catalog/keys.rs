//! Clauses about ingestion keys.

use nahook_control::{
    ApiKeyRecord, ApiKeySpec, Catalog, CatalogError, KeyHash, KeyState, Record, SecretText,
};

use super::seen::{apply, is_disabled};
use crate::CatalogHarness;
use crate::declare::{Workspace, api_key_id, manifest, workspace_id};

/// A key that is declared without its secret is drawn one, which is told with the change and never again.
pub async fn a_drawn_secret_is_told_once<H: CatalogHarness>() {
    let harness = H::start_catalog().await;
    let shop = || {
        Workspace::new("ws_shop")
            .endpoint("ep_a", &[])
            .with(|spec| {
                spec.api_keys.push(ApiKeySpec {
                    name: "drawn".to_owned(),
                    ..ApiKeySpec::default()
                });
                spec.api_keys.push(key("key_one", "nhk_us_given"));
            })
            .manifest()
    };
    let changes = apply(&harness, &shop()).await;
    let drawn = |name: &str| {
        let of_name = |change: &&nahook_control::Change| matches!(&change.record, Record::ApiKey(row) if row.name == name);
        let change = changes.iter().find(of_name);
        change
            .expect("a change for each key")
            .drawn_secret
            .as_ref()
            .map(SecretText::expose)
    };
    assert_eq!(
        drawn("key_one"),
        None,
        "a secret that was given is not told back"
    );
    let secret = drawn("drawn").expect("the secret that was drawn is told");
    assert_eq!(
        is_disabled(&harness, secret).await,
        Some(false),
        "the drawn secret is the key's"
    );
    assert_eq!(
        apply(&harness, &shop()).await,
        [],
        "the key has a secret, so none is drawn again"
    );
    assert_eq!(
        is_disabled(&harness, secret).await,
        Some(false),
        "the secret stays the key's"
    );
}

/// Disabling and enabling a key is seen by the next look-up and in the list, as often as it is done.
pub async fn a_key_is_disabled_and_enabled<H: CatalogHarness>() {
    let harness = two_keys::<H>().await;
    for state in [
        KeyState::Disabled,
        KeyState::Active,
        KeyState::Active,
        KeyState::Disabled,
    ] {
        set(&harness, "key_one", state).await;
        assert_eq!(
            is_disabled(&harness, "nhk_us_one").await,
            Some(state == KeyState::Disabled),
            "its state was set to {state:?}"
        );
        let states: Vec<_> = listed(&harness, "ws_shop")
            .await
            .iter()
            .map(|row| row.state)
            .collect();
        assert_eq!(
            states,
            [state, KeyState::Active],
            "the list shows it, and the other key as it was"
        );
    }
}

/// A revoked key is not let in again by anything: setting its state finds it no more, nor does one that never was.
pub async fn revoking_is_final<H: CatalogHarness>() {
    let harness = two_keys::<H>().await;
    set(&harness, "key_one", KeyState::Revoked).await;
    for (id, why) in [("key_one", "it is revoked"), ("key_none", "it never was")] {
        for state in [KeyState::Active, KeyState::Disabled, KeyState::Revoked] {
            let refused = harness
                .catalog()
                .set_api_key_state(&api_key_id(id), state)
                .await;
            assert!(
                matches!(refused, Err(CatalogError::NotFound(_))),
                "{id} cannot be {state:?}, {why}: {refused:?}"
            );
        }
    }
    assert_eq!(
        is_disabled(&harness, "nhk_us_one").await,
        None,
        "the key is revoked"
    );
    let states: Vec<_> = listed(&harness, "ws_shop")
        .await
        .iter()
        .map(|row| row.state)
        .collect();
    assert_eq!(
        states,
        [KeyState::Revoked, KeyState::Active],
        "the list still shows it"
    );
}

/// The list has the workspace's keys and no others, the oldest first, without their secrets.
pub async fn keys_are_listed_oldest_first<H: CatalogHarness>() {
    let harness = two_keys::<H>().await;
    let more = Workspace::new("ws_shop")
        .with(|spec| spec.api_keys.push(key("key_a", "nhk_us_a")))
        .manifest();
    apply(&harness, &more).await;
    let names = |rows: Vec<ApiKeyRecord>| -> Vec<String> {
        rows.into_iter()
            .map(|row| {
                let hash = KeyHash::of(&format!("nhk_us_{}", row.name.trim_start_matches("key_")));
                assert_eq!(row.hash, hash, "the list has the hash of {}", row.name);
                row.id.to_string()
            })
            .collect()
    };
    let shop = names(listed(&harness, "ws_shop").await);
    assert_eq!(
        shop,
        ["key_one", "key_b", "key_a"],
        "in the order of their making"
    );
    let other = names(listed(&harness, "ws_other").await);
    assert_eq!(other, ["key_other"], "the other workspace's");
    assert_eq!(
        listed(&harness, "ws_nowhere").await,
        [],
        "a workspace that does not exist has no keys"
    );
}

pub(super) fn key(id: &str, secret: &str) -> ApiKeySpec {
    ApiKeySpec {
        id: Some(api_key_id(id)),
        name: id.to_owned(),
        key: Some(secret.to_owned()),
        ..ApiKeySpec::default()
    }
}

async fn two_keys<H: CatalogHarness>() -> H {
    let harness = H::start_catalog().await;
    let shop = Workspace::new("ws_shop").with(|spec| {
        spec.api_keys.push(key("key_one", "nhk_us_one"));
        spec.api_keys.push(key("key_b", "nhk_us_b"));
    });
    let other = Workspace::new("ws_other")
        .with(|spec| spec.api_keys.push(key("key_other", "nhk_us_other")));
    apply(&harness, &manifest([shop, other])).await;
    harness
}

async fn set<H: CatalogHarness>(harness: &H, id: &str, state: KeyState) {
    let set = harness
        .catalog()
        .set_api_key_state(&api_key_id(id), state)
        .await;
    set.expect("the key exists and is not revoked");
}

async fn listed<H: CatalogHarness>(harness: &H, workspace: &str) -> Vec<ApiKeyRecord> {
    let keys = harness.catalog().api_keys(&workspace_id(workspace)).await;
    keys.expect("the catalog can be asked")
}
