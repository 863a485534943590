//! The writer's connection and what it remembers of the catalog.

mod room;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use nahook_core::Event;
use nahook_core::id::{EndpointId, WorkspaceId};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use tokio::time::Instant;

use self::rows::Rows;
use super::{Checkpointer, Lengths};
use crate::changes::CatalogState;
use crate::connection::{leave_checkpoints, reopen_writer, set_up_writer};
use crate::error::{WriteEffect, WriteError, is_full, is_of_connection};
use crate::file::OpenFile;
use crate::record::{Endpoints, audience_of};
use crate::row::nanos;
use crate::space::Disk;
use crate::{OpenError, Role, SqliteSettings};

/// The statements that make every cache read a workspace again. The first has its id, and may be repeated for others.
pub(crate) const WORKSPACE_CHANGED: &str = "UPDATE nahook_workspace SET changed_in = 1 + (SELECT version FROM nahook_catalog_state) WHERE id = ?1";
pub(crate) const CATALOG_CHANGED: &str =
    "UPDATE nahook_catalog_state SET version = version + 1, named = named + 1";

/// Interval between attempts at the lock of the file: SQLite's own grow to a tenth of a second, and an app's transaction is
/// seldom longer than this.
const LOCK_RETRY: Duration = Duration::from_millis(1);

/// The connection that writes, used by the writer's thread alone.
#[derive(Debug)]
pub(crate) struct Session {
    /// Ends before the connection does.
    checkpointer: Option<Checkpointer>,
    connection: Connection,
    role: Role,
    /// The file, and the settings to open it again.
    file: Option<(OpenFile, SqliteSettings)>,
    /// The disk of the file.
    disk: Option<Disk>,
    /// The connection has failed in a way that may last.
    is_suspect: bool,
    /// Changes when another connection commits; differs from connection to connection.
    data_version: Option<i64>,
    /// State of the catalog that what is remembered belongs to.
    state: Option<CatalogState>,
    /// What is looked up may be undone without the transaction, and is not remembered.
    is_attempting: bool,
    /// True if this transaction changes the catalog.
    is_catalog_touched: bool,
    /// Number of fresh deliveries, with those that this transaction queues.
    fresh: usize,
    /// Number of transactions of this process that did.
    catalog_changes: Arc<AtomicU64>,
    rows: Rows,
}

impl Session {
    pub(crate) fn new(connection: Connection, role: Role) -> Self {
        Self {
            connection,
            role,
            file: None,
            disk: None,
            is_suspect: false,
            data_version: None,
            checkpointer: None,
            state: None,
            is_attempting: false,
            is_catalog_touched: false,
            fresh: 0,
            catalog_changes: Arc::default(),
            rows: Rows::default(),
        }
    }

    /// Refuses from now on to commit to a file that is no longer at `path`.
    pub(crate) fn bind_to_file(
        &mut self,
        path: &Path,
        settings: &SqliteSettings,
    ) -> Result<(), OpenError> {
        self.file = Some((OpenFile::of(path)?, settings.clone()));
        let mut disk = Disk::of(path, settings)?;
        disk.look();
        self.disk = Some(disk);
        self.data_version = Some(self.read_data_version()?);
        Ok(())
    }

    /// Returns true if another connection has queued events that are yet to be adopted.
    pub(crate) fn has_submissions(&self) -> rusqlite::Result<bool> {
        self.connection
            .prepare("SELECT 1 FROM nahook_submission")?
            .exists([])
    }

    /// Returns true if this process serves the file.
    pub(super) fn serves(&self) -> bool {
        self.role == Role::Server
    }

    /// Returns true if another connection has committed since this was last asked.
    pub(super) fn notice_others(&mut self) -> bool {
        if !self.serves() || self.file.is_none() {
            return false;
        }
        // What cannot be read now is read again with the next look.
        let version = self.read_data_version().ok();
        std::mem::replace(&mut self.data_version, version) != version
    }

    fn read_data_version(&self) -> rusqlite::Result<i64> {
        self.connection
            .prepare_cached("PRAGMA data_version")?
            .query_row([], |row| row.get(0))
    }

