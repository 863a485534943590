//! How many nodes of what kind so many deliveries a day need, and which part is the next to be too small: a simulation, event by
//! event, that uses what nahook was measured to cost. `README.md` beside it says what it leaves out.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "times and counts far below 2^52, none negative"
)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the report is what this program is for"
)]

mod capacity;
mod cell;
mod plan;
mod random;
mod report;
mod search;
mod settings;
mod station;
mod tally;
#[cfg(test)]
mod tests;
mod traffic;
mod writer;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::plan::{Composition, Plan};

/// An error of any part: it is told and ends the program.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
#[command(
    name = "scale",
    about = "Simulates how many nodes so many deliveries a day need"
)]
struct Cli {
    /// What things cost, instead of the figures that were built in (`costs.toml`).
    #[arg(long)]
    costs: Option<PathBuf>,
    /// Traffic, receivers and machines, instead of what was built in (`world.toml`).
    #[arg(long)]
    world: Option<PathBuf>,
    /// Deliveries a day.
    #[arg(long, value_delimiter = ',', default_values_t = [1e6, 1e7, 1e8, 1e9])]
    load: Vec<f64>,
    /// Deliveries that a worker holds at a time: nahook's own default, 512, and others.
    #[arg(long, value_delimiter = ',', default_values_t = [512, 4_096])]
    in_flight: Vec<usize>,
    /// What is random comes from this.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Simulates one cell with so many ingest nodes and workers, and searches nothing.
    #[arg(long, value_names = ["INGEST", "WORKERS"], num_args = 2)]
    nodes: Option<Vec<usize>>,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    let costs = settings::costs(cli.costs.as_deref())?;
    let world = settings::world(cli.world.as_deref())?;
    for in_flight in &cli.in_flight {
        let mut rows: Vec<report::Line> = Vec::new();
        for composition in Composition::ALL {
            for load in &cli.load {
                let mut plan = Plan::new(composition, *load, cli.seed);
                plan.in_flight = (*in_flight).max(1);
                let before = rows.last().filter(|line| {
                    let before = &line.row;
                    before.plan.composition == composition && before.deliveries_per_day < *load
                });
                let grown = before.map(|line| {
                    let factor = load / line.row.deliveries_per_day;
                    search::grown(&line.row, factor, &costs, &world)
                });
                let row = match cli.nodes.as_deref() {
                    Some([ingest, workers]) => {
                        (plan.ingest, plan.workers) = (*ingest.max(&1), *workers.max(&1));
                        search::given(plan, &costs, &world)
                    }
                    _ => search::least(&plan, &costs, &world),
                };
                rows.push(report::Line { row, grown });
            }
        }
        print!("{}", report::table(*in_flight, &rows, &world));
    }
    Ok(())
}
