//! Every rule of the Management API (contract, section 2), decided over the store in memory.
#![cfg(test)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "test code outside of the test functions, which hands its results over"
)]

/// Awaits an operation on the shop's workspace: `act!(shop.rotate_secret(id))`.
macro_rules! act {
    ($shop:ident.$operation:ident($($argument:expr),* $(,)?)) => {{
        let (management, workspace, actor) = (&$shop.management, &$shop.workspace, &$shop.actor);
        management.$operation(workspace, actor $(, $argument)*).await
    }};
}

mod applications;
mod audit;
mod dry_run;
mod endpoints;
mod environments;
mod event_types;
mod key_states;
mod keys;
mod portal;
mod subscriptions;

use std::sync::Arc;

use nahook_control::{
    Actor, ApplyMode, Catalog, EndpointRecord, Management, ManagementError, NewEndpoint,
};
use nahook_core::id::{EventTypeId, WorkspaceId};
use nahook_memory::MemoryStore;
use nahook_testkit::declare::{Workspace, event_type_name, workspace_id};
use nahook_testkit::{ManualClock, SeededIds};

/// An empty workspace, managed.
struct Shop {
    store: MemoryStore,
    clock: ManualClock,
    management: Management<MemoryStore>,
    workspace: WorkspaceId,
    actor: Actor,
}

impl Shop {
    async fn empty() -> Self {
        let clock = ManualClock::default();
        let store = MemoryStore::new(Arc::new(clock.clone()), Arc::new(SeededIds::default()));
        let manifest = Workspace::new("ws_shop").default_environment().manifest();
        store.apply(&manifest, ApplyMode::Commit).await.unwrap();
        let management = Management::new(store.clone())
            .with_clock(clock.clone())
            .with_ids(SeededIds::new(1));
        Self {
            store,
            clock,
            management,
            workspace: workspace_id("ws_shop"),
            actor: Actor::operator(),
        }
    }

    async fn create(&self, new: NewEndpoint) -> Result<EndpointRecord, ManagementError> {
        act!(self.create_endpoint(new))
    }

    async fn endpoint(&self) -> EndpointRecord {
        self.create(webhook()).await.unwrap()
    }

    async fn event_type(&self, name: &str) -> EventTypeId {
        let made = act!(self.create_event_type(event_type_name(name), None));
        made.unwrap().event_type.id
    }
}

fn webhook() -> NewEndpoint {
    NewEndpoint {
        url: Some("https://hooks.example/a".to_owned()),
        ..NewEndpoint::default()
    }
}

/// Expects that the value is refused, by a message that has these words.
#[track_caller]
fn expect_invalid<T: std::fmt::Debug>(result: Result<T, ManagementError>, words: &str) {
    match result {
        Err(ManagementError::Invalid(message)) => {
            assert!(
                message.contains(words),
                "{message:?} says nothing of {words:?}"
            );
        }
        other => panic!("{words}: {other:?}"),
    }
}

#[track_caller]
fn expect_conflict<T: std::fmt::Debug>(result: Result<T, ManagementError>) {
    assert!(
        matches!(result, Err(ManagementError::Conflict(_))),
        "{result:?}"
    );
}

#[track_caller]
fn expect_not_found<T: std::fmt::Debug>(result: Result<T, ManagementError>, what: &str) {
    assert!(
        matches!(result, Err(ManagementError::NotFound(missing)) if missing == what),
        "no such {what}: {result:?}"
    );
}
