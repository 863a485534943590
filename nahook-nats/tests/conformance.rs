//! The kit's clauses against real servers.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot arrange what it needs has failed"
)]

mod support;

mod debian {
    use nahook_testkit::{publisher_conformance, queue_conformance};

    use super::support::{PublishHarness, QueueOn, servers::Debian};

    publisher_conformance!(PublishHarness<Debian>);
    queue_conformance!(QueueOn<Debian>);
}

mod newest {
    use nahook_testkit::{publisher_conformance, queue_conformance};

    use super::support::{PublishHarness, QueueOn, servers::Newest};

    publisher_conformance!(PublishHarness<Newest>);
    queue_conformance!(QueueOn<Newest>);
}

mod three {
    use nahook_testkit::{publisher_conformance, queue_conformance};

    use super::support::{PublishHarness, QueueOn, servers::Three};

    publisher_conformance!(PublishHarness<Three>);
    queue_conformance!(QueueOn<Three>);
}
