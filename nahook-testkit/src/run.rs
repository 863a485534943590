//! Runs a clause.

use std::time::Duration;

/// A clause that has not ended by then never will: whatever it waits for was missed. Ten thousand deliveries through a pooler have
/// taken more than two minutes where other programs kept the machine busy.
const CLAUSE_TIMEOUT: Duration = Duration::from_mins(10);

/// Runs a clause on a runtime of its own with two threads, so that what is concurrent is also parallel. The macros
/// call it, so that an adapter's crate needs no runtime of its own for its conformance tests.
///
/// # Panics
/// Panics if the clause does, and if it has not ended after ten minutes.
pub fn run(clause: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        unreachable!("the system gives no threads to run a test on");
    };
    let ended = runtime.block_on(async { tokio::time::timeout(CLAUSE_TIMEOUT, clause).await });
    // An adapter's own blocking threads must not keep a failed test from ending.
    runtime.shutdown_timeout(Duration::from_secs(5));
    assert!(
        ended.is_ok(),
        "the clause has not ended after {CLAUSE_TIMEOUT:?}: something was waited for in vain"
    );
}
