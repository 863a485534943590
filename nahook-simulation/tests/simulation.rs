//! Ten thousand runs in which everything goes wrong.
//!
//! Everything follows from a seed. `NAHOOK_SEEDS=100000` tries more, `NAHOOK_SEED=7` that one alone and tells what happens.

#![cfg(test)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use nahook_simulation::{Faults, Plan, Report, run};

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// The plan that the environment names, if it names one.
fn named() -> Option<Plan> {
    let mut plan = Plan::of(number("NAHOOK_SEED")?);
    if let Ok(names) = std::env::var("NAHOOK_FAULTS") {
        plan.faults = Faults::named(&names);
    }
    plan.steps = number("NAHOOK_STEPS").unwrap_or(plan.steps);
    plan.endpoints = number("NAHOOK_ENDPOINTS").unwrap_or(plan.endpoints);
    let servers = number("NAHOOK_SERVERS").and_then(|it| usize::try_from(it).ok());
    plan.servers = servers.unwrap_or(plan.servers);
    Some(plan)
}

/// Runs so many seeds on all processors, and passes each report on, until one says that it is enough.
fn each(seeds: u64, take: impl Fn(Plan, Report) -> bool + Sync) {
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    let plan = Plan::of(seed);
                    let report = run(&plan, false);
                    if take(plan, report) {
                        next.store(seeds, Ordering::Relaxed);
                    }
                }
            });
        }
    });
}

/// The smallest plan like this one that still fails.
fn shrunk(mut plan: Plan) -> Plan {
    while let Some(smaller) = {
        let smaller = plan.smaller().into_iter();
        let mut failing = smaller.filter(|plan| !run(plan, false).violations.is_empty());
        failing.next()
    } {
        plan = smaller;
    }
    plan
}

#[test]
fn nothing_is_lost_invented_repeated_or_late() {
    if let Some(plan) = named() {
        let report = run(&plan, true);
        println!("{plan:?}\n{}", report.trace.join("\n"));
        assert!(report.violations.is_empty(), "{:#?}", report.violations);
        return;
    }
    let begun = std::time::Instant::now();
    let seeds = number("NAHOOK_SEEDS").unwrap_or(10_000);
    let sums = Mutex::new([0; 4]);
    let failed = Mutex::new(None);
    each(seeds, |plan, report| {
        let mut sums = sums.lock().unwrap();
        let counts = [1, report.faults, report.deliveries, report.arrivals];
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum += count;
        }
        let fails = !report.violations.is_empty();
        if fails {
            failed.lock().unwrap().get_or_insert((plan, report));
        }
        fails
    });
    let [runs, faults, deliveries, arrivals] = *sums.lock().unwrap();
    println!(
        "{runs} seeds: {faults} faults, {deliveries} deliveries, {arrivals} requests, {:?}",
        begun.elapsed()
    );
    if let Some((plan, report)) = failed.into_inner().unwrap() {
        let seed = plan.seed;
        let small = shrunk(plan);
        let small_report = run(&small, false);
        panic!(
            "seed {seed} fails after {runs} seeds: {:#?}\n\nReplay it: NAHOOK_SEED={seed}\nand smaller: {small}\n{:#?}",
            report.violations, small_report.violations
        );
    }
}

#[test]
fn same_seed_gives_the_same_run() {
    each(400, |plan, report| {
        if run(&plan, false) != report {
            let [one, other] = [run(&plan, true), run(&plan, true)];
            let lines = one.trace.iter().zip(&other.trace);
            let same = lines.take_while(|(one, other)| one == other).count();
            let of = |report: &Report| {
                report.trace[same.saturating_sub(9)..]
                    .iter()
                    .take(12)
                    .cloned()
                    .collect::<Vec<_>>()
            };
            panic!("seed {}: {:#?}\n{:#?}", plan.seed, of(&one), of(&other));
        }
        false
    });
}
