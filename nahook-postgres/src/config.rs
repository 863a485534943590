//! Settings of a store.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use nahook_control::MasterKeys;
use nahook_core::{Clock, IdSource, RandomIds, SystemClock};
use nahook_supervision::Supervisor;

/// Number of connections that a store cannot do without: one that answers queries, one that publishes, one
/// that listens.
pub(crate) const NEEDED: usize = 3;

/// The store's numbers, choices and components.
///
/// Connections: `pool` for look-ups, leases and the catalog, `writers` that publish, one that listens, and one of the rate
/// limiter if it is used: eight in all by default. More seldom help and often harm. Where the server allows fewer for the
/// role, the database or altogether, fewer are used: three are needed.
#[derive(Clone)]
#[non_exhaustive]
pub struct PostgresSettings {
    /// The schema that everything is kept in: `nahook`. 1 to 63 bytes, without `$`, `{`, `}` and NUL.
    pub schema: String,
    /// Brings an outdated schema up to date when connecting. If false, the schema has to be current.
    pub migrate: bool,
    /// Number of connections that answer queries side by side; at least 1.
    pub pool: usize,
    /// Number of connections that publish side by side; at least 1.
    pub writers: usize,
    /// Upper bound on the store's connections, three or more: for processes that share what the server allows. Without it,
    /// what the server allows is the bound.
    pub connections_max: Option<usize>,
    /// URL of the server itself, to listen for changes, if the store's own URL leads through a pooler in transaction
    /// mode. It has to lead to the same database. Without it look-ups are not cached there, and workers poll every
    /// second.
    pub direct_url: Option<String>,
    /// The operator's keys, with which the database's secrets are sealed. Without any they are kept as they are; a database
    /// that was sealed needs one. Processes that share a database need the same.
    pub secret_keys: Option<MasterKeys>,
    /// Runs the store's loops. A server gives its own, so that its readiness check knows of them.
    pub supervisor: Supervisor,
    /// Timeout of waiting for a connection of the pool, and of making a new one.
    pub connect_timeout: Duration,
    /// Timeout of a statement, enforced by the server. Shorter than the engine's deadline of 5 s, so that a statement
    /// that has not finished by then is known to have written nothing.
    pub statement_timeout: Duration,
    /// Timeout of waiting for a lock, enforced by the server.
    pub lock_timeout: Duration,
    /// Upper bound on the endpoint ids and keys that the caches of look-ups hold together; 0 asks the database every
    /// time.
    pub cache_len_max: usize,
    /// Duration for which an event and its deliveries are kept after it was accepted (contract: 7 days). An event that
    /// is not settled yet is kept until it is, whatever its age.
    pub retention: Duration,
    /// Duration for which the audit log keeps an entry: 90 days.
    pub audit_retention: Duration,
    /// Interval at which rows that have passed their retention are removed; zero never does.
    pub retention_interval: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
}

impl PostgresSettings {
    /// Keeps everything in the schema with this name.
    #[must_use]
    pub fn with_schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// Reads the time of day from `clock`. Processes that share a database should agree within a second or so.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Draws ids from `ids`.
    #[must_use]
    pub fn with_ids(mut self, ids: impl IdSource + 'static) -> Self {
        self.ids = Arc::new(ids);
        self
    }
}

impl Default for PostgresSettings {
    fn default() -> Self {
        Self {
            schema: "nahook".to_owned(),
            migrate: true,
            pool: 4,
            writers: 2,
            connections_max: None,
            direct_url: None,
            secret_keys: None,
            supervisor: Supervisor::new(),
            connect_timeout: Duration::from_secs(3),
            statement_timeout: Duration::from_secs(3),
            lock_timeout: Duration::from_secs(1),
            cache_len_max: 1_000_000,
            retention: Duration::from_hours(7 * 24),
            audit_retention: Duration::from_hours(90 * 24),
            retention_interval: Duration::from_mins(1),
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
        }
    }
}

impl fmt::Debug for PostgresSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSettings")
            .field("schema", &self.schema)
            .field("migrate", &self.migrate)
            .field("pool", &self.pool)
            .field("writers", &self.writers)
            .field("connections_max", &self.connections_max)
            .field("has_direct_url", &self.direct_url.is_some())
            .field("secret_keys", &self.secret_keys)
            .field("connect_timeout", &self.connect_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .field("lock_timeout", &self.lock_timeout)
            .field("cache_len_max", &self.cache_len_max)
            .field("retention", &self.retention)
            .field("audit_retention", &self.audit_retention)
            .field("retention_interval", &self.retention_interval)
            .finish_non_exhaustive()
    }
}
