//! The handle, from opening to delivered webhooks.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot arrange what it needs has failed"
)]

mod audit;
#[cfg(feature = "sqlite")]
mod back_end;
mod events;
mod handle;
mod parts;
#[cfg(all(feature = "nats", feature = "sqlite"))]
mod queue;
mod receiver;
mod testing;
#[cfg(feature = "postgres")]
mod transaction;
