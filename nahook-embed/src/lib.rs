#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(all(feature = "nats", feature = "postgres", feature = "sqlite")),
    expect(
        clippy::unused_async,
        reason = "a back end that is left out leaves nothing to wait for"
    )
)]

mod back_end;
#[cfg(feature = "dashboard")]
mod dashboard;
mod deliveries;
mod endpoints;
mod error;
mod events;
mod hooks;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "nats")]
pub mod metric;
mod running;
mod testing;
mod transaction;

pub use self::back_end::{
    Backend, BackendSettings, LatestCall, LatestCalls, NoSpace, PublishGate, QueueUrl, Store,
    StoreUrl,
};
pub use self::endpoints::EndpointBuilder;
pub use self::error::{HooksError, OpenError};
pub use self::hooks::{Hooks, HooksBuilder, connections_max};
pub use self::testing::{CapturedWebhook, TestHooks};
pub use self::transaction::AppTransaction;
#[cfg(feature = "dashboard")]
pub use nahook_dashboard as pages;
pub use nahook_delivery::{DeliveryEvent, DeliveryEvents, SettledDelivery};
/// The crates that the types of the handle's answers come from.
pub use {nahook_control as control, nahook_core as core, nahook_queue as queue};
