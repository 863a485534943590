//! The store: one schema of one database, shared by any number of processes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use nahook_control::{MasterKeys, RotateError, SecretBox};
use nahook_core::{Causes, Clock, StoreError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::budget::{self, Budget};
use crate::connection::Connector;
use crate::error::PgError;
use crate::leases::LeaseLedger;
use crate::lender::Lender;
use crate::listener::{Ears, Listener, Signals};
use crate::retention::Retention;
use crate::row::value_at;
use crate::writer::Writer;
use crate::{ConnectError, PostgresLimiter, PostgresSettings, schema, secrets};

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
    pub(crate) ledger: LeaseLedger,
    pub(crate) secrets: SecretBox,
    limiter: PostgresLimiter,
    stop: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl PostgresStore {
    /// Connects to the database at `url` (`postgres://user:password@host:port/database?sslmode=…`), and makes or updates
    /// the schema if the settings say so.
    ///
    /// `sslmode` is `disable`, `prefer`, `require`, `verify-ca` or `verify-full`, as in libpq, with `sslrootcert` a file
    /// of certificates to trust; without it, the system's are trusted. A pooler that lends sessions for one transaction
    /// is recognized, as it does not take start-up options; `pooler=transaction` spares it that question.
    pub async fn connect(url: &str, settings: PostgresSettings) -> Result<Self, ConnectError> {
        schema::check_name(&settings.schema)?;
        let (connector, link) = Connector::recognize(url, &settings).await?;
        schema::prepare(&link, &settings).await?;
        // What a pooler has of the server's connections is its own matter.
        let allowed = if connector.is_pooled() {
            None
        } else {
            budget::allowed(&link.client).await?
        };
        let budget = Budget::of(&settings, allowed)?;
        let ears = Ears::of(&connector, &link, &settings).await?;
        drop(link);
        let lender = Lender::new(&connector, budget.pool);
        let secrets = secrets::open(&lender, settings.secret_keys.as_ref()).await?;
        let signals = Arc::new(Signals::new(settings.cache_len_max));
        let (stop, stopping) = watch::channel(false);
        let (writer, mut tasks) = Writer::start(&connector, &settings, budget.writers, &signals);
        let listener = Listener {
            ears,
            lender: lender.clone(),
            schema: settings.schema.clone(),
            signals: Arc::clone(&signals),
            stop: stopping.clone(),
        };
        tasks.push(listener.start(&settings.supervisor));
        let limiters = if budget.has_limiter {
            Lender::new(&connector, 1)
        } else {
            lender.clone()
        };
        let limiter = PostgresLimiter::new(limiters, &settings);
        let retention = Retention {
            lender: lender.clone(),
            settings: settings.clone(),
            secrets: secrets.clone(),
            stop: stopping,
        };
        tasks.push(retention.start());
        let shared = Arc::new(Shared {
            lender,
            writer,
            signals,
            settings,
            ledger: LeaseLedger::default(),
            secrets,
            limiter,
            stop,
            tasks: Mutex::new(tasks),
        });
        Ok(Self { shared })
    }

    pub(crate) fn tasks(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        let tasks = self.shared.tasks.lock();
        tasks.unwrap_or_else(PoisonError::into_inner)
    }

    /// The rate limiter that all processes on this database share.
    pub fn limiter(&self) -> PostgresLimiter {
        self.shared.limiter.clone()
    }

    /// Publishes what was handed over, ends the store's tasks and closes its connections. What comes later is refused.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.shared.writer.close();
        self.shared.stop.send_replace(true);
        let tasks = std::mem::take(&mut *self.tasks());
        for task in tasks {
            task.await.map_err(StoreError::internal)?;
        }
        if let Err(error) = self.give_back().await {
            tracing::warn!(error = %Causes(&error), "what was in hand could not be given back; others find out");
        }
        self.shared.lender.close();
        self.shared.limiter.close();
        Ok(())
    }

    /// Fails if nothing could be queued now: the server only reads, the role may not write, or there is no connection left.
    ///
    /// A writer runs the statement that publishes, for no event at all, so that this fails as publishing would. It answers
    /// within the connection's and the statement's time-outs. The reason is logged.
    pub async fn check_writable(&self) -> Result<(), StoreError> {
        let checked = self.find_writable().await;
        if let Err(error) = &checked {
            tracing::warn!(error = %Causes(error), "nothing can be queued");
        }
        checked
    }

    async fn find_writable(&self) -> Result<(), StoreError> {
        const MAY_NUMBER: &str = "SELECT has_sequence_privilege('event_seq', 'USAGE')";
        let rows = self.shared.lender.query(MAY_NUMBER, &[]).await?;
        let may_number = rows.first().map(|row| value_at(row, 0)).transpose()?;
        if may_number != Some(true) {
            return Err(StoreError::internal(
                "no right to use the sequence of events",
            ));
        }
        self.shared.writer.check().await.map_err(PgError::shared)
    }

    /// Returns true if the server had no room on its disk for what was published within the last two seconds.
    pub fn is_disk_full(&self) -> bool {
        self.shared.signals.is_disk_full()
    }

    /// Seals and opens what the store keeps.
    pub fn secrets(&self) -> &SecretBox {
        &self.shared.secrets
    }

    /// Wraps the store's key with the first of these, which one of them has wrapped before. Returns false if it already
    /// was. Processes that have the store open go on as they were; their next start needs the new key.
    pub async fn rotate_master_key(&self, master: &MasterKeys) -> Result<bool, RotateError> {
        secrets::rotate(&self.shared.lender, master).await
    }

    pub(crate) fn downgrade(&self) -> WeakStore {
        WeakStore(Arc::downgrade(&self.shared))
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

/// A store, as long as somebody has it.
#[derive(Clone, Debug)]
pub(crate) struct WeakStore(Weak<Shared>);

impl WeakStore {
    pub(crate) fn upgrade(&self) -> Option<PostgresStore> {
        let shared = self.0.upgrade()?;
        Some(PostgresStore { shared })
    }
}

impl Shared {
    /// Tells when the store ends.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

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
