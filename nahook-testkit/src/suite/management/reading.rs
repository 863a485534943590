//! Clauses about reading rows.

use std::collections::BTreeMap;

use nahook_control::{ApplicationPatch, EndpointKind, NewApiKey, NewEndpoint, SecretText, Select};
use nahook_core::id::EnvironmentId;
use serde_json::json;

use super::shop::{Shop, act, made};
use crate::ManagementHarness;

/// Everything is read as it was made, field by field, also after a change.
pub async fn what_was_made_is_read_whole<H: ManagementHarness>() {
    let shop = Shop::<H>::empty().await;
    let environment = shop.environment("staging").await;
    let mut application = shop.application(Some("cust-1"), Some(7)).await;
    let config = json!({"a": [1, {"b": null}], "webhookUrl": "https://hooks.example/slack"});
    let endpoint = made!(shop.create_endpoint(NewEndpoint {
        kind: EndpointKind::Slack,
        description: Some("für \u{1f980}".to_owned()),
        metadata: BTreeMap::from([("ключ".to_owned(), "\"1\"".to_owned())]),
        config: config.as_object().expect("an object").clone(),
        auth_username: Some("user".to_owned()),
        auth_password: Some(SecretText::new("pass:word")),
        environment: Some(environment.id),
        application: Some(application.id),
        ..NewEndpoint::default()
    }));
    let event_type = shop.event_type("order.paid").await;
    shop.subscribe(endpoint.id, &[event_type]).await;

    let rows = shop.read(&[Select::Endpoint(endpoint.id)]).await;
    assert!(
        rows.endpoints.iter().eq([&endpoint]),
        "the endpoint, as it was made: {:?}",
        rows.endpoints
    );
    let rows = shop.read(&[Select::Application(application.id)]).await;
    assert!(
        rows.applications.iter().eq([&application]),
        "the application, as it was made: {:?}",
        rows.applications
    );
    let rows = shop.read(&[Select::Environments]).await;
    assert_eq!(
        rows.environments.last(),
        Some(&environment),
        "the environment, as it was made"
    );

    let patch = ApplicationPatch {
        max_endpoints: Some(None),
        show_event_types: Some(false),
        ..ApplicationPatch::default()
    };
    let changed = act!(shop.update_application(application.id, patch));
    (application.max_endpoints, application.show_event_types) = (None, false);
    assert_eq!(shop.made(changed), application, "changed as asked");
    let rotated = made!(shop.rotate_secret(endpoint.id));
    let rows = shop
        .read(&[
            Select::Application(application.id),
            Select::Endpoint(endpoint.id),
        ])
        .await;
    assert_eq!(
        rows.applications,
        [application],
        "the application, as it was changed"
    );
    assert_eq!(
        rows.endpoints,
        [rotated],
        "the endpoint with both of its secrets"
    );
}

