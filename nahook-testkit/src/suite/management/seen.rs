//! Clauses about what the other ports see of a change.

use std::time::Duration;

use nahook_control::{
    EndpointDirectory, EndpointPatch, HealthReport, HealthState, KeyHash, KeyState, KeyStore,
    NewApiKey, SecretText,
};
use nahook_core::admission::Caller;

use super::removing::is_let_in;
use super::shop::{Shop, act, made};
use crate::ManagementHarness;
use crate::declare::caller;

/// A new endpoint hears of events once it is subscribed, and no more while it is inactive; each change is seen by the very
/// next look-up.
pub async fn a_changed_endpoint_fans_out_at_once<H: ManagementHarness>() {
    let shop = Shop::<H>::empty().await;
    let paid = shop.event_type("order.paid").await;
    shop.expect_subscribers("order.paid", Some(&[]), "nobody yet")
        .await;
    let a = shop.endpoint("a").await;
    shop.expect_subscribers("order.paid", Some(&[]), "it is not subscribed")
        .await;
    shop.subscribe(a.id, &[paid]).await;
    shop.expect_subscribers("order.paid", Some(&[a.id]), "it is subscribed")
        .await;
    for is_active in [false, true] {
        let patch = EndpointPatch {
            is_active: Some(is_active),
            url: Some(format!("https://hooks.example/{is_active}")),
            ..EndpointPatch::default()
        };
        let changed = made!(shop.update_endpoint(a.id, patch));
        let expected = if is_active { vec![a.id] } else { vec![] };
        shop.expect_subscribers(
            "order.paid",
            Some(&expected),
            &format!("active: {is_active}"),
        )
        .await;
        let target = shop.target(a.id).await.expect("it is there all the time");
        assert_eq!(
            (target.is_active, &target.url),
            (is_active, &changed.url),
            "as a worker sees it"
        );
    }
    made!(shop.unsubscribe(a.id, paid));
    shop.expect_subscribers("order.paid", Some(&[]), "it is not subscribed any more")
        .await;
}

/// In an environment other than the default one, only what is published there fans out; each change is seen at once.
pub async fn visibility_gates_the_fan_out<H: ManagementHarness>() {
    let shop = Shop::<H>::empty().await;
    let staging = shop.environment("staging").await;
    let new = nahook_control::NewEndpoint {
        url: Some("https://hooks.example/a".to_owned()),
        environment: Some(staging.id),
        ..nahook_control::NewEndpoint::default()
    };
    let a = made!(shop.create_endpoint(new));
    let paid = shop.event_type("order.paid").await;
    shop.subscribe(a.id, &[paid]).await;
    let within = Caller {
        environment: Some(staging.id),
        ..caller("ws_shop", "key")
    };
    let scope = within.fan_out_scope().expect("a key of an environment");
    assert_eq!(
        shop.subscribers_within("order.paid", &scope).await,
        Some(vec![]),
        "nothing is published at first"
    );
    for published in [true, false, true] {
        for _ in 0..2 {
            assert_eq!(
                made!(shop.set_visibility(staging.id, paid, published)).published,
                published,
                "as asked, also twice"
            );
        }
        let expected = if published { vec![a.id] } else { vec![] };
        assert_eq!(
            shop.subscribers_within("order.paid", &scope).await,
            Some(expected),
            "published: {published}"
        );
    }
}

/// After a rotation both secrets sign, the new one first; after a day the new one alone.
pub async fn a_rotated_secret_signs_beside_the_new_one<H: ManagementHarness>() {
    let shop = Shop::<H>::empty().await;
    let before = shop.endpoint("a").await;
    let after = made!(shop.rotate_secret(before.id));
    assert_ne!(after.secret, before.secret, "a new one was drawn");
    let signing = async || {
        let target = shop.target(before.id).await.expect("it is there");
        target.secrets
    };
    assert_eq!(
        signing().await,
        [after.secret.clone(), before.secret.clone()],
        "both sign"
    );
    let clock = shop.harness.management_clock();
    clock.advance(Duration::from_hours(24).saturating_sub(Duration::from_millis(1)));
    assert_eq!(
        signing().await.len(),
        2,
        "a millisecond before the day is over"
    );
    clock.advance(Duration::from_millis(1));
    assert_eq!(signing().await, [after.secret], "the day is over");
}

/// An endpoint that was disabled after failing, and that somebody enables again, starts without failures.
pub async fn an_endpoint_enabled_by_hand_starts_afresh<H: ManagementHarness>() {
    let shop = Shop::<H>::empty().await;
    let a = shop.endpoint("a").await;
    let at = nahook_core::Timestamp::from_millis(1_000);
    for state in [HealthState::FailingSince(at), HealthState::Disable] {
        let report = HealthReport {
            endpoint: a.id,
            state,
        };
        let reported = shop.harness.endpoints().report(&[report]).await;
        reported.expect("the directory can be told");
    }
    let disabled = shop.target(a.id).await.expect("it is there");
    assert_eq!(
        (disabled.is_active, disabled.failing_since),
        (false, Some(at)),
        "as reported"
    );
    let shown = shop.made(shop.management.endpoint(&shop.workspace, a.id).await);
    assert!(!shown.is_active, "management shows it too");
    let patch = EndpointPatch {
        is_active: Some(true),
        ..EndpointPatch::default()
    };
    made!(shop.update_endpoint(a.id, patch));
    let target = shop.target(a.id).await.expect("it is there");
    assert_eq!(
        (target.is_active, target.failing_since),
        (true, None),
        "it starts afresh"
    );
}

/// A new key is let in at once, not while it is disabled, and never again once it is revoked; a token likewise.
pub async fn a_created_key_is_let_in_until_revoked<H: ManagementHarness>() {
    let shop = Shop::<H>::empty().await;
    let new = NewApiKey {
        name: "key".to_owned(),
        ..NewApiKey::default()
    };
    let (key, secret) = made!(shop.create_api_key(new));
    let (token, token_secret) = made!(shop.create_management_token("token".to_owned()));
    assert!(is_let_in(&shop, &secret).await, "it was just made");
    assert_eq!(
        token_state(&shop, &token_secret).await,
        Some(false),
        "it was just made"
    );
    for (state, is_in) in [
        (KeyState::Disabled, false),
        (KeyState::Active, true),
        (KeyState::Revoked, false),
    ] {
        assert_eq!(
            made!(shop.set_api_key_state(key.id, state)).state,
            state,
            "as asked"
        );
        assert_eq!(is_let_in(&shop, &secret).await, is_in, "{state:?}");
        assert_eq!(
            made!(shop.set_management_token_state(token.id, state)).state,
            state,
            "as asked"
        );
        let expected = (state != KeyState::Revoked).then_some(!is_in);
        assert_eq!(
            token_state(&shop, &token_secret).await,
            expected,
            "{state:?}"
        );
    }
    let revived = act!(shop.set_api_key_state(key.id, KeyState::Active));
    assert!(
        matches!(revived, Err(nahook_control::ManagementError::NotFound(_))),
        "revoking is final: {revived:?}"
    );
}

/// Returns true if the token is disabled; `None` if there is no such token.
async fn token_state<H: ManagementHarness>(shop: &Shop<H>, secret: &SecretText) -> Option<bool> {
    let hash = KeyHash::of(secret.expose());
    let found = shop.harness.keys().management_token(&hash).await;
    let found = found.expect("the store can be asked");
    found.map(|entry| {
        assert_eq!(
            entry.identity.workspace, shop.workspace,
            "it is the workspace's"
        );
        entry.disabled
    })
}
