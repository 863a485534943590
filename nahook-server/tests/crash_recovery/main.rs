//! Kills the server and what it rests on, again and again: everything that was answered holds afterwards.
//!
//! `NAHOOK_CRASH_ROUNDS`, `NAHOOK_CRASH_SERVER_ROUNDS` and `NAHOOK_CRASH_DATABASE_ROUNDS` choose how often: that of a server on
//! a file, those of two servers that share a database, and that of the database under them; `NAHOOK_CRASH_NATS_ROUNDS` that of
//! everything around a queue on NATS; `NAHOOK_CRASH_KEYED_ROUNDS` and `NAHOOK_CRASH_KEYED_SERVER_ROUNDS` those between Sends with
//! keys, on a file and on a database. `NAHOOK_CRASH_SEED` chooses when.
#![expect(clippy::print_stdout, reason = "a run says how often it did what")]
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "what a test calls fails like a test"
)]

#[path = "../support/mod.rs"]
mod support;

mod account;
mod database;
mod file;
mod keyed;
mod load;
mod nats;
mod random;
mod servers;

use std::time::{SystemTime, UNIX_EPOCH};

use self::random::Random;

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Returns the number of rounds of this test, and its dice.
fn rounds(name: &str, default: u64) -> (u64, Random) {
    let rounds = from_env(name, default);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = from_env("NAHOOK_CRASH_SEED", since.as_secs());
    println!("kills: NAHOOK_CRASH_SEED={seed} {name}={rounds}");
    (rounds, Random::new(seed))
}