/// Each selection reads its rows, the oldest first, and no others; several at once read each row once.
pub async fn each_selection_reads_its_rows<H: ManagementHarness>() {
    let shop = Shop::<H>::empty().await;
    let application = shop.application(Some("cust-1"), None).await;
    let (a, b) = (shop.endpoint("a").await, shop.endpoint("b").await);
    let of_application = NewEndpoint {
        url: Some("https://hooks.example/c".to_owned()),
        application: Some(application.id),
        ..NewEndpoint::default()
    };
    let c = made!(shop.create_endpoint(of_application));
    let (paid, lost) = (
        shop.event_type("order.paid").await,
        shop.event_type("order.lost").await,
    );
    shop.subscribe(b.id, &[paid, lost]).await;
    shop.subscribe(a.id, &[paid]).await;
    let key = NewApiKey {
        name: "key".to_owned(),
        ..NewApiKey::default()
    };
    let (key, token) = (
        made!(shop.create_api_key(key)).0,
        made!(shop.create_management_token("token".to_owned())).0,
    );

    let ids = |rows: &[nahook_control::EndpointRecord]| -> Vec<_> {
        rows.iter().map(|row| row.id).collect()
    };
    let rows = shop.read(&[Select::Endpoints]).await;
    assert_eq!(
        ids(&rows.endpoints),
        [a.id, b.id, c.id],
        "every endpoint, the oldest first"
    );
    assert!(
        rows.event_types.is_empty() && rows.environments.is_empty(),
        "and nothing else"
    );
    let rows = shop.read(&[Select::EndpointsOf(application.id)]).await;
    assert_eq!(ids(&rows.endpoints), [c.id], "the application's endpoints");
    let rows = shop
        .read(&[Select::ApplicationCalled("cust-1".to_owned())])
        .await;
    assert_eq!(
        rows.applications,
        [application],
        "by what the workspace calls it"
    );
    let rows = shop
        .read(&[Select::ApplicationCalled("cust-2".to_owned())])
        .await;
    assert_eq!(rows.applications, [], "nothing is called so");
    let rows = shop.read(&[Select::EventTypes]).await;
    let types: Vec<_> = rows.event_types.iter().map(|row| row.id).collect();
    assert_eq!(types, [paid, lost], "every event type, the oldest first");
    let rows = shop.read(&[Select::EventTypesWith(vec![lost])]).await;
    assert_eq!(rows.event_types.len(), 1, "the one that was asked for");
    let rows = shop.read(&[Select::SubscriptionsOf(b.id)]).await;
    let of_b: Vec<_> = rows
        .subscriptions
        .iter()
        .map(|row| row.event_type)
        .collect();
    assert_eq!(
        of_b,
        [paid, lost],
        "the endpoint's subscriptions, the oldest first"
    );
    let rows = shop.read(&[Select::SubscribersTo(paid)]).await;
    let to_paid: Vec<_> = rows.subscribers.iter().map(|row| row.endpoint).collect();
    assert_eq!(
        to_paid,
        [b.id, a.id],
        "the event type's subscribers, the oldest first"
    );
    let rows = shop
        .read(&[Select::ApiKeys, Select::ManagementTokens, Select::Workspace])
        .await;
    assert_eq!(rows.api_keys, [key], "the keys");
    assert_eq!(rows.management_tokens, [token], "the tokens");
    assert_eq!(rows.workspaces.len(), 1, "the workspace itself");
    let rows = shop
        .read(&[
            Select::Endpoint(a.id),
            Select::Endpoints,
            Select::Endpoint(a.id),
        ])
        .await;
    assert_eq!(rows.endpoints.len(), 3, "each row once");
}

/// Applications come in pages, the oldest first; behind the last one there is nothing. Several selections read each once.
pub async fn applications_are_paged<H: ManagementHarness>() {
    let shop = Shop::<H>::empty().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(shop.application(None, None).await.id);
    }
    for (offset, limit, expected) in [
        (0, 2, &ids[0..2]),
        (2, 2, &ids[2..4]),
        (4, 2, &ids[4..5]),
        (5, 2, &[]),
        (0, 0, &[]),
        (1, u64::MAX, &ids[1..5]),
        (u64::MAX, 1, &[]),
    ] {
        let rows = shop.read(&[Select::Applications { offset, limit }]).await;
        let page: Vec<_> = rows.applications.iter().map(|row| row.id).collect();
        assert_eq!(page, expected, "{limit} after the first {offset}");
    }
    let (offset, limit) = (0, 10);
    let page = Select::Applications { offset, limit };
    let rows = shop
        .read(&[Select::Application(ids[3]), page.clone(), page])
        .await;
    assert_eq!(rows.applications.len(), 5, "each row once");
}

/// Applications are found by a part of their name or external id, and by their id.
pub async fn applications_are_found_by_name<H: ManagementHarness>() {
    let mut shop = Shop::<H>::empty().await;
    let (a, b, c) = (
        shop.application(Some("ACME_1"), None).await.id,
        shop.application(None, None).await.id,
        shop.application(Some("umbrella%"), None).await.id,
    );
    let patch = ApplicationPatch {
        name: Some("Söhne & Acme".to_owned()),
        ..ApplicationPatch::default()
    };
    made!(shop.update_application(b, patch));
    let removed = shop.application(Some("acme_2"), None).await.id;
    made!(shop.delete_application(removed));
    for (text, limit, expected) in [
        ("acme", 10, &[a, b][..]),
        ("ACME", 10, &[a, b]),
        ("acme", 1, &[a]),
        ("Söhne", 10, &[b]),
        ("custom", 10, &[a, c]),
        ("%", 10, &[c]),
        ("_1", 10, &[a]),
        (b.as_str(), 10, &[b]),
        (&b.as_str().to_ascii_uppercase(), 10, &[b]),
        (&b.as_str()[..6], 10, &[]),
        ("nobody", 10, &[]),
    ] {
        let text = text.to_owned();
        let rows = shop
            .read(&[Select::ApplicationsLike {
                text: text.clone(),
                limit,
            }])
            .await;
        let found: Vec<_> = rows.applications.iter().map(|row| row.id).collect();
        assert_eq!(found, expected, "{text}");
    }
    shop.workspace = crate::declare::workspace_id("ws_other");
    let (text, limit) = ("acme".to_owned(), 10);
    let rows = shop.read(&[Select::ApplicationsLike { text, limit }]).await;
    assert_eq!(rows.applications, [], "another workspace's");
}

