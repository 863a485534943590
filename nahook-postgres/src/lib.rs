#![doc = include_str!("../README.md")]

mod audit;
mod cache;
mod catalog;
mod config;
mod connection;
mod direct;
mod endpoints;
mod error;
mod handover;
mod keys;
mod limiter;
mod listener;
mod log;
mod management;
pub mod metric;
mod publisher;
mod queue;
mod recorder;
mod redelivery;
mod retention;
mod row;
mod schema;
mod search;
mod store;
mod subscriptions;
mod tls;
mod transaction;
mod writer;

pub use self::config::PostgresSettings;
pub use self::error::ConnectError;
pub use self::limiter::PostgresLimiter;
pub use self::store::PostgresStore;
pub use self::transaction::CallersTransaction;
