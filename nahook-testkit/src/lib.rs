#![doc = include_str!("../README.md")]

mod conformance;
pub mod declare;
mod double;
mod fault;
mod harness;
mod run;
#[cfg(feature = "proptest")]
pub mod strategy;
pub mod suite;

pub use self::double::{ManualClock, RecordingPublisher, SeededIds, TokioClock};
pub use self::fault::{
    Answer, CallAnswer, CallFault, CallScript, Fault, FaultScript, Faulty, FaultyPublisher, Order,
};
pub use self::harness::{
    CatalogHarness, DirectHarness, EndpointHarness, HeldDelivery, KeyHarness, LimiterHarness,
    LogHarness, ManagementHarness, PublisherHarness, QueueHarness, RecorderHarness,
    RedeliveryHarness, SearchHarness, Store, StoreHarness, SubscriptionHarness,
};
pub use self::run::run;
