//! Promises of every [`EndpointDirectory`].

use std::sync::Arc;
use std::time::Duration;

use nahook_control::{
    BasicAuth, EndpointDirectory, EndpointKind, EndpointSpec, EndpointTarget, HealthReport,
    HealthState, SecretText,
};
use nahook_core::id::EndpointId;
use nahook_core::{Clock, Timestamp};

use crate::declare::{
    Workspace, endpoint, endpoint_id, environment_id, manifest, nth_endpoint_id, workspace_id,
};
use crate::{EndpointHarness, ManualClock};

const SECRET: &str = "whsec_dGVzdF93ZWJob29rX3NpZ25pbmdfa2V5XzMyYnl0ZXMh";

/// A target carries what a worker or a sender needs: environment, URL, kind, signing secret, authentication, whether it is active, and no
/// failures to begin with.
pub async fn a_target_is_complete<H: EndpointHarness>() {
    let harness = H::start().await;
    let shop = Workspace::new("ws_shop")
        .default_environment()
        .environment("staging", &[]);
    let shop = shop.with(|spec| {
        spec.endpoints.push(EndpointSpec {
            url: "https://receiver.example/in?a=1&b=%20".to_owned(),
            secret: Some(SECRET.to_owned()),
            auth_username: Some("user".to_owned()),
            auth_password: Some("pass:word".to_owned()),
            ..endpoint("ep_full", &[])
        });
        spec.endpoints.push(EndpointSpec {
            environment: Some("staging".to_owned()),
            kind: Some(EndpointKind::Slack),
            config: Some(slack_config("https://slack.example/T/B/x")),
            is_active: Some(false),
            secret: Some(SECRET.to_owned()),
            ..endpoint("ep_slack", &[])
        });
    });
    harness.apply(&shop.manifest()).await;
    let full = EndpointTarget {
        id: endpoint_id("ep_full"),
        workspace: workspace_id("ws_shop"),
        environment: environment_id("ws_shop", "production"),
        url: "https://receiver.example/in?a=1&b=%20".to_owned(),
        kind: EndpointKind::Webhook,
        secrets: vec![SecretText::new(SECRET)],
        auth: Some(BasicAuth {
            username: "user".to_owned(),
            password: SecretText::new("pass:word"),
        }),
        is_active: true,
        failing_since: None,
    };
    assert_eq!(
        *target(&harness, "ep_full").await,
        full,
        "a webhook with everything"
    );
    let slack = EndpointTarget {
        id: endpoint_id("ep_slack"),
        workspace: workspace_id("ws_shop"),
        environment: environment_id("ws_shop", "staging"),
        url: "https://slack.example/T/B/x".to_owned(),
        kind: EndpointKind::Slack,
        secrets: vec![SecretText::new(SECRET)],
        auth: None,
        is_active: false,
        failing_since: None,
    };
    assert_eq!(
        *target(&harness, "ep_slack").await,
        slack,
        "a Slack endpoint that is not active"
    );
}

fn slack_config(url: &str) -> serde_json::Map<String, serde_json::Value> {
    [("webhookUrl".to_owned(), url.into())]
        .into_iter()
        .collect()
}

/// An endpoint that was declared without a secret has one all the same, that can sign.
pub async fn every_target_can_sign<H: EndpointHarness>() {
    let harness = H::start().await;
    let shop = Workspace::new("ws_shop").endpoints(2);
    harness.apply(&shop.manifest()).await;
    let secret = |target: Arc<EndpointTarget>| {
        assert_eq!(target.secrets.len(), 1, "one secret was drawn");
        let secret = target.secrets[0].expose().to_owned();
        assert!(
            nahook_control::signing_secret_is_valid(&secret),
            "the drawn secret is whsec_ and base64"
        );
        secret
    };
    let first = secret(target(&harness, nth_endpoint_id(0).as_str()).await);
    let second = secret(target(&harness, nth_endpoint_id(1).as_str()).await);
    assert_ne!(first, second, "each endpoint has a secret of its own");
}

