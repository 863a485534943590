//! One trigger over a queue that costs nothing: width by payload. The elements are endpoints.

#![expect(
    clippy::expect_used,
    reason = "a bench whose inputs are wrong has nothing to measure"
)]

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nahook_benches::{event, null_fan_out, runtime, trigger, workspace};

const WIDTHS: [usize; 5] = [1, 10, 100, 1_000, 10_000];
const PAYLOAD_LENS: [usize; 3] = [256, 4 * 1024, 64 * 1024];

// The receipt is dropped within the measurement, as its reader would: kept for later, receipts by the thousand would
// measure how the system hands out fresh pages.
fn fan_out(criterion: &mut Criterion) {
    let runtime = runtime().expect("a runtime");
    let _entered = runtime.enter();
    let scope = workspace().into();
    let mut group = criterion.benchmark_group("fan_out");
    for payload_len in PAYLOAD_LENS {
        let event = event(payload_len).expect("an event");
        for width in WIDTHS {
            let engine = null_fan_out(width);
            group.throughput(Throughput::Elements(width as u64));
            let id = BenchmarkId::new(format!("{payload_len} B"), width);
            group.bench_function(id, |bencher| {
                bencher.iter_batched(
                    || event.clone(),
                    |event| drop(trigger(&engine, event, scope).expect("a receipt")),
                    BatchSize::SmallInput,
                );
            });
        }
    }
    group.finish();
}

criterion_group!(benches, fan_out);
criterion_main!(benches);
