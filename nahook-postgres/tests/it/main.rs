//! The store on real servers. One binary for all of it, because linking takes longer than most of these tests; they share a
//! server, and each has a database of its own.
#![cfg(test)]

mod caches;
mod conformance;
mod conformance_oldest;
mod conformance_pooled;
mod costs;
mod faults;
mod few_connections;
mod groups;
mod leases;
mod limiter;
mod lists;
mod loops;
mod management;
mod plain_sql;
mod plans;
mod pooler;
mod recorder;
mod retention;
mod round_trips;
mod schema;
mod secrets;
mod servers;
mod sharing;
mod support;
mod tls;
mod transactions;
mod writable;
