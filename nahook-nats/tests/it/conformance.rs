//! The kit's clauses against real servers.

mod one {
    use nahook_testkit::{publisher_conformance, queue_conformance};

    use crate::support::{PublishHarness, QueueOn, servers::One};

    publisher_conformance!(PublishHarness<One>);
    queue_conformance!(QueueOn<One>);
}

mod three {
    use nahook_testkit::{publisher_conformance, queue_conformance};

    use crate::support::{PublishHarness, QueueOn, servers::Three};

    publisher_conformance!(PublishHarness<Three>);
    queue_conformance!(QueueOn<Three>);
}
