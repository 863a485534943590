//! Clauses about changing rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use nahook_control::{
    ChangePlan, EndpointPatch, EndpointRecord, EventTypeRecord, Management, ManagementError,
    ManagementStore, NewApiKey, NewApplication, NewEndpoint, NewEnvironment, Planned, Record,
    Select, Snapshot, Verb,
};
use nahook_core::id::{EventTypeId, WorkspaceId};

use super::shop::{Shop, act, made};
use crate::declare::{event_type_name, workspace_id};
use crate::{ManagementHarness, SeededIds};

/// A plan written out: it reads this and answers that.
struct Written(Vec<Select>, Box<Decide>);

type Decide = dyn Fn(&Snapshot) -> Result<Planned, ManagementError> + Send + Sync;

impl ChangePlan for Written {
    fn reads(&self) -> &[Select] {
        &self.0
    }

    fn plan(&self, snapshot: &Snapshot) -> Result<Planned, ManagementError> {
        (self.1)(snapshot)
    }
}

fn written(
    reads: Vec<Select>,
    plan: impl Fn(&Snapshot) -> Result<Planned, ManagementError> + Send + Sync + 'static,
) -> Arc<dyn ChangePlan> {
    Arc::new(Written(reads, Box::new(plan)))
}

fn planned(changes: Vec<(Verb, Record)>) -> Planned {
    let changes = changes
        .into_iter()
        .map(|(verb, record)| nahook_control::Change::new(verb, record));
    Planned {
        changes: changes.collect(),
        audit: Vec::new(),
    }
}

fn event_type(id: &str, name: &str, workspace: WorkspaceId) -> Record {
    Record::EventType(EventTypeRecord {
        id: EventTypeId::new(id).expect("an id"),
        workspace,
        name: event_type_name(name),
        description: None,
        created_at: nahook_core::Timestamp::from_millis(1),
    })
}

/// A text that not every store can keep or look for is refused for what it is, by each of them.
pub async fn a_name_that_cannot_be_is_refused<H: ManagementHarness>() {
    let shop = Shop::<H>::empty().await;
    for text in ["\0", "a\0b", "\u{1b}", " ", ""] {
        for (name, external_id) in [(text, "cust-1"), ("ACME", text)] {
            let new = NewApplication {
                name: name.to_owned(),
                external_id: Some(external_id.to_owned()),
                metadata: BTreeMap::new(),
                max_endpoints: None,
                show_event_types: true,
            };
            let refused = act!(shop.create_application(new));
            assert!(
                matches!(refused, Err(ManagementError::Invalid(_))),
                "{name:?} with {external_id:?} is not allowed: {refused:?}"
            );
        }
    }
}

/// A change of several rows of which one cannot be written writes none of them.
pub async fn a_change_is_whole_or_nothing<H: ManagementHarness>() {
    let shop = Shop::<H>::empty().await;
    shop.event_type("order.taken").await;
    let workspace = shop.workspace;
    let plan = written(Vec::new(), move |_| {
        Ok(planned(vec![
            (Verb::Create, event_type("evt_new", "order.new", workspace)),
            (
                Verb::Create,
                event_type("evt_taken", "order.taken", workspace),
            ),
        ]))
    });
    let refused = shop.harness.management().change(&workspace, &plan).await;
    assert!(
        matches!(refused, Err(ManagementError::Conflict(_))),
        "the second name is taken: {refused:?}"
    );
    let rows = shop.read(&[Select::EventTypes]).await;
    assert_eq!(rows.event_types.len(), 1, "the first was not made either");
    shop.expect_subscribers("order.new", None, "nor is it seen elsewhere")
        .await;
}

/// A plan decides by the rows it asked for, as they are.
pub async fn the_plan_sees_what_it_reads<H: ManagementHarness>() {
    let shop = Shop::<H>::empty().await;
    let endpoint = shop.endpoint("a").await;
    let reads = vec![Select::Endpoint(endpoint.id), Select::Environments];
    let plan = written(reads, move |rows| {
        if rows.endpoints == [endpoint.clone()]
            && rows.environments.len() == 1
            && rows.event_types.is_empty()
        {
            Ok(Planned::default())
        } else {
            Err(ManagementError::Conflict(format!("saw {rows:?}")))
        }
    });
    let changed = shop
        .harness
        .management()
        .change(&shop.workspace, &plan)
        .await;
    assert_eq!(
        shop.made(changed),
        [],
        "it saw the endpoint, and changed nothing"
    );
}

/// A plan's refusal is passed on as it is, and nothing changes.
pub async fn a_plan_that_refuses_changes_nothing<H: ManagementHarness>() {
    let shop = Shop::<H>::empty().await;
    let plan = written(vec![Select::EventTypes], |_| {
        Err(ManagementError::EndpointLimit { max: 7 })
    });
    let refused = shop
        .harness
        .management()
        .change(&shop.workspace, &plan)
        .await;
    assert!(
        matches!(refused, Err(ManagementError::EndpointLimit { max: 7 })),
        "the plan's own words: {refused:?}"
    );
    shop.event_type("order.paid").await;
}

