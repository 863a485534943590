//! Plans that `auto_explain` has written into the server's log.

use std::fmt;

/// A statement, and how it was run.
#[derive(Clone, Debug)]
pub(crate) struct Explained {
    query: Vec<String>,
    plan: Vec<String>,
}

impl Explained {
    /// Everything in a part of the log, in its order.
    pub(crate) fn all(log: &str) -> Vec<Self> {
        let mut all = Vec::new();
        let mut lines = log.lines().peekable();
        while let Some(line) = lines.next() {
            if !(line.contains("LOG:  duration: ") && line.ends_with("plan:")) {
                continue;
            }
            let (mut query, mut plan) = (Vec::new(), Vec::new());
            while let Some(line) = lines.next_if(|line| line.starts_with('\t')) {
                let line = &line[1..];
                if plan.is_empty() && !line.contains("(cost=") {
                    query.push(line.trim_start_matches("Query Text: ").to_owned());
                } else {
                    plan.push(line.to_owned());
                }
            }
            query.retain(|line| !line.trim().is_empty());
            all.push(Self { query, plan });
        }
        all
    }

    /// The statement, indented as far as it needs.
    pub(crate) fn query(&self) -> String {
        let indent = |line: &String| line.len() - line.trim_start().len();
        // The first line may follow a word, so that its indent is not to be seen.
        let indents = self.query.iter().map(indent);
        let least = indents.filter(|indent| *indent > 0).min().unwrap_or(0);
        let cut = |line: &String| {
            line.get(least.min(indent(line))..)
                .unwrap_or_default()
                .to_owned()
        };
        let lines: Vec<_> = self.query.iter().map(cut).collect();
        lines.join("\n")
    }

    pub(crate) fn plan(&self) -> String {
        self.plan.join("\n")
    }

    /// Returns the number of blocks touched, in memory or on disk: the count of the whole, and of writes beside it,
    /// which the whole may count or not.
    pub(crate) fn blocks(&self) -> u64 {
        let mut writes = false;
        let mut blocks = 0;
        for (number, line) in self.plan.iter().enumerate() {
            if line.contains("(cost=") {
                writes = number == 0
                    || ["Delete on", "Insert on", "Update on"]
                        .iter()
                        .any(|verb| line.contains(verb));
            } else if writes && line.contains("Buffers: shared") {
                blocks += touched(line);
            }
        }
        blocks
    }

    /// Returns the number of rows that all of its scans have read, those that a filter has removed included.
    pub(crate) fn rows_read(&self) -> u64 {
        let (mut rows, mut loops) = (0, 1);
        for line in &self.plan {
            if line.contains("(cost=") {
                loops = number_in(line, "loops=").unwrap_or(1);
                if line.contains("Scan") {
                    rows += read(line);
                }
            } else if let Some((_, removed)) = line.split_once("Rows Removed by ") {
                rows += loops * number_in(removed, ": ").unwrap_or(0);
            }
        }
        rows
    }

    /// Returns the number of rows that the busiest of its scans has read, all rounds of it together.
    pub(crate) fn rows(&self) -> u64 {
        let scans = self.plan.iter().filter(|line| line.contains("Scan"));
        scans.map(|line| read(line)).max().unwrap_or(0)
    }
}

/// The rows of a scan: `(… actual time=… rows=3 loops=2)`.
fn read(line: &str) -> u64 {
    let (_, actual) = line.split_once("(actual ").unwrap_or_default();
    number_in(actual, "rows=").unwrap_or(0) * number_in(actual, "loops=").unwrap_or(0)
}

/// The number that follows `name`.
fn number_in(line: &str, name: &str) -> Option<u64> {
    let (_, rest) = line.split_once(name)?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// The blocks of a line of a plan.
fn touched(line: &str) -> u64 {
    let counts = line.split(' ').filter_map(|word| {
        let (kind, count) = word.split_once('=')?;
        ["hit", "read"]
            .contains(&kind)
            .then(|| count.parse::<u64>().unwrap())
    });
    counts.sum()
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n\n{}", self.query(), self.plan())
    }
}

#[test]
fn a_log_is_read() {
    let log = "2026-11-01 UTC [1] LOG:  duration: 0.1 ms  plan:\n\tQuery Text: \n\t    SELECT 1\n\t      FROM a\n\tLimit  (cost=0.1..2 rows=1)\n\
               \t  Buffers: shared hit=12 read=3 dirtied=4\n\t  ->  Index Scan using a_b on a  (cost=1)\n\t        Buffers: shared hit=9\n\
               2026-11-01 UTC [1] LOG:  checkpoint starting: time\n";
    let all = Explained::all(log);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].query(), "SELECT 1\n  FROM a");
    assert_eq!(all[0].plan().lines().count(), 4);
    assert_eq!(all[0].blocks(), 15);
}
