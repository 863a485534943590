//! Cost of a trigger on JetStream, beside the raw limit in the same run: plain publishes of the same bytes, and the layout
//! of one message for each delivery. Both sync settings, widths from 1 to 10,000, and draining.
//!
//! `cargo bench -p nahook-benches --bench nats` prints a table; `-- default` or `-- always` measures one of the sync settings
//! only, and `-- publish` or `-- drain` one of the two parts. With `--test` everything runs once.
#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]
#![expect(
    clippy::expect_used,
    reason = "a bench whose parts do not work has nothing to measure"
)]

mod drain;
mod publish;
mod support;

use nahook_testserver::NatsOptions;

use self::support::{Scale, fdatasync_rate};

fn main() {
    let has = |wanted: &str| std::env::args().any(|arg| arg == wanted);
    // Cargo says `--bench` where it is to be measured; under `cargo test` it is only to run.
    let scale = if has("--test") || !has("--bench") {
        Scale::ONCE
    } else {
        Scale::FULL
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    println!(
        "fdatasync after an append: {:.0} a second",
        fdatasync_rate()
    );
    let newest = NatsOptions::new();
    let settings = [
        ("default", newest.clone()),
        ("always", newest.sync_always()),
    ];
    let is_wanted = |one: &str, other: &str| has(one) || !has(other);
    for ((name, options), other) in settings.into_iter().zip(["always", "default"]) {
        if !is_wanted(name, other) {
            continue;
        }
        println!("\n## sync: {name}\n");
        if is_wanted("publish", "drain") {
            publish::print_header();
            for callers in [1, scale.callers] {
                for width in [1, 10, 100, 1_000, 10_000] {
                    let server = options.start();
                    runtime.block_on(publish::measure(&server, callers, width, scale));
                }
            }
            println!();
        }
        if is_wanted("drain", "publish") {
            drain::print_header();
            for width in [1, 10, 100, 1_000] {
                let server = options.start();
                runtime.block_on(drain::measure(&server, width, scale));
            }
        }
    }
}
