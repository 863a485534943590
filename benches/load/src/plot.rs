//! Plots over the width, at 64 connections and 200 bytes: one line a composition, both axes logarithmic.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use clap::Args;
use plotters::prelude::*;
use serde::Deserialize;

use crate::Failure;
use crate::composition::Composition;
use crate::point::Measured;

/// One quantity over the width.
struct Plot {
    file: &'static str,
    title: &'static str,
    value: fn(&Measured) -> f64,
}

const PLOTS: [Plot; 5] = [
    Plot {
        file: "triggers.svg",
        title: "triggers a second",
        value: |measured| measured.closed.per_second,
    },
    Plot {
        file: "held.svg",
        title: "triggers a second, deliveries held",
        value: |measured| measured.held.per_second,
    },
    Plot {
        file: "deliveries.svg",
        title: "webhooks arriving a second",
        value: |measured| measured.deliveries_per_second,
    },
    Plot {
        file: "latency.svg",
        title: "p99 of the answer in ms, at half the rate, deliveries held",
        value: |measured| measured.held_half.p99,
    },
    Plot {
        file: "cost.svg",
        title: "microseconds of an answer for each endpoint",
        value: |measured| {
            #[expect(clippy::cast_precision_loss, reason = "widths are small")]
            let width = measured.point.width.max(1) as f64;
            1e6 / measured.held.per_second.max(0.001) / width
        },
    },
];

/// Options of a plot: the reports drawn together.
#[derive(Args)]
pub(crate) struct PlotArgs {
    /// The `load.json` of each sweep.
    reports: Vec<PathBuf>,
    /// Folder of the plots.
    #[arg(long)]
    output: PathBuf,
}

/// Part of a report that is drawn.
#[derive(Deserialize)]
struct Report {
    measured: Vec<Measured>,
}

pub(crate) fn draw_together(args: &PlotArgs) -> Result<(), Failure> {
    let mut measured = Vec::new();
    for report in &args.reports {
        let report: Report = serde_json::from_slice(&fs::read(report)?)?;
        measured.extend(report.measured);
    }
    write(&args.output, &measured)
}

pub(crate) fn write(folder: &Path, measured: &[Measured]) -> Result<(), Failure> {
    for plot in &PLOTS {
        // An empty range cannot be drawn.
        if let Some(svg) = draw(plot, measured)? {
            use std::io::Write as _;
            File::create(folder.join(plot.file))?.write_all(svg.as_bytes())?;
        }
    }
    Ok(())
}

fn draw(plot: &Plot, measured: &[Measured]) -> Result<Option<String>, Failure> {
    let lines: Vec<(Composition, Vec<(f64, f64)>)> = lines(plot, measured);
    let values = || {
        lines
            .iter()
            .flat_map(|(_, line)| line.iter().map(|(_, y)| *y))
    };
    let low = values().fold(f64::MAX, f64::min);
    let high = values().fold(0.0, f64::max);
    if high <= 0.0 {
        return Ok(None);
    }
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (720, 480)).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(plot.title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(72)
            .build_cartesian_2d(
                (1.0..10_000.0_f64).log_scale(),
                (low / 1.5..high * 1.5).log_scale(),
            )?;
        chart.configure_mesh().x_desc("endpoints").draw()?;
        for (nth, (composition, line)) in lines.iter().enumerate() {
            let style = Palette99::pick(nth).stroke_width(2);
            chart
                .draw_series(LineSeries::new(line.iter().copied(), style).point_size(3))?
                .label(composition.name())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
        }
        chart
            .configure_series_labels()
            .border_style(BLACK)
            .background_style(WHITE)
            .draw()?;
        area.present()?;
    }
    Ok(Some(svg))
}

fn lines(plot: &Plot, measured: &[Measured]) -> Vec<(Composition, Vec<(f64, f64)>)> {
    let mut lines: Vec<(Composition, Vec<(f64, f64)>)> = Vec::new();
    for one in measured {
        let point = one.point;
        let value = (plot.value)(one);
        let is_on_the_line = point.connections == 64 && point.payload_len == 200 && point.width > 0;
        if !is_on_the_line || value <= 0.0 {
            continue;
        }
        #[expect(clippy::cast_precision_loss, reason = "widths are small")]
        let at = (point.width as f64, value);
        match lines.iter_mut().find(|(of, _)| *of == point.composition) {
            Some((_, line)) => line.push(at),
            None => lines.push((point.composition, vec![at])),
        }
    }
    lines
}
