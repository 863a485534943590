//! Settings of publisher and queue.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::Authentication;
use nahook_core::{Clock, IdSource, RandomIds, SystemClock};
use nahook_supervision::Supervisor;

/// Settings and components of publisher and queue.
///
/// The settings of the streams (`prefix`, `replicas`, `storage` and the limits) must be the same in every process: a stream
/// that exists with other settings is refused, never changed.
#[derive(Clone)]
#[non_exhaustive]
pub struct NatsSettings {
    /// Start of every subject: `nahook`. Letters, digits, `-`, `_`, and dots between them. The streams are named
    /// after it in capitals: `NAHOOK_DELIVERIES` and so on.
    pub prefix: String,
    /// Number of servers of the cluster that keep each stream: 1, 3 or 5.
    pub replicas: usize,
    /// Storage of the streams.
    pub storage: Storage,
    /// Most bytes of deliveries that wait for a worker; publishing beyond that fails and nothing is lost. No limit by default.
    pub bytes_max: Option<u64>,
    /// Most records of deliveries that wait for a worker, likewise.
    pub records_max: Option<u64>,
    /// Age at which the server drops a delivery that waits for a worker. A dropped delivery is lost: no limit by default.
    pub age_max: Option<Duration>,
    /// Age at which dead letters are removed: 30 days.
    pub dead_letters_age_max: Duration,
    /// Most bytes of dead letters, of which the oldest are removed first: 1 GiB.
    pub dead_letters_bytes_max: u64,
    /// Most bytes of notes on the progress of records, of which the oldest are removed first: 64 MiB.
    pub progress_bytes_max: u64,
    /// True, the default, if this process publishes. Its rights to do so are checked when connecting.
    pub publishes: bool,
    /// True, the default, if this process delivers, likewise.
    pub delivers: bool,
    /// Runs the loops; a supervisor of its own by default.
    pub supervisor: Supervisor,
    /// True if the workers write log entries to a stream, for [`NatsLog`](crate::NatsLog) to record. False by default:
    /// somebody has to read them.
    pub log: bool,
    /// Most bytes of log entries, of which the oldest are removed first: 1 GiB. Entries are lost to the log only if the store
    /// fails for so long that this is not enough.
    pub log_bytes_max: u64,
    /// Time for which the server remembers the ids of records, to drop a repeated one: 2 minutes.
    pub duplicate_window: Duration,
    /// Most deliveries of a record: 500.
    pub record_len_max: usize,
    /// Most records that are in flight, unacknowledged, at a time: 8. Deliveries that are published meanwhile share the next
    /// ones.
    pub records_in_flight: usize,
    /// Time for which a record is sent again that the server is known not to have stored: while there is no connection, no
    /// leader, or no answer from JetStream. 2 s; well below the engine's deadline.
    pub publish_patience: Duration,
    /// Timeout of the server's answers to calls of the queue: 5 s.
    pub answer_timeout: Duration,
    /// Time after which the server hands a record to another process unless its holder shows a sign of life: 10 s. The
    /// deliveries that a killed worker had in flight are attempted again that much later.
    pub ack_wait: Duration,
    /// Most records that a process holds: 16,384. Within them it is fair between endpoints.
    pub window_records_max: usize,
    /// Most deliveries that a process holds: 65,536.
    pub window_len_max: usize,
    /// Most bytes of records that a process holds: 64 MiB.
    pub window_bytes_max: usize,
    /// A retry that is due within this time stays in its record; a later one moves to the stream of retries. 1 minute.
    pub keep_retries_for: Duration,
    /// Authentication of the streams' messages among the processes of a store; none by default.
    pub authentication: Authentication,
    /// Credentials for the server; user and password or a token may be in its URL instead.
    pub credentials: Credentials,
    /// Protection of the connection.
    pub tls: Tls,
    /// Timeout of making a connection: 3 s.
    pub connect_timeout: Duration,
    /// Time for which an opening waits for a cluster to elect its leaders and to hear of its peers: 30 s.
    pub election_patience: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
}

/// Storage of the streams.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Storage {
    /// Files.
    File,
    /// Memory: the streams end with the last server that has a replica.
    Memory,
}

/// Credentials for the server.
#[derive(Clone, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Credentials {
    /// None, or those of the URL.
    #[default]
    None,
    /// A file as `nsc` writes it, with a JWT and a seed.
    File(PathBuf),
    /// Seed of an nkey (`SU…`): signs the server's challenge and never leaves the process.
    NkeySeed(String),
    /// A token.
    Token(String),
    /// A user's name and password.
    User(String, String),
}

/// Protection of the connection. A URL with `tls://` asks for TLS as well.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tls {
    /// Refuses a server without TLS.
    pub required: bool,
    /// Root certificates, in PEM, that are trusted besides the system's.
    pub root_certificates: Option<PathBuf>,
    /// Certificate chain of this client and its key, in PEM, for servers that ask for one.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
}

impl fmt::Debug for Credentials {
    /// Shows the kind only: secrets do not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::File(_) => "File",
            Self::NkeySeed(_) => "NkeySeed",
            Self::Token(_) => "Token",
            Self::User(..) => "User",
        })
    }
}

impl NatsSettings {
    /// Begins every subject with `prefix`.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Reads the time of day from `clock`. Processes that share a queue should agree within a second or so.
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

impl Default for NatsSettings {
    fn default() -> Self {
        Self {
            prefix: "nahook".to_owned(),
            replicas: 1,
            storage: Storage::File,
            bytes_max: None,
            records_max: None,
            age_max: None,
            dead_letters_age_max: Duration::from_hours(30 * 24),
            dead_letters_bytes_max: 1 << 30,
            progress_bytes_max: 64 << 20,
            publishes: true,
            delivers: true,
            supervisor: Supervisor::new(),
            log: false,
            log_bytes_max: 1 << 30,
            duplicate_window: Duration::from_mins(2),
            record_len_max: 500,
            records_in_flight: 8,
            publish_patience: Duration::from_secs(2),
            answer_timeout: Duration::from_secs(5),
            ack_wait: Duration::from_secs(10),
            window_records_max: 16_384,
            window_len_max: 65_536,
            window_bytes_max: 64 << 20,
            keep_retries_for: Duration::from_mins(1),
            authentication: Authentication::default(),
            credentials: Credentials::None,
            tls: Tls::default(),
            connect_timeout: Duration::from_secs(3),
            election_patience: Duration::from_secs(30),
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
        }
    }
}

impl fmt::Debug for NatsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsSettings")
            .field("prefix", &self.prefix)
            .field("replicas", &self.replicas)
            .field("storage", &self.storage)
            .field("bytes_max", &self.bytes_max)
            .field("records_max", &self.records_max)
            .field("age_max", &self.age_max)
            .field("record_len_max", &self.record_len_max)
            .field("records_in_flight", &self.records_in_flight)
            .field("ack_wait", &self.ack_wait)
            .field("keep_retries_for", &self.keep_retries_for)
            .field("authentication", &self.authentication)
            .field("credentials", &self.credentials)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}
