//! Promises of every [`SubscriptionStore`].

mod patterns;

pub use self::patterns::{
    a_pattern_has_event_types_made_later, a_pattern_has_what_it_matches,
    a_pattern_keeps_to_its_scope, a_removed_pattern_gives_nothing_more,
    several_ways_are_one_subscription,
};
use nahook_core::id::EndpointId;
use nahook_core::{EndpointState, Subscribers, SubscriptionStore};

use crate::SubscriptionHarness;
use crate::declare::{
    Workspace, endpoint, endpoint_id, event_type_id, event_type_name, manifest, nth_endpoint_id,
    scope, selector,
};

/// An endpoint that is not active is not among the subscribers; it is again, in its old place, once it is active again.
pub async fn inactive_endpoints_are_absent<H: SubscriptionHarness>() {
    let harness = H::start().await;
    let shop = |active| {
        Workspace::new("ws_shop")
            .event_type("order.paid")
            .with(|spec| {
                spec.endpoints.push(endpoint("ep_on", &["order.paid"]));
                let mut other = endpoint("ep_off", &["order.paid"]);
                other.is_active = Some(active);
                spec.endpoints.push(other);
                spec.endpoints.push(endpoint("ep_last", &["order.paid"]));
            })
            .manifest()
    };
    harness.apply(&shop(false)).await;
    expect(&harness, None, &["ep_on", "ep_last"], "one is not active").await;
    harness.apply(&shop(true)).await;
    expect(
        &harness,
        None,
        &["ep_on", "ep_off", "ep_last"],
        "it is active now",
    )
    .await;
    harness.apply(&shop(false)).await;
    expect(
        &harness,
        None,
        &["ep_on", "ep_last"],
        "it is not active any more",
    )
    .await;
}

/// An endpoint is active, disabled or unknown, in the order of the question; disabling it counts from the next call.
pub async fn the_state_of_an_endpoint_is_told<H: SubscriptionHarness>() {
    let harness = H::start().await;
    let shop = |active| {
        Workspace::new("ws_shop")
            .with(|spec| {
                spec.endpoints.push(endpoint("ep_on", &[]));
                let mut other = endpoint("ep_off", &[]);
                other.is_active = Some(active);
                spec.endpoints.push(other);
            })
            .manifest()
    };
    let ids = ["ep_off", "ep_none", "ep_on", "ep_off"].map(endpoint_id);
    for (is_active, state) in [
        (true, EndpointState::Active),
        (false, EndpointState::Disabled),
    ] {
        harness.apply(&shop(is_active)).await;
        let subscriptions = harness.subscriptions();
        let scope = scope("ws_shop", None);
        let found = subscriptions.endpoint_states(&ids, &scope).await;
        let found = found.expect("the store can be asked");
        let expected = [state, EndpointState::Unknown, EndpointState::Active, state];
        assert_eq!(found, expected);
    }
}

/// Another workspace's endpoint is unknown, and so is another environment's.
pub async fn an_endpoint_beyond_the_scope_is_unknown<H: SubscriptionHarness>() {
    let harness = H::start().await;
    let one = Workspace::new("ws_shop").endpoint("ep_ours", &[]);
    let one = one.environment("staging", &[]).default_environment();
    let one = one.endpoint_in("staging", "ep_staged", &[]);
    let other = Workspace::new("ws_other").endpoint("ep_theirs", &[]);
    harness.apply(&manifest([one, other])).await;
    let subscriptions = harness.subscriptions();
    let ids = ["ep_ours", "ep_staged", "ep_theirs"].map(endpoint_id);
    for (environment, expected) in [
        (None, [true, true, false]),
        (Some("production"), [true, false, false]),
        (Some("staging"), [false, true, false]),
    ] {
        let scope = scope("ws_shop", environment);
        let found = subscriptions.endpoint_states(&ids, &scope).await;
        let found = found.expect("the store can be asked");
        let is_known: Vec<_> = found
            .iter()
            .map(|it| *it == EndpointState::Active)
            .collect();
        assert_eq!(is_known, expected, "{environment:?}");
    }
}

