//! The in-memory adapters pass every suite, in every form.

use crate::back_ends::{Gcra, Memory};

nahook_testkit::store_conformance!(Memory);
nahook_testkit::limiter_conformance!(Gcra);
