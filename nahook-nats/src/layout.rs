//! The streams and consumers: their names, and making or checking them.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::context::{
    CreateStreamError, CreateStreamErrorKind, GetStreamErrorKind,
};
use async_nats::jetstream::stream::{
    Config, ConsumerError, ConsumerErrorKind, DiscardPolicy, Info, RetentionPolicy, StorageType,
};
use async_nats::jetstream::{Context, ErrorCode};

use crate::config::{NatsSettings, Storage};
use crate::error::ConnectError;

/// The name of the consumers that all workers share.
pub(crate) const WORKERS: &str = "workers";
/// The name of the consumer that all who record the log share.
pub(crate) const RECORDERS: &str = "recorders";

/// How long the server waits for a sign that a message of the log is in work.
const RECORDING_ACK_WAIT: Duration = Duration::from_mins(1);

/// Whose delivery the record of a stream is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Source {
    /// As it was published.
    Deliveries,
    /// A retry whose time has come.
    Retries,
}

/// The names of streams and subjects under a prefix.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    prefix: String,
    stem: String,
}

impl Names {
    pub(crate) fn new(prefix: &str) -> Result<Self, ConnectError> {
        let is_token = |token: &str| {
            !token.is_empty()
                && token
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if prefix.len() > 64 || !prefix.split('.').all(is_token) {
            return Err(ConnectError::Prefix);
        }
        Ok(Self {
            prefix: prefix.to_owned(),
            stem: prefix.replace('.', "-").to_ascii_uppercase(),
        })
    }

    pub(crate) fn stream(&self, source: Source) -> String {
        match source {
            Source::Deliveries => format!("{}_DELIVERIES", self.stem),
            Source::Retries => format!("{}_RETRIES", self.stem),
        }
    }

    pub(crate) fn progress_stream(&self) -> String {
        format!("{}_PROGRESS", self.stem)
    }

    pub(crate) fn dead_letter_stream(&self) -> String {
        format!("{}_DEAD_LETTERS", self.stem)
    }

    pub(crate) fn log_stream(&self) -> String {
        format!("{}_LOG", self.stem)
    }

    pub(crate) fn log(&self) -> String {
        format!("{}.log", self.prefix)
    }

    /// The subject that the workers' consumer of the stream filters.
    pub(crate) fn due(&self, source: Source) -> String {
        match source {
            Source::Deliveries => format!("{}.deliveries", self.prefix),
            Source::Retries => format!("{}.retries.due", self.prefix),
        }
    }

    /// Where a retry waits for its second, if no schedule of the server's wakes it.
    pub(crate) fn waiting(&self, second: u64) -> String {
        format!("{}.retries.at.{second}", self.prefix)
    }

    /// Where retries wait.
    pub(crate) fn all_waiting(&self) -> String {
        format!("{}.retries.at.*", self.prefix)
    }

    /// The second of a subject made by [`waiting`](Self::waiting).
    pub(crate) fn second_of(&self, subject: &str) -> Option<u64> {
        let rest = subject.strip_prefix(&self.prefix)?;
        rest.strip_prefix(".retries.at.")?.parse().ok()
    }

    /// Where a retry waits for a schedule of the server's.
    pub(crate) fn scheduled(&self, id: &str) -> String {
        format!("{}.retries.scheduled.{id}", self.prefix)
    }

    pub(crate) fn progress(&self) -> String {
        format!("{}.progress", self.prefix)
    }

    pub(crate) fn dead_letters(&self) -> String {
        format!("{}.dead_letters", self.prefix)
    }
}

/// Makes what is missing and checks what is there. Answers whether retries wait as scheduled messages.
pub(crate) async fn ensure(
    context: &Context,
    names: &Names,
    settings: &NatsSettings,
) -> Result<bool, ConnectError> {
    ensure_stream(context, deliveries(names, settings)).await?;
    // Asked for by the stream's settings, and not by the server's version alone: a server may take the setting and ignore it.
    let version = context.client().server_info().version;
    let scheduled = settings.scheduled_messages && has_schedules(&version);
    let mut wanted = retries(names, settings);
    wanted.allow_message_schedules = scheduled;
    let found = ensure_stream(context, wanted).await?;
    let scheduled = scheduled && found.config.allow_message_schedules;
    if settings.scheduled_messages && !scheduled {
        tracing::info!(
            %version,
            "the NATS server has no scheduled messages (2.12 and newer): the workers move retries when they are due"
        );
    }
    ensure_stream(context, progress(names, settings)).await?;
    ensure_stream(context, dead_letters(names, settings)).await?;
    for source in [Source::Deliveries, Source::Retries] {
        let wanted = workers(names, source, settings);
        ensure_consumer(context, &names.stream(source), WORKERS, wanted).await?;
    }
    if settings.log {
        ensure_stream(context, log(names, settings)).await?;
        ensure_consumer(context, &names.log_stream(), RECORDERS, recorders(names)).await?;
    }
    Ok(scheduled)
}

fn deliveries(names: &Names, settings: &NatsSettings) -> Config {
    Config {
        description: Some("nahook: deliveries that wait for a worker".to_owned()),
        subjects: vec![names.due(Source::Deliveries)],
        retention: RetentionPolicy::WorkQueue,
        discard: DiscardPolicy::New,
        max_bytes: limit(settings.bytes_max),
        max_messages: limit(settings.records_max),
        max_age: settings.age_max.unwrap_or_default(),
        ..stream(names.stream(Source::Deliveries), settings)
    }
}

fn retries(names: &Names, settings: &NatsSettings) -> Config {
    Config {
        description: Some("nahook: deliveries that wait to be attempted again".to_owned()),
        subjects: vec![
            names.due(Source::Retries),
            names.all_waiting(),
            names.scheduled("*"),
        ],
        retention: RetentionPolicy::WorkQueue,
        discard: DiscardPolicy::New,
        allow_direct: true,
        ..stream(names.stream(Source::Retries), settings)
    }
}

fn progress(names: &Names, settings: &NatsSettings) -> Config {
    Config {
        description: Some("nahook: what was settled of records that are in work".to_owned()),
        subjects: vec![names.progress()],
        max_bytes: limit(Some(settings.progress_bytes_max)),
        ..stream(names.progress_stream(), settings)
    }
}

fn dead_letters(names: &Names, settings: &NatsSettings) -> Config {
    Config {
        description: Some("nahook: deliveries whose every attempt has failed".to_owned()),
        subjects: vec![names.dead_letters()],
        max_bytes: limit(Some(settings.dead_letters_bytes_max)),
        max_age: settings.dead_letters_age_max,
        ..stream(names.dead_letter_stream(), settings)
    }
}

fn log(names: &Names, settings: &NatsSettings) -> Config {
    Config {
        description: Some("nahook: what became of deliveries, for the delivery log".to_owned()),
        subjects: vec![names.log()],
        max_bytes: limit(Some(settings.log_bytes_max)),
        ..stream(names.log_stream(), settings)
    }
}

/// What every stream has: no limits, the oldest going first where there is one.
fn stream(name: String, settings: &NatsSettings) -> Config {
    Config {
        name,
        max_bytes: -1,
        max_messages: -1,
        max_messages_per_subject: -1,
        max_consumers: -1,
        max_message_size: -1,
        discard: DiscardPolicy::Old,
        retention: RetentionPolicy::Limits,
        storage: match settings.storage {
            Storage::File => StorageType::File,
            Storage::Memory => StorageType::Memory,
        },
        num_replicas: settings.replicas,
        duplicate_window: settings.duplicate_window,
        ..Config::default()
    }
}

fn limit(limit: Option<u64>) -> i64 {
    limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX))
}

