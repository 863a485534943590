//! How the queue is set up.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nahook_core::{Clock, IdSource, RandomIds, SystemClock};
use nahook_supervision::Supervisor;

/// The queue's numbers, choices and components.
///
/// What describes the streams (`prefix`, `replicas`, `storage` and the limits) must be the same in every process: a stream
/// that exists with other settings is refused, never changed.
#[derive(Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a choice independent of the others"
)]
#[non_exhaustive]
pub struct NatsSettings {
    /// What every subject begins with: `nahook`. Letters, digits, `-`, `_`, and dots between them. The streams are named
    /// after it in capitals: `NAHOOK_DELIVERIES` and so on.
    pub prefix: String,
    /// On how many servers of the cluster each stream is kept: 1, 3 or 5.
    pub replicas: usize,
    /// What the streams are kept on.
    pub storage: Storage,
    /// How many bytes of deliveries may wait for a worker; publishing beyond that fails and nothing is lost. No limit by
    /// default.
    pub bytes_max: Option<u64>,
    /// How many records of deliveries may wait for a worker, likewise.
    pub records_max: Option<u64>,
    /// How long a delivery may wait for a worker before the server drops it. Dropped is lost: no limit by default.
    pub age_max: Option<Duration>,
    /// How long dead letters are kept: 30 days.
    pub dead_letters_age_max: Duration,
    /// How many bytes of dead letters are kept at most, the oldest going first: 1 GiB.
    pub dead_letters_bytes_max: u64,
    /// How many bytes of notes on the progress of records are kept, the oldest going first: 64 MiB.
    pub progress_bytes_max: u64,
    /// Whether this process publishes. Its rights to do so are checked when connecting. True by default.
    pub publishes: bool,
    /// Whether this process delivers, likewise.
    pub delivers: bool,
    /// Runs the loops; a supervisor of its own by default.
    pub supervisor: Supervisor,
    /// Whether the workers tell a stream what became of deliveries, for [`NatsLog`](crate::NatsLog) to record. Off by default:
    /// somebody has to read it.
    pub log: bool,
    /// How many bytes of that are kept, the oldest going first: 1 GiB. Entries are lost to the log only if the store does
    /// not take them for so long that this is not enough.
    pub log_bytes_max: u64,
    /// How long the server remembers the ids of records, to drop a repeated one: 2 minutes.
    pub duplicate_window: Duration,
    /// How many deliveries a record holds at most: 500.
    pub record_len_max: usize,
    /// How many records may be on their way to the server and unacknowledged at a time: 8. What is published meanwhile
    /// shares the next ones.
    pub records_in_flight: usize,
    /// How long a record that the server is known not to have taken is tried again: while there is no connection, no
    /// leader, or no answer from JetStream. Default 2 s; well below the engine's deadline.
    pub publish_patience: Duration,
    /// How long a call of the queue waits for the server: 5 s.
    pub answer_timeout: Duration,
    /// How long the server waits for a sign of life from the process that has a record before it gives the record to
    /// another: 10 s. What a killed worker had in its hands is attempted again that much later.
    pub ack_wait: Duration,
    /// How many records a process holds at most: 16,384. Within them it is fair between endpoints.
    pub window_records_max: usize,
    /// How many deliveries a process holds at most: 65,536.
    pub window_len_max: usize,
    /// How many bytes of records a process holds at most: 64 MiB.
    pub window_bytes_max: usize,
    /// A delivery to be attempted again within this time stays in its record; one that has to wait longer moves to the
    /// stream of retries. Default 1 minute.
    pub keep_retries_for: Duration,
    /// Whether retries wait as scheduled messages where the server has them (2.12 and newer). If not, and on older servers,
    /// the processes move them when their time has come.
    pub scheduled_messages: bool,
    /// Who we are to the server; user and password or a token may be in its URL instead.
    pub credentials: Credentials,
    /// How the connection is protected.
    pub tls: Tls,
    /// How long making a connection may take: 3 s.
    pub connect_timeout: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
}

/// What streams are kept on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Storage {
    /// Files.
    File,
    /// Memory: a server that ends forgets, unless others have replicas.
    Memory,
}

/// Who we are to the server.
#[derive(Clone, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Credentials {
    /// Nobody, or whoever the URL names.
    #[default]
    None,
    /// A file as `nsc` writes it, with a JWT and a seed.
    File(PathBuf),
    /// The seed of an nkey (`SU…`): signs what the server asks, and never leaves the process.
    NkeySeed(String),
    /// A token.
    Token(String),
    /// A user's name and password.
    User(String, String),
}

/// How the connection is protected. A URL with `tls://` asks for TLS as well.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tls {
    /// Refuses a server without TLS.
    pub required: bool,
    /// Certificates, in PEM, of those whom to believe besides the system's.
    pub root_certificates: Option<PathBuf>,
    /// Our own certificate chain and its key, in PEM, for servers that ask for one.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
}

impl fmt::Debug for Credentials {
    /// Names the kind only: secrets do not belong in logs.
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
            scheduled_messages: true,
            credentials: Credentials::None,
            tls: Tls::default(),
            connect_timeout: Duration::from_secs(3),
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
            .field("scheduled_messages", &self.scheduled_messages)
            .field("credentials", &self.credentials)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}
