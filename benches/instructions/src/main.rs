//! Counts the instructions of each step of the hot path with valgrind's callgrind, against a budget.
//!
//! Instructions repeat where seconds do not: the same binary takes the same number on a busy machine and on an idle one. Each
//! scenario runs twice, once with more repetitions; the difference is what a repetition takes, without the start and the end.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the report is what this program is for"
)]

mod budget;
mod count;
mod scenario;

use std::process::ExitCode;

use crate::budget::Budgets;
use crate::scenario::Scenario;

/// An error of any part: it is told and ends the program.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match args.as_slice() {
        [] => check(),
        // What the program starts itself as, to be counted.
        ["run", name, times] => run(name, times).map(|()| true),
        _ => Err("usage: instructions".into()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Counts every scenario. Answers whether all kept within their budgets.
fn check() -> Result<bool, Failure> {
    let budgets = Budgets::read()?;
    let mut kept = true;
    println!("| scenario | instructions | budget |\n| --- | --- | --- |");
    for scenario in Scenario::ALL {
        let counted = count::of(*scenario)?;
        let verdict = budgets.judge(scenario.name(), counted)?;
        kept &= verdict.is_kept();
        println!("| {} | {counted} | {verdict} |", scenario.name());
    }
    budgets.has_no_others(Scenario::ALL.iter().map(|scenario| scenario.name()))?;
    Ok(kept)
}

fn run(name: &str, times: &str) -> Result<(), Failure> {
    let mut all = Scenario::ALL.iter();
    let scenario = all.find(|scenario| scenario.name() == name);
    scenario.ok_or("no such scenario")?.run(times.parse()?)
}