/// Only the scope's workspace is looked at, also where another has an event type of the same name.
pub async fn other_workspaces_are_absent<H: SubscriptionHarness>() {
    let harness = H::start().await;
    let one = Workspace::new("ws_shop")
        .event_type("order.paid")
        .endpoint("ep_ours", &["order.paid"]);
    let other = Workspace::new("ws_other")
        .event_type("order.paid")
        .event_type("theirs.alone")
        .endpoint("ep_theirs", &["order.paid", "theirs.alone"]);
    harness.apply(&manifest([one, other])).await;
    expect(
        &harness,
        None,
        &["ep_ours"],
        "both workspaces have order.paid",
    )
    .await;
    assert_eq!(
        look_up(&harness, "theirs.alone", "ws_shop", None).await,
        None,
        "an event type of another workspace is unknown in this one"
    );
    let theirs = look_up(&harness, "order.paid", "ws_other", None).await;
    assert_eq!(
        theirs.map(|found| (found.event_type, found.endpoints.to_vec())),
        Some((
            event_type_id("ws_other", "order.paid"),
            vec![endpoint_id("ep_theirs")]
        )),
        "the other workspace's event type of the same name is another one"
    );
    assert_eq!(
        look_up(&harness, "order.paid", "ws_nowhere", None).await,
        None,
        "a workspace that does not exist has no event types"
    );
}

/// A scope with an environment has the endpoints of that environment and of no other.
pub async fn other_environments_are_absent<H: SubscriptionHarness>() {
    let harness = H::start().await;
    harness.apply(&three_environments()).await;
    let environments = [
        ("production", "ep_production"),
        ("staging", "ep_staging"),
        ("testing", "ep_testing"),
    ];
    for (slug, id) in environments {
        let why = "the scope has this environment only";
        expect(&harness, Some(slug), &[id], why).await;
    }
    let nowhere = look_up(&harness, "order.paid", "ws_shop", Some("nowhere")).await;
    assert_eq!(
        nowhere.map_or(0, |found| found.endpoints.len()),
        0,
        "an environment that does not exist has no endpoints"
    );
}

/// A scope without an environment has the endpoints of all of the workspace's environments.
pub async fn a_key_without_environment_reaches_all_environments<H: SubscriptionHarness>() {
    let harness = H::start().await;
    harness.apply(&three_environments()).await;
    let all = ["ep_production", "ep_staging", "ep_testing"];
    expect(
        &harness,
        None,
        &all,
        "a scope without an environment reaches all",
    )
    .await;
}

/// In an environment that does not publish the event type, nobody is subscribed to it: the answer is an empty list, not
/// an unknown event type.
pub async fn unpublished_event_types_fan_out_to_nobody<H: SubscriptionHarness>() {
    let harness = H::start().await;
    let shop = |published: &[&str]| {
        Workspace::new("ws_shop")
            .event_type("order.paid")
            .event_type("order.lost")
            .environment("staging", published)
            .endpoint_in("staging", "ep_staging", &["order.paid", "order.lost"])
            .manifest()
    };
    harness.apply(&shop(&["order.lost"])).await;
    expect(
        &harness,
        Some("staging"),
        &[],
        "order.paid is not published in staging",
    )
    .await;
    harness.apply(&shop(&["order.paid"])).await;
    expect(
        &harness,
        Some("staging"),
        &["ep_staging"],
        "it is published there now",
    )
    .await;
    harness.apply(&shop(&[])).await;
    expect(
        &harness,
        Some("staging"),
        &[],
        "it is not published there any more",
    )
    .await;
}

/// The default environment publishes every event type from the start, without saying so.
pub async fn the_default_environment_publishes_everything<H: SubscriptionHarness>() {
    let harness = H::start().await;
    let shop = Workspace::new("ws_shop")
        .default_environment()
        .event_type("order.paid")
        .endpoint("ep_one", &["order.paid"]);
    harness.apply(&shop.manifest()).await;
    let why = "the default environment publishes every event type";
    expect(&harness, Some("production"), &["ep_one"], why).await;
}

