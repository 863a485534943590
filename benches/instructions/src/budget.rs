//! Budgets of the scenarios.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use crate::Failure;

/// Compilers and libraries move a count a little; so much in a hundred is no finding.
const TOLERANCE: u64 = 5;

/// The budgets, in instructions a repetition, by scenario.
#[derive(Debug, Deserialize)]
pub(crate) struct Budgets {
    instructions: BTreeMap<String, u64>,
}

/// Result of comparing a count with its budget.
pub(crate) struct Verdict {
    counted: u64,
    budget: u64,
}

impl Budgets {
    pub(crate) fn read() -> Result<Self, Failure> {
        Ok(toml::from_str(include_str!("../budgets.toml"))?)
    }

    pub(crate) fn judge(&self, name: &str, counted: u64) -> Result<Verdict, Failure> {
        let budget = self.instructions.get(name).copied();
        let budget = budget.ok_or_else(|| format!("{name} has no budget"))?;
        Ok(Verdict { counted, budget })
    }

    /// A budget that nothing is held against is a mistake.
    pub(crate) fn has_no_others<'a>(
        &self,
        names: impl Iterator<Item = &'a str>,
    ) -> Result<(), Failure> {
        let names: Vec<&str> = names.collect();
        let mut budgets = self.instructions.keys();
        match budgets.find(|name| !names.contains(&name.as_str())) {
            Some(name) => Err(format!("there is no scenario {name}").into()),
            None => Ok(()),
        }
    }
}

impl Verdict {
    pub(crate) fn is_kept(&self) -> bool {
        self.counted <= self.budget + self.budget * TOLERANCE / 100
    }

    /// So far below that the budget no longer guards what has been gained.
    fn is_loose(&self) -> bool {
        self.counted < self.budget - self.budget * 4 * TOLERANCE / 100
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let remark = if !self.is_kept() {
            ": exceeded"
        } else if self.is_loose() {
            ": could be lowered"
        } else {
            ""
        };
        write!(f, "{}{remark}", self.budget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(counted: u64) -> Verdict {
        Verdict {
            counted,
            budget: 1_000,
        }
    }

    #[test]
    fn more_than_the_tolerance_exceeds_the_budget() {
        assert!(verdict(1_050).is_kept());
        assert!(!verdict(1_051).is_kept());
        assert_eq!(verdict(1_051).to_string(), "1000: exceeded");
        assert_eq!(verdict(799).to_string(), "1000: could be lowered");
        assert_eq!(verdict(1_000).to_string(), "1000");
    }

    #[test]
    fn every_scenario_has_a_budget_and_every_budget_a_scenario() {
        let budgets = Budgets::read().unwrap();
        let names = crate::Scenario::ALL.iter().map(|scenario| scenario.name());
        for name in names.clone() {
            assert!(budgets.judge(name, 0).is_ok(), "{name}");
        }
        assert!(budgets.has_no_others(names).is_ok());
        assert!(budgets.has_no_others(std::iter::empty()).is_err());
    }
}