async fn ensure_stream(context: &Context, wanted: Config) -> Result<Info, ConnectError> {
    let name = wanted.name.clone();
    match context.get_stream(&name).await {
        Ok(stream) => {
            let info = stream.cached_info().clone();
            check_stream(&info.config, &wanted)?;
            return Ok(info);
        }
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(answer)
                if answer.error_code() == ErrorCode::STREAM_NOT_FOUND => {}
            GetStreamErrorKind::JetStream(answer) => {
                return Err(refused(answer.error_code(), error));
            }
            _ => return Err(ConnectError::Unreachable(error.into())),
        },
    }
    match context.create_stream(wanted.clone()).await {
        Ok(stream) => {
            let info = stream.cached_info().clone();
            check_stream(&info.config, &wanted)?;
            Ok(info)
        }
        // Another process was faster, with other settings.
        Err(error) => match error.kind() {
            CreateStreamErrorKind::JetStream(answer)
                if answer.error_code() == ErrorCode::STREAM_NAME_EXIST =>
            {
                let stream = context
                    .get_stream(&name)
                    .await
                    .map_err(|error| ConnectError::Unreachable(error.into()))?;
                let info = stream.cached_info().clone();
                check_stream(&info.config, &wanted)?;
                Ok(info)
            }
            _ => Err(of_creating(error)),
        },
    }
}

fn of_creating(error: CreateStreamError) -> ConnectError {
    match error.kind() {
        CreateStreamErrorKind::JetStream(answer) => refused(answer.error_code(), error),
        CreateStreamErrorKind::TimedOut | CreateStreamErrorKind::Response => {
            ConnectError::Unreachable(error.into())
        }
        _ => ConnectError::Refused(error.into()),
    }
}