/// The answer has the order of the question; an endpoint that is asked for twice is answered twice, and one that does
/// not exist is `None` in its place.
pub async fn targets_come_in_order<H: EndpointHarness>() {
    let harness = H::start().await;
    let shop = Workspace::new("ws_shop")
        .endpoint("ep_a", &[])
        .endpoint("ep_b", &[]);
    let other = Workspace::new("ws_other").endpoint("ep_c", &[]);
    harness.apply(&manifest([shop, other])).await;
    let asked = ["ep_gone", "ep_b", "ep_c", "ep_a", "ep_b", "ep_nowhere"].map(endpoint_id);
    let found = targets(&harness, &asked).await;
    let found: Vec<_> = found
        .iter()
        .map(|target| target.as_ref().map(|target| target.id))
        .collect();
    let expected = ["ep_b", "ep_c", "ep_a", "ep_b"].map(|id| Some(endpoint_id(id)));
    assert_eq!(
        (found[0], &found[1..5], found[5]),
        (None, &expected[..], None),
        "in the order of the question, None for those that do not exist"
    );
    assert_eq!(targets(&harness, &[]).await, [], "nothing was asked for");
}

/// A question may be about thousands of endpoints.
pub async fn many_are_answered_at_once<H: EndpointHarness>() {
    const COUNT: usize = 3_000;
    let harness = H::start().await;
    let shop = Workspace::new("ws_shop").endpoints(COUNT);
    harness.apply(&shop.manifest()).await;
    let asked: Vec<_> = (0..COUNT).rev().map(nth_endpoint_id).collect();
    let found = targets(&harness, &asked).await;
    let found: Vec<_> = found.iter().flatten().map(|target| target.id).collect();
    assert!(
        found == asked,
        "all of {COUNT} endpoints, in the order of the question"
    );
}

/// An endpoint that is reported as to be disabled is not active any more; its neighbours are.
pub async fn a_disabled_endpoint_is_not_active<H: EndpointHarness>() {
    let harness = two_endpoints::<H>().await;
    for _ in 0..2 {
        report(&harness, &[("ep_a", HealthState::Disable)]).await;
        assert!(
            !target(&harness, "ep_a").await.is_active,
            "it was reported as to be disabled"
        );
        assert!(
            target(&harness, "ep_b").await.is_active,
            "the other was not"
        );
    }
}

/// Of the failures that were reported since the last success the earliest counts, in whatever order they are reported.
pub async fn the_earliest_failure_counts<H: EndpointHarness>() {
    let harness = two_endpoints::<H>().await;
    for (reported, expected) in [(100, 100), (200, 100), (50, 50), (300, 50)] {
        report(
            &harness,
            &[("ep_a", HealthState::FailingSince(after(reported)))],
        )
        .await;
        assert_eq!(
            target(&harness, "ep_a").await.failing_since,
            Some(after(expected)),
            "failing was last reported since {reported} s"
        );
    }
    assert_eq!(
        target(&harness, "ep_b").await.failing_since,
        None,
        "the other has not failed"
    );
}

/// A success ends the failures; those that come later are counted anew.
pub async fn a_success_ends_the_failures<H: EndpointHarness>() {
    let harness = two_endpoints::<H>().await;
    report(
        &harness,
        &[
            ("ep_a", HealthState::FailingSince(after(100))),
            ("ep_b", HealthState::FailingSince(after(100))),
        ],
    )
    .await;
    for _ in 0..2 {
        report(&harness, &[("ep_a", HealthState::Healthy)]).await;
        assert_eq!(
            target(&harness, "ep_a").await.failing_since,
            None,
            "it has succeeded"
        );
    }
    assert_eq!(
        target(&harness, "ep_b").await.failing_since,
        Some(after(100)),
        "the other has not"
    );
    report(&harness, &[("ep_a", HealthState::FailingSince(after(300)))]).await;
    assert_eq!(
        target(&harness, "ep_a").await.failing_since,
        Some(after(300)),
        "it has failed since, anew"
    );
}

