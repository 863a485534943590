//! Measures the triggers and deliveries a second of each composition, beside the raw limit of the part it rests on.
//!
//! Everything is a process of its own, as in production: the server, the receiver of webhooks (the *sink*), the load
//! generator, the database and the broker. Each point of the sweep starts a composition afresh, so that no backlog of one
//! weighs on the next, and measures the raw limit in the same minute: machines are noisy, ratios travel.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the report is what this program is for"
)]

mod composition;
mod generator;
mod http;
mod limits;
mod memory;
mod plan;
mod plot;
mod point;
mod process;
mod report;
mod sink;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::plan::SweepArgs;

/// An error of any part: it is told and ends the program.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
#[command(
    name = "load",
    about = "Measures nahook beside the limits of this machine"
)]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    sweep: SweepArgs,
}

/// Role of a child process of the sweep.
#[derive(Subcommand)]
enum Role {
    /// A server that parses a trigger and answers, and does nothing else.
    #[command(hide = true)]
    Bare(http::BareArgs),
    /// The load.
    #[command(hide = true)]
    Generate(generator::GenerateArgs),
    /// The nahook server on the core's in-memory adapters.
    #[command(hide = true)]
    Memory(memory::MemoryArgs),
    /// The nahook server, or one of its tools.
    #[command(hide = true)]
    Nahook {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Draws what several sweeps have measured together.
    Plot(plot::PlotArgs),
    /// The receiver of webhooks.
    #[command(hide = true)]
    Sink,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = match cli.role {
        Some(Role::Bare(args)) => http::serve(&args),
        Some(Role::Generate(args)) => generator::run(args),
        Some(Role::Memory(args)) => memory::serve(&args),
        Some(Role::Nahook { args }) => return nahook(args),
        Some(Role::Plot(args)) => plot::draw_together(&args),
        Some(Role::Sink) => sink::serve(),
        None => plan::sweep(&cli.sweep),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("load: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// The very program that users run.
fn nahook(args: Vec<String>) -> ExitCode {
    let args = std::iter::once("nahook".to_owned()).chain(args);
    match nahook_server::cli::run(nahook_server::cli::Cli::parse_from(args)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("nahook: {}", error.report());
            ExitCode::FAILURE
        }
    }
}
