//! The store on a file. One binary for all of it, because linking takes longer than most of these tests.
#![cfg(test)]

mod caches;
mod changes;
mod conformance;
mod durability;
mod full_disk;
mod full_file;
mod loops;
mod management;
mod opening;
mod queue;
mod readiness;
mod records;
mod retention;
mod secrets;
#[cfg(feature = "sqlx")]
mod sqlx_transactions;
mod support;
mod transactions;
mod writing;
