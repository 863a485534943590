#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod conformance;
pub mod costs;
pub mod declare;
mod double;
mod fault;
mod harness;
mod held;
mod run;
pub mod secrets;
mod send;
#[cfg(feature = "proptest")]
pub mod strategy;
pub mod suite;

pub use self::double::{FixedSubscribers, ManualClock, RecordingPublisher, SeededIds, TokioClock};
pub use self::fault::{
    Answer, CallAnswer, CallFault, CallScript, Fault, FaultScript, Faulty, FaultyPublisher, Order,
};
pub use self::harness::{
    CatalogHarness, CountsHarness, EndpointHarness, EventSearchHarness, KeyHarness, LimiterHarness,
    LogHarness, ManagementHarness, PublisherHarness, QueueHarness, RecorderHarness,
    RedeliveryHarness, SearchHarness, SendHarness, SessionHarness, Store, StoreHarness,
    SubscriptionHarness,
};
pub use self::held::HeldDelivery;
pub use self::run::run;
pub use self::send::{SingleSend, publish_each};
