#![doc = include_str!("../README.md")]

pub mod admission;
mod engine;
mod error;
pub mod id;
mod memory;
mod ports;
mod time;
mod value;

pub use self::admission::gcra::GcraLimiter;
pub use self::admission::layer::Admission;
pub use self::admission::port::{DynRateLimiter, RateLimiter};
pub use self::engine::FanOut;
pub use self::error::{Causes, SendError, StoreError, StoreErrorKind, TriggerError};
pub use self::memory::{MemoryQueue, MemorySubscriptions};
pub use self::ports::{
    DeliveryPublisher, DynDeliveryPublisher, DynSubscriptionStore, EndpointState, Subscribers,
    SubscriptionStore,
};
pub use self::time::{Clock, SystemClock, Timestamp};
pub use self::value::delivery::{Delivery, FailureKind, Outcome};
pub use self::value::event::{Event, EventTypeRef, NewEvent, NewSend};
pub use self::value::event_type::{EventTypeName, EventTypeNameError};
pub use self::value::event_type_pattern::{
    EventTypePattern, EventTypePatternError, EventTypeSelector, EventTypeSelectorError,
};
pub use self::value::id_source::{IdSource, RandomIds};
pub use self::value::idempotency::{IdempotencyKey, IdempotencyKeyError};
pub use self::value::metadata::{Metadata, MetadataError};
pub use self::value::payload::{Payload, PayloadError};
pub use self::value::receipt::{Failure, Receipt, Sent};
pub use self::value::scope::Scope;
