//! Promises about endpoints that are subscribed to patterns.

use super::{expect, look_up};
use crate::SubscriptionHarness;
use crate::declare::{Workspace, endpoint_id, event_type_name, manifest, pattern, selector};

/// Names that tell patterns apart: by depth, by case, and by characters that mean something to some databases.
const NAMES: [&str; 14] = [
    "order",
    "order.paid",
    "order.paid.late",
    "order.paid.late.again",
    "orders.paid",
    "order-1.paid",
    "Order.paid",
    "order.Paid",
    "or_er.paid",
    "orxer.paid",
    "o.order.paid",
    "1.2",
    "-._",
    "user",
];

const PATTERNS: [&str; 11] = [
    "*",
    "**",
    "order.*",
    "order.**",
    "Order.*",
    "order.paid.*",
    "order.paid.**",
    "or_er.*",
    "o.**",
    "-.*",
    "paid.*",
];

/// A pattern has the event types that [`EventTypePattern::matches`](nahook_core::EventTypePattern::matches) says, older ones and
/// later ones alike.
pub async fn a_pattern_has_what_it_matches<H: SubscriptionHarness>() {
    for patterns_first in [false, true] {
        let harness = H::start().await;
        let event_types = NAMES.iter().fold(Workspace::new("ws_shop"), |shop, name| {
            shop.event_type(name)
        });
        let subscribed = Workspace::new("ws_shop").endpoints(PATTERNS.len());
        let subscribed = subscribed.with(|spec| {
            for (endpoint, text) in spec.endpoints.iter_mut().zip(PATTERNS) {
                endpoint.event_types = Some(vec![selector(text)]);
            }
        });
        let mut steps = [event_types.manifest(), subscribed.manifest()];
        if patterns_first {
            steps.reverse();
        }
        for step in &steps {
            harness.apply(step).await;
        }
        for name in NAMES {
            let of = |at: &usize| pattern(PATTERNS[*at]).matches(&event_type_name(name));
            let expected: Vec<_> = (0..PATTERNS.len())
                .filter(of)
                .map(crate::declare::nth_endpoint_id)
                .collect();
            let found = look_up(&harness, name, "ws_shop", None).await;
            assert_eq!(
                found.map(|found| found.endpoints.to_vec()),
                Some(expected),
                "subscribers to {name}; the patterns were first: {patterns_first}"
            );
        }
    }
}

/// An event type that is made later has the endpoints whose patterns match it, in the order in which they subscribed.
pub async fn a_pattern_has_event_types_made_later<H: SubscriptionHarness>() {
    let harness = H::start().await;
    for (id, text) in [
        ("ep_z", "order.*"),
        ("ep_other", "user.*"),
        ("ep_a", "*"),
        ("ep_m", "order.**"),
    ] {
        let shop = Workspace::new("ws_shop").endpoint(id, &[text]);
        harness.apply(&shop.manifest()).await;
    }
    assert_eq!(
        look_up(&harness, "order.paid", "ws_shop", None).await,
        None,
        "a pattern makes no event type"
    );
    let shop = Workspace::new("ws_shop").event_type("order.paid");
    harness.apply(&shop.manifest()).await;
    let all = ["ep_z", "ep_a", "ep_m"];
    expect(&harness, None, &all, "the event type is new").await;
    harness
        .apply(
            &Workspace::new("ws_shop")
                .endpoint("ep_last", &["order.paid"])
                .manifest(),
        )
        .await;
    let all = ["ep_z", "ep_a", "ep_m", "ep_last"];
    expect(&harness, None, &all, "who subscribes by name is last").await;
}

