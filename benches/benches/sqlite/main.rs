//! The adapter `nahook-sqlite` beside the plainest writer that does the same, on a file in a temporary folder: publishing, alone and
//! in a crowd, and taking deliveries out of the queue.
//!
//! After criterion's own report both are run in turn once more, and their ratio is printed: a busy disk slows both.
#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]
#![expect(
    clippy::expect_used,
    reason = "a bench whose inputs are wrong has nothing to measure"
)]

mod ours;
mod plain;
#[path = "../postgres/ratio.rs"]
mod ratio;
mod wake;

use std::time::Duration;

use criterion::{BenchmarkId, Criterion};
use tokio::runtime::{Builder, Runtime};

use self::ours::Ours;
use self::plain::Plain;
use self::ratio::{Case, Other};

/// Number of triggers that a crowd makes at once.
const CROWD: usize = 64;
/// Number of deliveries taken out of the queue at once.
const BATCH: usize = 100;
const WIDTHS: [usize; 4] = [1, 10, 100, 1_000];

fn main() {
    // Without this argument criterion runs everything once, as a test.
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let ours = runtime.block_on(Ours::new());
    let plain = Plain::new();
    let cases = cases(&runtime, &ours, &plain);
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    for case in &cases {
        let mut group = criterion.benchmark_group(format!("sqlite/{}", case.name));
        let others = case.others.iter().map(|other| (other.name, &other.run));
        for (name, run) in others.chain([("nahook", &case.run)]) {
            group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                bencher.iter_custom(run);
            });
        }
        group.finish();
    }
    criterion.final_summary();
    for case in &cases {
        case.print_ratios(is_measured);
    }
    runtime.block_on(wake::print(if is_measured { 500 } else { 1 }));
}

fn cases<'a>(runtime: &'a Runtime, ours: &'a Ours, plain: &'a Plain) -> Vec<Case<'a>> {
    let mut cases = Vec::new();
    for callers in [1, CROWD] {
        for width in WIDTHS {
            let among = if callers == 1 { "alone" } else { "in a crowd" };
            cases.push(Case {
                name: format!("publish {among}/{width}"),
                run: Box::new(move |times| runtime.block_on(ours.publish(width, callers, times))),
                others: vec![Other {
                    name: "plain",
                    at_most: 1.0 / 0.85,
                    run: Box::new(move |times| {
                        runtime.block_on(plain.publish(width, callers, times))
                    }),
                }],
            });
        }
    }
    cases.push(Case {
        name: format!("claim and settle/{BATCH}"),
        run: Box::new(move |times| runtime.block_on(ours.take(times))),
        others: vec![Other {
            name: "plain",
            at_most: 1.0 / 0.8,
            run: Box::new(move |times| runtime.block_on(plain.take(times))),
        }],
    });
    cases
}