/// A row to change or to remove that is not there, or is another workspace's, is not found.
pub async fn a_missing_row_is_not_found<H: ManagementHarness>() {
    let shop = Shop::<H>::empty().await;
    let endpoint = shop.endpoint("a").await;
    shop.event_type("order.paid").await;
    let other = workspace_id("ws_other");
    let foreign = EndpointRecord {
        workspace: other,
        ..endpoint.clone()
    };
    for verb in [Verb::Update, Verb::Remove] {
        for record in [
            event_type("evt_nowhere", "order.nowhere", other),
            Record::Endpoint(foreign.clone()),
        ] {
            let told = record.clone();
            let plan = written(Vec::new(), move |_| {
                Ok(planned(vec![(verb, record.clone())]))
            });
            let refused = shop.harness.management().change(&other, &plan).await;
            assert!(
                matches!(refused, Err(ManagementError::NotFound(_))),
                "{verb:?} of {told:?}: {refused:?}"
            );
        }
    }
    let rows = shop.read(&[Select::Endpoints]).await;
    assert_eq!(
        rows.endpoints,
        [endpoint],
        "ws_shop's endpoint is untouched"
    );
}

/// A name, slug or external id that another row has is a conflict; the same one in another workspace is not.
pub async fn taken_names_are_conflicts<H: ManagementHarness>() {
    let mut shop = Shop::<H>::empty().await;
    shop.event_type("order.paid").await;
    shop.environment("staging").await;
    shop.application(Some("cust-1"), None).await;
    let key = || NewApiKey {
        name: "key".to_owned(),
        ..NewApiKey::default()
    };
    made!(shop.create_api_key(key()));
    let (management, workspace, actor) = (&shop.management, &shop.workspace, &shop.actor);
    let name = event_type_name("order.paid");
    let environment = NewEnvironment {
        name: "again".to_owned(),
        slug: "staging".to_owned(),
    };
    let application = NewApplication {
        name: "again".to_owned(),
        external_id: Some("cust-1".to_owned()),
        metadata: std::collections::BTreeMap::new(),
        max_endpoints: None,
        show_event_types: true,
    };
    let refusals = [
        (
            "name",
            management
                .create_event_type(workspace, actor, name, None)
                .await
                .err(),
        ),
        (
            "slug",
            management
                .create_environment(workspace, actor, environment)
                .await
                .err(),
        ),
        (
            "externalId",
            management
                .create_application(workspace, actor, application)
                .await
                .err(),
        ),
        (
            "name",
            management
                .create_api_key(workspace, actor, key())
                .await
                .err(),
        ),
    ];
    for (field, refused) in refusals {
        let taken = format!("the {field} is taken");
        assert!(
            matches!(&refused, Some(ManagementError::Conflict(message)) if *message == taken),
            "it is said that {taken}: {refused:?}"
        );
    }
    shop.workspace = workspace_id("ws_other");
    shop.event_type("order.paid").await;
    shop.environment("staging").await;
    shop.application(Some("cust-1"), None).await;
}

/// Changes that arrive at the same time are decided one after the other: a limit is never passed.
pub async fn concurrent_changes_keep_the_limit<H: ManagementHarness>() {
    let shop = Shop::<H>::empty().await;
    let application = shop.application(None, Some(3)).await;
    let creating: Vec<_> = (0..8)
        .map(|seed| {
            let management =
                Management::new(shop.harness.management()).with_ids(SeededIds::new(seed + 1));
            let (workspace, actor) = (shop.workspace, shop.actor.clone());
            let new = NewEndpoint {
                url: Some("https://hooks.example/a".to_owned()),
                application: Some(application.id),
                ..NewEndpoint::default()
            };
            tokio::spawn(async move { management.create_endpoint(&workspace, &actor, new).await })
        })
        .collect();
    let mut made = 0;
    for task in creating {
        match task.await.expect("creating does not panic") {
            Ok(_) => made += 1,
            Err(error) => assert!(
                matches!(error, ManagementError::EndpointLimit { max: 3 }),
                "the others are over the limit: {error:?}"
            ),
        }
    }
    assert_eq!(made, 3, "as many as the application may have");
    let rows = shop.read(&[Select::EndpointsOf(application.id)]).await;
    assert_eq!(rows.endpoints.len(), 3, "and no more are there");
}

/// Every change is there after an orderly restart, its audit entries too, unless the store survives none.
pub async fn what_was_changed_survives_a_restart<H: ManagementHarness>() {
    let shop = Shop::<H>::empty().await;
    let endpoint = shop.endpoint("a").await;
    let patch = EndpointPatch {
        is_active: Some(false),
        ..EndpointPatch::default()
    };
    let changed = made!(shop.update_endpoint(endpoint.id, patch));
    let query = nahook_control::AuditQuery {
        limit: 100,
        ..nahook_control::AuditQuery::default()
    };
    let told = shop.management.audit_log(&shop.workspace, &query).await;
    let told = told.expect("the store can be asked");
    let Some(harness) = shop.harness.restart_catalog().await else {
        return;
    };
    let shop = Shop::over(harness, SeededIds::new(2));
    let rows = shop.read(&[Select::Endpoints]).await;
    assert_eq!(rows.endpoints, [changed], "as before the restart");
    let after = shop.management.audit_log(&shop.workspace, &query).await;
    assert_eq!(
        after.expect("the store can be asked"),
        told,
        "as before the restart"
    );
}
