//! The `nahook` binary.

use std::process::ExitCode;

use clap::Parser as _;
use nahook_server::cli::{Cli, run};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("nahook: {}", error.report());
            ExitCode::FAILURE
        }
    }
}
