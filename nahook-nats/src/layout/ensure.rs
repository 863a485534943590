//! Creation of what is missing on the server, and checks of what exists.

use async_nats::jetstream::Context;

use super::consumers::{ensure_consumer, recorders, workers};
use super::names::{Names, RECORDERS, Source, WORKERS};
use super::streams::{
    dead_letters, deliveries, ensure_stream, log, progress, retries, with_schedules,
};
use crate::config::NatsSettings;
use crate::error::ConnectError;

/// Creates missing streams and consumers and checks existing ones. Returns, by source, when the workers' consumer was created,
/// in nanoseconds since 1970: a consumer that was created again knows nothing of what its predecessor handed out.
pub(crate) async fn ensure(
    context: &Context,
    names: &Names,
    settings: &NatsSettings,
) -> Result<[i128; 2], ConnectError> {
    ensure_stream(context, deliveries(names, settings)).await?;
    let found = ensure_stream(context, retries(names, settings)).await?;
    with_schedules(context, found).await?;
    ensure_stream(context, progress(names, settings)).await?;
    ensure_stream(context, dead_letters(names, settings)).await?;
    let mut created_at = [0; 2];
    for source in [Source::Deliveries, Source::Retries] {
        let wanted = workers(names, source, settings);
        created_at[source as usize] =
            ensure_consumer(context, &names.stream(source), WORKERS, wanted).await?;
    }
    if settings.log {
        ensure_stream(context, log(names, settings)).await?;
        ensure_consumer(context, &names.log_stream(), RECORDERS, recorders(names)).await?;
    }
    Ok(created_at)
}
