//! Cost of choosing back ends at run time: typed ports against trait objects.

#![expect(
    clippy::expect_used,
    reason = "a bench whose inputs are wrong has nothing to measure"
)]

use std::sync::Arc;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nahook_benches::{
    CachedSubscriptions, NullPublisher, event, null_fan_out, runtime, trigger, workspace,
};
use nahook_core::{DynDeliveryPublisher, DynSubscriptionStore, FanOut};

// The receipt is dropped within the measurement, as its reader would: kept for later, receipts by the thousand would
// measure how the system hands out fresh pages.
fn dispatch(criterion: &mut Criterion) {
    let runtime = runtime().expect("a runtime");
    let _entered = runtime.enter();
    let (scope, event) = (workspace().into(), event(256).expect("an event"));
    let mut group = criterion.benchmark_group("dispatch");
    for width in [1_usize, 10, 1_000] {
        group.throughput(Throughput::Elements(width as u64));

        let engine = null_fan_out(width);
        group.bench_function(BenchmarkId::new("typed", width), |bencher| {
            bencher.iter_batched(
                || event.clone(),
                |event| drop(trigger(&engine, event, scope).expect("a receipt")),
                BatchSize::SmallInput,
            );
        });

        let store: Arc<dyn DynSubscriptionStore> = Arc::new(CachedSubscriptions::of(width));
        let publisher: Arc<dyn DynDeliveryPublisher> = Arc::new(NullPublisher::default());
        let engine = FanOut::new(store, publisher);
        group.bench_function(BenchmarkId::new("erased", width), |bencher| {
            bencher.iter_batched(
                || event.clone(),
                |event| drop(trigger(&engine, event, scope).expect("a receipt")),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, dispatch);
criterion_main!(benches);