/// An endpoint appears once for an event type, however often it is declared to be subscribed.
pub async fn each_endpoint_appears_once<H: SubscriptionHarness>() {
    let harness = H::start().await;
    let shop = || {
        Workspace::new("ws_shop")
            .event_type("order.paid")
            .event_type("order.lost")
            .endpoint("ep_one", &["order.paid", "order.paid", "order.lost"])
            .endpoint("ep_two", &["order.lost", "order.paid"])
            .manifest()
    };
    harness.apply(&shop()).await;
    harness.apply(&shop()).await;
    expect(&harness, None, &["ep_one", "ep_two"], "each is there once").await;
}

/// Asking again gives the same answer, also when hundreds are subscribed.
pub async fn order_is_stable<H: SubscriptionHarness>() {
    let harness = H::start().await;
    harness.apply(&crowd(300)).await;
    let first = look_up(&harness, "order.paid", "ws_shop", None).await;
    for _ in 0..5 {
        assert_eq!(
            look_up(&harness, "order.paid", "ws_shop", None).await,
            first,
            "the same question had another answer before"
        );
    }
}

/// The order is the one in which the endpoints subscribed, whatever their ids and however close in time; who
/// unsubscribes and subscribes again comes last.
pub async fn order_is_that_of_subscribing<H: SubscriptionHarness>() {
    let harness = H::start().await;
    let shop = |id: &str, event_types: &[&str]| {
        Workspace::new("ws_shop")
            .event_type("order.paid")
            .endpoint(id, event_types)
            .manifest()
    };
    for id in ["ep_z", "ep_a", "ep_m"] {
        harness.apply(&shop(id, &[])).await;
    }
    for id in ["ep_m", "ep_z", "ep_a"] {
        harness.apply(&shop(id, &["order.paid"])).await;
    }
    expect(
        &harness,
        None,
        &["ep_m", "ep_z", "ep_a"],
        "they subscribed in this order",
    )
    .await;
    harness.apply(&shop("ep_z", &[])).await;
    harness.apply(&shop("ep_z", &["order.paid"])).await;
    expect(
        &harness,
        None,
        &["ep_m", "ep_a", "ep_z"],
        "ep_z subscribed again",
    )
    .await;
}

/// Every one of a thousand subscribers is there, in order.
pub async fn a_crowd_is_answered_whole<H: SubscriptionHarness>() {
    let harness = H::start().await;
    harness.apply(&crowd(1_000)).await;
    let found = look_up(&harness, "order.paid", "ws_shop", None).await;
    let expected: Vec<EndpointId> = (0..1_000).map(nth_endpoint_id).collect();
    assert!(
        found.is_some_and(|found| *found.endpoints == *expected),
        "all of 1,000 endpoints, in the order in which they subscribed"
    );
}

/// A name that the workspace has no event type for is `None`; names differ by case, and a part is not the whole.
pub async fn an_unknown_event_type_is_none<H: SubscriptionHarness>() {
    let harness = H::start().await;
    assert_eq!(
        look_up(&harness, "order.paid", "ws_shop", None).await,
        None,
        "nothing exists yet"
    );
    let shop = Workspace::new("ws_shop")
        .event_type("order.paid")
        .endpoint("ep_one", &["order.paid"]);
    harness.apply(&shop.manifest()).await;
    for name in [
        "order",
        "order.paid.late",
        "Order.paid",
        "order.Paid",
        "order_paid",
        "paid",
    ] {
        assert_eq!(
            look_up(&harness, name, "ws_shop", None).await,
            None,
            "{name} is not order.paid"
        );
    }
}

/// An event type that nobody is subscribed to is known, with nobody.
pub async fn an_unsubscribed_event_type_is_empty<H: SubscriptionHarness>() {
    let harness = H::start().await;
    let shop = Workspace::new("ws_shop")
        .event_type("order.paid")
        .event_type("order.lost")
        .endpoint("ep_one", &["order.lost"]);
    harness.apply(&shop.manifest()).await;
    expect(
        &harness,
        None,
        &[],
        "order.paid exists and nobody is subscribed",
    )
    .await;
}

