//! The store: what an application holds.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nahook_control::{MasterKeys, RotateError, SecretBox};
use nahook_core::{Clock, IdSource, StoreError, Timestamp};
use nahook_queue::LeaseToken;
use nahook_supervision::{Loop, Supervisor};

use crate::cache::{KeyCache, SubscriberCache, TargetCache};
use crate::connection::{open_writer, set_up_writer};
use crate::error::Closed;
use crate::file::FileId;
use crate::lock::ServerLock;
use crate::queue::{Leaser, Queue};
use crate::readers::Readers;
use crate::retention::Retention;
use crate::schema::{MIGRATIONS, SchemaState, inspect, migrate};
use crate::secrets;
use crate::space::{DiskSpace, Found};
use crate::threads::Threads;
use crate::writer::{Session, Writer};
use crate::{OpenError, Role, SqliteSettings, WriterStats};

/// Every port of `nahook-core` on one SQLite file.
///
/// A clone is a handle to the same store. Dropping the last one finishes what has been begun and closes the file, which
/// takes as long as the disk does.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    shared: Arc<Shared>,
}

/// State shared by all handles. Fields drop from top to bottom: users of the file go before its lock.
pub(crate) struct Shared {
    _retention: Option<Retention>,
    leaser: Option<Threads<Leaser>>,
    readers: Readers,
    writer: Writer,
    queue: Arc<Queue>,
    pub(crate) subscribers: SubscriberCache,
    pub(crate) keys: KeyCache,
    pub(crate) targets: TargetCache,
    is_closed: AtomicBool,
    lock: Mutex<Option<ServerLock>>,
    role: Role,
    secrets: SecretBox,
    file: FileId,
    disk: Option<Arc<Found>>,
    supervisor: Supervisor,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
}

impl SqliteStore {
    /// Opens the file, makes it if there is none, and brings an older schema up to date.
    ///
    /// Reads and writes files: not for a thread that must not block. On an error nothing has been changed in the file,
    /// except that a schema may have been brought up to date by whole versions.
    pub fn open(path: impl AsRef<Path>, settings: SqliteSettings) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let (connection, lock) = prepare(path, &settings)?;
        let secrets = secrets::open(&connection, settings.secret_keys.as_ref())?;
        let first_token = u64::try_from(settings.ids.random() >> 64).unwrap_or_default();
        let queue = Arc::new(Queue::new(LeaseToken(first_token), settings.known_max));
        let leaser = match settings.role {
            Role::Server => {
                let leaser = Leaser::open(path, &settings, Arc::clone(&queue))?;
                let (supervisor, which) = (&settings.supervisor, Loop::SqliteLeaser);
                Some(Threads::start(
                    supervisor,
                    which,
                    "nahook-leaser",
                    vec![leaser],
                )?)
            }
            Role::Tool => None,
        };
        let mut session = Session::new(connection, settings.role);
        session.bind_to_file(path, &settings)?;
        let file = FileId::of(path)?;
        let has_submissions = session.has_submissions()?;
        if settings.role == Role::Server {
            session.start_checkpointer(path, &settings)?;
        }
        let (catalog_changes, disk) = (session.catalog_changes(), session.disk());
        let writer = Writer::start(session, Arc::clone(&queue), &settings)?;
        if has_submissions && settings.role == Role::Server {
            writer.adopt();
        }
        let retention = match settings.role {
            Role::Server => Retention::start(path, &settings, writer.orders(), &secrets)?,
            Role::Tool => None,
        };
        let shared = Shared {
            _retention: retention,
            leaser,
            readers: Readers::open(path, &settings, catalog_changes)?,
            writer,
            queue,
            subscribers: SubscriberCache::new("subscribers", settings.cache_len_max),
            keys: KeyCache::new("callers", settings.cache_len_max),
            targets: TargetCache::new("endpoints", settings.cache_len_max),
            is_closed: AtomicBool::new(false),
            lock: Mutex::new(lock),
            role: settings.role,
            secrets,
            file,
            disk,
            supervisor: settings.supervisor,
            clock: settings.clock,
            ids: settings.ids,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Finishes the writes in flight, checkpoints the WAL and lets another process serve the file. From then on every
    /// handle's calls that write or lease are refused.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.shared.is_closed.store(true, Ordering::Release);
        let closed = self.shared.writer.close().await;
        let mut lock = self
            .shared
            .lock
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *lock = None;
        closed
    }

    /// Returns the counts of the writer's work so far.
    pub fn writer_stats(&self) -> WriterStats {
        self.shared.writer.stats()
    }

    /// Returns the space on the file's disk, as the thread that writes found it last: less than a second ago unless a write takes
    /// that long.
    pub fn disk_space(&self) -> DiskSpace {
        let disk = self.shared.disk.as_ref();
        disk.map(|disk| disk.space()).unwrap_or_default()
    }

    /// Seals and opens what the store keeps.
    pub fn secrets(&self) -> &SecretBox {
        &self.shared.secrets
    }

    /// Wraps the store's key with the first of these, which one of them has wrapped before. Returns false if it already
    /// was. A process that has the store open goes on as it was; its next start needs the new key.
    pub async fn rotate_master_key(&self, master: &MasterKeys) -> Result<bool, RotateError> {
        let master = master.clone();
        let rotate = move |session: &mut Session| secrets::rotate(session.connection(), &master);
        let rotated = self.shared.writer.run(rotate).await;
        Ok(rotated.map_err(RotateError::Store)??)
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl Shared {
    pub(crate) fn readers(&self) -> &Readers {
        &self.readers
    }

    pub(crate) fn writer(&self) -> &Writer {
        &self.writer
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    pub(crate) fn leaser(&self) -> Result<&Threads<Leaser>, StoreError> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(Closed.into());
        }
        self.leaser
            .as_ref()
            .ok_or_else(|| StoreError::internal(NotServing))
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    pub(crate) fn secrets(&self) -> &SecretBox {
        &self.secrets
    }

    /// Returns true if the path leads to the store's file.
    pub(crate) fn is_file(&self, path: &Path) -> bool {
        FileId::of(path).is_ok_and(|file| file == self.file)
    }

    pub(crate) fn ids(&self) -> &dyn IdSource {
        &*self.ids
    }

    pub(crate) fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn shared_clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    pub(crate) fn shared_ids(&self) -> Arc<dyn IdSource> {
        Arc::clone(&self.ids)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// A tool has the file open, and leases live in the server's memory.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("only a server queues and leases deliveries")]
struct NotServing;

/// Opens the connection that writes, once the file is known to be ours to use.
fn prepare(
    path: &Path,
    settings: &SqliteSettings,
) -> Result<(rusqlite::Connection, Option<ServerLock>), OpenError> {
    let mut connection = open_writer(path, settings)?;
    let standing = inspect(&connection, MIGRATIONS, settings.shares_file)?;
    let lock = match (settings.role, standing) {
        (Role::Tool, SchemaState::Current) => None,
        // Nobody changes the schema under a running server.
        (Role::Server, _) | (Role::Tool, SchemaState::Outdated) => {
            Some(ServerLock::take(path, settings.busy_timeout)?)
        }
    };
    if settings.verify {
        verify(&connection)?;
    }
    set_up_writer(&connection, settings)?;
    migrate(&mut connection, MIGRATIONS)?;
    let lock = lock.filter(|_| settings.role == Role::Server);
    Ok((connection, lock))
}

fn verify(connection: &rusqlite::Connection) -> Result<(), OpenError> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" {
        Ok(())
    } else {
        Err(OpenError::Corrupt)
    }
}
