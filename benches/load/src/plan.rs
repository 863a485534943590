//! Which points are measured.

use std::path::PathBuf;

use clap::Args;

use crate::Failure;
use crate::composition::{Composition, output_default};
use crate::limits;
use crate::point::{Measured, Method, Point, measure};
use crate::{plot, report};

/// Width of the points while another axis is swept.
const WIDTH: usize = 10;
const CONNECTIONS: usize = 64;
const PAYLOAD_LEN: usize = 200;

/// Options of the sweep. Unless `--full` is given, one axis at a time: every width at 64 connections and 200 bytes, and the other
/// axes at ten endpoints.
#[derive(Args, Clone, Debug)]
pub(crate) struct SweepArgs {
    /// Which compositions.
    #[arg(long, value_delimiter = ',', default_values = ["memory", "sqlite", "postgres", "sqlite-nats", "postgres-nats"])]
    compositions: Vec<Composition>,
    /// Numbers of subscribed endpoints.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 1, 10, 100, 1_000, 10_000])]
    widths: Vec<usize>,
    /// Numbers of requests in flight.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64])]
    connections: Vec<usize>,
    /// Lengths of the payload in bytes.
    #[arg(long, value_delimiter = ',', default_values_t = [200, 16_384, 204_800])]
    payloads: Vec<usize>,
    /// Every width with every number of connections and every payload.
    #[arg(long)]
    full: bool,
    /// Measured time of each load, in seconds.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Warm-up before that, in seconds.
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// Let the NATS server sync every write before it acknowledges, which is what survives a power cut.
    #[arg(long)]
    nats_sync_always: bool,
    /// Folder of the table, the JSON and the plots.
    #[arg(long, default_value_os_t = output_default())]
    output: PathBuf,
}

impl SweepArgs {
    fn points(&self) -> Vec<Point> {
        let mut points = Vec::new();
        for composition in &self.compositions {
            for width in &self.widths {
                for connections in &self.connections {
                    for payload_len in &self.payloads {
                        let away = [
                            *width != WIDTH,
                            *connections != CONNECTIONS,
                            *payload_len != PAYLOAD_LEN,
                        ];
                        let axes = away.into_iter().filter(|away| *away).count();
                        if self.full || axes <= 1 {
                            points.push(Point {
                                composition: *composition,
                                width: *width,
                                connections: *connections,
                                payload_len: *payload_len,
                            });
                        }
                    }
                }
            }
        }
        points
    }
}

/// Measures every point and writes the report as it goes, so that a sweep that is stopped has one, too.
pub(crate) fn sweep(args: &SweepArgs) -> Result<(), Failure> {
    let method = Method {
        seconds: args.seconds,
        warm_up: args.warm_up,
        nats_sync_always: args.nats_sync_always,
    };
    std::fs::create_dir_all(&args.output)?;
    let sink_limit = limits::of_sink(CONNECTIONS)?;
    let mut measured: Vec<Measured> = Vec::new();
    println!("{}", report::heading(&sink_limit));
    for point in args.points() {
        match measure(point, method) {
            Ok(one) => {
                println!("{}", report::row(&one));
                measured.push(one);
            }
            // One point that cannot be measured must not cost the others; the report has a gap there.
            Err(failure) => println!("| {point:?}: {failure} |"),
        }
        report::write(&args.output, method, &sink_limit, &measured)?;
        plot::write(&args.output, &measured)?;
    }
    println!("\nwritten to {}", args.output.display());
    Ok(())
}
