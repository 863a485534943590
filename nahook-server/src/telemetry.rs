//! Logs and metrics.

use std::io::IsTerminal as _;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::settings::LogFormat;

/// The upper bounds of the histograms' buckets, in seconds: from a fan-out on an idle machine to an attempt's time-out.
const BUCKETS: [f64; 13] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 5.0, 15.0,
];
/// Those of the one histogram that counts: triggers that shared a statement.
const GROUP_BUCKETS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];
/// How often what has been recorded is folded together; it takes up memory until then.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Sends logs to standard error: for people on a terminal, else one JSON object a line, unless `format` says otherwise.
///
/// `RUST_LOG` chooses what is logged; `info` if absent. A second call does nothing.
pub fn install_logs(format: Option<LogFormat>) {
    let terminal = std::io::stderr().is_terminal();
    let format = format.unwrap_or(if terminal {
        LogFormat::Human
    } else {
        LogFormat::Json
    });
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // It fails only where logs are installed already, by a test or an embedder: theirs stay.
    let _ = match format {
        LogFormat::Human => logs.with_ansi(terminal).with_target(false).try_init(),
        LogFormat::Json => logs
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .try_init(),
    };
}

/// Collects metrics for the whole process; hands out another handle to the same when called again.
///
/// `None` where another recorder has been installed by an embedder: its own exporter shows the metrics then.
pub fn install_metrics() -> Option<PrometheusHandle> {
    static HANDLE: std::sync::OnceLock<Option<PrometheusHandle>> = std::sync::OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let group = Matcher::Full(nahook_postgres::metric::PUBLISH_GROUP.to_owned());
            let builder = PrometheusBuilder::new()
                .set_buckets(&BUCKETS)
                .and_then(|builder| builder.set_buckets_for_metric(group, &GROUP_BUCKETS))
                .ok()?;
            let handle = builder.install_recorder().ok()?;
            nahook_http::metric::describe();
            nahook_delivery::worker::metric::describe();
            nahook_postgres::metric::describe();
            nahook_sqlite::metric::describe();
            Some(handle)
        })
        .clone()
}

/// Keeps the metrics small, until dropped.
pub async fn keep_up(handle: PrometheusHandle) {
    let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        ticks.tick().await;
        handle.run_upkeep();
    }
}
