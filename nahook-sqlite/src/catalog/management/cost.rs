//! What each operation costs: the instructions of SQLite's machine, in a small workspace and in a large one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use nahook_control::{Catalog as _, Management};
use nahook_core::SystemClock;
use nahook_testkit::costs;

use super::*;
use crate::{Role, SqliteSettings};

/// A store whose one connection counts what it does.
#[derive(Clone)]
struct Counting {
    session: Arc<Mutex<Session>>,
    instructions: Arc<AtomicU64>,
    secrets: SecretBox,
}

#[async_trait::async_trait]
impl ManagementStore for Counting {
    async fn read(
        &self,
        workspace: &WorkspaceId,
        selection: &[Select],
    ) -> Result<Snapshot, StoreError> {
        let session = self.session.lock().unwrap();
        let mut rows = selected(session.connection(), *workspace, selection).unwrap();
        self.secrets.open_snapshot(&mut rows).unwrap();
        Ok(rows)
    }

    async fn change(
        &self,
        workspace: &WorkspaceId,
        plan: &Arc<dyn ChangePlan>,
    ) -> Result<Vec<Change>, ManagementError> {
        let mut session = self.session.lock().unwrap();
        let now = Timestamp::from_millis(1_000);
        session
            .attempt(|session| change(session, &self.secrets, *workspace, &**plan, now))
            .unwrap()
    }

    async fn audit_log(
        &self,
        workspace: &WorkspaceId,
        query: &AuditQuery,
    ) -> Result<AuditPage, StoreError> {
        let session = self.session.lock().unwrap();
        Ok(audit::page(session.connection(), *workspace, query).unwrap())
    }

    async fn find_endpoints(
        &self,
        workspace: &WorkspaceId,
        query: &EndpointQuery,
    ) -> Result<EndpointPage, StoreError> {
        let session = self.session.lock().unwrap();
        Ok(finding::page(session.connection(), *workspace, query).unwrap())
    }
}

/// A workspace with so many rows of every kind, on a connection that counts.
async fn workspace_with(rows: usize) -> (Counting, tempfile::TempDir) {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("nahook.db");
    let store = SqliteStore::open(&path, SqliteSettings::server()).unwrap();
    let manifest = costs::workspace_with(rows);
    store
        .apply(&manifest, nahook_control::ApplyMode::Commit)
        .await
        .unwrap();
    let secrets = store.secrets().clone();
    drop(store);
    let connection = rusqlite::Connection::open(&path).unwrap();
    let instructions = Arc::<AtomicU64>::default();
    let counted = Arc::clone(&instructions);
    connection
        .progress_handler(
            1,
            Some(move || {
                counted.fetch_add(1, Ordering::Relaxed);
                false
            }),
        )
        .unwrap();
    let session = Arc::new(Mutex::new(Session::new(connection, Role::Server)));
    (
        Counting {
            session,
            instructions,
            secrets,
        },
        place,
    )
}

/// Instructions of each operation by its name.
async fn measured(rows: usize) -> BTreeMap<&'static str, u64> {
    let (store, _place) = workspace_with(rows).await;
    let management = Management::new(store.clone()).with_clock(SystemClock);
    costs::costs(&management, || store.instructions.load(Ordering::Relaxed)).await
}

#[tokio::test]
async fn no_operation_costs_more_in_a_large_workspace() {
    let (small, large) = (measured(10).await, measured(3_000).await);
    assert_eq!(small.len(), large.len());
    for ((operation, small), large) in small.iter().zip(large.values()) {
        assert!(
            *large <= 2 * small,
            "{operation}: {small} and {large} instructions"
        );
    }
}

#[tokio::test]
async fn every_operation_is_measured_or_a_list() {
    let source = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../nahook-control/src/operations"
    );
    costs::assert_complete(&measured(10).await, source.as_ref());
}
