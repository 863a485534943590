//! The kit's clauses once more, with a single connection in the pool and a single writer.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot arrange what it needs has failed"
)]

mod support;

use nahook_testkit::store_conformance;
use support::PostgresHarness;

store_conformance!(PostgresHarness<1>);
