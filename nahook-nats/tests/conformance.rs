//! The kit's clauses against real servers.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot arrange what it needs has failed"
)]

mod support;

mod debian {
    use super::support::{PublishHarness, servers::Debian};
    use nahook_testkit::publisher_conformance;

    publisher_conformance!(PublishHarness<Debian>);
}

mod newest {
    use super::support::{PublishHarness, servers::Newest};
    use nahook_testkit::publisher_conformance;

    publisher_conformance!(PublishHarness<Newest>);
}

mod three {
    use super::support::{PublishHarness, servers::Three};
    use nahook_testkit::publisher_conformance;

    publisher_conformance!(PublishHarness<Three>);
}