/// A subscription that has been made is seen by the next look-up, and so is an event type.
pub async fn a_new_subscription_is_seen<H: SubscriptionHarness>() {
    let harness = H::start().await;
    let shop = || Workspace::new("ws_shop").event_type("order.paid");
    // Look-ups in between, so that a cache has something out of date to answer with.
    assert_eq!(look_up(&harness, "order.paid", "ws_shop", None).await, None);
    harness.apply(&shop().manifest()).await;
    expect(&harness, None, &[], "the event type is new").await;
    harness
        .apply(&shop().endpoint("ep_one", &["order.paid"]).manifest())
        .await;
    expect(&harness, None, &["ep_one"], "ep_one is new").await;
    harness
        .apply(&shop().endpoint("ep_two", &["order.paid"]).manifest())
        .await;
    expect(&harness, None, &["ep_one", "ep_two"], "ep_two is new").await;
}

/// A subscription that has been removed is not seen by the next look-up; the others stay.
pub async fn a_removed_subscription_is_not_seen<H: SubscriptionHarness>() {
    let harness = H::start().await;
    let shop = |event_types: &[&str]| {
        Workspace::new("ws_shop")
            .event_type("order.paid")
            .event_type("order.lost")
            .endpoint("ep_one", event_types)
            .endpoint("ep_two", &["order.paid"])
            .manifest()
    };
    harness.apply(&shop(&["order.paid", "order.lost"])).await;
    expect(
        &harness,
        None,
        &["ep_one", "ep_two"],
        "both are subscribed yet",
    )
    .await;
    harness.apply(&shop(&["order.lost"])).await;
    expect(
        &harness,
        None,
        &["ep_two"],
        "ep_one is not subscribed any more",
    )
    .await;
    let lost = look_up(&harness, "order.lost", "ws_shop", None).await;
    assert_eq!(
        lost.map(|found| found.endpoints.to_vec()),
        Some(vec![endpoint_id("ep_one")]),
        "its other subscription stays"
    );
}

/// The answer names the event type by its id.
pub async fn the_event_type_is_named<H: SubscriptionHarness>() {
    let harness = H::start().await;
    let shop = Workspace::new("ws_shop")
        .event_type("order.paid")
        .event_type("order.lost");
    harness.apply(&shop.manifest()).await;
    for name in ["order.paid", "order.lost"] {
        let found = look_up(&harness, name, "ws_shop", None).await;
        assert_eq!(
            found.map(|found| found.event_type),
            Some(event_type_id("ws_shop", name)),
            "the id of {name}"
        );
    }
}

fn three_environments() -> nahook_control::Manifest {
    Workspace::new("ws_shop")
        .default_environment()
        .event_type("order.paid")
        .environment("staging", &["order.paid"])
        .environment("testing", &["order.paid"])
        .endpoint("ep_production", &["order.paid"])
        .endpoint_in("staging", "ep_staging", &["order.paid"])
        .endpoint_in("testing", "ep_testing", &["order.paid"])
        .manifest()
}

fn crowd(count: usize) -> nahook_control::Manifest {
    Workspace::new("ws_shop")
        .event_type("order.paid")
        .endpoints(count)
        .with(|spec| {
            for endpoint in &mut spec.endpoints {
                endpoint.event_types = Some(vec![selector("order.paid")]);
            }
        })
        .manifest()
}

async fn look_up<H: SubscriptionHarness>(
    harness: &H,
    name: &str,
    workspace: &str,
    environment: Option<&str>,
) -> Option<Subscribers> {
    let scope = scope(workspace, environment);
    let subscriptions = harness.subscriptions();
    let found = subscriptions
        .subscribers(&event_type_name(name), &scope)
        .await;
    found.expect("the store can be asked")
}

/// Expects these subscribers to `order.paid` of `ws_shop`.
async fn expect<H: SubscriptionHarness>(
    harness: &H,
    environment: Option<&str>,
    expected: &[&str],
    why: &str,
) {
    let found = look_up(harness, "order.paid", "ws_shop", environment).await;
    let expected = expected.iter().map(|id| endpoint_id(id)).collect();
    assert_eq!(
        found.map(|found| found.endpoints.to_vec()),
        Some(expected),
        "subscribers to order.paid in environment {environment:?}: {why}"
    );
}
