//! Processor time of a case, spent by this program and by the server's processes, by the kernel's
//! books, and how much was written ahead. What a case does aside counts as well, but not in the whole.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

use crate::ratio::{Case, Run, times};

/// Number of turns of each way.
const TURNS: usize = 15;

pub(crate) struct Meter<'a> {
    runtime: &'a Runtime,
    client: Client,
}

/// Cost of one run, in milliseconds; the log in bytes.
#[derive(Clone, Copy, Default)]
struct Taken {
    whole: f64,
    /// By this program.
    program: f64,
    /// By the server's processes that run the statements …
    statements: f64,
    /// … by the one that tells of them …
    telling: f64,
    /// … and by those that write in the background.
    background: f64,
    log: f64,
}

/// Processor time until now.
struct Books {
    program: u64,
    server: BTreeMap<u32, (Part, u64)>,
    log: i64,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Part {
    Statements,
    Telling,
    Background,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(runtime: &'a Runtime, url: &str) -> Self {
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a server");
            tokio::spawn(connection);
            client
        });
        Self { runtime, client }
    }

    /// Runs ours and the others in turn, and prints what each has taken: the median of the turns.
    pub(crate) fn print_shares(&self, case: &Case<'_>) {
        println!(
            "{:<24} {:<26} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
            case.name, "ms", "whole", "program", "server", "telling", "aside", "rest", "log, B",
        );
        for other in &case.others {
            let times = times(&case.run, &other.run);
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for _ in 0..TURNS {
                theirs.push(self.measure(&other.run, times));
                ours.push(self.measure(&case.run, times));
            }
            for (name, taken) in [(other.name, theirs), ("nahook", ours)] {
                let median = |of: fn(&Taken) -> f64| {
                    let mut all: Vec<_> = taken.iter().map(of).collect();
                    all.sort_by(f64::total_cmp);
                    all[TURNS / 2]
                };
                let rest = median(|taken| taken.whole - taken.program - taken.statements);
                println!(
                    "{:<24} {name:<26} {:>9.3} {:>9.3} {:>9.3} {:>9.3} {:>9.3} {rest:>9.3} {:>9.0}",
                    "",
                    median(|taken| taken.whole),
                    median(|taken| taken.program),
                    median(|taken| taken.statements),
                    median(|taken| taken.telling),
                    median(|taken| taken.background),
                    median(|taken| taken.log),
                );
            }
        }
    }

    fn measure(&self, run: &Run<'_>, times: u32) -> Taken {
        let before = self.books();
        let whole = run(times.into());
        let after = self.books();
        let each = |nanos: u64| Duration::from_nanos(nanos).as_secs_f64() * 1e3 / f64::from(times);
        let of = |part| {
            let taken = after.server.iter().map(|(process, (is, nanos))| {
                let earlier = before.server.get(process).map_or(0, |(_, nanos)| *nanos);
                if *is == part { nanos - earlier } else { 0 }
            });
            each(taken.sum())
        };
        let log = u32::try_from(after.log - before.log).unwrap_or(u32::MAX);
        Taken {
            whole: whole.as_secs_f64() * 1e3 / f64::from(times),
            program: each(after.program - before.program),
            statements: of(Part::Statements),
            telling: of(Part::Telling),
            background: of(Part::Background),
            log: f64::from(log) / f64::from(times),
        }
    }

    fn books(&self) -> Books {
        let asking = async {
            let processes =
                "SELECT pid, query ~ '^(NOTIFY|LISTEN|SELECT 1)', backend_type = 'client backend'
                FROM pg_stat_activity WHERE pid <> pg_backend_pid()";
            let processes = self.client.query(processes, &[]).await.expect("processes");
            let log = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint";
            let log = self.client.query_one(log, &[]).await.expect("a place");
            (processes, log.get(0))
        };
        let (processes, log) = self.runtime.block_on(asking);
        let server = processes.iter().map(|row| {
            let process = u32::try_from(row.get::<_, i32>(0)).expect("a number");
            let part = match (row.get(2), row.get::<_, Option<bool>>(1)) {
                (true, Some(true)) => Part::Telling,
                (true, _) => Part::Statements,
                (false, _) => Part::Background,
            };
            (
                process,
                (part, on_processor(&format!("/proc/{process}/schedstat"))),
            )
        });
        let tasks = fs::read_dir("/proc/self/task").expect("our threads");
        Books {
            server: server.collect(),
            log,
            program: tasks
                .map(|task| {
                    on_processor(&format!(
                        "{}/schedstat",
                        task.expect("a thread").path().display()
                    ))
                })
                .sum(),
        }
    }
}

/// Nanoseconds; none of what has ended.
fn on_processor(path: &str) -> u64 {
    let books = fs::read_to_string(path).unwrap_or_default();
    let nanos = books.split(' ').next().and_then(|nanos| nanos.parse().ok());
    nanos.unwrap_or(0)
}
