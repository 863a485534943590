//! Support of the management clauses: a workspace, managed.

use std::collections::BTreeMap;

use nahook_control::{
    Actor, ApplicationRecord, Catalog, EndpointDirectory, EndpointRecord, EndpointTarget,
    EnvironmentRecord, Management, ManagementError, NewApplication, NewEndpoint, NewEnvironment,
    Select, Snapshot,
};
use nahook_core::id::{EndpointId, EventTypeId, WorkspaceId};
use nahook_core::{Scope, SubscriptionStore};

use crate::declare::{Workspace, caller, event_type_name, workspace_id};
use crate::{ManagementHarness, SeededIds};

/// Awaits an operation on the shop's workspace: `act!(shop.rotate_secret(id))`.
macro_rules! act {
    ($shop:ident.$operation:ident($($argument:expr),* $(,)?)) => {{
        let (management, workspace, actor) = (&$shop.management, &$shop.workspace, &$shop.actor);
        management.$operation(workspace, actor $(, $argument)*).await
    }};
}

/// Awaits an operation that has to succeed.
macro_rules! made {
    ($shop:ident.$operation:ident($($argument:expr),* $(,)?)) => {
        $shop.made($crate::suite::management::shop::act!($shop.$operation($($argument),*)))
    };
}

pub(crate) use {act, made};

/// A started store with an empty workspace, `ws_shop`.
pub(crate) struct Shop<H: ManagementHarness> {
    pub(crate) harness: H,
    pub(crate) management: Management<H::Management>,
    pub(crate) workspace: WorkspaceId,
    pub(crate) actor: Actor,
}

impl<H: ManagementHarness> Shop<H> {
    pub(crate) async fn empty() -> Self {
        let harness = H::start_catalog().await;
        let manifest = crate::declare::manifest([
            Workspace::new("ws_shop").default_environment(),
            Workspace::new("ws_other").default_environment(),
        ]);
        let applied = harness
            .catalog()
            .apply(&manifest, nahook_control::ApplyMode::Commit)
            .await;
        applied.expect("two empty workspaces can be made");
        // Not the seed that back ends draw from.
        Self::over(harness, SeededIds::new(1_000))
    }

    pub(super) fn over(harness: H, ids: SeededIds) -> Self {
        let management = Management::new(harness.management())
            .with_clock(harness.management_clock().clone())
            .with_ids(ids);
        Self {
            harness,
            management,
            workspace: workspace_id("ws_shop"),
            actor: Actor::operator(),
        }
    }

    pub(super) async fn endpoint(&self, name: &str) -> EndpointRecord {
        let new = NewEndpoint {
            url: Some(format!("https://hooks.example/{name}")),
            ..NewEndpoint::default()
        };
        self.made(
            self.management
                .create_endpoint(&self.workspace, &self.actor, new)
                .await,
        )
    }

    pub(super) async fn event_type(&self, name: &str) -> EventTypeId {
        let made = self
            .management
            .create_event_type(&self.workspace, &self.actor, event_type_name(name), None)
            .await;
        self.made(made).event_type.id
    }

    pub(super) async fn environment(&self, slug: &str) -> EnvironmentRecord {
        let new = NewEnvironment {
            name: slug.to_owned(),
            slug: slug.to_owned(),
        };
        let made = self
            .management
            .create_environment(&self.workspace, &self.actor, new)
            .await;
        self.made(made)
    }

    pub(crate) async fn application(
        &self,
        external_id: Option<&str>,
        max_endpoints: Option<u32>,
    ) -> ApplicationRecord {
        let new = NewApplication {
            name: "customer".to_owned(),
            external_id: external_id.map(str::to_owned),
            metadata: BTreeMap::from([("tier".to_owned(), "gold".to_owned())]),
            max_endpoints,
            show_event_types: true,
        };
        let made = self
            .management
            .create_application(&self.workspace, &self.actor, new)
            .await;
        self.made(made)
    }

    pub(super) async fn subscribe(&self, endpoint: EndpointId, event_types: &[EventTypeId]) {
        let subscribed = self
            .management
            .subscribe(&self.workspace, &self.actor, endpoint, event_types.to_vec())
            .await;
        assert_eq!(self.made(subscribed), event_types.len(), "all of the list");
    }

    pub(super) async fn read(&self, selection: &[Select]) -> Snapshot {
        use nahook_control::ManagementStore as _;
        let rows = self
            .harness
            .management()
            .read(&self.workspace, selection)
            .await;
        rows.expect("the store can be asked")
    }

    /// Returns the endpoints that get events of that type; `None` if there is no such event type.
    pub(super) async fn subscribers(&self, name: &str) -> Option<Vec<EndpointId>> {
        let scope = caller("ws_shop", "key")
            .fan_out_scope()
            .expect("a key of a workspace");
        self.subscribers_within(name, &scope).await
    }

    /// Expects these endpoints to get events of that type; `None` if there is no such event type.
    pub(super) async fn expect_subscribers(
        &self,
        name: &str,
        expected: Option<&[EndpointId]>,
        why: &str,
    ) {
        let found = self.subscribers(name).await;
        assert_eq!(found.as_deref(), expected, "subscribers to {name}: {why}");
    }

    pub(super) async fn subscribers_within(
        &self,
        name: &str,
        scope: &Scope,
    ) -> Option<Vec<EndpointId>> {
        let subscriptions = self.harness.subscriptions();
        let found = subscriptions
            .subscribers(&event_type_name(name), scope)
            .await;
        let found = found.expect("the store can be asked");
        found.map(|found| found.endpoints.to_vec())
    }

    /// The endpoint as a worker sees it.
    pub(super) async fn target(&self, id: EndpointId) -> Option<EndpointTarget> {
        let found = self.harness.endpoints().targets(&[id]).await;
        let found = found.expect("the directory can be asked").remove(0);
        found.map(|target| (*target).clone())
    }

    /// Unwraps the answer of an operation that has to succeed.
    pub(crate) fn made<T>(&self, made: Result<T, ManagementError>) -> T {
        let workspace = self.workspace;
        made.unwrap_or_else(|error| panic!("nothing stands in the way in {workspace}: {error:?}"))
    }
}
