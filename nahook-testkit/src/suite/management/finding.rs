//! Clauses about lists of endpoints.

use nahook_control::{
    EndpointDirectory, EndpointHealth, EndpointKind, EndpointPage, EndpointPatch, EndpointQuery,
    EndpointRecord, HealthReport, HealthState, NewEndpoint,
};
use nahook_core::Timestamp;
use nahook_core::id::{ApplicationId, EndpointId};
use serde_json::{Map, Value};

use super::shop::{Shop, made};
use crate::ManagementHarness;
use crate::declare::workspace_id;

async fn found<H: ManagementHarness>(shop: &Shop<H>, query: &EndpointQuery) -> EndpointPage {
    let found = shop.management.find_endpoints(&shop.workspace, query).await;
    found.expect("the store can be asked")
}

fn ids(page: &EndpointPage) -> Vec<EndpointId> {
    page.endpoints.iter().map(|row| row.id).collect()
}

async fn report<H: ManagementHarness>(shop: &Shop<H>, endpoint: EndpointId, state: HealthState) {
    let report = HealthReport { endpoint, state };
    let reported = shop.harness.endpoints().report(&[report]).await;
    reported.expect("the directory can be told");
}

async fn of_application<H: ManagementHarness>(
    shop: &Shop<H>,
    application: ApplicationId,
    description: &str,
) -> EndpointId {
    let new = NewEndpoint {
        kind: EndpointKind::Slack,
        config: Map::from_iter([(
            "webhookUrl".to_owned(),
            Value::from("https://hooks.example/services/secret"),
        )]),
        application: Some(application),
        description: Some(description.to_owned()),
        ..NewEndpoint::default()
    };
    made!(shop.create_endpoint(new)).id
}

/// A workspace with an endpoint that was failing and is not, one that fails, one that failed and is disabled, and a customer's.
struct Four<H: ManagementHarness> {
    shop: Shop<H>,
    customer: ApplicationId,
    slack: EndpointId,
    webhooks: [EndpointRecord; 3],
}

impl<H: ManagementHarness> Four<H> {
    async fn made() -> Self {
        let shop = Shop::<H>::empty().await;
        let (a, b, c) = (
            shop.endpoint("first/a").await,
            shop.endpoint("second/b").await,
            shop.endpoint("first/c").await,
        );
        let customer = shop.application(None, None).await.id;
        let slack = of_application(&shop, customer, "the one of the first_%").await;
        let removed = shop.endpoint("first/removed").await.id;
        made!(shop.delete_endpoint(removed));
        let since = HealthState::FailingSince(Timestamp::from_millis(1_000));
        for id in [a.id, b.id] {
            report(&shop, id, since).await;
        }
        report(&shop, a.id, HealthState::Healthy).await;
        report(&shop, c.id, since).await;
        let disabled = EndpointPatch {
            is_active: Some(false),
            ..EndpointPatch::default()
        };
        let c = made!(shop.update_endpoint(c.id, disabled));
        Self {
            shop,
            customer,
            slack,
            webhooks: [a, b, c],
        }
    }
}

/// Every endpoint.
fn all() -> EndpointQuery {
    EndpointQuery {
        limit: 10,
        ..EndpointQuery::default()
    }
}

/// Endpoints are listed whole, the newest first, page by page, and counted.
pub async fn endpoints_are_found_page_by_page<H: ManagementHarness>() {
    let four = Four::<H>::made().await;
    let (shop, slack, [a, b, c]) = (&four.shop, four.slack, &four.webhooks);
    let page = found(shop, &all()).await;
    assert_eq!(ids(&page), [slack, c.id, b.id, a.id], "the newest first");
    assert_eq!(page.total, 4, "the removed one does not count");
    assert_eq!(
        page.endpoints[1..],
        [c.clone(), b.clone(), a.clone()],
        "whole"
    );
    for (offset, limit, expected) in [
        (0, 0, &[][..]),
        (1, 2, &[c.id, b.id]),
        (3, 5, &[a.id]),
        (9, 5, &[]),
        (0, u64::MAX, &[slack, c.id, b.id, a.id]),
    ] {
        let query = EndpointQuery {
            offset,
            limit,
            ..all()
        };
        let page = found(shop, &query).await;
        assert_eq!(ids(&page), expected, "{limit} after {offset}");
        assert_eq!(page.total, 4, "however many are shown");
    }
}

/// A list has those of an application, those with a text, those that fail or those that are disabled, and nothing of another workspace.
pub async fn endpoints_are_found_by_what_they_are<H: ManagementHarness>() {
    let four = Four::<H>::made().await;
    let (mut shop, customer, slack, [a, b, c]) =
        (four.shop, four.customer, four.slack, four.webhooks);
    let text = |text: &str| EndpointQuery {
        text: Some(text.to_owned()),
        ..all()
    };
    let of = |application: ApplicationId| EndpointQuery {
        application: Some(application),
        ..all()
    };
    let healthy = |health: EndpointHealth| EndpointQuery {
        health: Some(health),
        ..all()
    };
    let mut both = of(customer);
    both.text = Some("second".to_owned());
    for (query, expected) in [
        (text("first"), &[slack, c.id, a.id][..]),
        (text("first_%"), &[slack]),
        (text("FIRST"), &[]),
        (text("services/secret"), &[]),
        (text(b.id.as_str()), &[b.id]),
        (text(&b.id.as_str()[..6]), &[]),
        (of(customer), &[slack]),
        (both, &[]),
        (of(ApplicationId::from_bits(9)), &[]),
        (healthy(EndpointHealth::Failing), &[b.id]),
        (healthy(EndpointHealth::Disabled), &[c.id]),
    ] {
        let page = found(&shop, &query).await;
        assert_eq!(ids(&page), expected, "{query:?}");
        assert_eq!(page.total, expected.len() as u64, "{query:?}");
    }
    for other in ["ws_other", "ws_nowhere"] {
        shop.workspace = workspace_id(other);
        for query in [all(), text(b.id.as_str())] {
            assert_eq!(
                found(&shop, &query).await,
                EndpointPage::default(),
                "{other}"
            );
        }
    }
}