    /// Takes the write lock, and waits for it as long as the settings say.
    fn lock(&self) -> rusqlite::Result<()> {
        const BEGIN: &str = "BEGIN IMMEDIATE";
        let Some((_, settings)) = &self.file else {
            return self.execute(BEGIN);
        };
        self.connection.busy_timeout(Duration::ZERO)?;
        let began = Instant::now();
        let locked = loop {
            match self.execute(BEGIN) {
                Err(error)
                    if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                        && began.elapsed() < settings.busy_timeout =>
                {
                    thread::sleep(LOCK_RETRY);
                }
                other => break other,
            }
        };
        self.connection.busy_timeout(settings.busy_timeout)?;
        locked
    }

    /// Starts the thread that checkpoints the WAL.
    pub(crate) fn start_checkpointer(
        &mut self,
        path: &Path,
        settings: &SqliteSettings,
    ) -> Result<(), OpenError> {
        let lengths = Lengths::default();
        let started = Checkpointer::start(path, settings, &self.connection, lengths)?;
        self.checkpointer = Some(started);
        Ok(())
    }

    /// Counts this process's changes of the catalog, each before anybody is told of it.
    pub(crate) fn catalog_changes(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.catalog_changes)
    }

    /// The connection, within a transaction.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Takes the write lock, and forgets what another process has changed.
    ///
    /// Makes the connection anew first if it has failed in a way that may last. `fresh` is the number of fresh deliveries now.
    pub(super) fn begin(&mut self, fresh: usize) -> rusqlite::Result<()> {
        self.fresh = fresh;
        self.look_at_disk();
        if self.is_suspect {
            self.reopen()?;
        }
        let begun = self.begin_and_compare();
        self.is_suspect |= begun.as_ref().is_err_and(is_of_connection);
        begun
    }

    fn begin_and_compare(&mut self) -> rusqlite::Result<()> {
        self.lock()?;
        let compared = self.forget_changed();
        if compared.is_err() {
            self.roll_back();
        }
        compared
    }

    /// Forgets the rows of the workspaces that have changed since the transaction before.
    fn forget_changed(&mut self) -> rusqlite::Result<()> {
        let state = CatalogState::read(&self.connection)?;
        let Some(known) = self.state.filter(|known| known.unnamed == state.unnamed) else {
            self.forget();
            self.state = Some(state);
            return Ok(());
        };
        if known != state {
            let mut changed = self
                .connection
                .prepare_cached("SELECT row FROM nahook_workspace WHERE changed_in > ?1")?;
            for workspace in changed.query_map([known.version], |row| row.get(0))? {
                self.rows.forget(workspace?);
            }
            self.state = Some(state);
        }
        Ok(())
    }

    /// Ends the transaction so that a power cut cannot undo it.
    pub(super) fn commit(&mut self) -> Result<(), WriteError> {
        if let Some((file, _)) = &self.file
            && let Err(error) = file.check()
        {
            self.roll_back();
            return Err(WriteError::new(error, WriteEffect::RolledBack));
        }
        let committed = self.execute("COMMIT");
        // Whatever became of it: it may have taken effect.
        if std::mem::take(&mut self.is_catalog_touched) {
            self.catalog_changes.fetch_add(1, Ordering::Release);
        }
        let Err(error) = committed else {
            return Ok(());
        };
        self.is_suspect |= is_of_connection(&error);
        // Still open: nothing of it is in the log. A full disk: its last page, which makes it count, did not fit.
        // Else the log may end with it although we saw it fail, until something is written over it.
        let was_open = !self.connection.is_autocommit();
        let is_undone = if was_open {
            self.roll_back()
        } else {
            is_full(&error)
        };
        self.forget();
        let effect = if is_undone || self.overwrite_tail().is_ok() {
            WriteEffect::RolledBack
        } else {
            WriteEffect::Unclear
        };
        Err(WriteError::new(error, effect))
    }

    /// To be called once everybody knows that what was committed is.
    pub(super) fn tidy_up(&self) {
        if let Some(checkpointer) = &self.checkpointer {
            checkpointer.committed(&self.connection);
        }
    }

    /// Undoes the transaction. Answers whether that is certain.
    pub(super) fn roll_back(&mut self) -> bool {
        self.forget();
        self.is_attempting = false;
        self.is_catalog_touched = false;
        if !self.connection.is_autocommit() {
            // It fails where SQLite has rolled back by itself.
            let _ = self.execute("ROLLBACK");
        }
        let is_undone = self.connection.is_autocommit();
        self.is_suspect |= !is_undone;
        is_undone
    }

    /// Ends whatever transaction a thread that died has left open. Answers whether there was one.
    pub(super) fn recover(&mut self) -> bool {
        let was_open = !self.connection.is_autocommit();
        self.roll_back();
        was_open
    }

    /// Makes the connection anew. The old one is closed, which rolls back what it has open.
    fn reopen(&mut self) -> rusqlite::Result<()> {
        let Some((file, settings)) = &self.file else {
            return Ok(());
        };
        file.check()?;
        let connection = reopen_writer(file.path(), settings)?;
        set_up_writer(&connection, settings)?;
        if self.checkpointer.is_some() {
            leave_checkpoints(&connection)?;
        }
        self.connection = connection;
        self.data_version = None;
        self.forget();
        self.is_suspect = false;
        Ok(())
    }

    /// Commits something of no meaning: it takes the place of whatever a failed commit left at the log's end.
    fn overwrite_tail(&mut self) -> rusqlite::Result<()> {
        self.lock()?;
        let written = self
            .execute("UPDATE nahook_catalog_state SET overwrites = overwrites + 1")
            .and_then(|()| self.execute("COMMIT"));
        if written.is_err() {
            self.roll_back();
        }
        written
    }

    /// Puts the log into the file and closes it.
    pub(super) fn close(mut self) -> rusqlite::Result<()> {
        if self.checkpointer.take().is_some_and(Checkpointer::end) {
            let no_checkpoint = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
            self.connection.set_db_config(no_checkpoint, true)?;
            return self.connection.close().map_err(|(_, error)| error);
        }
        // A tool that closes must not hold up the server that writes beside it. Another process that reads makes this
        // incomplete, which is no error: the log stays.
        let statement = match self.role {
            Role::Server => "PRAGMA wal_checkpoint(TRUNCATE)",
            Role::Tool => "PRAGMA wal_checkpoint(PASSIVE)",
        };
        let checkpoint = self.connection.query_row(statement, [], |_| Ok(()));
        self.connection.close().map_err(|(_, error)| error)?;
        checkpoint
    }

    /// Says that this transaction changes these workspaces, so that every cache reads them again.
    pub(crate) fn touch_catalog(
        &mut self,
        workspaces: impl IntoIterator<Item = WorkspaceId>,
    ) -> rusqlite::Result<()> {
        let workspaces: BTreeSet<WorkspaceId> = workspaces.into_iter().collect();
        if workspaces.is_empty() {
            return Ok(());
        }
        for id in workspaces {
            if let Some(row) = self.workspace(id)? {
                self.rows.forget(row);
            }
            self.connection
                .prepare_cached(WORKSPACE_CHANGED)?
                .execute([id.as_str()])?;
        }
        self.is_catalog_touched = true;
        self.execute(CATALOG_CHANGED)
    }

    /// Runs `work` so that it can be undone without undoing its siblings: an `Err` within leaves no trace.
    pub(crate) fn attempt<T, E>(
        &mut self,
        work: impl FnOnce(&mut Self) -> rusqlite::Result<Result<T, E>>,
    ) -> rusqlite::Result<Result<T, E>> {
        self.execute("SAVEPOINT attempt")?;
        self.is_attempting = true;
        let outcome = work(self);
        self.is_attempting = false;
        let outcome = outcome?;
        if outcome.is_err() {
            self.execute("ROLLBACK TO attempt")?;
        }
        self.execute("RELEASE attempt")?;
        Ok(outcome)
    }

    /// The endpoint's row, if it exists in that workspace's row.
    pub(crate) fn endpoint(
        &mut self,
        id: EndpointId,
        workspace: i64,
    ) -> rusqlite::Result<Option<i64>> {
        if let Some(row) = self.rows.endpoint(workspace, id) {
            return Ok(Some(row));
        }
        let found: Option<i64> = self
            .connection
            .prepare_cached(
                "SELECT row FROM nahook_endpoint WHERE id = ?1 AND workspace = ?2 AND deleted_at IS NULL",
            )?
            .query_row(params![id.as_str(), workspace], |row| row.get(0))
            .optional()?;
        if let Some(row) = found
            && !self.is_attempting
        {
            self.rows.add_endpoint(workspace, id, row);
        }
        Ok(found)
    }

    /// The endpoint's row, if it exists in that workspace's row or did so before it was deleted.
    pub(crate) fn endpoint_ever(
        &mut self,
        id: EndpointId,
        workspace: i64,
    ) -> rusqlite::Result<Option<i64>> {
        if let Some(row) = self.endpoint(id, workspace)? {
            return Ok(Some(row));
        }
        self.connection
            .prepare_cached("SELECT row FROM nahook_endpoint WHERE id = ?1 AND workspace = ?2")?
            .query_row(params![id.as_str(), workspace], |row| row.get(0))
            .optional()
    }

    /// The workspace's row, if it exists.
    pub(crate) fn workspace(&mut self, id: WorkspaceId) -> rusqlite::Result<Option<i64>> {
        if let Some(row) = self.rows.workspace(id) {
            return Ok(Some(row));
        }
        let found: Option<i64> = self
            .connection
            .prepare_cached("SELECT row FROM nahook_workspace WHERE id = ?1")?
            .query_row([id.as_str()], |row| row.get(0))
            .optional()?;
        if let Some(row) = found
            && !self.is_attempting
        {
            self.rows.add_workspace(id, row);
        }
        Ok(found)
    }

    /// The row of the event's type, if it has one. One that is gone, or was never here, gets the row of a deleted one: the event keeps
    /// its type's name all the same.
    pub(crate) fn event_type(
        &mut self,
        event: &Event,
        workspace: i64,
    ) -> rusqlite::Result<Option<i64>> {
        let Some(event_type) = &event.event_type else {
            return Ok(None);
        };
        if let Some(row) = self.rows.event_type(workspace, event_type.id) {
            return Ok(Some(row));
        }
        let found: Option<i64> = self
            .connection
            .prepare_cached("SELECT row FROM nahook_event_type WHERE id = ?1")?
            .query_row([event_type.id.as_str()], |row| row.get(0))
            .optional()?;
        let row = if let Some(row) = found {
            row
        } else {
            self.connection
                .prepare_cached(
                    "INSERT INTO nahook_event_type (id, workspace, name, created_at, deleted_at)
                     VALUES (?1, ?2, ?3, ?4, ?4)",
                )?
                .execute(params![
                    event_type.id.as_str(),
                    workspace,
                    event_type.name.as_str(),
                    nanos(event.accepted_at),
                ])?;
            self.connection.last_insert_rowid()
        };
        if !self.is_attempting {
            self.rows.add_event_type(workspace, event_type.id, row);
        }
        Ok(Some(row))
    }

    /// The row of the audience of these endpoints, which is made if there is none.
    pub(crate) fn audience(&mut self, endpoints: Endpoints) -> rusqlite::Result<i64> {
        if let Some(row) = self.rows.audience(&endpoints) {
            return Ok(row);
        }
        let row = audience_of(&self.connection, &endpoints)?;
        if !self.is_attempting {
            self.rows.add_audience(endpoints, row);
        }
        Ok(row)
    }

    /// Audiences are about to be removed.
    pub(crate) fn forget_audiences(&mut self) {
        self.rows.forget_audiences();
    }

    fn forget(&mut self) {
        self.state = None;
        self.rows = Rows::default();
    }

    fn execute(&self, statement: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(statement)?.execute([])?;
        Ok(())
    }
}
