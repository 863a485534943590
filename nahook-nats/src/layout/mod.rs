//! The streams and consumers: their names, and making or checking them.

mod check;
mod consumers;
mod mending;
mod names;
mod streams;

use std::time::Duration;

use async_nats::jetstream::{Context, ErrorCode};

use self::consumers::{ensure_consumer, recorders, workers};
pub(crate) use self::mending::Mending;
pub(crate) use self::names::Names;
use self::streams::{dead_letters, deliveries, ensure_stream, log, progress, retries};
use crate::config::NatsSettings;
use crate::error::{ConnectError, Source as Cause};

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

/// What there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    /// Whether retries wait as scheduled messages.
    pub(crate) scheduled: bool,
    /// By source, when the workers' consumer was made, in nanoseconds since 1970: what an earlier one has given out, this one
    /// knows nothing of.
    pub(crate) made_at: [i128; 2],
}

/// Makes what is missing and checks what is there.
pub(crate) async fn ensure(
    context: &Context,
    names: &Names,
    settings: &NatsSettings,
) -> Result<Found, ConnectError> {
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
    let mut made_at = [0; 2];
    for source in [Source::Deliveries, Source::Retries] {
        let wanted = workers(names, source, settings);
        made_at[source as usize] =
            ensure_consumer(context, &names.stream(source), WORKERS, wanted).await?;
    }
    if settings.log {
        ensure_stream(context, log(names, settings)).await?;
        ensure_consumer(context, &names.log_stream(), RECORDERS, recorders(names)).await?;
    }
    Ok(Found { scheduled, made_at })
}

fn refused(code: ErrorCode, error: impl Into<Cause>) -> ConnectError {
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

/// The version as numbers; what follows a hyphen is dropped.
pub(crate) fn version_of(text: &str) -> (u32, u32) {
    let mut parts = text.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    )
}

/// Whether a server of this version may have forgotten something by its next start that has to be made good before anybody
/// publishes.
pub(crate) fn needs_a_look(version: &str) -> bool {
    consumers::forgets_where_it_was(version)
}

fn has_schedules(version: &str) -> bool {
    version_of(version) >= (2, 12)
}

/// How long an API call of the server's may take.
pub(crate) const API_TIMEOUT: Duration = Duration::from_secs(5);
