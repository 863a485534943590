use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::stream::DiscardPolicy;

use crate::acks::{Acks, Fate, Outgoing, Refusal};
use crate::config::NatsSettings;
use crate::connection::Connection;
use crate::error::{ConnectError, NotPublishable};
use crate::layout::{Mending, Names, Source, ensure};
use crate::log::NatsLog;
use crate::publisher::NatsPublisher;
use crate::queue::{Hub, NatsQueue};
use crate::rights::{permitted, prove};

/// How long closing waits for the connection.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a server may take to show that it takes records.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// What a small record takes of the stream.
const SMALL_RECORD_LEN: u64 = 1_024;

/// A connection to NATS with its streams: the way to the queue, and the queue.
///
/// Nothing is pulled from the streams until the queue is first asked, so a process that only publishes has both.
#[derive(Clone)]
#[non_exhaustive]
pub struct Nats {
    /// The way to the queue.
    pub publisher: NatsPublisher,
    /// The queue.
    pub queue: NatsQueue,
    /// What became of deliveries, if the settings ask for it.
    pub log: Option<NatsLog>,
    connection: Connection,
    acks: Arc<Acks>,
    names: Arc<Names>,
    settings: Arc<NatsSettings>,
}

/// Connects to one of `servers` (`nats://…` or `tls://…`, several separated by commas), makes the streams and consumers that
/// are missing, checks those that are there, and proves that the server grants every right that the process needs.
///
/// The connection is made again whenever it is lost; needs a tokio runtime, whose tasks do the work.
pub async fn connect(servers: &str, settings: NatsSettings) -> Result<Nats, ConnectError> {
    let names = Names::new(&settings.prefix)?;
    let connection = Connection::open(servers, &settings).await?;
    let opening = Box::pin(open(&connection, names, settings));
    permitted(connection.violations(), opening).await
}

async fn open(
    connection: &Connection,
    names: Names,
    settings: NatsSettings,
) -> Result<Nats, ConnectError> {
    let found = ensure(&connection.context, &names, &settings).await?;
    let settings = Arc::new(settings);
    let supervisor = &settings.supervisor;
    let acks = Acks::start(connection, supervisor)
        .await
        .map_err(|error| ConnectError::Unreachable(error.into()))?;
    prove(connection, &acks, &names, &settings, found.scheduled).await?;
    let mending = Arc::new(Mending::new(&connection.context, &names, &settings, found));
    connection.look_first(supervisor, &mending);
    let hub = Hub::new(
        connection,
        &acks,
        &names,
        &mending,
        &settings,
        found.scheduled,
    );
    Ok(Nats {
        publisher: NatsPublisher::start(connection, &acks, &names, &mending, &settings),
        queue: NatsQueue::new(hub),
        log: settings
            .log
            .then(|| NatsLog::new(connection, &names, supervisor)),
        connection: connection.clone(),
        acks,
        names: Arc::new(names),
        settings: Arc::clone(&settings),
    })
}

impl Nats {
    /// Checks that a delivery could be queued now: that the server takes a message on the very subject of the records, from
    /// this user, and acknowledges it, and that the stream has room. Stores nothing. Takes two seconds at most.
    ///
    /// A process that does not [publish](NatsSettings::publishes) checks the stream of its notes instead.
    pub async fn check_publishable(&self) -> Result<(), NotPublishable> {
        let (subject, stream) = if self.settings.publishes {
            let of_records = Source::Deliveries;
            (self.names.due(of_records), self.names.stream(of_records))
        } else {
            (self.names.progress(), self.names.progress_stream())
        };
        let checked = async {
            self.probe(subject).await?;
            self.check_room(&stream).await
        };
        let checked = tokio::time::timeout(CHECK_TIMEOUT, checked);
        checked.await.unwrap_or(Err(NotPublishable::Silent))
    }

    async fn probe(&self, subject: String) -> Result<(), NotPublishable> {
        if !self.is_connected() {
            return Err(NotPublishable::NoConnection);
        }
        let answer = self.acks.send(Outgoing::probe(subject), None).await;
        match answer.await {
            Ok(Fate::Refused(Refusal::OtherStream)) => self.publisher.check_last(),
            Ok(Fate::Refused(Refusal::Forbidden)) => Err(NotPublishable::Forbidden),
            Ok(Fate::Refused(Refusal::Full)) => Err(NotPublishable::Full),
            Ok(Fate::Refused(Refusal::Nobody)) if !self.is_connected() => {
                Err(NotPublishable::NoConnection)
            }
            Ok(Fate::Refused(Refusal::Nobody)) => Err(NotPublishable::NoStream),
            Ok(_) => Err(NotPublishable::Refused),
            // The connection was lost, or its answers do not arrive.
            Err(_) => Err(NotPublishable::NoConnection),
        }
    }

    /// Whether a small record would fit into the stream.
    async fn check_room(&self, stream: &str) -> Result<(), NotPublishable> {
        let found = self.connection.context.get_stream(stream).await;
        let found = found.map_err(|_| NotPublishable::NoStream)?;
        let info = found.cached_info();
        let (config, state) = (&info.config, &info.state);
        let is_over = |limit: i64, used: u64| u64::try_from(limit).is_ok_and(|max| used > max);
        let is_full = config.discard == DiscardPolicy::New
            && (is_over(config.max_messages, state.messages + 1)
                || is_over(config.max_bytes, state.bytes + SMALL_RECORD_LEN));
        if is_full {
            return Err(NotPublishable::Full);
        }
        Ok(())
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

impl std::fmt::Debug for Nats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nats")
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}
