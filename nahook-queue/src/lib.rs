//! The queue of deliveries and their log: the ports behind which a worker leases deliveries and settles them, and through
//! which people see and repeat them. No I/O and no clock.

mod log;
mod queue;
mod recorder;
mod recording;
mod redelivery;
mod search;
mod submission;

pub use self::log::{AttemptRecord, DeliveryLog, DeliveryRecord, DeliveryStatus};
pub use self::queue::{
    Attempt, DeliveryQueue, Lease, LeaseBatch, LeaseRequest, LeaseToken, LeasedDelivery, Next,
    Settled, Settlement, WorkerId,
};
pub use self::recorder::{DeliveryRecorder, LogEntry, Standing};
pub use self::recording::{LoggedPublisher, RecorderBuffer, RecorderBufferSettings};
pub use self::redelivery::{Redelivered, Redelivery, RedeliveryRequest};
pub use self::search::{DeliveryQuery, DeliverySearch};
pub use self::submission::{Reply, Submission};
