//! One check: no level, one, two; admitted and refused; and from two threads at once, with one workspace and with two.

#![expect(
    clippy::expect_used,
    reason = "a bench whose inputs are wrong has nothing to measure"
)]

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use nahook_benches::{caller, clock, now};
use nahook_core::admission::{Caller, Plan, Rate, Verdict};
use nahook_core::id::{ApiKeyId, WorkspaceId};
use nahook_core::{GcraLimiter, RateLimiter};

const THREADS: u64 = 2;

/// A rate that nobody who spends a token in a nanosecond exhausts.
fn ample() -> Option<Rate> {
    Rate::new(NonZeroU32::MIN, Duration::from_nanos(1), NonZeroU32::MAX)
}

/// A rate that is spent with the first token.
fn scant() -> Option<Rate> {
    Rate::new(
        NonZeroU32::MIN,
        Duration::from_hours(1_000),
        NonZeroU32::MIN,
    )
}

fn limited(workspace_rate: Option<Rate>, key_rate: Option<Rate>) -> Caller {
    Caller {
        plan: Plan {
            workspace_rate,
            key_rate,
            ..Plan::default()
        },
        ..caller()
    }
}

fn check(limiter: &GcraLimiter, caller: &Caller) -> Verdict {
    now(limiter.check(caller))
        .expect("no waiting")
        .expect("a verdict")
}

fn limiter(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("limiter");
    let callers = [
        ("no level", limited(None, None)),
        ("one level", limited(None, ample())),
        ("two levels", limited(ample(), ample())),
        ("two levels, refused", limited(scant(), scant())),
    ];
    for (name, caller) in callers {
        let limiter = GcraLimiter::new(clock());
        check(&limiter, &caller);
        group.bench_function(name, |bencher| bencher.iter(|| check(&limiter, &caller)));
    }
    // The time is that of one check of one thread while the other checks too.
    for workspaces in [1, THREADS] {
        let limiter = GcraLimiter::new(clock());
        let id = BenchmarkId::new("two threads, workspaces", workspaces);
        group.bench_function(id, |bencher| {
            bencher.iter_custom(|checks| side_by_side(&limiter, workspaces, checks));
        });
    }
    group.finish();
}

fn side_by_side(limiter: &GcraLimiter, workspaces: u64, checks: u64) -> Duration {
    let began = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                let caller = Caller {
                    key: ApiKeyId::from_bits(u128::from(thread)),
                    workspace: WorkspaceId::from_bits(u128::from(thread % workspaces)),
                    ..limited(ample(), ample())
                };
                for _ in 0..checks {
                    std::hint::black_box(check(limiter, &caller));
                }
            });
        }
    });
    began.elapsed()
}

criterion_group!(benches, limiter);
criterion_main!(benches);
