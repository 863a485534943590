//! Choices that an opening takes.

use std::time::Duration;

use nahook_control::MasterKeys;
use nahook_supervision::Supervisor;

/// Choices that an opening takes beside the URLs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BackendSettings {
    /// Time for which the delivery log is kept: 7 days. What is not settled is kept until it is.
    pub retention: Duration,
    /// Bytes of the disk of a file that publishing leaves free; 5 % of it and at most 256 MiB unless set. Zero turns this off.
    pub disk_free_min: Option<u64>,
    /// Accepts a file that an app has made, and adds the store's tables to it. [`Hooks`](crate::Hooks) always does.
    pub shares_file: bool,
    /// The operator's keys, with which the store's secrets are sealed: signing secrets, passwords, configurations. Without
    /// any they are kept as they are; a store that was sealed needs one.
    pub secret_keys: Option<MasterKeys>,
    /// Runs the loops.
    pub supervisor: Supervisor,
    /// Settings of a store on Postgres.
    #[cfg(feature = "postgres")]
    pub postgres: nahook_postgres::PostgresSettings,
    /// Settings of a queue on NATS.
    #[cfg(feature = "nats")]
    pub nats: nahook_nats::NatsSettings,
}

impl Default for BackendSettings {
    fn default() -> Self {
        Self {
            retention: Duration::from_hours(7 * 24),
            disk_free_min: None,
            shares_file: false,
            secret_keys: None,
            supervisor: Supervisor::new(),
            #[cfg(feature = "postgres")]
            postgres: nahook_postgres::PostgresSettings::default(),
            #[cfg(feature = "nats")]
            nats: nahook_nats::NatsSettings::default(),
        }
    }
}
