//! The catalog: each call is one transaction, under the workspaces' locks.

mod columns;
mod finding;
pub(crate) mod read;
pub(crate) mod row;
pub(crate) mod select;
pub(crate) mod write;

use std::collections::BTreeSet;

use nahook_control::{
    Actor, ApplyMode, AuditEntry, Catalog, CatalogError, Change, EventTypeRecord, ManagementError,
    Manifest, Record, RowKind, Verb, WorkspaceRecord,
};
use nahook_core::admission::Plan;
use nahook_core::id::{EventTypeId, WorkspaceId};
use nahook_core::{EventTypeName, StoreError};

use crate::error::PgError;
use crate::lender::Lent;
use crate::row::{maybe_parsed_at, value_at};
use crate::schema::LOCK_CLASS;
use crate::secrets::unsealable;
use crate::statement::Opening;
use crate::store::PostgresStore;

/// Each statement sees what was committed before it begins: what is read after a lock is what was written under it. Between
/// its statements this process works out what a manifest changes, which for a large one on a busy machine may take longer
/// than a connection may otherwise sit in a transaction.
pub(crate) const CHANGE: Opening = Opening {
    begin: "BEGIN ISOLATION LEVEL READ COMMITTED",
    further: "SET LOCAL idle_in_transaction_session_timeout = '60s'",
};

/// Why a transaction was not committed.
pub(crate) enum Failure {
    Catalog(CatalogError),
    Database(PgError),
}

impl From<PgError> for Failure {
    fn from(error: PgError) -> Self {
        Self::Database(error)
    }
}

impl From<CatalogError> for Failure {
    fn from(error: CatalogError) -> Self {
        Self::Catalog(error)
    }
}

impl From<Failure> for CatalogError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Catalog(error) => error,
            Failure::Database(error) => Self::Store(error.into()),
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Catalog(CatalogError::Store(error)) => error,
            Failure::Catalog(error) => Self::internal(error),
            Failure::Database(error) => error.into(),
        }
    }
}

impl From<Failure> for ManagementError {
    fn from(failure: Failure) -> Self {
        CatalogError::from(failure).into()
    }
}

#[async_trait::async_trait]
impl Catalog for PostgresStore {
    async fn apply_as(
        &self,
        actor: &Actor,
        manifest: &Manifest,
        mode: ApplyMode,
    ) -> Result<Vec<Change>, CatalogError> {
        let mut lent = self.begin().await?;
        let applied = self.apply_within(&mut lent, actor, manifest, mode).await;
        let changed: BTreeSet<_> = (applied.iter().flatten())
            .map(|change| change.record.workspace())
            .collect();
        let is_kept = applied.is_ok() && mode == ApplyMode::Commit;
        self.end(&mut lent, is_kept, &changed).await?;
        Ok(applied?)
    }

    async fn workspaces(&self) -> Result<Vec<WorkspaceRecord>, StoreError> {
        Ok(read::workspaces(&self.shared().lender).await?)
    }

    async fn ensure_event_type(
        &self,
        name: &EventTypeName,
        workspace: &WorkspaceId,
    ) -> Result<EventTypeId, CatalogError> {
        if let Some(id) = self.find_event_type(name, workspace).await? {
            // Another process may have made it a moment ago, and is heard of later.
            self.shared().signals.cache.forget(workspace);
            return Ok(id);
        }
        let mut lent = self.begin().await?;
        let made = self.make_event_type(&mut lent, name, workspace).await;
        let changed = BTreeSet::from([*workspace]);
        self.end(&mut lent, made.is_ok(), &changed).await?;
        Ok(made?)
    }
}

/// A row if the workspace exists, with the event type's id if that does.
const FIND_EVENT_TYPE: &str = "
SELECT t.id FROM workspace w
LEFT JOIN event_type t ON t.workspace = w.row AND t.name = $2 AND t.deleted_at IS NULL
WHERE w.id = $1";

/// Number of the workspace's event types.
const EVENT_TYPE_COUNT: &str = "
SELECT coalesce(sum(c.rows), 0)::bigint FROM row_count c
WHERE c.kind = 'event_type' AND c.workspace = (SELECT w.row FROM workspace w WHERE w.id = $1)";

impl PostgresStore {
    pub(crate) async fn begin(&self) -> Result<Lent, Failure> {
        let mut lent = self.shared().lender.lend().await?;
        lent.begin(CHANGE).await?;
        Ok(lent)
    }

    /// Ends the transaction; if it is kept, everybody is told which workspaces have changed.
    pub(crate) async fn end(
        &self,
        lent: &mut Lent,
        is_kept: bool,
        changed: &BTreeSet<WorkspaceId>,
    ) -> Result<(), Failure> {
        let ended = self.end_within(lent, is_kept, changed).await;
        // Even if the commit is unclear: what is forgotten without need is looked up again.
        for workspace in changed {
            self.shared().signals.cache.forget(workspace);
        }
        Ok(ended?)
    }

    async fn end_within(
        &self,
        lent: &mut Lent,
        is_kept: bool,
        changed: &BTreeSet<WorkspaceId>,
    ) -> Result<(), PgError> {
        if is_kept {
            let ids: Vec<_> = changed.iter().map(WorkspaceId::as_str).collect();
            let channel = self.shared().settings.schema.as_str();
            lent.query(
                "SELECT pg_notify($1, 'c' || id) FROM unnest($2::text[]) AS id",
                &[&channel, &ids],
            )
            .await?;
        }
        lent.conclude(is_kept).await
    }

