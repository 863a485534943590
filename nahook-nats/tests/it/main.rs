//! The publisher and the queue on real servers. One binary for all of it, because linking takes longer than most of these
//! tests.
#![cfg(test)]

mod authentication;
mod certificates;
mod cluster;
mod conformance;
mod full_disk;
mod intake;
mod logging;
mod opening;
mod publishable;
mod publishing;
mod retries;
mod rights;
mod sharing;
mod supervision;
mod support;
