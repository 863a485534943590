//! The tables.

use std::fmt::Write as _;

use crate::plan::Composition;
use crate::search::Row;
use crate::settings::World;
use crate::tally::Part;

/// What a load needs, and what would have become of the nodes of the next smaller load.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) row: Row,
    pub(crate) grown: Option<Row>,
}

/// Two Markdown tables: what each load needs, and how busy that is.
pub(crate) fn table(in_flight: usize, lines: &[Line], world: &World) -> String {
    let limit = world.targets.utilisation;
    let mut text = format!(
        "\nNodes of {} cores; at the peak, {} times the mean, no part busier than {:.0} %; {in_flight} deliveries in flight a worker.\n\n",
        world.machines.cores,
        world.traffic.peak_over_mean,
        100.0 * limit,
    );
    text.push_str(
        "| composition | deliveries/day | cells | ingest | workers | Postgres | NATS | nodes in all | answer p50 / p99 ms | first attempt p99 ms |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for line in lines {
        text.push_str(&needs(&line.row));
    }
    text.push_str(
        "\n| composition | deliveries/day | CPU %: ingest, workers, store, NATS | places %: all, slow | store's disk % | network % | triggers a group | syncs/s a cell | log MB/s a cell | too small, were it the nodes of the line before |\n\
         | --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n",
    );
    for line in lines {
        text.push_str(&load(line, limit));
    }
    text
}

fn needs(row: &Row) -> String {
    let is_one_node = row.plan.composition == Composition::Sqlite;
    let nats = row.plan.composition.nats_nodes();
    let each = |nodes: usize| match (is_one_node, nodes) {
        (true, _) | (_, 0) => "–".to_owned(),
        _ => (row.cells * nodes).to_string(),
    };
    let all = if is_one_node {
        row.cells
    } else {
        row.cells * (row.plan.ingest + row.plan.workers + 1 + nats)
    };
    let latencies = row.outcome.latencies;
    format!(
        "| {} | {}{} | {} | {} | {} | {} | {} | {all} | {:.1} / {:.1} | {:.1} |\n",
        row.plan.composition.name(),
        power(row.deliveries_per_day),
        if row.is_enough {
            ""
        } else {
            ", **not enough**"
        },
        row.cells,
        each(row.plan.ingest),
        each(row.plan.workers),
        each(1),
        each(nats),
        latencies.answer_p50,
        latencies.answer_p99,
        latencies.first_attempt_p99,
    )
}

fn load(Line { row, grown }: &Line, limit: f64) -> String {
    let busy = |part| {
        let share = row.outcome.of(part);
        share.map_or("–".to_owned(), |share| format!("{:.0}", 100.0 * share))
    };
    let cpu = if row.plan.composition == Composition::Sqlite {
        let (node, writer) = (busy(Part::NodeCpu), busy(Part::WriterThread));
        format!("{node}, of it the writing thread {writer} of its core")
    } else {
        let parts = [
            Part::IngestCpu,
            Part::WorkerCpu,
            Part::StoreCpu,
            Part::NatsCpu,
        ];
        parts.map(busy).join(", ")
    };
    let percent = |part| 100.0 * row.share_of(part);
    format!(
        "| {} | {} | {cpu} | {}, {} | {:.0} | {:.0} | {:.2} | {:.0} | {:.1} | {} |\n",
        row.plan.composition.name(),
        power(row.deliveries_per_day),
        busy(Part::Slots),
        busy(Part::SlowSlots),
        percent(Part::StoreDisk),
        percent(Part::Network),
        row.outcome.group,
        row.outcome.syncs,
        row.log_bytes / 1e6,
        grown
            .as_ref()
            .map_or_else(|| "–".to_owned(), |grown| too_small(grown, limit)),
    )
}

fn too_small(grown: &Row, limit: f64) -> String {
    let mut text = String::new();
    for (part, share) in grown.too_busy(limit) {
        let between = if text.is_empty() { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{between}{} {:.0} %", part.name(), 100.0 * share);
    }
    match (text.is_empty(), grown.is_enough) {
        (false, _) => text,
        (true, true) => "nothing".to_owned(),
        (true, false) => "nothing is busy, but it is late".to_owned(),
    }
}

fn power(number: f64) -> String {
    let exponent = number.log10();
    if (exponent - exponent.round()).abs() < 1e-9 {
        format!("10^{exponent:.0}")
    } else {
        format!("{number:e}")
    }
}
