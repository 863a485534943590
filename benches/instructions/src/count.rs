//! Counting by callgrind.

use std::process::Command;

use crate::Failure;
use crate::scenario::Scenario;

/// Counts the instructions of one repetition.
pub(crate) fn of(scenario: Scenario) -> Result<u64, Failure> {
    let (few, many) = scenario.repetitions();
    let taken = total(scenario, many)?.saturating_sub(total(scenario, few)?);
    Ok(taken / (many - few))
}

/// Counts the instructions of a run of the scenario, with its start and its end.
fn total(scenario: Scenario, times: u64) -> Result<u64, Failure> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["run", scenario.name(), &times.to_string()])
        .output()
        .map_err(|error| format!("valgrind cannot be started: {error}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{} failed under valgrind:\n{told}", scenario.name()).into());
    }
    collected(&told).ok_or_else(|| format!("valgrind counted nothing:\n{told}").into())
}

/// The number in the line `==1== Collected : 123`.
fn collected(told: &str) -> Option<u64> {
    let (_, rest) = told.split_once("Collected : ")?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read_from_what_callgrind_says() {
        let told = "==7== \n==7== Events    : Ir\n==7== Collected : 178405\n==7== \n";
        assert_eq!(collected(told), Some(178_405));
        assert_eq!(collected("==7== Events    : Ir"), None);
    }
}
