#![doc = include_str!("../README.md")]

pub mod address;
mod connector;
pub mod header;
pub mod http_transport;
mod reach;
pub mod resolver;
pub mod signature;
pub mod tls;
pub mod transport;
pub mod worker;

pub use address::AddressPolicy;
pub use http_transport::{HttpTransport, TransportSettings};
pub use resolver::{Resolver, SystemResolver};
pub use signature::{SecretError, Signer};
pub use tls::TransportSetupError;
pub use transport::{
    LocalCause, OutboundRequest, OutboundResponse, OutboundUrl, RetryAfter, TimeoutPhase, TlsFault,
    Transport, TransportError,
};
pub use worker::{
    DeliveryEvent, DeliveryEvents, DeliveryLag, EventSender, LagReport, RetrySchedule,
    SettledDelivery, Worker, WorkerReport, WorkerSettings,
};
