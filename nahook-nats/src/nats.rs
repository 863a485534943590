use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::{RequestError, RequestErrorKind};
use async_nats::jetstream::stream::DiscardPolicy;
use tokio::time::{Instant, timeout_at};

use crate::acks::{Acks, Outgoing, RecordOutcome, Refusal};
use crate::config::NatsSettings;
use crate::connection::Connection;
use crate::error::{ConnectError, NotPublishable};
use crate::layout::{Names, Source, StreamRepair, ensure};
use crate::log::NatsLog;
use crate::publisher::NatsPublisher;
use crate::queue::{Hub, NatsQueue};
use crate::rights::{permitted, prove};
use crate::writer::Latest;

/// Timeout of flushing the connection when closing.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Timeout of checking that the server accepts records.
const CHECK_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Time for which a refused record shows that no further events should be accepted.
const NO_EVENTS_FOR: Duration = Duration::from_secs(2);

/// Answer to a [probe](Outgoing::probe).
const OTHER_STREAM: RecordOutcome = RecordOutcome::Refused(Refusal::OtherStream);

/// Pause before a cluster that was not ready is asked again.
const ELECTION_PAUSE: Duration = Duration::from_millis(100);

/// Bytes of a small record in the stream.
const SMALL_RECORD_LEN: u64 = 1_024;

/// Connection to NATS with its streams: publisher and queue.
///
/// Nothing is pulled from the streams until the queue is first asked, so a process that only publishes has both.
#[derive(Clone)]
#[non_exhaustive]
pub struct Nats {
    /// Publishes to the queue.
    pub publisher: NatsPublisher,
    /// The queue.
    pub queue: NatsQueue,
    /// Records the delivery log, if the settings ask for it.
    pub log: Option<NatsLog>,
    connection: Connection,
    acks: Arc<Acks>,
    names: Arc<Names>,
    settings: Arc<NatsSettings>,
}

/// Connects to one of `servers` (`nats://…` or `tls://…`, several separated by commas), creates the streams and consumers that
/// are missing, checks existing ones, and proves that the server grants every right that the process needs.
///
/// A lost connection is made again. Needs a tokio runtime, whose tasks do the work.
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
    let created_at = ensure_after_election(connection, &names, &settings).await?;
    let settings = Arc::new(settings);
    let supervisor = &settings.supervisor;
    let acks = Acks::start(connection, supervisor)
        .await
        .map_err(|error| ConnectError::Unreachable(error.into()))?;
    prove(connection, &acks, &names, &settings).await?;
    let repair = StreamRepair::new(&connection.context, &names, &settings, created_at);
    let repair = Arc::new(repair);
    connection.check_streams_first(supervisor, &repair);
    let hub = Hub::new(connection, &acks, &names, &repair, &settings);
    Ok(Nats {
        publisher: NatsPublisher::start(connection, &acks, &names, &repair, &settings),
        queue: NatsQueue::new(hub),
        log: settings
            .log
            .then(|| NatsLog::new(connection, &names, &settings)),
        connection: connection.clone(),
        acks,
        names: Arc::new(names),
        settings: Arc::clone(&settings),
    })
}

/// Ensures the streams. A cluster that elects its leaders refuses or does not answer, though its server is connected: it is
/// asked again. Where nobody answers in the end, no server has JetStream.
async fn ensure_after_election(
    connection: &Connection,
    names: &Names,
    settings: &NatsSettings,
) -> Result<[i128; 2], ConnectError> {
    let give_up = Instant::now() + settings.election_patience;
    loop {
        match ensure(&connection.context, names, settings).await {
            Err(ConnectError::Unreachable(_)) if Instant::now() < give_up => {
                tokio::time::sleep(ELECTION_PAUSE).await;
            }
            Err(ConnectError::Unreachable(error)) if is_answered_by_nobody(&*error) => {
                return Err(ConnectError::NoJetStream);
            }
            ensured => return ensured,
        }
    }
}

/// Returns true if the server knows nobody who takes requests for JetStream.
fn is_answered_by_nobody(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<RequestError>() {
            return error.kind() == RequestErrorKind::NoResponders;
        }
        next = error.source();
    }
    false
}

impl Nats {
    /// Checks that a delivery could be queued now: that the server accepts a message of this user on the subject of the records
    /// and answers it, that the stream has room, and that it stores records. Takes 1.5 seconds at most.
    ///
    /// The last is known while the latest record was stored. Otherwise, and before the first record of this process, the check has the
    /// stream store a record without events.
    ///
    /// A process that does not [publish](NatsSettings::publishes) checks the stream of its notes instead, and stores nothing.
    pub async fn check_publishable(&self) -> Result<(), NotPublishable> {
        let of_records = Source::Deliveries;
        let (subject, stream) = if self.settings.publishes {
            (self.names.due(of_records), self.names.stream(of_records))
        } else {
            (self.names.progress(), self.names.progress_stream())
        };
        let give_up = Instant::now() + CHECK_TIMEOUT;
        let takes_records = async {
            self.ask(Outgoing::probe(subject), OTHER_STREAM).await?;
            self.check_room(&stream).await
        };
        let checked = timeout_at(give_up, takes_records).await;
        checked.unwrap_or(Err(NotPublishable::Silent))?;
        if !self.settings.publishes {
            return Ok(());
        }
        let checked = timeout_at(give_up, self.check_stored()).await;
        checked.unwrap_or(Err(NotPublishable::NotStored))
    }

    /// Sends a message that this answer is expected to.
    async fn ask(&self, message: Outgoing, expected: RecordOutcome) -> Result<(), NotPublishable> {
        if !self.is_connected() {
            return Err(NotPublishable::NoConnection);
        }
        let answer = self.acks.send(message, None).await;
        match answer.await {
            Ok(outcome) if outcome == expected => Ok(()),
            Ok(RecordOutcome::Refused(Refusal::Forbidden)) => Err(NotPublishable::Forbidden),
            Ok(RecordOutcome::Refused(Refusal::Full)) => Err(NotPublishable::Full),
            Ok(RecordOutcome::Refused(Refusal::Nobody)) if !self.is_connected() => {
                Err(NotPublishable::NoConnection)
            }
            Ok(RecordOutcome::Refused(Refusal::Nobody)) => Err(NotPublishable::NoStream),
            Ok(_) => Err(NotPublishable::Refused),
            // The connection was lost, or its answers do not arrive.
            Err(_) => Err(NotPublishable::NoConnection),
        }
    }

    /// Checks that the stream stores records, by an empty one where the latest does not show it.
    async fn check_stored(&self) -> Result<(), NotPublishable> {
        if self.publisher.latest() == Latest::Stored {
            return Ok(());
        }
        let empty = self
            .publisher
            .empty_record(self.names.due(Source::Deliveries));
        self.ask(empty, RecordOutcome::Stored).await?;
        self.publisher.note_stored();
        Ok(())
    }

    /// Checks that a small record would fit into the stream.
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

    /// Returns true if the stream or the account was full for a record of the last two seconds.
    pub fn is_full(&self) -> bool {
        matches!(self.publisher.latest(), Latest::Full(at) if at.elapsed() < NO_EVENTS_FOR)
    }

    /// Returns true if there is a connection to a server now.
    pub fn is_connected(&self) -> bool {
        self.connection.is_up()
    }

    /// Releases the records that this process holds, so that others get them at once, and waits until that is sent. The queue
    /// hands out nothing more. Settle before.
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
