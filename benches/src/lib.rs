//! nahook-benches
