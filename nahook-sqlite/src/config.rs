//! Settings of a store.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use nahook_control::MasterKeys;
use nahook_core::{Clock, IdSource, RandomIds, SystemClock};
use nahook_supervision::Supervisor;

/// The store's numbers, choices and components.
#[derive(Clone)]
#[non_exhaustive]
pub struct SqliteSettings {
    /// Use that this process makes of the file.
    pub role: Role,
    /// Accepts a file that another program has made, and adds the store's tables to it: their names begin with `nahook_`. A
    /// transaction of that program may then [queue webhooks](crate::SqliteStore::trigger_in). Otherwise such a file is
    /// refused, until it has these tables.
    pub shares_file: bool,
    /// Duration to wait for another process that writes, or that still has the file open as its server.
    pub busy_timeout: Duration,
    /// Interval at which a server looks for what other connections have queued without [saying so](crate::SqliteStore::adopt).
    pub watch_interval: Duration,
    /// Number of connections that answer queries side by side; at least 1.
    pub readers: usize,
    /// Upper bound on the endpoint ids and keys that the caches of look-ups hold together.
    pub cache_len_max: usize,
    /// Largest number of pages of 4 KiB in the file: writes that need more fail as on a full disk.
    ///
    /// Publishing fails so earlier: a quarter of the pages, and what a first attempt of every fresh delivery takes, are
    /// left to settlements.
    pub pages_max: Option<u32>,
    /// Bytes of the file's disk that publishing leaves free: below them it fails as on a full disk, while settlements, retention and
    /// changes of the catalog go on. 5 % of the disk and at most 256 MiB unless set. Half of it, at most 16 MiB, is held by a file
    /// beside the store's that is removed when the disk is full. Zero turns this off.
    pub disk_free_min: Option<u64>,
    /// About the number of deliveries that wait and are kept in memory, for all endpoints together: a million, of 16 bytes each. Each
    /// endpoint has its share, and 32 in any case. Those behind them are read from the file when their turn comes.
    pub known_max: usize,
    /// Duration for which an event with its settled deliveries is kept, counted from its acceptance.
    pub retention: Duration,
    /// Duration for which entries of the audit log are kept.
    pub audit_retention: Duration,
    /// Interval at which a server removes what has passed its retention; zero never does.
    pub retention_interval: Duration,
    /// Checks the whole file when opening it, which reads all of it.
    pub verify: bool,
    /// The operator's keys, with which the file's secrets are sealed. Without any they are kept as they are; a file that was
    /// sealed needs one.
    pub secret_keys: Option<MasterKeys>,
    /// Runs the store's threads and starts those again that end; one of its own unless set.
    pub supervisor: Supervisor,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
}

/// Use that a process makes of the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Publishes and delivers. One process at a time: leases live in its memory.
    Server,
    /// Reads and changes the catalog, beside a server or without one. Publishing and leasing are refused.
    Tool,
}

impl SqliteSettings {
    /// The settings of a server.
    pub fn server() -> Self {
        Self::for_role(Role::Server)
    }

    /// The settings of a tool that runs beside a server.
    pub fn tool() -> Self {
        Self::for_role(Role::Tool)
    }

    /// Reads the time of day from `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Draws ids and lease tokens from `ids`.
    #[must_use]
    pub fn with_ids(mut self, ids: impl IdSource + 'static) -> Self {
        self.ids = Arc::new(ids);
        self
    }

    fn for_role(role: Role) -> Self {
        Self {
            role,
            shares_file: false,
            busy_timeout: Duration::from_secs(3),
            watch_interval: Duration::from_millis(500),
            readers: 2,
            cache_len_max: 1_000_000,
            pages_max: None,
            disk_free_min: None,
            known_max: 1 << 20,
            retention: Duration::from_hours(7 * 24),
            audit_retention: Duration::from_hours(90 * 24),
            retention_interval: Duration::from_mins(1),
            verify: false,
            secret_keys: None,
            supervisor: Supervisor::new(),
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
        }
    }
}

impl Default for SqliteSettings {
    fn default() -> Self {
        Self::server()
    }
}

impl fmt::Debug for SqliteSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteSettings")
            .field("role", &self.role)
            .field("shares_file", &self.shares_file)
            .field("busy_timeout", &self.busy_timeout)
            .field("watch_interval", &self.watch_interval)
            .field("readers", &self.readers)
            .field("cache_len_max", &self.cache_len_max)
            .field("pages_max", &self.pages_max)
            .field("disk_free_min", &self.disk_free_min)
            .field("known_max", &self.known_max)
            .field("retention", &self.retention)
            .field("audit_retention", &self.audit_retention)
            .field("retention_interval", &self.retention_interval)
            .field("verify", &self.verify)
            .field("secret_keys", &self.secret_keys)
            .finish_non_exhaustive()
    }
}
