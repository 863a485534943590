//! What the streams are like.

use async_nats::jetstream::context::{
    CreateStreamError, CreateStreamErrorKind, GetStreamErrorKind,
};
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType};
use async_nats::jetstream::{Context, ErrorCode};

use super::check::Check;
use super::{Names, Source, refused};
use crate::config::{NatsSettings, Storage};
use crate::error::ConnectError;

pub(super) fn deliveries(names: &Names, settings: &NatsSettings) -> Config {
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

pub(super) fn retries(names: &Names, settings: &NatsSettings) -> Config {
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

pub(super) fn progress(names: &Names, settings: &NatsSettings) -> Config {
    Config {
        description: Some("nahook: what was settled of records that are in work".to_owned()),
        subjects: vec![names.progress()],
        max_bytes: limit(Some(settings.progress_bytes_max)),
        ..stream(names.progress_stream(), settings)
    }
}

pub(super) fn dead_letters(names: &Names, settings: &NatsSettings) -> Config {
    Config {
        description: Some("nahook: deliveries whose every attempt has failed".to_owned()),
        subjects: vec![names.dead_letters()],
        max_bytes: limit(Some(settings.dead_letters_bytes_max)),
        max_age: settings.dead_letters_age_max,
        ..stream(names.dead_letter_stream(), settings)
    }
}

pub(super) fn log(names: &Names, settings: &NatsSettings) -> Config {
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

/// Makes the stream, or checks the one that is there.
pub(super) async fn ensure_stream(context: &Context, wanted: Config) -> Result<Info, ConnectError> {
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

fn check_stream(found: &Config, wanted: &Config) -> Result<(), ConnectError> {
    let mut check = Check::of(&wanted.name);
    let sorted = |config: &Config| {
        let mut subjects = config.subjects.clone();
        subjects.sort();
        subjects
    };
    check.same("subjects", &sorted(found), &sorted(wanted));
    check.same("retention", &found.retention, &wanted.retention);
    check.same("discard policy", &found.discard, &wanted.discard);
    check.same("storage", &found.storage, &wanted.storage);
    check.same("replicas", &found.num_replicas, &wanted.num_replicas);
    // No limit is said in two ways.
    let of = |limit: i64| if limit == 0 { -1 } else { limit };
    check.same("max bytes", &of(found.max_bytes), &of(wanted.max_bytes));
    check.same(
        "max messages",
        &of(found.max_messages),
        &of(wanted.max_messages),
    );
    check.same("max age", &found.max_age, &wanted.max_age);
    check.same(
        "duplicate window",
        &found.duplicate_window,
        &wanted.duplicate_window,
    );
    check.done()
}
