//! The ten invariants of the architecture for any widths, faults, scopes, latencies and orders, one named property each,
//! in paused time.
//!
//! `PROPTEST_CASES` sets the number of cases of each (256 unless set). A case that has failed once is written to
//! `proptest-regressions` beside this directory, and is tried first from then on.

#[cfg(test)]
mod accounting;
#[cfg(test)]
mod batches;
#[cfg(test)]
mod boundaries;
#[cfg(test)]
mod case;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod model;
#[cfg(test)]
mod run;
#[cfg(test)]
mod time_and_errors;
#[cfg(test)]
mod world;
