//! The list of loops.

macro_rules! loops {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A loop that does work, for as long as its process runs.
        ///
        /// The list is complete: a loop that is not in it cannot be spawned by a [`Supervisor`](crate::Supervisor), and the
        /// tests that end every loop in every way go through [`ALL`](Self::ALL).
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[non_exhaustive]
        pub enum Loop {
            $($(#[$doc])* $variant,)*
        }

        impl Loop {
            /// Every loop.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name in logs, metrics and readiness answers.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

loops! {
    /// Accepts connections.
    HttpAccept = "http_accept",
    /// Accepts connections for health, readiness and metrics.
    OperationsAccept = "operations_accept",
    /// Reads the TLS certificate again when its files change.
    TlsReload = "tls_reload",
    /// Writes the log.
    LogWriter = "log_writer",
    /// Folds recorded metrics together.
    MetricsUpkeep = "metrics_upkeep",
    /// Watches the lag of deliveries and the memory, and holds ingestion back.
    Pressure = "pressure",
    /// Receives the sample endpoints' webhooks.
    SampleInbox = "sample_inbox",
    /// Leases, attempts and settles deliveries.
    DeliveryWorker = "delivery_worker",
    /// Writes the counts over time to the store.
    CountsWriter = "counts_writer",
    /// Closes idle connections to receivers.
    ConnectionSweep = "connection_sweep",
    /// Writes accepted deliveries of a queue elsewhere to the delivery log.
    AcceptedRecorder = "accepted_recorder",
    /// Commits to the SQLite file.
    SqliteWriter = "sqlite_writer",
    /// Answers queries from the SQLite file.
    SqliteReader = "sqlite_reader",
    /// Leases deliveries from the SQLite file.
    SqliteLeaser = "sqlite_leaser",
    /// Checkpoints the WAL of the SQLite file.
    SqliteCheckpoint = "sqlite_checkpoint",
    /// Deletes from the SQLite file what has passed its retention.
    SqliteRetention = "sqlite_retention",
    /// Saves the rate limiter's state to the SQLite file.
    SqliteLimiter = "sqlite_limiter",
    /// Publishes to Postgres.
    PostgresWriter = "postgres_writer",
    /// Keeps what a process has in hand of Postgres, and takes over from one that is gone.
    PostgresKeeper = "postgres_keeper",
    /// Listens for changes on Postgres.
    PostgresListener = "postgres_listener",
    /// Deletes from Postgres what has passed its retention.
    PostgresRetention = "postgres_retention",
    /// Gathers triggers into records and sends them to NATS.
    NatsWriter = "nats_writer",
    /// Receives acknowledgements of records.
    NatsAcks = "nats_acks",
    /// Gives up the records in flight when the connection is lost, and refuses those that the server did not permit.
    NatsLinkWatch = "nats_link_watch",
    /// Gives up the records that were not acknowledged in time.
    NatsAckSweep = "nats_ack_sweep",
    /// Inspects the streams after a reconnect.
    NatsStreamCheck = "nats_stream_check",
    /// Pulls new records.
    NatsIntake = "nats_intake",
    /// Pulls records that are due for a retry.
    NatsRetryIntake = "nats_retry_intake",
    /// Forgets where to acknowledge what a consumer gave out that was replaced.
    NatsConsumers = "nats_consumers",
    /// Reads the notes on what was settled.
    NatsNotes = "nats_notes",
    /// Extends the records in hand and removes old notes.
    NatsKeeper = "nats_keeper",
    /// Releases records that exceed the fair share of this process.
    NatsSharing = "nats_sharing",
    /// Moves the delivery log from its stream to the store.
    NatsLog = "nats_log",
}