fn refused(code: ErrorCode, error: impl Into<crate::error::Source>) -> ConnectError {
    match code {
        ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
            ConnectError::NoJetStream
        }
        // A cluster that has no leader yet.
        ErrorCode::CLUSTER_NOT_AVAILABLE
        | ErrorCode::CLUSTER_NOT_LEADER
        | ErrorCode::CLUSTER_NOT_ACTIVE
        | ErrorCode::INSUFFICIENT_RESOURCES
        | ErrorCode::CLUSTER_NO_PEERS => ConnectError::Unreachable(error.into()),
        _ => ConnectError::Refused(error.into()),
    }
}

fn check_stream(found: &Config, wanted: &Config) -> Result<(), ConnectError> {
    let mut check = Check::of(&wanted.name);
    let sorted = |config: &Config| {
        let mut subjects = config.subjects.clone();
        subjects.sort();
        subjects
    };
    check.same("subjects", sorted(found), sorted(wanted));
    check.same("retention", found.retention, wanted.retention);
    check.same("discard policy", found.discard, wanted.discard);
    check.same("storage", found.storage, wanted.storage);
    check.same("replicas", found.num_replicas, wanted.num_replicas);
    // No limit is said in two ways.
    let of = |limit: i64| if limit == 0 { -1 } else { limit };
    check.same("max bytes", of(found.max_bytes), of(wanted.max_bytes));
    check.same(
        "max messages",
        of(found.max_messages),
        of(wanted.max_messages),
    );
    check.same("max age", found.max_age, wanted.max_age);
    check.same(
        "duplicate window",
        found.duplicate_window,
        wanted.duplicate_window,
    );
    check.done()
}

fn workers(names: &Names, source: Source, settings: &NatsSettings) -> pull::Config {
    pull::Config {
        description: Some("nahook: all workers".to_owned()),
        ack_wait: settings.ack_wait,
        ..consumer(WORKERS, names.due(source))
    }
}

fn recorders(names: &Names) -> pull::Config {
    pull::Config {
        description: Some("nahook: all who record the delivery log".to_owned()),
        ack_wait: RECORDING_ACK_WAIT,
        ..consumer(RECORDERS, names.log())
    }
}

/// What every consumer has.
fn consumer(name: &str, filter_subject: String) -> pull::Config {
    pull::Config {
        durable_name: Some(name.to_owned()),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        filter_subject,
        max_ack_pending: -1,
        max_deliver: -1,
        max_waiting: 4_096,
        ..pull::Config::default()
    }
}

async fn ensure_consumer(
    context: &Context,
    stream: &str,
    name: &str,
    wanted: pull::Config,
) -> Result<(), ConnectError> {
    let found: Result<PullConsumer, _> = context.get_consumer_from_stream(name, stream).await;
    let found = match found {
        Ok(found) => found.cached_info().config.clone(),
        Err(_) => {
            let made = context
                .create_consumer_on_stream(wanted.clone(), stream)
                .await;
            made.map_err(|error: ConsumerError| match error.kind() {
                ConsumerErrorKind::JetStream(answer) => refused(answer.error_code(), error),
                ConsumerErrorKind::TimedOut => ConnectError::Unreachable(error.into()),
                _ => ConnectError::Refused(error.into()),
            })?
            .cached_info()
            .config
            .clone()
        }
    };
    let mut check = Check::of(&format!("{stream}/{name}"));
    check.same("filter", found.filter_subject, wanted.filter_subject);
    check.same("ack policy", found.ack_policy, wanted.ack_policy);
    check.same("ack wait", found.ack_wait, wanted.ack_wait);
    check.same(
        "max ack pending",
        found.max_ack_pending,
        wanted.max_ack_pending,
    );
    check.same("max deliver", found.max_deliver, wanted.max_deliver);
    check.done()
}

/// The first difference between what is and what was asked for.
struct Check(String, Option<ConnectError>);

impl Check {
    fn of(name: &str) -> Self {
        Self(name.to_owned(), None)
    }

    fn same<T: PartialEq + std::fmt::Debug>(&mut self, setting: &'static str, found: T, wanted: T) {
        if found != wanted && self.1.is_none() {
            self.1 = Some(ConnectError::Differs {
                name: self.0.clone(),
                setting,
                found: format!("{found:?}"),
                wanted: format!("{wanted:?}"),
            });
        }
    }

    fn done(self) -> Result<(), ConnectError> {
        self.1.map_or(Ok(()), Err)
    }
}

/// The version as numbers; what follows a hyphen is dropped.
pub(crate) fn version_of(text: &str) -> (u32, u32) {
    let mut parts = text.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    )
}

fn has_schedules(version: &str) -> bool {
    version_of(version) >= (2, 12)
}

/// How long an API call of the server's may take.
pub(crate) const API_TIMEOUT: Duration = Duration::from_secs(5);
