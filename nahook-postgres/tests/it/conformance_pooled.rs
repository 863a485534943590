//! The kit's clauses once more: through PgBouncer in transaction mode, where no session is ours.

use nahook_testkit::{limiter_conformance, store_conformance};

use crate::support::{PooledHarness, PooledLimiterHarness};

store_conformance!(PooledHarness);
limiter_conformance!(PooledLimiterHarness);
