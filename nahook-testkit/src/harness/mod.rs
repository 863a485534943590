//! Traits for the author of an adapter: start the adapter, arrange and observe what the clauses need.
//!
//! A harness owns everything that keeps its back end alive (a temporary directory, a server's process); every clause
//! starts one of its own. What a harness cannot do it says in its answers, never by skipping: a back end that is missing
//! has to panic in `start`.

mod limiter;
mod publisher;
mod queue;
mod records;
mod send;
mod store;
mod subscriptions;

pub use self::limiter::LimiterHarness;
pub use self::publisher::PublisherHarness;
pub use self::queue::{
    CountsHarness, EventSearchHarness, LogHarness, QueueHarness, RecorderHarness,
    RedeliveryHarness, SearchHarness,
};
pub use self::records::{
    CatalogHarness, EndpointHarness, KeyHarness, ManagementHarness, SessionHarness,
};
pub use self::send::SendHarness;
pub use self::store::{Store, StoreHarness};
pub use self::subscriptions::SubscriptionHarness;
