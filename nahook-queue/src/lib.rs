#![doc = include_str!("../README.md")]

mod batch_room;
mod counts;
mod events;
mod generation;
mod log;
mod queue;
mod recorder;
mod recording;
mod records;
mod redelivery;
mod scheduler;
mod search;
mod slots;
mod state;
mod submission;
mod tally;

pub use self::batch_room::BatchRoom;
pub use self::counts::{Counts, CountsQuery, DeliveryCounts, Period, RollUp};
pub use self::events::{EventPage, EventQuery, EventRecord, EventSearch, LOOKED_AT_MAX};
pub use self::generation::Generation;
pub use self::log::{AttemptRecord, DeliveryLog, DeliveryRecord};
pub use self::queue::{
    Attempt, Backlog, DeliveryQueue, Lease, LeaseBatch, LeaseRequest, LeaseToken, LeasedDelivery,
    Settled, Settlement, WorkerId, WorkspaceBounds,
};
pub use self::recorder::{DeliveryRecorder, LogEntry};
pub use self::recording::{LoggedPublisher, RecorderBuffer, RecorderBufferSettings};
pub use self::records::{Audience, RecordKey, TakenRecords};
pub use self::redelivery::{Redelivered, Redelivery, RedeliveryRequest};
pub use self::scheduler::{Held, Leases, Place, Scheduler};
pub use self::search::{DeliveryQuery, DeliverySearch, DeliveryStats, StatsQuery};
pub use self::slots::{SlotSettings, Slots};
pub use self::state::{DeliveryState, DeliveryStatus, Next};
pub use self::submission::{Reply, Submission};
pub use self::tally::Tally;
