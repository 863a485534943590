//! The Postgres adapter beside the plainest statements that do the same, on a real server that this starts: looking up,
//! publishing, alone and in a crowd, and taking deliveries out of the queue.
//!
//! After criterion's own report both are run in turn once more, and their ratio is printed: a busy machine slows both. A
//! filter holds for both: `postgres/publish alone/10/`. With `NAHOOK_RATIOS_ONLY=1` criterion does nothing; with
//! `NAHOOK_SHARES=1` it is printed instead where the time of both goes. `NAHOOK_SERVER_SETTINGS` are further settings of the
//! server, with `;` between them.
#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]
#![expect(
    clippy::expect_used,
    reason = "a bench whose inputs are wrong has nothing to measure"
)]

mod ours;
mod plain;
mod ratio;
mod shares;
mod uuid;

use std::time::Duration;

use criterion::{BenchmarkId, Criterion};
use nahook_testserver::PostgresServer;
use tokio::runtime::{Builder, Runtime};

use self::ours::Ours;
use self::plain::Plain;
use self::ratio::{Case, Other};
use self::shares::Meter;

/// Number of triggers that a crowd makes at once.
const CROWD: usize = 64;
/// Number of deliveries taken out of the queue at once.
const BATCH: usize = 100;
const WIDTHS: [usize; 4] = [1, 10, 100, 1_000];

fn main() {
    // Without this argument criterion runs everything once, as a test.
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    let settings = std::env::var("NAHOOK_SERVER_SETTINGS").unwrap_or_default();
    let server = PostgresServer::start_with(&settings.replace(';', "\n"), &[]);
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let url = server.create_database();
    let ours = runtime.block_on(Ours::new(&url));
    let plain = runtime.block_on(Plain::new(&url));
    let cases = cases(&runtime, &ours, &plain);
    let criterion_is_wanted = ["NAHOOK_RATIOS_ONLY", "NAHOOK_SHARES"]
        .into_iter()
        .all(|name| std::env::var_os(name).is_none());
    if criterion_is_wanted {
        let mut criterion = Criterion::default()
            .sample_size(10)
            .warm_up_time(Duration::from_millis(500))
            .measurement_time(Duration::from_secs(2))
            .configure_from_args();
        for case in &cases {
            measure(&mut criterion, case);
        }
        criterion.final_summary();
    }
    let meter = std::env::var_os("NAHOOK_SHARES").map(|_| Meter::new(&runtime, &url));
    let filter = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    for case in &cases {
        let id = format!("postgres/{}/", case.name);
        if filter.as_ref().is_none_or(|filter| id.contains(filter)) {
            match &meter {
                Some(meter) => meter.print_shares(case),
                None => case.print_ratios(is_measured),
            }
        }
    }
}

fn measure(criterion: &mut Criterion, case: &Case<'_>) {
    let mut group = criterion.benchmark_group(format!("postgres/{}", case.name));
    let others = case.others.iter().map(|other| (other.name, &other.run));
    for (name, run) in others.chain([("nahook", &case.run)]) {
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_custom(run);
        });
    }
    group.finish();
}

fn cases<'a>(runtime: &'a Runtime, ours: &'a Ours, plain: &'a Plain) -> Vec<Case<'a>> {
    let mut cases = Vec::new();
    for width in &WIDTHS[1..] {
        cases.push(Case {
            name: format!("look_up/{width}"),
            run: Box::new(move |times| runtime.block_on(ours.look_up(*width, times))),
            others: vec![Other {
                name: "plain",
                at_most: 1.0 / 0.85,
                run: Box::new(move |times| runtime.block_on(plain.look_up(*width, times))),
            }],
        });
    }
    // Both steps of one trigger, as where nothing is cached.
    for width in WIDTHS {
        cases.push(Case {
            name: format!("trigger alone/{width}"),
            run: Box::new(move |times| {
                runtime.block_on(ours.look_up(width, times))
                    + runtime.block_on(ours.publish(width, 1, times))
            }),
            others: vec![Other {
                name: "plain",
                at_most: 1.25,
                run: Box::new(move |times| {
                    runtime.block_on(plain.look_up(width, times))
                        + runtime.block_on(plain.publish(width, 1, times))
                }),
            }],
        });
    }
    for width in WIDTHS {
        cases.push(Case {
            name: format!("publish alone/{width}"),
            run: Box::new(move |times| runtime.block_on(ours.publish(width, 1, times))),
            others: vec![Other {
                name: "plain",
                at_most: 1.25,
                run: Box::new(move |times| runtime.block_on(plain.publish(width, 1, times))),
            }],
        });
    }
    for width in WIDTHS {
        cases.push(Case {
            name: format!("publish in a crowd/{width}"),
            run: Box::new(move |times| runtime.block_on(ours.publish(width, CROWD, times))),
            others: vec![
                Other {
                    name: "plain",
                    at_most: if width <= 10 { 1.0 / 3.0 } else { 1.0 },
                    run: Box::new(move |times| {
                        runtime.block_on(plain.publish(width, CROWD, times))
                    }),
                },
                Other {
                    name: "plain, shared statements",
                    at_most: 1.0 / 0.75,
                    run: Box::new(move |times| {
                        runtime.block_on(plain.publish_together(width, times))
                    }),
                },
            ],
        });
    }
    for (name, settles) in [("claim", false), ("claim and settle", true)] {
        cases.push(Case {
            name: format!("{name}/{BATCH}"),
            run: Box::new(move |times| runtime.block_on(ours.take(settles, times))),
            others: vec![Other {
                name: "plain",
                at_most: 1.0 / 0.8,
                run: Box::new(move |times| runtime.block_on(plain.take(settles, times))),
            }],
        });
    }
    cases
}
