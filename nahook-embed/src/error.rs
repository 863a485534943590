//! Errors of opening and of using the handle.

use std::error::Error as StdError;
use std::path::PathBuf;

use nahook_control::{CatalogError, ManagementError};
use nahook_core::id::IdError;
use nahook_core::{
    EventTypeNameError, EventTypeSelectorError, IdempotencyKeyError, PayloadError, SendError,
    StoreError, TriggerError,
};
use thiserror::Error;

/// Reason that a back end could not be opened.
///
/// ```
/// use nahook_embed::{Hooks, OpenError};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let opened = Hooks::open("hooks.db").await;
/// assert!(matches!(opened, Err(OpenError::Url(expected)) if expected.contains("sqlite://")));
/// # }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL names no back end.
    #[error("{0}")]
    Url(String),
    /// The crate was built without the feature that the URL needs.
    #[error("this program was built without the feature {0}")]
    NotBuilt(&'static str),
    /// A file or folder cannot be used.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Reason that it cannot be used.
        reason: String,
    },
    /// The store could not be opened.
    #[error("cannot open the store {}", path.display())]
    Store {
        /// Its file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The database could not be connected to or made ready.
    #[error("cannot use the database")]
    Database(#[source] Box<dyn StdError + Send + Sync>),
    /// The queue could not be connected to or made ready.
    #[error("cannot use the queue")]
    Queue(#[source] Box<dyn StdError + Send + Sync>),
    /// The HTTP client could not be set up.
    #[error("cannot set up the HTTP client")]
    Transport(#[source] Box<dyn StdError + Send + Sync>),
    /// The workspace could not be made.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The name is none of a workspace.
    #[error("a workspace's name has 1 to 44 letters, digits and underscores")]
    Workspace(#[source] IdError),
    /// The store failed.
    #[error(transparent)]
    StoreFailed(#[from] StoreError),
}

/// Reason that a call of the handle failed.
///
/// Nothing was queued, but for [`SendError::Unconfirmed`]. A change of endpoints may have been made if the store failed: read it
/// again.
///
/// ```
/// use nahook_embed::{Hooks, HooksError};
/// use nahook_embed::core::TriggerError;
/// use serde_json::json;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let hooks = Hooks::test().await?;
/// match hooks.trigger("order.piad", &json!({})).await {
///     Ok(receipt) => println!("{} queued", receipt.delivery_ids().count()),
///     Err(HooksError::Trigger(TriggerError::UnknownEventType)) => println!("no such event type"),
///     Err(error) => println!("nothing was queued, try again: {error}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HooksError {
    /// The name is none of an event type.
    #[error(transparent)]
    EventType(#[from] EventTypeNameError),
    /// The text is neither the name of an event type nor a pattern.
    #[error(transparent)]
    Selector(#[from] EventTypeSelectorError),
    /// The payload is no JSON object.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The idempotency key is too long or empty.
    #[error(transparent)]
    IdempotencyKey(#[from] IdempotencyKeyError),
    /// The event was not accepted.
    #[error(transparent)]
    Trigger(#[from] TriggerError),
    /// The payload for one endpoint was not accepted.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The declaration is not possible, or the store failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The change is not possible, or the store failed.
    #[error(transparent)]
    Management(#[from] ManagementError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store is not on Postgres, so it has no part in a transaction there.
    #[error("the store is not on Postgres")]
    NotOnPostgres,
    /// The store is not in a file, so it has no part in a transaction there.
    #[error("the store is not in a file")]
    NotOnSqlite,
    /// There is no such delivery.
    #[error("there is no such delivery")]
    UnknownDelivery,
}
