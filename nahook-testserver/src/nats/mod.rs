//! NATS servers with JetStream.

mod api;
mod cluster;
mod monitor;
mod options;
mod server;

pub use self::cluster::NatsCluster;
pub use self::options::NatsOptions;
pub use self::server::NatsServer;
