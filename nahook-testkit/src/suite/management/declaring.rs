//! Clauses about applications in a manifest.

use std::collections::BTreeMap;

use nahook_control::{
    ApplicationPatch, ApplicationSpec, ApplyMode, Catalog, Change, EndpointSpec, Manifest, Record,
    Select, Verb,
};
use nahook_core::Metadata;

use super::shop::{Shop, made};
use crate::ManagementHarness;
use crate::declare::{Workspace, endpoint, metadata};

/// A declared application is there as it was declared, with the endpoints that were declared for it, and declaring it again
/// changes nothing; what differs is changed.
pub async fn a_declared_application_is_as_declared<H: ManagementHarness>() {
    let shop = Shop::<H>::empty().await;
    let labels = metadata(&[("tier", "gold")]);
    let created = apply(&shop, &declared("ACME", Some(2), Some(labels))).await;
    let at = |wanted: fn(&Record) -> bool| {
        let at = created.iter().position(|change| wanted(&change.record));
        at.expect("a change for each kind of row that was declared")
    };
    assert!(
        at(|record| matches!(record, Record::Application(_)))
            < at(|record| matches!(record, Record::Endpoint(_))),
        "no row comes before one that it refers to: {created:?}"
    );

    let rows = shop.read(&[all(), Select::Endpoints]).await;
    let [application] = &rows.applications[..] else {
        panic!("one application: {:?}", rows.applications)
    };
    assert_eq!(
        (
            application.name.as_str(),
            application.external_id.as_deref(),
            application.max_endpoints,
            application.show_event_types,
            &application.metadata,
        ),
        (
            "ACME",
            Some("cust-1"),
            Some(2),
            true,
            &BTreeMap::from([("tier".to_owned(), "gold".to_owned())])
        ),
        "the application, as it was declared"
    );
    let owners: Vec<_> = rows.endpoints.iter().map(|row| row.application).collect();
    assert_eq!(
        owners,
        [Some(application.id), None],
        "the first endpoint is the application's, the second nobody's"
    );

    let again = apply(&shop, &declared("ACME", Some(2), None)).await;
    assert_eq!(again, [], "everything is as declared already");
    let changed = apply(&shop, &declared("ACME Ltd", Some(3), None)).await;
    let verbs: Vec<_> = changed.iter().map(|change| change.verb).collect();
    assert_eq!(verbs, [Verb::Update], "the application alone: {changed:?}");
    let rows = shop.read(&[Select::Application(application.id)]).await;
    let [changed] = &rows.applications[..] else {
        panic!("the same application: {:?}", rows.applications)
    };
    assert_eq!(
        (
            changed.name.as_str(),
            changed.max_endpoints,
            &changed.metadata
        ),
        ("ACME Ltd", Some(3), &application.metadata),
        "what is declared has changed, and what is not has not"
    );
}

/// A change by hand that is not declared stays as it is when a manifest is applied again.
pub async fn declaring_again_keeps_what_is_managed<H: ManagementHarness>() {
    let shop = Shop::<H>::empty().await;
    apply(&shop, &declared("ACME", None, None)).await;
    let before = shop.read(&[all()]).await.applications.remove(0);
    let patch = ApplicationPatch {
        max_endpoints: Some(Some(1)),
        show_event_types: Some(false),
        ..ApplicationPatch::default()
    };
    let patched = made!(shop.update_application(before.id, patch));
    assert_eq!(
        apply(&shop, &declared("ACME", None, None)).await,
        [],
        "nothing that is declared differs"
    );
    let rows = shop.read(&[all()]).await;
    assert_eq!(rows.applications, [patched], "changed by hand, and kept");
}

fn all() -> Select {
    Select::Applications {
        offset: 0,
        limit: u64::MAX,
    }
}

/// One application with an endpoint, and an endpoint of nobody's.
fn declared(name: &str, max_endpoints: Option<u32>, metadata: Option<Metadata>) -> Manifest {
    let shop = Workspace::new("ws_shop").event_type("order.paid");
    let shop = shop.with(|spec| {
        spec.applications.push(ApplicationSpec {
            name: name.to_owned(),
            external_id: Some("cust-1".to_owned()),
            metadata,
            max_endpoints,
            ..ApplicationSpec::default()
        });
        spec.endpoints.push(EndpointSpec {
            application: Some("cust-1".to_owned()),
            ..endpoint("ep_a", &["order.paid"])
        });
    });
    shop.endpoint("ep_b", &["order.paid"]).manifest()
}

async fn apply<H: ManagementHarness>(shop: &Shop<H>, manifest: &Manifest) -> Vec<Change> {
    let catalog = shop.harness.catalog();
    let applied = catalog.apply(manifest, ApplyMode::Commit).await;
    applied.expect("a manifest without contradictions can be applied")
}
