//! Which servers a test runs against.

use std::marker::PhantomData;

use nahook_nats::NatsSettings;
use nahook_testserver::{NatsCluster, NatsOptions, NatsServer};

/// A kind of servers.
pub(crate) trait BackEnd: Send + Sync + 'static {
    const IS_CLUSTER: bool = false;

    fn start() -> Running;

    fn settings() -> NatsSettings {
        NatsSettings::default()
    }
}

/// One server.
pub(crate) struct One;
/// Three servers, with three replicas of each stream.
pub(crate) struct Three;

impl BackEnd for One {
    fn start() -> Running {
        Running::One(NatsServer::start())
    }
}

impl BackEnd for Three {
    const IS_CLUSTER: bool = true;

    fn start() -> Running {
        Running::Three(NatsOptions::new().start_cluster())
    }

    fn settings() -> NatsSettings {
        let mut settings = NatsSettings::default();
        settings.replicas = 3;
        settings
    }
}

pub(crate) enum Running {
    One(NatsServer),
    Three(NatsCluster),
}

pub(crate) struct Servers<B> {
    pub(crate) running: Running,
    kind: PhantomData<fn() -> B>,
}

impl<B: BackEnd> Servers<B> {
    pub(crate) fn start() -> Self {
        Self {
            running: B::start(),
            kind: PhantomData,
        }
    }

    pub(crate) fn url(&self) -> String {
        match &self.running {
            Running::One(server) => server.url(),
            Running::Three(cluster) => cluster.url(),
        }
    }

    /// Stops all of them in an orderly way and starts them again.
    pub(crate) fn restart(&self) {
        match &self.running {
            Running::One(server) => {
                server.stop();
                server.start_again();
            }
            Running::Three(cluster) => {
                for node in cluster.nodes() {
                    node.stop();
                }
                for node in cluster.nodes() {
                    node.start_again_in_the_background();
                }
                cluster.wait_until_ready();
            }
        }
    }
}
