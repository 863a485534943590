use std::sync::Arc;
use std::time::Duration;

use crate::acks::Acks;
use crate::config::NatsSettings;
use crate::connection::Connection;
use crate::error::ConnectError;
use crate::layout::{Mending, Names, Source, ensure};
use crate::log::NatsLog;
use crate::publisher::NatsPublisher;
use crate::queue::{Hub, NatsQueue};

/// How long closing waits for the connection.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a server may take to say that it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection to NATS with its streams: the way to the queue, and the queue.
///
/// Nothing is pulled from the streams until the queue is first asked, so a process that only publishes has both.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Nats {
    /// The way to the queue.
    pub publisher: NatsPublisher,
    /// The queue.
    pub queue: NatsQueue,
    /// What became of deliveries, if the settings ask for it.
    pub log: Option<NatsLog>,
    connection: Connection,
    names: Arc<Names>,
}

/// Connects to one of `servers` (`nats://…` or `tls://…`, several separated by commas), makes the streams and consumers that
/// are missing, and checks those that are there.
///
/// The connection is made again whenever it is lost; needs a tokio runtime, whose tasks do the work.
pub async fn connect(servers: &str, settings: NatsSettings) -> Result<Nats, ConnectError> {
    let names = Names::new(&settings.prefix)?;
    let connection = Connection::open(servers, &settings).await?;
    let found = ensure(&connection.context, &names, &settings).await?;
    let settings = Arc::new(settings);
    let acks = Acks::start(&connection)
        .await
        .map_err(|error| ConnectError::Unreachable(error.into()))?;
    let mending = Arc::new(Mending::new(&connection.context, &names, &settings, found));
    let looking = Arc::downgrade(&mending);
    connection.look_first(move || {
        let mending = looking.upgrade()?;
        Some(async move { mending.look_now().await })
    });
    let scheduled = found.scheduled;
    let hub = Hub::new(&connection, &acks, &names, &mending, &settings, scheduled);
    Ok(Nats {
        publisher: NatsPublisher::start(&connection, &acks, &names, &mending, &settings),
        queue: NatsQueue::new(hub),
        log: settings.log.then(|| NatsLog::new(&connection, &names)),
        connection,
        names: Arc::new(names),
    })
}

impl Nats {
    /// Whether a server answers that its stream of deliveries is there. Takes a second at most.
    pub async fn is_ready(&self) -> bool {
        let stream = self.names.stream(Source::Deliveries);
        let asked = self.connection.context.get_stream(stream);
        let answered = tokio::time::timeout(READY_TIMEOUT, asked).await;
        self.is_connected() && answered.is_ok_and(|answer| answer.is_ok())
    }

    /// Whether there is a connection to a server now.
    pub fn is_connected(&self) -> bool {
        self.connection.is_up()
    }

    /// Gives back to the server what this process has in hand, so that others have it at once, and waits until that is
    /// sent. The queue hands out nothing more; settle before.
    pub async fn close(&self) {
        self.queue.close().await;
        let _ = tokio::time::timeout(FLUSH_TIMEOUT, self.connection.client.flush()).await;
    }
}