/// A report about an endpoint that does not exist is dropped, and drops no other with it.
pub async fn reports_about_the_gone_are_dropped<H: EndpointHarness>() {
    let harness = two_endpoints::<H>().await;
    report(
        &harness,
        &[
            ("ep_a", HealthState::FailingSince(after(100))),
            ("ep_gone", HealthState::FailingSince(after(100))),
            ("ep_gone", HealthState::Disable),
            ("ep_b", HealthState::Disable),
        ],
    )
    .await;
    report(&harness, &[]).await;
    assert_eq!(
        target(&harness, "ep_a").await.failing_since,
        Some(after(100)),
        "reported before the one that is gone"
    );
    assert!(
        !target(&harness, "ep_b").await.is_active,
        "reported after the one that is gone"
    );
    assert_eq!(
        targets(&harness, &[endpoint_id("ep_gone")]).await,
        [None],
        "a report makes no endpoint"
    );
}

/// A change of an endpoint by manifest is seen by the next look-up.
pub async fn a_changed_endpoint_is_seen<H: EndpointHarness>() {
    let harness = two_endpoints::<H>().await;
    let before = target(&harness, "ep_a").await;
    let shop = Workspace::new("ws_shop").with(|spec| {
        spec.endpoints.push(EndpointSpec {
            url: "https://elsewhere.example/".to_owned(),
            is_active: Some(false),
            ..endpoint("ep_a", &[])
        });
    });
    harness.apply(&shop.manifest()).await;
    let expected = EndpointTarget {
        url: "https://elsewhere.example/".to_owned(),
        is_active: false,
        ..(*before).clone()
    };
    assert_eq!(
        *target(&harness, "ep_a").await,
        expected,
        "URL and activity were changed, the secret stays"
    );
}

/// An endpoint that is enabled again starts afresh: what it failed before must not disable it at its next failure.
pub async fn an_endpoint_enabled_again_starts_afresh<H: EndpointHarness>() {
    let harness = two_endpoints::<H>().await;
    let failed = HealthState::FailingSince(after(100));
    report(&harness, &[("ep_a", failed), ("ep_b", failed)]).await;
    report(&harness, &[("ep_a", HealthState::Disable)]).await;
    let shop = Workspace::new("ws_shop").with(|spec| {
        for id in ["ep_a", "ep_b"] {
            spec.endpoints.push(EndpointSpec {
                is_active: Some(true),
                ..endpoint(id, &[])
            });
        }
    });
    harness.apply(&shop.manifest()).await;
    let enabled = target(&harness, "ep_a").await;
    assert!(enabled.is_active, "it was enabled");
    assert_eq!(enabled.failing_since, None, "its failures are behind it");
    assert_eq!(
        target(&harness, "ep_b").await.failing_since,
        Some(after(100)),
        "the other was active all along: its failures count"
    );
}

async fn two_endpoints<H: EndpointHarness>() -> H {
    let harness = H::start().await;
    let shop = Workspace::new("ws_shop")
        .endpoint("ep_a", &[])
        .endpoint("ep_b", &[]);
    harness.apply(&shop.manifest()).await;
    harness
}

fn after(secs: u64) -> Timestamp {
    ManualClock::default()
        .now()
        .saturating_add(Duration::from_secs(secs))
}

async fn targets<H: EndpointHarness>(
    harness: &H,
    ids: &[EndpointId],
) -> Vec<Option<Arc<EndpointTarget>>> {
    let found = harness.endpoints().targets(ids).await;
    let found = found.expect("the directory can be asked");
    assert_eq!(found.len(), ids.len(), "each id is answered");
    found
}

async fn target<H: EndpointHarness>(harness: &H, id: &str) -> Arc<EndpointTarget> {
    let found = targets(harness, &[endpoint_id(id)]).await.remove(0);
    found.expect("the endpoint exists")
}

async fn report<H: EndpointHarness>(harness: &H, reports: &[(&str, HealthState)]) {
    let reports: Vec<_> = reports
        .iter()
        .map(|(id, state)| HealthReport {
            endpoint: endpoint_id(id),
            state: *state,
        })
        .collect();
    let reported = harness.endpoints().report(&reports).await;
    reported.expect("the directory can be told");
}
