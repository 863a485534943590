//! Tools of the end-to-end tests: the real program as a process, real receivers, a client, manifests.
#![allow(
    dead_code,
    reason = "every test file compiles all of this and uses its own part"
)]

pub(crate) mod api;
pub(crate) mod manifest;
pub(crate) mod process;
pub(crate) mod receiver;
pub(crate) mod server;
pub(crate) mod shell;

use std::time::{Duration, Instant};

/// Upper bound on the wait for what is expected to happen at once. Generous: the machine may be busy.
pub(crate) const SOON: Duration = Duration::from_mins(1);

/// Asks again and again until there is an answer; panics with `what` after `limit`.
pub(crate) async fn until<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < give_up, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
