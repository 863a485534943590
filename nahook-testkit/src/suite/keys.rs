//! Promises of every [`KeyStore`].

use std::num::NonZeroU32;
use std::time::Duration;

use nahook_control::{
    ApiKeySpec, KeyEntry, KeyHash, KeyState, KeyStore, ManagementTokenSpec, PlanSpec, RateSpec,
    TokenHolder,
};
use nahook_core::admission::{Caller, Plan, Rate};
use nahook_core::id::ManagementTokenId;

use crate::KeyHarness;
use crate::declare::{
    Workspace, api_key_id, caller, endpoint_id, environment_id, manifest, workspace_id,
};

// Secrets of keys, and of tokens.
const OFF: &str = "nhk_us_off_0000000000000000000000000";
const OF_BOTH: &str = "nhk_us_both_000000000000000000000000";
const OF_ENDPOINT: &str = "nhk_us_ep_00000000000000000000000000";
const OF_ENVIRONMENT: &str = "nhk_us_env_0000000000000000000000000";
const ONE: &str = "nhk_us_one_0000000000000000000000000";
const OTHER: &str = "nhk_us_other_00000000000000000000000";
const TWO: &str = "nhk_us_two_0000000000000000000000000";
const TOKEN_ONE: &str = "nhm_one_0000000000000000000000000000";
const TOKEN_TWO: &str = "nhm_two_0000000000000000000000000000";

/// A secret that was never made is not there, however much it resembles one that was.
pub async fn an_unknown_key_is_none<H: KeyHarness>() {
    let harness = H::start().await;
    assert_eq!(api_key(&harness, ONE).await, None, "nothing exists yet");
    assert_eq!(token(&harness, TOKEN_ONE).await, None, "nothing exists yet");
    let shop = with_key(Workspace::new("ws_shop"), "key_one", ONE);
    harness.apply(&shop.manifest()).await;
    for other in [
        "",
        "nhk_us_on_00000000000000000000000000",
        "nhk_us_one_0000000000000000000000000 ",
        "nhk_us_onE_0000000000000000000000000",
        "NHK_US_ONE",
        "one",
        "key_one",
    ] {
        assert_eq!(
            api_key(&harness, other).await,
            None,
            "{other:?} is not the key that was made"
        );
    }
}

/// A key identifies itself and its workspace; one that is bound to nothing reaches everything, on the default plan.
pub async fn a_key_identifies_its_caller<H: KeyHarness>() {
    let harness = H::start().await;
    let one = with_key(Workspace::new("ws_shop"), "key_one", ONE);
    let shop = with_key(one, "key_two", TWO);
    let other = with_key(Workspace::new("ws_other"), "key_other", OTHER);
    harness.apply(&manifest([shop, other])).await;
    for (secret, workspace, key) in [
        (ONE, "ws_shop", "key_one"),
        (TWO, "ws_shop", "key_two"),
        (OTHER, "ws_other", "key_other"),
    ] {
        expect_caller(
            &harness,
            secret,
            &caller(workspace, key),
            "a key bound to nothing",
        )
        .await;
    }
}

/// A key that is bound to an environment or to an endpoint says to which.
pub async fn a_caller_carries_what_its_key_is_bound_to<H: KeyHarness>() {
    let harness = H::start().await;
    let shop = Workspace::new("ws_shop")
        .environment("staging", &[])
        .endpoint_in("staging", "ep_one", &[])
        .with(|spec| {
            spec.api_keys.push(ApiKeySpec {
                environment: Some("staging".to_owned()),
                ..key("key_env", OF_ENVIRONMENT)
            });
            spec.api_keys.push(ApiKeySpec {
                endpoint: Some(endpoint_id("ep_one")),
                ..key("key_ep", OF_ENDPOINT)
            });
            spec.api_keys.push(ApiKeySpec {
                environment: Some("staging".to_owned()),
                endpoint: Some(endpoint_id("ep_one")),
                ..key("key_both", OF_BOTH)
            });
        });
    harness.apply(&shop.manifest()).await;
    let (environment, endpoint) = (
        Some(environment_id("ws_shop", "staging")),
        Some(endpoint_id("ep_one")),
    );
    let to_environment = Caller {
        environment,
        ..caller("ws_shop", "key_env")
    };
    expect_caller(
        &harness,
        OF_ENVIRONMENT,
        &to_environment,
        "bound to an environment",
    )
    .await;
    let to_endpoint = Caller {
        endpoint,
        ..caller("ws_shop", "key_ep")
    };
    expect_caller(&harness, OF_ENDPOINT, &to_endpoint, "bound to an endpoint").await;
    let to_both = Caller {
        environment,
        endpoint,
        ..caller("ws_shop", "key_both")
    };
    expect_caller(&harness, OF_BOTH, &to_both, "bound to both").await;
}

