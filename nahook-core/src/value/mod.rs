//! The values: what is passed around, checked where it is made.

mod allowance;
mod caller;
mod delivery;
mod direct;
mod event;
mod event_type;
mod id;
mod id_source;
mod idempotency;
mod metadata;
mod payload;
mod receipt;
mod secret_text;
mod time;

pub use self::allowance::Allowance;
pub use self::caller::{Caller, FanOutScope, NotWorkspaceScoped, Plan, Rate};
pub use self::delivery::{Delivery, FailureKind, Outcome};
pub use self::direct::{DirectDelivery, DirectOutcome, Sent};
pub use self::event::{Event, EventTypeRef, NewEvent, NewSend};
pub use self::event_type::{EventTypeName, EventTypeNameError};
pub use self::id::{
    ApiKeyId, ApplicationId, AuditEntryId, DeliveryId, EndpointId, EnvironmentId, EventTypeId,
    ID_LEN_MAX, IdError, ManagementTokenId, MessageId, SubscriptionId, WorkspaceId,
};
pub use self::id_source::{IdSource, RandomIds};
pub use self::idempotency::{IdempotencyKey, IdempotencyKeyError};
pub use self::metadata::{Metadata, MetadataError};
pub use self::payload::{Payload, PayloadError};
pub use self::receipt::{Failure, Receipt};
pub use self::secret_text::SecretText;
pub use self::time::{Clock, SystemClock, Timestamp};
