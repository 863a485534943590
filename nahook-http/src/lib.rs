#![doc = include_str!("../README.md")]

mod budget;
mod document;
mod edge;
mod error;
mod fallback;
mod ingestion;
mod management;
pub mod metric;
mod openapi;
mod operations;
mod pressure;
mod problem;
mod room;
mod serve;
mod shortage;
mod tally;
mod unanswered;
pub mod wire;

pub use self::budget::{Bound, BudgetKind, BudgetSettings, Budgets, Metered, Permit, Refused};
pub use self::document::{openapi_document, openapi_router};
pub use self::edge::{Edge, EdgeLayer, RequestContext, RequestId};
pub use self::error::ApiError;
pub use self::fallback::{method_not_allowed, not_found, with_fallbacks};
pub use self::ingestion::{Ingestion, IngestionEngine, ingestion_router};
pub use self::management::{
    FormBody, ManagementApi, ManagementPorts, ManagementSettings, MeteredSubscriptions,
    management_router, parse_instant, show_instant,
};
pub use self::operations::{Operations, Probe, operations_router};
pub use self::pressure::Pressure;
pub use self::serve::{
    Handshake, Listener, Secured, Securing, ServeSettings, client_address, serve,
};
pub use self::shortage::Shortage;
