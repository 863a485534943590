//! The table and the JSON.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::Failure;
use crate::limits::Limit;
use crate::point::{Measured, Method};

/// Everything that was measured, as JSON.
#[derive(Serialize)]
struct Report<'a> {
    machine: Machine,
    method: Method,
    sink_limit: &'a Limit,
    measured: &'a [Measured],
}

#[derive(Serialize)]
struct Machine {
    processors: usize,
    model: String,
    kernel: String,
}

impl Machine {
    fn read() -> Self {
        let file = |path| fs::read_to_string(path).unwrap_or_default();
        let info = file("/proc/cpuinfo");
        let model = info.lines().find(|line| line.starts_with("model name"));
        Self {
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            model: model
                .and_then(|line| line.split_once(": "))
                .map_or_else(String::new, |(_, model)| model.to_owned()),
            kernel: file("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

pub(crate) fn heading(sink_limit: &Limit) -> String {
    format!(
        "{}: {:.0}/s at 64 connections\n\n\
         | composition | endpoints | connections | payload | triggers/s | the same, deliveries held | of the queue's limit | of bare HTTP | \
         p50 / p99 / p99.9 ms | p50 / p99 / p99.9 ms at half the rate | the same, deliveries held | deliveries/s | … while accepting / of the backlog left | last arrival ms | \
         CPU s of server, database, broker, sink, generator | peak MB | disk B/delivery | syncs/s |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        sink_limit.what, sink_limit.per_second
    )
}

pub(crate) fn row(measured: &Measured) -> String {
    let point = measured.point;
    let share = |limit: &Limit| 100.0 * measured.held.per_second / limit.per_second.max(1.0);
    let loads = [
        &measured.closed,
        &measured.held,
        &measured.half,
        &measured.held_half,
    ];
    let failed: u64 = loads.iter().map(|load| load.failed).sum();
    let failed = if failed > 0 {
        format!(" ({failed} failed)")
    } else {
        String::new()
    };
    #[expect(clippy::cast_precision_loss, reason = "megabytes with one digit")]
    let peak = measured.memory_peak as f64 / 1e6;
    let [closed, _, half, held_half] = loads;
    format!(
        "| {} | {} | {} | {} | {:.0}{failed} | {:.0} | {:.0} % of {:.0} | {:.0} % of {:.0} | {:.2} / {:.2} / {:.2} | \
         {:.2} / {:.2} / {:.2} | {:.2} / {:.2} / {:.2} | {:.0} | {:.0} / {:.0} | {:.1} | {:.1}, {:.1}, {:.1}, {:.1}, {:.1} | {peak:.1} | {:.0} | {:.0} |",
        point.composition.name(),
        point.width,
        point.connections,
        point.payload_len,
        closed.per_second,
        measured.held.per_second,
        share(&measured.queue_limit),
        measured.queue_limit.per_second,
        share(&measured.http_limit),
        measured.http_limit.per_second,
        closed.p50,
        closed.p99,
        closed.p999,
        half.p50,
        half.p99,
        half.p999,
        held_half.p50,
        held_half.p99,
        held_half.p999,
        measured.deliveries_per_second,
        measured.deliveries_while_accepting,
        measured.deliveries_of_backlog,
        measured.last_arrival_after_ms,
        measured.cpu.server,
        measured.cpu.database,
        measured.cpu.broker,
        measured.cpu.sink,
        closed.cpu_seconds,
        measured.disk_bytes_per_delivery,
        measured.syncs_per_second,
    )
}

/// Writes `load.json` and `load.md`.
pub(crate) fn write(
    folder: &Path,
    method: Method,
    sink_limit: &Limit,
    measured: &[Measured],
) -> Result<(), Failure> {
    let report = Report {
        machine: Machine::read(),
        method,
        sink_limit,
        measured,
    };
    fs::write(
        folder.join("load.json"),
        serde_json::to_vec_pretty(&report)?,
    )?;
    let rows: Vec<_> = measured.iter().map(row).collect();
    let machine = &report.machine;
    let text = format!(
        "{} processors ({}), Linux {}; {} s a load after {} s of warm-up; NATS syncs {}.\n\n{}\n{}\n",
        machine.processors,
        machine.model,
        machine.kernel,
        method.seconds,
        method.warm_up,
        if method.nats_sync_always {
            "every write"
        } else {
            "every two minutes"
        },
        heading(sink_limit),
        rows.join("\n"),
    );
    fs::write(folder.join("load.md"), text)?;
    Ok(())
}
