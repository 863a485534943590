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
mod counts;
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
        ["counts"] => compare().map(|()| true),
        // What the program starts itself as, to be counted.
        ["run", name, times] => run(name, times).map(|()| true),
        _ => Err("usage: nahook-instructions [counts]".into()),
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

/// Says what counts over time cost.
fn compare() -> Result<(), Failure> {
    println!("| step | without counts | with counts | more |\n| --- | --: | --: | --: |");
    for pair in Scenario::COUNTS {
        let [without, with] = [count::of(pair[0])?, count::of(pair[1])?];
        let more = i128::from(with) - i128::from(without);
        let tenths = more * 1_000 / i128::from(without).max(1);
        let sign = if tenths < 0 { "-" } else { "" };
        let percent = format!("{sign}{}.{}", tenths.abs() / 10, tenths.abs() % 10);
        println!("| {} | {without} | {with} | {percent} % |", pair[1].name());
    }
    Ok(())
}

fn run(name: &str, times: &str) -> Result<(), Failure> {
    let mut all = Scenario::ALL.iter().chain(Scenario::COUNTS.as_flattened());
    let scenario = all.find(|scenario| scenario.name() == name);
    scenario.ok_or("no such scenario")?.run(times.parse()?)
}
