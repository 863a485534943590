//! Generators of who asks, for what, and of what exists.

use std::num::NonZeroU32;
use std::time::Duration;

use nahook_control::Manifest;
use nahook_core::admission::{Caller, Plan, Rate};
use nahook_core::{EventTypeName, Scope};
use proptest::prelude::*;
use proptest::sample::select;

use crate::declare::{
    Workspace, api_key_id, endpoint_id, environment_id, manifest as declared, workspace_id,
};

/// The workspaces of the generated callers and manifests.
const WORKSPACES: [&str; 3] = ["ws_a", "ws_b", "ws_c"];
/// Their environments; the default one of each is `production`.
const SLUGS: [&str; 3] = ["production", "staging", "testing"];
/// Their event types.
const EVENT_TYPES: [&str; 4] = ["order.paid", "order.lost", "Order.paid", "user"];

/// A well-formed name of an event type, up to the longest.
pub fn event_type_name() -> impl Strategy<Value = EventTypeName> {
    let short = "[A-Za-z0-9_-]{1,12}(\\.[A-Za-z0-9_-]{1,12}){0,3}";
    let longest = "[A-Za-z0-9_-]{63}\\.[A-Za-z0-9_-]{64}";
    prop_oneof![8 => short, 1 => longest]
        .prop_filter_map("a name", |name| EventTypeName::new(&name).ok())
}

/// A text that is no name of an event type.
pub fn malformed_event_type_name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[a-z]{1,5}\\.",
        "\\.[a-z]{1,5}",
        "[a-z]{1,5}\\.\\.[a-z]{1,5}",
        "[a-z]{0,5}[^A-Za-z0-9_.-][a-z]{0,5}",
        "[a-z]{129,200}",
    ]
}

/// Number of endpoints that a fan-out reaches: 0 to 2,000, biased to the edges.
pub fn width() -> impl Strategy<Value = usize> {
    prop_oneof![
        2 => select(&[0_usize, 1, 2, 1_999, 2_000][..]),
        6 => 0_usize..32,
        2 => 32_usize..=2_000,
    ]
}

/// A plan, mostly without rates.
pub fn plan() -> impl Strategy<Value = Plan> {
    let rate = || {
        let some = (1_u32..1_000, 1_u64..100, 1_u32..1_000).prop_map(|(count, secs, burst)| {
            let burst = NonZeroU32::new(burst)?;
            Rate::new(NonZeroU32::new(count)?, Duration::from_secs(secs), burst)
        });
        prop_oneof![2 => Just(None), 1 => some]
    };
    let payload_len_max = prop_oneof![Just(Plan::PAYLOAD_LEN_MAX_DEFAULT), 2_usize..100_000];
    (payload_len_max, rate(), rate()).prop_map(|(payload_len_max, workspace_rate, key_rate)| Plan {
        payload_len_max,
        workspace_rate,
        key_rate,
        ..Plan::default()
    })
}

/// A caller of one of the generated workspaces: bound to nothing, an environment, an endpoint or both.
pub fn caller() -> impl Strategy<Value = Caller> {
    let environment = prop::option::of(select(&SLUGS[..]));
    let endpoint = prop::option::weighted(0.2, 0_usize..10);
    let key = select(&["key_a", "key_b"][..]);
    (select(&WORKSPACES[..]), environment, endpoint, key, plan()).prop_map(
        |(workspace, slug, endpoint, key, plan)| Caller {
            key: api_key_id(key),
            workspace: workspace_id(workspace),
            environment: slug.map(|slug| environment_id(workspace, slug)),
            endpoint: endpoint.map(|n| endpoint_id(&format!("ep_{workspace}_{n}"))),
            plan,
        },
    )
}

/// Scope of a generated caller that may fan out.
pub fn fan_out_scope() -> impl Strategy<Value = Scope> {
    caller().prop_filter_map("a key bound to no endpoint", |mut caller| {
        caller.endpoint = None;
        caller.fan_out_scope().ok()
    })
}

/// A manifest without contradictions: up to three workspaces with environments, event types, publications, endpoints
/// (some not active) and subscriptions. Applying one after the other is possible, too.
pub fn manifest() -> impl Strategy<Value = Manifest> {
    let workspaces = prop::sample::subsequence(&WORKSPACES[..], 0..=WORKSPACES.len());
    workspaces
        .prop_flat_map(|ids| ids.into_iter().map(workspace).collect::<Vec<_>>())
        .prop_map(declared)
}

fn workspace(id: &'static str) -> impl Strategy<Value = Workspace> {
    let published = || prop::sample::subsequence(&EVENT_TYPES[..], 0..=EVENT_TYPES.len());
    // An endpoint stays in its environment, so its number decides which.
    let endpoint = (published(), prop::bool::weighted(0.8));
    let endpoints = prop::collection::btree_map(0_usize..10, endpoint, 0..6);
    (published(), published(), endpoints).prop_map(move |(staging, testing, endpoints)| {
        let mut workspace = Workspace::new(id)
            .default_environment()
            .environment("staging", &staging)
            .environment("testing", &testing);
        for name in EVENT_TYPES {
            workspace = workspace.event_type(name);
        }
        for (n, (event_types, is_active)) in endpoints {
            workspace = workspace
                .endpoint_in(
                    SLUGS[n % SLUGS.len()],
                    &format!("ep_{id}_{n}"),
                    &event_types,
                )
                .with(|spec| {
                    if let Some(endpoint) = spec.endpoints.last_mut() {
                        endpoint.is_active = Some(is_active);
                    }
                });
        }
        workspace
    })
}
