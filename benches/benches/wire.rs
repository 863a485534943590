//! From request bytes to an event, and from a receipt to response bytes.

#![expect(
    clippy::expect_used,
    reason = "a bench whose inputs are wrong has nothing to measure"
)]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nahook_benches::{
    CachedSubscriptions, NullPublisher, event, object, runtime, trigger, workspace,
};
use nahook_core::FanOut;
use nahook_http::wire::{parse_trigger, write_receipt};

const PAYLOAD_LEN_MAX: usize = 256 * 1024;

fn request_to_event(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wire/request");
    for payload_len in [256, 4 * 1024, 64 * 1024] {
        let payload = String::from_utf8(object(payload_len)).expect("text");
        let bodies = [
            ("payload", format!(r#"{{"payload":{payload}}}"#)),
            (
                "payload and metadata",
                format!(r#"{{"payload":{payload},"metadata":{{"tenant":"t_1","trace":"4bf9"}}}}"#),
            ),
        ];
        for (name, body) in bodies {
            let body = Bytes::from(body);
            group.throughput(Throughput::Bytes(body.len() as u64));
            group.bench_function(BenchmarkId::new(name, payload_len), |bencher| {
                bencher.iter(|| parse_trigger(&body, PAYLOAD_LEN_MAX).expect("an event"));
            });
        }
    }
    group.finish();
}

fn receipt_to_response(criterion: &mut Criterion) {
    let runtime = runtime().expect("a runtime");
    let _entered = runtime.enter();
    let (scope, event) = (workspace().into(), event(256).expect("an event"));
    let mut group = criterion.benchmark_group("wire/response");
    for width in [1, 10, 100, 1_000, 10_000] {
        for per_mille in [0, 100] {
            let engine = FanOut::new(
                CachedSubscriptions::of(width),
                NullPublisher::failing_for(per_mille),
            );
            let receipt = trigger(&engine, event.clone(), scope).expect("a receipt");
            let id = BenchmarkId::new(format!("failing per mille {per_mille}"), width);
            group.throughput(Throughput::Elements(width as u64));
            group.bench_function(id, |bencher| {
                bencher.iter(|| {
                    let mut out = Vec::new();
                    write_receipt(&receipt, &mut out);
                    black_box(out.as_slice());
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, request_to_event, receipt_to_response);
criterion_main!(benches);
