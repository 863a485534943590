#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod audit;
mod cache;
mod catalog;
mod changes;
mod config;
mod connection;
mod counts;
mod delivery_queue;
mod endpoints;
mod error;
mod events;
mod file;
mod idempotency;
mod keys;
mod limiter;
mod lock;
mod log;
pub mod metric;
mod publisher;
mod queue;
mod readers;
mod record;
mod recorder;
mod redelivery;
mod retention;
mod row;
mod schema;
mod search;
mod secrets;
mod sessions;
mod space;
mod stats;
mod store;
mod subscriptions;
mod threads;
mod transaction;
mod writable;
mod writer;

pub use self::config::{Role, SqliteSettings};
pub use self::error::OpenError;
pub use self::limiter::SqliteLimiter;
pub use self::space::DiskSpace;
pub use self::store::SqliteStore;
pub use self::writer::WriterStats;
