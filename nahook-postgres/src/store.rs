//! The store: one schema of one database, shared by any number of processes.

use std::sync::{Arc, Mutex, PoisonError};

use nahook_core::{Clock, StoreError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::connection::{Connector, Lender};
use crate::listener::{self, Signals};
use crate::queue::Ledger;
use crate::writer::Writer;
use crate::{ConnectError, PostgresLimiter, PostgresSettings, retention, schema};

/// A back end on Postgres: every port but the rate limiter, which is [`limiter`](Self::limiter).
///
/// A clone is a handle to the same connections and caches. Once the last one is dropped, or after
/// [`close`](Self::close), the store's tasks end. It has to be made and used within one tokio runtime.
#[derive(Clone, Debug)]
pub struct PostgresStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) lender: Lender,
    pub(crate) writer: Writer,
    pub(crate) signals: Arc<Signals>,
    pub(crate) settings: PostgresSettings,
    pub(crate) ledger: Ledger,
    limiter: PostgresLimiter,
    stop: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl PostgresStore {
    /// Connects to the database at `url` (`postgres://user:password@host:port/database?sslmode=…`), and makes or updates
    /// the schema if the settings say so.
    ///
    /// `sslmode` is `disable`, `prefer`, `require`, `verify-ca` or `verify-full`, as in libpq, with `sslrootcert` a file
    /// of certificates to trust; without it, the system's are trusted.
    pub async fn connect(url: &str, settings: PostgresSettings) -> Result<Self, ConnectError> {
        schema::check_name(&settings.schema)?;
        let connector = Connector::new(url, &settings)?;
        let client = connector.connect().await?;
        schema::prepare(&client, &settings).await?;
        drop(client);
        let lender = connector.pool(settings.pool);
        let signals = Arc::new(Signals::new(settings.cache_len_max));
        let (stop, stopping) = watch::channel(false);
        let (writer, mut tasks) = Writer::start(&connector, &settings, &signals);
        tasks.push(tokio::spawn(listener::listen(
            connector.clone(),
            settings.schema.clone(),
            Arc::clone(&signals),
            stopping.clone(),
        )));
        let limiter = PostgresLimiter::new(connector.pool(1), &settings);
        let shared = Arc::new(Shared {
            lender,
            writer,
            signals,
            settings,
            ledger: Ledger::default(),
            limiter,
            stop,
            tasks: Mutex::default(),
        });
        tasks.push(tokio::spawn(retention::run(
            Arc::downgrade(&shared),
            stopping,
        )));
        *shared.tasks.lock().unwrap_or_else(PoisonError::into_inner) = tasks;
        Ok(Self { shared })
    }

    /// The rate limiter that all processes on this database share.
    pub fn limiter(&self) -> PostgresLimiter {
        self.shared.limiter.clone()
    }

    /// Publishes what was handed over, ends the store's tasks and closes its connections. What comes later is refused.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.shared.writer.close();
        self.shared.stop.send_replace(true);
        let tasks = std::mem::take(
            &mut *self
                .shared
                .tasks
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        for task in tasks {
            task.await.map_err(StoreError::internal)?;
        }
        self.shared.lender.close();
        self.shared.limiter.close();
        Ok(())
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl Shared {
    pub(crate) fn clock(&self) -> &dyn Clock {
        &self.settings.clock
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.writer.close();
        self.stop.send_replace(true);
    }
}
