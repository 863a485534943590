#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod audit;
mod budget;
mod cache;
mod catalog;
mod config;
mod connection;
mod counts;
mod endpoints;
mod error;
mod events;
mod keys;
mod leases;
mod lender;
mod limiter;
mod listener;
mod log;
mod management;
pub mod metric;
mod page_sessions;
mod parameter;
mod publisher;
mod queue;
mod recorder;
mod redelivery;
mod retention;
mod row;
mod schema;
mod search;
mod secrets;
mod session;
mod statement;
mod stats;
mod store;
mod subscriptions;
mod tls;
mod transaction;
mod url;
mod writer;

pub use self::config::PostgresSettings;
pub use self::error::ConnectError;
pub use self::limiter::PostgresLimiter;
pub use self::store::PostgresStore;
pub use self::transaction::CallersTransaction;
