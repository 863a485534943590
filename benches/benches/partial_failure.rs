//! A trigger of which a share of the endpoints fails, and reading its receipt: failures must not cost more than successes.

#![expect(
    clippy::expect_used,
    reason = "a bench whose inputs are wrong has nothing to measure"
)]

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nahook_benches::{CachedSubscriptions, NullPublisher, event, runtime, trigger, workspace};
use nahook_core::FanOut;

const WIDTH: usize = 1_000;

// The receipt is dropped within the measurement, as its reader would: kept for later, receipts by the thousand would
// measure how the system hands out fresh pages.
fn partial_failure(criterion: &mut Criterion) {
    let runtime = runtime().expect("a runtime");
    let _entered = runtime.enter();
    let (scope, event) = (workspace().into(), event(256).expect("an event"));
    let mut group = criterion.benchmark_group("partial_failure");
    group.throughput(Throughput::Elements(WIDTH as u64));
    for per_mille in [0, 1, 10, 100, 500, 1_000] {
        let engine = FanOut::new(
            CachedSubscriptions::of(WIDTH),
            NullPublisher::failing_for(per_mille),
        );
        let id = BenchmarkId::new("failing per mille", per_mille);
        group.bench_function(id, |bencher| {
            bencher.iter_batched(
                || event.clone(),
                |event| {
                    let receipt = trigger(&engine, event, scope).expect("a receipt");
                    for id in receipt.delivery_ids() {
                        black_box(id);
                    }
                    for failure in receipt.failures() {
                        black_box(failure);
                    }
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, partial_failure);
criterion_main!(benches);
