//! Telling other processes, and hearing from them: LISTEN and NOTIFY on a channel with the schema's name.
//!
//! `c` and a workspace's id: its catalog has changed; sent in the transaction that changes it. `q`: deliveries may have
//! become leasable; sent in a caller's own transaction where it publishes, and else right after the commit: taking
//! the server-wide lock of NOTIFY in every publish would make all of them wait for one another.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use nahook_core::WorkspaceId;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_postgres::{AsyncMessage, Client, Notification};

use crate::cache::Cache;
use crate::connection::Connector;
use crate::error::PgError;
use crate::metric;
use crate::schema::quoted;

/// How often the connection is asked whether it still works.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// How long an answer may take before the connection counts as lost.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Every so many heartbeats workers look for themselves: a process may die between its commit and telling of it.
const HEARTBEATS_PER_LOOK: u32 = 5;

/// At most one notification is sent in this time.
const TELL_PAUSE: Duration = Duration::from_millis(2);

/// How long to wait before connecting again, doubled each time.
const RECONNECT_PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// What has happened, for those in this process who wait for it.
#[derive(Debug)]
pub(crate) struct Signals {
    pub(crate) cache: Cache,
    generation: watch::Sender<u64>,
    to_tell: Notify,
}

impl Signals {
    pub(crate) fn new(cache_len_max: usize) -> Self {
        Self {
            cache: Cache::new(cache_len_max),
            generation: watch::Sender::new(0),
            to_tell: Notify::new(),
        }
    }

    /// Deliveries may have become leasable by our doing: our workers know at once, others soon.
    pub(crate) fn queue_has_changed(&self) {
        self.wake();
        self.to_tell.notify_one();
    }

    pub(crate) fn generation(&self) -> u64 {
        *self.generation.borrow()
    }

    pub(crate) async fn changed(&self, generation: u64) {
        let mut changes = self.generation.subscribe();
        // The sender lives as long as the store, so waiting cannot fail.
        let _ = changes.wait_for(|current| *current != generation).await;
    }

    /// Deliveries may have become leasable for this process alone.
    pub(crate) fn wake(&self) {
        self.generation
            .send_modify(|generation| *generation = generation.wrapping_add(1));
    }

    fn heard(&self, notification: &Notification, own_process: i32) {
        match notification.payload().split_at_checked(1) {
            // Whoever sent it from here has been woken.
            Some(("q", _)) if notification.process_id() == own_process => {}
            Some(("c", id)) => {
                match WorkspaceId::new(id) {
                    Ok(workspace) => self.cache.forget(&workspace),
                    Err(_) => self.cache.forget_all(),
                }
                self.wake();
            }
            _ => self.wake(),
        }
    }

    /// Nothing is heard from here on, and something may have been missed.
    fn lost(&self) {
        self.cache.distrust();
        self.wake();
    }
}

/// Listens until told to stop.
pub(crate) async fn listen(
    connector: Connector,
    schema: String,
    signals: Arc<Signals>,
    mut stop: watch::Receiver<bool>,
) {
    let mut pause = RECONNECT_PAUSES.0;
    loop {
        let listening = async {
            let started = Instant::now();
            let Err(error) = session(&connector, &schema, &signals).await;
            signals.lost();
            counter!(metric::LISTENER_LOSSES).increment(1);
            tracing::warn!(%error, "not listening for changes; look-ups go to the database");
            started.elapsed()
        };
        let lasted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            lasted = listening => lasted,
        };
        if lasted > RECONNECT_PAUSES.1 {
            pause = RECONNECT_PAUSES.0;
        }
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(RECONNECT_PAUSES.1);
    }
    signals.lost();
}

/// Listens for as long as one connection lasts.
async fn session(
    connector: &Connector,
    schema: &str,
    signals: &Arc<Signals>,
) -> Result<std::convert::Infallible, PgError> {
    let connecting = timeout(ANSWER_TIMEOUT, connector.open());
    let (client, mut connection) = connecting.await.map_err(|_| PgError::NoConnection)??;
    let hearing = Arc::clone(signals);
    let (own_process, process) = watch::channel(0);
    let _driver = AbortOnDrop(tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(notification) = message {
                hearing.heard(&notification, *process.borrow());
            }
        }
    }));
    // Losing a notification to a crash of the server loses its listeners, too: nothing to wait for the disk for.
    say(&client, connector.setup()).await?;
    say(&client, "SET synchronous_commit = off").await?;
    let pid = timeout(
        ANSWER_TIMEOUT,
        client.query_one("SELECT pg_backend_pid()", &[]),
    );
    let pid = pid.await.map_err(|_| PgError::NoConnection)??;
    own_process.send_replace(pid.try_get(0)?);
    let listening_since = Instant::now();
    let channel = quoted(schema);
    say(&client, &format!("LISTEN {channel}")).await?;
    // What happened before is not heard any more.
    signals.cache.forget_all();
    signals.cache.confirm(listening_since);
    signals.wake();
    let tell = format!("NOTIFY {channel}, 'q'");
    // A notification that was due when the last connection was lost.
    say(&client, &tell).await?;
    let mut heartbeats = tokio::time::interval(HEARTBEAT);
    heartbeats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut looks = 0;
    loop {
        tokio::select! {
            _ = heartbeats.tick() => {
                let asked_at = Instant::now();
                say(&client, "SELECT 1").await?;
                signals.cache.confirm(asked_at);
                looks += 1;
                if looks % HEARTBEATS_PER_LOOK == 0 {
                    signals.wake();
                }
            }
            () = signals.to_tell.notified() => {
                say(&client, &tell).await?;
                tokio::time::sleep(TELL_PAUSE).await;
            }
        }
    }
}

async fn say(client: &Client, statement: &str) -> Result<(), PgError> {
    timeout(ANSWER_TIMEOUT, client.batch_execute(statement))
        .await
        .map_err(|_| PgError::NoConnection)??;
    Ok(())
}

/// A task that ends with whoever started it.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
