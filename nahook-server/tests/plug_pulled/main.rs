//! The plug is pulled, again and again: what was answered is what happens.
//!
//! `NAHOOK_PLUG_ROUNDS`, `NAHOOK_PLUG_SERVER_ROUNDS` and `NAHOOK_PLUG_DATABASE_ROUNDS` choose how often: that of a server on
//! a file, those of two servers that share a database, and that of the database under them; `NAHOOK_PLUG_NATS_ROUNDS` that of
//! everything around a queue on NATS; `NAHOOK_PLUG_KEYED_ROUNDS` and `NAHOOK_PLUG_KEYED_SERVER_ROUNDS` those between Sends with
//! keys, on a file and on a database. `NAHOOK_PLUG_SEED` chooses when.
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
    let seed = from_env("NAHOOK_PLUG_SEED", since.as_secs());
    println!("plug pulled: NAHOOK_PLUG_SEED={seed} {name}={rounds}");
    (rounds, Random::new(seed))
}
