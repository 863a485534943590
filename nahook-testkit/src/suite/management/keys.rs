//! Clauses about the states of ingestion keys and their list.

use nahook_control::{ApiKeyRecord, ApiKeySpec, KeyHash, KeyState, ManagementError};

use super::shop::Shop;
use crate::declare::{Workspace, api_key_id, manifest, workspace_id};
use crate::suite::catalog::{apply, is_disabled, key};
use crate::{ManagementHarness, SeededIds};

/// Disabling and enabling a key is seen by the next look-up and in the list, as often as it is done.
pub async fn a_key_is_disabled_and_enabled<H: ManagementHarness>() {
    let shop = two_keys::<H>().await;
    for state in [
        KeyState::Disabled,
        KeyState::Active,
        KeyState::Active,
        KeyState::Disabled,
    ] {
        let set = set(&shop, "ws_shop", "key_one", state).await;
        assert_eq!(shop.made(set).state, state, "as asked");
        assert_eq!(
            is_disabled(&shop.harness, "nhk_us_one_0000000000000000000000000").await,
            Some(state == KeyState::Disabled),
            "its state was set to {state:?}"
        );
        assert_eq!(
            states(&shop).await,
            [state, KeyState::Active],
            "the list shows it, and the other key as it was"
        );
    }
}

/// A revoked key is not let in again by anything: setting its state finds it no more, nor does one that never was, nor one
/// of another workspace.
pub async fn revoking_is_final<H: ManagementHarness>() {
    let shop = two_keys::<H>().await;
    let revoked = set(&shop, "ws_shop", "key_one", KeyState::Revoked).await;
    shop.made(revoked);
    for (workspace, id, why) in [
        ("ws_shop", "key_one", "it is revoked"),
        ("ws_shop", "key_none", "it never was"),
        ("ws_other", "key_b", "it is another workspace's"),
    ] {
        for state in [KeyState::Active, KeyState::Disabled, KeyState::Revoked] {
            let refused = set(&shop, workspace, id, state).await;
            assert!(
                matches!(refused, Err(ManagementError::NotFound(_))),
                "{id} cannot be {state:?}, {why}: {refused:?}"
            );
        }
    }
    assert_eq!(
        is_disabled(&shop.harness, "nhk_us_one_0000000000000000000000000").await,
        None,
        "the key is revoked"
    );
    assert_eq!(
        states(&shop).await,
        [KeyState::Revoked, KeyState::Active],
        "the list still shows it"
    );
}

/// The list has the workspace's keys and no others, the oldest first, without their secrets.
pub async fn keys_are_listed_oldest_first<H: ManagementHarness>() {
    let shop = two_keys::<H>().await;
    let more = Workspace::new("ws_shop")
        .with(|spec| {
            spec.api_keys
                .push(key("key_a", "nhk_us_a_000000000000000000000000000"));
        })
        .manifest();
    apply(&shop.harness, &more).await;
    for (workspace, expected, why) in [
        (
            "ws_shop",
            &["key_one", "key_b", "key_a"][..],
            "in the order of their making",
        ),
        ("ws_other", &["key_other"], "the other workspace's"),
        (
            "ws_nowhere",
            &[],
            "a workspace that does not exist has no keys",
        ),
    ] {
        let rows = listed(&shop, workspace).await;
        for row in &rows {
            let begin = format!("nhk_us_{}_", row.name.trim_start_matches("key_"));
            let hash = KeyHash::of(&format!("{begin:0<36}"));
            assert_eq!(row.hash, hash, "the list has the hash of {}", row.name);
        }
        let ids: Vec<_> = rows.iter().map(|row| row.id.to_string()).collect();
        assert_eq!(ids, expected, "{why}");
    }
}

async fn two_keys<H: ManagementHarness>() -> Shop<H> {
    let harness = H::start_catalog().await;
    let with = |workspace, keys: &[(&str, &str)]| {
        let keys: Vec<ApiKeySpec> = keys.iter().map(|(id, secret)| key(id, secret)).collect();
        Workspace::new(workspace).with(|spec| spec.api_keys.extend(keys))
    };
    let shop = with(
        "ws_shop",
        &[
            ("key_one", "nhk_us_one_0000000000000000000000000"),
            ("key_b", "nhk_us_b_000000000000000000000000000"),
        ],
    );
    let other = with(
        "ws_other",
        &[("key_other", "nhk_us_other_00000000000000000000000")],
    );
    apply(&harness, &manifest([shop, other])).await;
    Shop::over(harness, SeededIds::new(1_000))
}

async fn set<H: ManagementHarness>(
    shop: &Shop<H>,
    workspace: &str,
    id: &str,
    state: KeyState,
) -> Result<ApiKeyRecord, ManagementError> {
    shop.management
        .set_api_key_state(&workspace_id(workspace), &shop.actor, api_key_id(id), state)
        .await
}

async fn listed<H: ManagementHarness>(shop: &Shop<H>, workspace: &str) -> Vec<ApiKeyRecord> {
    let keys = shop.management.api_keys(&workspace_id(workspace)).await;
    keys.expect("the store can be asked")
}

async fn states<H: ManagementHarness>(shop: &Shop<H>) -> Vec<KeyState> {
    let rows = listed(shop, "ws_shop").await;
    rows.iter().map(|row| row.state).collect()
}
