#![doc = include_str!("../README.md")]

mod acks;
mod address;
mod authentication;
mod config;
mod connection;
mod error;
mod layout;
mod log;
pub mod metric;
mod nats;
mod publisher;
mod queue;
mod record;
mod rights;
mod violation;
mod writer;

pub use self::authentication::Authentication;
pub use self::config::{Credentials, NatsSettings, Storage, Tls};
pub use self::error::{ConnectError, NotPublishable};
pub use self::log::NatsLog;
pub use self::nats::{Nats, connect};
pub use self::publisher::NatsPublisher;
pub use self::queue::NatsQueue;
