//! What the consumers are like.

use async_nats::jetstream::consumer::{AckPolicy, Config, DeliverPolicy, Info, PullConsumer, pull};
use async_nats::jetstream::stream::{
    ConsumerCreateStrictErrorKind, ConsumerError, ConsumerErrorKind,
};
use async_nats::jetstream::{Context, ErrorCode};

use super::check::Check;
use super::{Names, RECORDERS, RECORDING_ACK_WAIT, Source, WORKERS, refused, version_of};
use crate::config::NatsSettings;
use crate::error::ConnectError;

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

/// Makes the consumer, or checks the one that is there. Answers when it was made, in nanoseconds since 1970.
pub(super) async fn ensure_consumer(
    context: &Context,
    stream: &str,
    name: &str,
    wanted: pull::Config,
) -> Result<i128, ConnectError> {
    let mut found = found_or_made(context, stream, name, &wanted).await?;
    check(stream, name, &found.config, &wanted)?;
    if forgets_where_it_was(&context.client().server_info().version)
        && is_ahead(context, stream, &found).await?
    {
        // Another process may have done it since.
        let made = found.created;
        found = found_or_made(context, stream, name, &wanted).await?;
        if found.created == made && is_ahead(context, stream, &found).await? {
            tracing::warn!(
                stream,
                "the server has forgotten how far the stream had counted: its consumer is made again"
            );
            match context.delete_consumer_from_stream(name, stream).await {
                Err(error) if !is_missing(&error) => return Err(of_consumer(error)),
                _ => {}
            }
            found = found_or_made(context, stream, name, &wanted).await?;
        }
    }
    Ok(found.created.unix_timestamp_nanos())
}

async fn found_or_made(
    context: &Context,
    stream: &str,
    name: &str,
    wanted: &pull::Config,
) -> Result<Info, ConnectError> {
    let found: Result<PullConsumer, _> = context.get_consumer_from_stream(name, stream).await;
    let found = match found {
        Err(error) if is_missing(&error) => {
            let made = context.create_consumer_strict_on_stream(wanted.clone(), stream);
            made.await.map_err(|error| match error.kind() {
                ConsumerCreateStrictErrorKind::JetStream(answer) => {
                    refused(answer.error_code(), error)
                }
                // Another process was faster, with other settings.
                ConsumerCreateStrictErrorKind::AlreadyExists => ConnectError::Refused(error.into()),
                _ => ConnectError::Unreachable(error.into()),
            })?
        }
        found => found.map_err(of_consumer)?,
    };
    Ok(found.cached_info().clone())
}

/// Whether servers of this version, killed right after the last message of a stream was acknowledged, may forget how far the
/// stream had counted. It begins at 1 again, and its consumers, which remember, would give nobody what comes until it has
/// counted as far again. Seen with 2.9.10, in about two of a hundred such kills, and never with 2.14.
pub(super) fn forgets_where_it_was(version: &str) -> bool {
    version_of(version) < (2, 10)
}

/// Whether the consumer has got further than its stream has counted. The consumer is asked before: what comes and goes between
/// the two makes the stream count further.
async fn is_ahead(context: &Context, stream: &str, consumer: &Info) -> Result<bool, ConnectError> {
    let found = context.get_stream(stream).await;
    let found = found.map_err(|error| ConnectError::Unreachable(error.into()))?;
    Ok(consumer.delivered.stream_sequence > found.cached_info().state.last_sequence)
}

fn check(
    stream: &str,
    name: &str,
    found: &Config,
    wanted: &pull::Config,
) -> Result<(), ConnectError> {
    let mut check = Check::of(&format!("{stream}/{name}"));
    check.same("filter", &found.filter_subject, &wanted.filter_subject);
    check.same("ack policy", &found.ack_policy, &wanted.ack_policy);
    check.same("ack wait", &found.ack_wait, &wanted.ack_wait);
    check.same(
        "max ack pending",
        &found.max_ack_pending,
        &wanted.max_ack_pending,
    );
    check.same("max deliver", &found.max_deliver, &wanted.max_deliver);
    check.done()
}

fn of_consumer(error: ConsumerError) -> ConnectError {
    match error.kind() {
        ConsumerErrorKind::JetStream(answer) => refused(answer.error_code(), error),
        _ => ConnectError::Unreachable(error.into()),
    }
}

fn is_missing(error: &ConsumerError) -> bool {
    match error.kind() {
        ConsumerErrorKind::JetStream(answer) => {
            answer.error_code() == ErrorCode::CONSUMER_NOT_FOUND
        }
        _ => false,
    }
}