/// A caller carries its workspace's plan; a change of the plan is seen by the next look-up.
pub async fn a_caller_carries_the_plan<H: KeyHarness>() {
    let harness = H::start().await;
    let shop =
        |plan| with_key(Workspace::new("ws_shop"), "key_one", ONE).with(|spec| spec.plan = plan);
    let expected = |plan| Caller {
        plan,
        ..caller("ws_shop", "key_one")
    };
    harness.apply(&shop(None).manifest()).await;
    expect_caller(
        &harness,
        ONE,
        &expected(Plan::default()),
        "no plan was declared",
    )
    .await;
    let declared = PlanSpec {
        payload_len_max: Some(1_000),
        workspace_rate: Some(RateSpec {
            count: nonzero(7),
            period_secs: Some(nonzero(60)),
            burst: Some(nonzero(3)),
        }),
        key_rate: Some(RateSpec {
            count: nonzero(5),
            period_secs: None,
            burst: None,
        }),
        delivery_rate: Some(RateSpec {
            count: nonzero(11),
            period_secs: None,
            burst: Some(nonzero(500)),
        }),
        pending_max: Some(13),
        stored_mib_max: Some(17),
        endpoints_max: Some(19),
    };
    let plan = Plan {
        payload_len_max: 1_000,
        workspace_rate: Rate::new(nonzero(7), Duration::from_mins(1), nonzero(3)),
        key_rate: Rate::per_second(nonzero(5)),
        delivery_rate: Rate::new(nonzero(11), Duration::from_secs(1), nonzero(500)),
        pending_max: 13,
        stored_len_max: 17 << 20,
        endpoints_max: 19,
    };
    harness.apply(&shop(Some(declared)).manifest()).await;
    expect_caller(&harness, ONE, &expected(plan), "the plan was changed").await;
    harness.apply(&shop(None).manifest()).await;
    expect_caller(
        &harness,
        ONE,
        &expected(plan),
        "no plan is declared, so the plan stays",
    )
    .await;
    harness
        .apply(&shop(Some(PlanSpec::default())).manifest())
        .await;
    expect_caller(
        &harness,
        ONE,
        &expected(Plan::default()),
        "an empty plan is the default one",
    )
    .await;
}

/// A disabled key is there and says so, until it is enabled again.
pub async fn a_disabled_key_says_so<H: KeyHarness>() {
    let harness = H::start().await;
    let shop = with_key(Workspace::new("ws_shop"), "key_one", ONE).with(|spec| {
        spec.api_keys.push(ApiKeySpec {
            disabled: Some(true),
            ..key("key_off", OFF)
        });
    });
    harness.apply(&shop.manifest()).await;
    expect_disabled(&harness, OFF, Some(true), "it was declared disabled").await;
    expect_disabled(&harness, ONE, Some(false), "it is active").await;
    for (state, disabled) in [
        (KeyState::Disabled, true),
        (KeyState::Disabled, true),
        (KeyState::Active, false),
    ] {
        harness
            .set_api_key_state(&workspace_id("ws_shop"), api_key_id("key_one"), state)
            .await;
        let why = format!("its state was set to {state:?}");
        expect_disabled(&harness, ONE, Some(disabled), &why).await;
    }
    expect_disabled(
        &harness,
        OFF,
        Some(true),
        "the other key's state has changed, not this one's",
    )
    .await;
}

/// A revoked key is not there any more; its sisters are.
pub async fn a_revoked_key_is_none<H: KeyHarness>() {
    let harness = H::start().await;
    let one = with_key(Workspace::new("ws_shop"), "key_one", ONE);
    let shop = with_key(one, "key_two", TWO);
    harness.apply(&shop.manifest()).await;
    expect_disabled(&harness, ONE, Some(false), "it is active").await;
    harness
        .set_api_key_state(
            &workspace_id("ws_shop"),
            api_key_id("key_one"),
            KeyState::Revoked,
        )
        .await;
    expect_disabled(&harness, ONE, None, "it was revoked").await;
    expect_disabled(&harness, TWO, Some(false), "the other was revoked").await;
}

