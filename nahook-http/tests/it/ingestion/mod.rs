//! The routes over in-memory back ends and planted faults, and the server over real sockets.

mod batches;
mod edge;
mod errors;
mod observability;
mod observability_of_sends;
mod operations;
mod order;
mod properties;
mod receipt;
mod routes;
mod send;
mod send_properties;
mod serving;
mod slow;
mod standing;
pub(crate) mod support;
mod tenants;
mod trigger;
mod wire;