/// An endpoint that is subscribed in several ways appears once, and keeps its place until none of them is left.
pub async fn several_ways_are_one_subscription<H: SubscriptionHarness>() {
    let harness = H::start().await;
    let shop = |event_types: &[&str]| {
        Workspace::new("ws_shop")
            .event_type("order.paid")
            .event_type("order.paid.late")
            .endpoint("ep_one", event_types)
            .manifest()
    };
    harness
        .apply(&shop(&["order.*", "order.paid", "**", "order.*"]))
        .await;
    let two = Workspace::new("ws_shop").endpoint("ep_two", &["order.paid"]);
    harness.apply(&two.manifest()).await;
    for (event_types, why) in [
        (&["order.*", "order.paid", "**"][..], "by all of them"),
        (&["order.paid", "order.*"], "by its name and a pattern"),
        (&["order.*"], "by a pattern, no more by its name"),
        (&["order.*", "order.**"], "by two patterns"),
        (&["order.**"], "by the other pattern alone"),
        (
            &["order.**", "order.paid"],
            "by a pattern, and by its name again",
        ),
        (&["order.paid"], "by its name, no more by a pattern"),
    ] {
        harness.apply(&shop(event_types)).await;
        expect(&harness, None, &["ep_one", "ep_two"], why).await;
    }
    harness.apply(&shop(&[])).await;
    expect(&harness, None, &["ep_two"], "in no way").await;
    harness.apply(&shop(&["*"])).await;
    expect(&harness, None, &["ep_two", "ep_one"], "it subscribed again").await;
}

/// A pattern that is removed takes along what it alone gave, also for event types that are made later.
pub async fn a_removed_pattern_gives_nothing_more<H: SubscriptionHarness>() {
    let harness = H::start().await;
    let shop = |event_types: &[&str]| {
        Workspace::new("ws_shop")
            .event_type("order.paid")
            .event_type("order.lost")
            .endpoint("ep_one", event_types)
    };
    let lost = async || {
        let found = look_up(&harness, "order.lost", "ws_shop", None).await;
        found.map(|found| found.endpoints.to_vec())
    };
    harness
        .apply(&shop(&["order.*", "order.lost"]).manifest())
        .await;
    expect(&harness, None, &["ep_one"], "the pattern matches").await;
    harness
        .apply(&shop(&["order.lost", "user.*"]).manifest())
        .await;
    expect(&harness, None, &[], "only the pattern gave it").await;
    assert_eq!(
        lost().await,
        Some(vec![endpoint_id("ep_one")]),
        "by its name"
    );
    let later = shop(&["order.lost"]).event_type("order.new").manifest();
    harness.apply(&later).await;
    let found = look_up(&harness, "order.new", "ws_shop", None).await;
    assert!(
        found.is_some_and(|found| found.endpoints.is_empty()),
        "the pattern was removed before the event type was made"
    );
}

/// A pattern has event types of its own workspace only, and in environments what is published there.
pub async fn a_pattern_keeps_to_its_scope<H: SubscriptionHarness>() {
    let harness = H::start().await;
    let ours = Workspace::new("ws_shop")
        .default_environment()
        .environment("staging", &[])
        .endpoint("ep_live", &["*"])
        .endpoint_in("staging", "ep_staged", &["*"]);
    let theirs = Workspace::new("ws_other")
        .event_type("order.paid")
        .endpoint("ep_theirs", &["*"]);
    harness.apply(&manifest([ours, theirs])).await;
    let shop = |published: &[&str]| {
        Workspace::new("ws_shop")
            .event_type("order.paid")
            .environment("staging", published)
            .manifest()
    };
    harness.apply(&shop(&[])).await;
    expect(
        &harness,
        None,
        &["ep_live", "ep_staged"],
        "of the workspace",
    )
    .await;
    let why = "of the environment";
    expect(&harness, Some("production"), &["ep_live"], why).await;
    expect(&harness, Some("staging"), &[], "it is not published there").await;
    harness.apply(&shop(&["order.paid"])).await;
    expect(
        &harness,
        Some("staging"),
        &["ep_staged"],
        "it is published now",
    )
    .await;
    let theirs = look_up(&harness, "order.paid", "ws_other", None).await;
    assert_eq!(
        theirs.map(|found| found.endpoints.to_vec()),
        Some(vec![endpoint_id("ep_theirs")]),
        "of the other workspace"
    );
}
