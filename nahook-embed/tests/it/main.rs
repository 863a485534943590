//! The handle, from opening to delivered webhooks.
#![cfg(test)]

mod audit;
#[cfg(feature = "sqlite")]
mod back_end;
mod events;
#[cfg(feature = "sqlite")]
mod file_transaction;
mod handle;
#[cfg(feature = "sqlite")]
mod killed;
#[cfg(all(feature = "postgres", feature = "sqlite"))]
mod outside;
#[cfg(all(feature = "postgres", feature = "sqlite"))]
mod pages;
mod parts;
#[cfg(all(feature = "nats", feature = "sqlite"))]
mod queue;
mod receiver;
#[cfg(all(feature = "sqlite", feature = "sqlx"))]
mod sqlx_transaction;
mod testing;
#[cfg(feature = "postgres")]
mod transaction;
