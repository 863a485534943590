//! Settings of the streams.

use async_nats::jetstream::context::{
    CreateStreamError, CreateStreamErrorKind, GetStreamError, GetStreamErrorKind,
};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{Context, ErrorCode};

use super::check::{Check, refused};
use super::names::{Names, Source};
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
            names.unscheduled(),
            names.scheduled("*"),
        ],
        retention: RetentionPolicy::WorkQueue,
        discard: DiscardPolicy::New,
        allow_direct: true,
        allow_message_schedules: true,
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

/// Settings of every stream: no limits, and where there is one the oldest message goes first.
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

/// Creates the stream, or checks the existing one.
pub(super) async fn ensure_stream(
    context: &Context,
    wanted: Config,
) -> Result<Config, ConnectError> {
    let found = match context.get_stream(&wanted.name).await {
        Err(error) if is_missing(&error) => match context.create_stream(wanted.clone()).await {
            // Another process was faster.
            Err(error) if exists(&error) => context.get_stream(&wanted.name).await,
            created => Ok(created.map_err(of_creating)?),
        },
        found => found,
    };
    let found = found.map_err(|error| match error.kind() {
        GetStreamErrorKind::JetStream(answer) => refused(answer.error_code(), error),
        _ => ConnectError::Unreachable(error.into()),
    })?;
    let found = found.cached_info().config.clone();
    check_stream(&found, &wanted)?;
    Ok(found)
}

/// Allows scheduled messages on a stream that was created on a server without them.
pub(super) async fn with_schedules(context: &Context, found: Config) -> Result<(), ConnectError> {
    if found.allow_message_schedules {
        return Ok(());
    }
    let changed = Config {
        allow_message_schedules: true,
        ..found
    };
    let changed = context.update_stream(changed).await;
    changed.map(|_| ()).map_err(of_creating)
}

fn is_missing(error: &GetStreamError) -> bool {
    matches!(error.kind(), GetStreamErrorKind::JetStream(answer)
        if answer.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

fn exists(error: &CreateStreamError) -> bool {
    matches!(error.kind(), CreateStreamErrorKind::JetStream(answer)
        if answer.error_code() == ErrorCode::STREAM_NAME_EXIST)
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
    check.expect_same("subjects", &sorted(found), &sorted(wanted));
    check.expect_same("retention", &found.retention, &wanted.retention);
    check.expect_same("discard policy", &found.discard, &wanted.discard);
    check.expect_same("storage", &found.storage, &wanted.storage);
    check.expect_same("replicas", &found.num_replicas, &wanted.num_replicas);
    // Both 0 and -1 mean no limit.
    let of = |limit: i64| if limit == 0 { -1 } else { limit };
    check.expect_same("max bytes", &of(found.max_bytes), &of(wanted.max_bytes));
    check.expect_same(
        "max messages",
        &of(found.max_messages),
        &of(wanted.max_messages),
    );
    check.expect_same("max age", &found.max_age, &wanted.max_age);
    check.expect_same(
        "duplicate window",
        &found.duplicate_window,
        &wanted.duplicate_window,
    );
    check.result()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    type Change = fn(&mut Config);

    #[test]
    fn every_setting_of_a_stream_is_compared() {
        let names = Names::new("nahook").expect("a prefix");
        let wanted = deliveries(&names, &NatsSettings::default());
        let others: [(&str, Change); 9] = [
            ("subjects", |found| found.subjects.push("more".to_owned())),
            ("retention", |found| {
                found.retention = RetentionPolicy::Limits;
            }),
            ("discard policy", |found| found.discard = DiscardPolicy::Old),
            ("storage", |found| found.storage = StorageType::Memory),
            ("replicas", |found| found.num_replicas = 3),
            ("max bytes", |found| found.max_bytes = 1 << 20),
            ("max messages", |found| found.max_messages = 7),
            ("max age", |found| found.max_age = Duration::from_hours(1)),
            ("duplicate window", |found| {
                found.duplicate_window = Duration::from_secs(1);
            }),
        ];
        for (name, change) in others {
            let mut found = wanted.clone();
            change(&mut found);
            match check_stream(&found, &wanted) {
                Err(ConnectError::Differs { setting, .. }) => assert_eq!(setting, name),
                other => panic!("{name}: {other:?}"),
            }
        }
        let unlimited = Config {
            max_bytes: 0,
            max_messages: 0,
            ..wanted.clone()
        };
        assert!(check_stream(&unlimited, &wanted).is_ok());
    }
}