    async fn apply_within(
        &self,
        lent: &mut Lent,
        actor: &Actor,
        manifest: &Manifest,
        mode: ApplyMode,
    ) -> Result<Vec<Change>, Failure> {
        let names: Vec<_> = manifest
            .workspaces
            .iter()
            .map(|spec| spec.name.as_str())
            .collect();
        let ids: Vec<_> = manifest
            .workspaces
            .iter()
            .filter_map(|spec| spec.id.as_ref().map(WorkspaceId::as_str))
            .collect();
        self.lock(lent, &names, &ids).await?;
        let mut snapshot = read::snapshot(lent, &names, &ids).await?;
        let shared = self.shared();
        let opened = shared.secrets.open_snapshot(&mut snapshot);
        opened.map_err(unsealable)?;
        let now = shared.clock().now();
        let changes = manifest
            .changes(&snapshot, now, &shared.settings.ids)
            .map_err(CatalogError::from)?;
        let entries = changes
            .iter()
            .map(|change| AuditEntry::of(change, actor, now, &shared.settings.ids));
        let entries: Vec<_> = entries.filter(|_| mode == ApplyMode::Commit).collect();
        let further = write::tell_audit(&entries).into_iter().collect();
        let sealed = shared.secrets.seal_changes(&changes).map_err(unsealable)?;
        write::write(lent, &sealed, further, now).await?;
        Ok(changes)
    }

    /// An entry about what happens now.
    pub(crate) fn audit_entry(
        &self,
        workspace: WorkspaceId,
        actor: &Actor,
        resource: (&str, String),
        done: &str,
    ) -> AuditEntry {
        let shared = self.shared();
        let (now, ids) = (shared.clock().now(), &shared.settings.ids);
        AuditEntry::new(workspace, actor, resource, done, now, ids)
    }

    /// Writes entries in the transaction that is underway.
    pub(crate) async fn tell(
        &self,
        lent: &mut Lent,
        entries: &[AuditEntry],
    ) -> Result<(), Failure> {
        let further = write::tell_audit(entries).into_iter().collect();
        write::write(lent, &[], further, self.shared().clock().now()).await
    }

    /// Waits until nobody else changes these workspaces: by their names as long as they do not exist, by their rows
    /// once they do.
    async fn lock(&self, lent: &mut Lent, names: &[&str], ids: &[&str]) -> Result<(), PgError> {
        let schema = self.shared().settings.schema.as_str();
        lent.query(
            "SELECT pg_advisory_xact_lock($1, hashtext($2 || ' ' || name))
             FROM (SELECT DISTINCT name FROM unnest($3::text[]) AS name ORDER BY name) names",
            &[&LOCK_CLASS, &schema, &names],
        )
        .await?;
        lent.query(
            "SELECT row FROM workspace WHERE name = ANY($1) OR id = ANY($2) ORDER BY row FOR UPDATE",
            &[&names, &ids],
        )
        .await?;
        Ok(())
    }

    async fn find_event_type(
        &self,
        name: &EventTypeName,
        workspace: &WorkspaceId,
    ) -> Result<Option<EventTypeId>, CatalogError> {
        let lender = &self.shared().lender;
        let rows = lender
            .query(FIND_EVENT_TYPE, &[&workspace.as_str(), &name.as_str()])
            .await
            .map_err(StoreError::from)?;
        let Some(row) = rows.first() else {
            return Err(CatalogError::NotFound("workspace"));
        };
        Ok(maybe_parsed_at(row, 0).map_err(StoreError::from)?)
    }

    async fn make_event_type(
        &self,
        lent: &mut Lent,
        name: &EventTypeName,
        workspace: &WorkspaceId,
    ) -> Result<EventTypeId, Failure> {
        self.lock(lent, &[], &[workspace.as_str()]).await?;
        // Read under the lock: another may just have done the same.
        let rows = lent
            .query(FIND_EVENT_TYPE, &[&workspace.as_str(), &name.as_str()])
            .await?;
        let row = rows.first().ok_or(CatalogError::NotFound("workspace"))?;
        if let Some(id) = maybe_parsed_at(row, 0)? {
            return Ok(id);
        }
        let counted = lent.query(EVENT_TYPE_COUNT, &[&workspace.as_str()]).await?;
        let count = counted
            .first()
            .map_or(Ok(0), |row| value_at::<i64>(row, 0))?;
        if count.unsigned_abs() >= RowKind::EventType.max(&Plan::default()) {
            return Err(CatalogError::NotFound("event type").into());
        }
        let now = self.shared().clock().now();
        let ids = &self.shared().settings.ids;
        let record = EventTypeRecord::drawn(name.clone(), *workspace, now, ids);
        let id = record.id;
        let entry = self.audit_entry(
            *workspace,
            &Actor::system(),
            ("event_type", id.to_string()),
            "created",
        );
        let change = Change::new(Verb::Create, Record::EventType(record));
        let further = write::tell_audit(&[entry]).into_iter().collect();
        write::write(lent, &[change], further, now).await?;
        Ok(id)
    }
}
