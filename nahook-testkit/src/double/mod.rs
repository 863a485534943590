//! Stand-ins for what the engine and the adapters are given: clocks, ids, a store with one answer, a publisher that
//! remembers.

mod clocks;
mod fixed_subscribers;
mod ids;
mod recording_publisher;

pub use self::clocks::{ManualClock, TokioClock};
pub use self::fixed_subscribers::FixedSubscribers;
pub use self::ids::SeededIds;
pub(crate) use self::ids::mixed;
pub use self::recording_publisher::RecordingPublisher;
