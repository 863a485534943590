#![doc = include_str!("../README.md")]

mod log;
mod queue;
mod recorder;
mod recording;
mod redelivery;
mod search;
mod state;
mod submission;

pub use self::log::{AttemptRecord, DeliveryLog, DeliveryRecord};
pub use self::queue::{
    Attempt, Backlog, DeliveryQueue, Lease, LeaseBatch, LeaseRequest, LeaseToken, LeasedDelivery,
    Settled, Settlement, WorkerId,
};
pub use self::recorder::{DeliveryRecorder, LogEntry};
pub use self::recording::{LoggedPublisher, RecorderBuffer, RecorderBufferSettings};
pub use self::redelivery::{Redelivered, Redelivery, RedeliveryRequest};
pub use self::search::{DeliveryQuery, DeliverySearch, DeliveryStats, StatsQuery};
pub use self::state::{DeliveryState, DeliveryStatus, Next};
pub use self::submission::{Reply, Submission};
