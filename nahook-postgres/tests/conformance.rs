//! The kit's clauses, for the store and for its limiter.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot arrange what it needs has failed"
)]

mod support;

use nahook_testkit::{
    limiter_conformance, management_conformance, redelivery_conformance, search_conformance,
    store_conformance,
};
use support::{PostgresHarness, PostgresLimiterHarness};

store_conformance!(PostgresHarness<4>);
management_conformance!(PostgresHarness<4>);
search_conformance!(PostgresHarness<4>);
redelivery_conformance!(PostgresHarness<4>);
limiter_conformance!(PostgresLimiterHarness);
