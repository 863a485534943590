//! Settings of the consumers.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, Config, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::{
    ConsumerCreateStrictErrorKind, ConsumerError, ConsumerErrorKind,
};
use async_nats::jetstream::{Context, ErrorCode};

use super::check::{Check, refused};
use super::names::{Names, RECORDERS, Source, WORKERS};
use crate::config::NatsSettings;
use crate::error::ConnectError;

/// Time after which the server hands a message of the log to another recorder unless it hears that it is in work.
const RECORDING_ACK_WAIT: Duration = Duration::from_mins(1);

pub(super) fn workers(names: &Names, source: Source, settings: &NatsSettings) -> pull::Config {
    pull::Config {
        description: Some("nahook: all workers".to_owned()),
        ack_wait: settings.ack_wait,
        ..consumer(WORKERS, names.due(source))
    }
}

pub(super) fn recorders(names: &Names) -> pull::Config {
    pull::Config {
        description: Some("nahook: all who record the delivery log".to_owned()),
        ack_wait: RECORDING_ACK_WAIT,
        ..consumer(RECORDERS, names.log())
    }
}

/// Settings of every consumer.
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

/// Creates the consumer, or checks the existing one. Returns when it was created, in nanoseconds since 1970.
pub(super) async fn ensure_consumer(
    context: &Context,
    stream: &str,
    name: &str,
    wanted: pull::Config,
) -> Result<i128, ConnectError> {
    let found: Result<PullConsumer, _> = context.get_consumer_from_stream(name, stream).await;
    let found = match found {
        Err(error) if is_missing(&error) => {
            let created = context.create_consumer_strict_on_stream(wanted.clone(), stream);
            created.await.map_err(|error| match error.kind() {
                ConsumerCreateStrictErrorKind::JetStream(answer) => {
                    refused(answer.error_code(), error)
                }
                // Another process was faster, with other settings.
                ConsumerCreateStrictErrorKind::AlreadyExists => ConnectError::Refused(error.into()),
                _ => ConnectError::Unreachable(error.into()),
            })?
        }
        found => found.map_err(|error| match error.kind() {
            ConsumerErrorKind::JetStream(answer) => refused(answer.error_code(), error),
            _ => ConnectError::Unreachable(error.into()),
        })?,
    };
    let found = found.cached_info();
    check(stream, name, &found.config, &wanted)?;
    Ok(found.created.unix_timestamp_nanos())
}

fn check(
    stream: &str,
    name: &str,
    found: &Config,
    wanted: &pull::Config,
) -> Result<(), ConnectError> {
    let mut check = Check::of(&format!("{stream}/{name}"));
    check.expect_same("filter", &found.filter_subject, &wanted.filter_subject);
    check.expect_same("ack policy", &found.ack_policy, &wanted.ack_policy);
    check.expect_same("ack wait", &found.ack_wait, &wanted.ack_wait);
    check.expect_same(
        "max ack pending",
        &found.max_ack_pending,
        &wanted.max_ack_pending,
    );
    check.expect_same("max deliver", &found.max_deliver, &wanted.max_deliver);
    check.result()
}

fn is_missing(error: &ConsumerError) -> bool {
    match error.kind() {
        ConsumerErrorKind::JetStream(answer) => {
            answer.error_code() == ErrorCode::CONSUMER_NOT_FOUND
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use async_nats::jetstream::consumer::IntoConsumerConfig as _;

    use super::*;

    type Change = fn(&mut Config);

    #[test]
    fn every_setting_of_a_consumer_is_compared() {
        let names = Names::new("nahook").expect("a prefix");
        let wanted = workers(&names, Source::Deliveries, &NatsSettings::default());
        let others: [(&str, Change); 5] = [
            ("filter", |found| {
                found.filter_subject = "nahook.retries.due".to_owned();
            }),
            ("ack policy", |found| found.ack_policy = AckPolicy::None),
            ("ack wait", |found| found.ack_wait = Duration::from_secs(1)),
            ("max ack pending", |found| found.max_ack_pending = 1_000),
            ("max deliver", |found| found.max_deliver = 5),
        ];
        for (name, change) in others {
            let mut found = wanted.clone().into_consumer_config();
            change(&mut found);
            match check("S", WORKERS, &found, &wanted) {
                Err(ConnectError::Differs { setting, .. }) => assert_eq!(setting, name),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}
