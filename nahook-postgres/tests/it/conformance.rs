//! The kit's clauses, for the store and for its limiter.

use nahook_testkit::{limiter_conformance, store_conformance};

use crate::support::{PostgresHarness, PostgresLimiterHarness};

store_conformance!(PostgresHarness<4>);
limiter_conformance!(PostgresLimiterHarness);
