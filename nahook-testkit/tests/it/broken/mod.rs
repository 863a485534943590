//! The kit can fail: adapters with one bug each, and the clauses that catch it.

mod limiter;
mod publisher;
mod store;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Expects that the clause panics. Time is paused, so that waiting in vain takes no time.
fn caught(name: &str, clause: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let ended = catch_unwind(AssertUnwindSafe(|| runtime.block_on(clause)));
    assert!(ended.is_err(), "{name} has not noticed the bug");
}

/// One test per bug: the suite's clauses that have to catch it.
macro_rules! catches {
    ($suite:ident: $($bug:ident in $harness:ty => $($clause:ident),+;)+) => {
        $(
            #[test]
            fn $bug() {
                $(crate::broken::caught(stringify!($clause), nahook_testkit::suite::$suite::$clause::<$harness>());)+
            }
        )+
    };
}

use catches;