/// Subscribed endpoints are counted, event type by event type; none is none.
pub async fn subscribers_are_counted<H: ManagementHarness>() {
    let shop = Shop::<H>::empty().await;
    let (a, b) = (shop.endpoint("a").await, shop.endpoint("b").await);
    let (paid, lost) = (
        shop.event_type("order.paid").await,
        shop.event_type("order.lost").await,
    );
    let unheard = shop.event_type("order.unheard").await;
    shop.subscribe(a.id, &[paid]).await;
    shop.subscribe(b.id, &[paid, lost]).await;
    let count = |views: &[nahook_control::EventTypeView], id| {
        let mut views = views.iter();
        views
            .find(|view| view.event_type.id == id)
            .map(|view| view.subscriber_count)
    };
    let all = shop.management.event_types(&shop.workspace).await;
    let all = all.expect("the store can be asked");
    assert_eq!(
        [paid, lost, unheard].map(|id| count(&all, id)),
        [Some(2), Some(1), Some(0)],
        "each event type's subscribers"
    );
    let one = shop.made(shop.management.event_type(&shop.workspace, paid).await);
    assert_eq!(one.subscriber_count, 2, "also of one alone");
    made!(shop.delete_endpoint(b.id));
    let all = shop.management.event_types(&shop.workspace).await;
    let all = all.expect("the store can be asked");
    assert_eq!(
        [paid, lost].map(|id| count(&all, id)),
        [Some(1), Some(0)],
        "a removed endpoint is not counted"
    );
}

/// Whatever is asked for by id, nothing of another workspace is read.
pub async fn other_workspaces_are_not_read<H: ManagementHarness>() {
    let mut shop = Shop::<H>::empty().await;
    let application = shop.application(Some("cust-1"), None).await;
    let endpoint = shop.endpoint("a").await;
    let event_type = shop.event_type("order.paid").await;
    shop.subscribe(endpoint.id, &[event_type]).await;
    let environment = shop.environment("staging").await;
    made!(shop.set_visibility(environment.id, event_type, true));
    let foreign: Vec<EnvironmentId> = vec![environment.id];
    shop.workspace = crate::declare::workspace_id("ws_other");
    let rows = shop
        .read(&[
            Select::ApiKeys,
            Select::Applications {
                offset: 0,
                limit: 100,
            },
            Select::Application(application.id),
            Select::ApplicationCalled("cust-1".to_owned()),
            Select::Endpoint(endpoint.id),
            Select::Endpoints,
            Select::EndpointsOf(application.id),
            Select::Environments,
            Select::EventTypesWith(vec![event_type]),
            Select::EventTypes,
            Select::ManagementTokens,
            Select::PublicationsIn(environment.id),
            Select::SubscriberCounts(None),
            Select::SubscriberCounts(Some(vec![event_type])),
            Select::SubscriptionsOf(endpoint.id),
            Select::Patterns,
            Select::PatternsOf(endpoint.id),
            Select::SubscribersTo(event_type),
            Select::AnyEndpointIn(environment.id),
            Select::EndpointCountOf(application.id),
            Select::Publication(environment.id, event_type),
            Select::Subscriptions(endpoint.id, vec![event_type]),
        ])
        .await;
    assert!(
        rows.endpoints.is_empty()
            && rows.event_types.is_empty()
            && rows.applications.is_empty()
            && rows.patterns.is_empty()
            && rows.subscribers.is_empty()
            && rows.subscriptions.is_empty()
            && rows.publications.is_empty()
            && rows.api_keys.is_empty()
            && rows.management_tokens.is_empty()
            && rows.subscriber_counts.is_empty()
            && rows.endpoint_counts.values().all(|count| *count == 0),
        "nothing of ws_shop is ws_other's: {rows:?}"
    );
    let own: Vec<_> = rows.environments.iter().map(|row| row.id).collect();
    assert!(
        own.len() == 1 && !foreign.contains(&own[0]),
        "ws_other has its own environment: {own:?}"
    );
    shop.workspace = crate::declare::workspace_id("ws_nowhere");
    let rows = shop.read(&[Select::Environments, Select::Workspace]).await;
    assert!(
        rows.environments.is_empty() && rows.workspaces.is_empty(),
        "a workspace that does not exist has nothing"
    );
}
