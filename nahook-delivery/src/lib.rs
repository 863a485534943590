//! Delivery of events to endpoints: what an endpoint receives, and how a request may leave the house.
//!
//! - [`signature`] signs a request by the Standard Webhooks scheme.
//! - [`address`] decides which IP addresses may be dialled at all.
//! - [`transport`] is the port through which an attempt is made, and [`http_transport`] its adapter
//!   over HTTP/1.1, which looks names up through [`resolver`] and dials only what the policy permits.
//!
//! A tenant chooses the URL, so everything that comes back from it is hostile: its addresses, its
//! certificate, the size and the pace of its answer. Each is bounded here, and nothing that an
//! error says names an address, a host or a secret.

pub mod address;
mod connector;
pub mod http_transport;
pub mod resolver;
pub mod signature;
pub mod tls;
pub mod transport;
pub mod worker;

pub use address::AddressPolicy;
pub use http_transport::{HttpTransport, TransportSettings, TransportSetupError};
pub use resolver::{Resolver, SystemResolver};
pub use signature::{SecretError, Signer};
pub use transport::{
    OutboundRequest, OutboundResponse, RetryAfter, TimeoutPhase, Transport, TransportError,
};
pub use worker::{RetrySchedule, Worker, WorkerReport, WorkerSettings};