/// A management token identifies itself and its workspace, and says whether it is disabled.
pub async fn a_token_identifies_its_workspace<H: KeyHarness>() {
    let harness = H::start().await;
    let shop = |disabled| {
        Workspace::new("ws_shop")
            .with(|spec| {
                spec.management_tokens.push(ManagementTokenSpec {
                    disabled: Some(disabled),
                    ..management_token("tok_one", TOKEN_ONE)
                });
                spec.management_tokens.push(ManagementTokenSpec {
                    read_only: Some(true),
                    ..management_token("tok_two", TOKEN_TWO)
                });
            })
            .manifest()
    };
    for disabled in [false, true, false] {
        harness.apply(&shop(disabled)).await;
        let expected = KeyEntry {
            identity: TokenHolder {
                token: token_id("tok_one"),
                workspace: workspace_id("ws_shop"),
                is_read_only: false,
            },
            disabled,
        };
        assert_eq!(
            token(&harness, TOKEN_ONE).await,
            Some(expected),
            "declared with disabled = {disabled}"
        );
    }
    let second = token(&harness, TOKEN_TWO).await;
    let second = second.map(|entry| (entry.identity.token, entry.identity.is_read_only));
    assert_eq!(
        second,
        Some((token_id("tok_two"), true)),
        "the other token of the workspace, which reads only"
    );
}

/// A key is no token and a token no key.
pub async fn keys_and_tokens_are_not_interchangeable<H: KeyHarness>() {
    let harness = H::start().await;
    let shop = with_key(Workspace::new("ws_shop"), "key_one", ONE).with(|spec| {
        spec.management_tokens
            .push(management_token("tok_one", TOKEN_ONE));
    });
    harness.apply(&shop.manifest()).await;
    assert_eq!(token(&harness, ONE).await, None, "a key is no token");
    assert_eq!(
        api_key(&harness, TOKEN_ONE).await,
        None,
        "a token is no key"
    );
}

fn key(id: &str, secret: &str) -> ApiKeySpec {
    ApiKeySpec {
        id: Some(api_key_id(id)),
        name: id.to_owned(),
        key: Some(secret.to_owned()),
        ..ApiKeySpec::default()
    }
}

fn with_key(workspace: Workspace, id: &str, secret: &str) -> Workspace {
    workspace.with(|spec| spec.api_keys.push(key(id, secret)))
}

fn token_id(id: &str) -> ManagementTokenId {
    ManagementTokenId::new(id).expect("a management token's id")
}

fn management_token(id: &str, secret: &str) -> ManagementTokenSpec {
    ManagementTokenSpec {
        id: Some(token_id(id)),
        name: id.to_owned(),
        token: Some(secret.to_owned()),
        ..ManagementTokenSpec::default()
    }
}

fn nonzero(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("not zero")
}

async fn api_key<H: KeyHarness>(harness: &H, secret: &str) -> Option<KeyEntry<Caller>> {
    let found = harness.keys().api_key(&KeyHash::of(secret)).await;
    found.expect("the store can be asked")
}

async fn token<H: KeyHarness>(harness: &H, secret: &str) -> Option<KeyEntry<TokenHolder>> {
    let found = harness.keys().management_token(&KeyHash::of(secret)).await;
    found.expect("the store can be asked")
}

async fn expect_caller<H: KeyHarness>(harness: &H, secret: &str, identity: &Caller, why: &str) {
    let expected = KeyEntry {
        identity: *identity,
        disabled: false,
    };
    assert_eq!(
        api_key(harness, secret).await,
        Some(expected),
        "the caller behind {secret}: {why}"
    );
}

/// Expects the key to be disabled or not, or not to be there.
async fn expect_disabled<H: KeyHarness>(
    harness: &H,
    secret: &str,
    expected: Option<bool>,
    why: &str,
) {
    let found = api_key(harness, secret).await.map(|entry| entry.disabled);
    assert_eq!(found, expected, "whether {secret} is disabled: {why}");
}
