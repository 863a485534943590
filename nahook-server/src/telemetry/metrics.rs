//! Metrics for Prometheus.

use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use nahook_supervision::{Exit, Loop, Supervisor};
use tokio::sync::watch;

use super::metric;

/// The upper bounds of the histograms' buckets, in seconds: from a fan-out on an idle machine to an attempt's time-out.
const BUCKETS: [f64; 13] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 5.0, 15.0,
];
/// Those of triggers that shared a statement.
const GROUP_BUCKETS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];
/// Those of deliveries in a record.
const RECORD_BUCKETS: [f64; 9] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0];
/// Interval at which recorded values are folded together; they take up memory until then.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Collects metrics for the whole process; hands out another handle to the same when called again.
///
/// `None` where another recorder has been installed by an embedder: its own exporter shows the metrics then.
pub fn install_metrics() -> Option<PrometheusHandle> {
    static HANDLE: std::sync::OnceLock<Option<PrometheusHandle>> = std::sync::OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let group = Matcher::Full(nahook_postgres::metric::PUBLISH_GROUP.to_owned());
            let record = Matcher::Full(nahook_nats::metric::RECORD_DELIVERIES.to_owned());
            let builder = PrometheusBuilder::new()
                .set_buckets(&BUCKETS)
                .and_then(|builder| builder.set_buckets_for_metric(group, &GROUP_BUCKETS))
                .and_then(|builder| builder.set_buckets_for_metric(record, &RECORD_BUCKETS))
                .ok()?;
            let handle = builder.install_recorder().ok()?;
            nahook_http::metric::describe();
            nahook_delivery::worker::metric::describe();
            nahook_postgres::metric::describe();
            nahook_sqlite::metric::describe();
            nahook_nats::metric::describe();
            nahook_supervision::metric::describe();
            metric::describe();
            Some(handle)
        })
        .clone()
}

/// Keeps the metrics small, until told to stop.
pub(crate) fn keep_up(
    handle: &PrometheusHandle,
    supervisor: &Supervisor,
    stop: &watch::Sender<bool>,
) {
    let (handle, stop) = (handle.clone(), stop.subscribe());
    supervisor.spawn(Loop::MetricsUpkeep, move || {
        let (handle, mut stop) = (handle.clone(), stop.clone());
        async move {
            let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
            loop {
                tokio::select! {
                    _ = ticks.tick() => handle.run_upkeep(),
                    _ = stop.wait_for(|stop| *stop) => return Exit::Stopped,
                }
            }
        }
    });
}
