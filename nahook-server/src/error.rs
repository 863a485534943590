//! Errors that stop the program, with a sentence for the person who started it.

use std::error::Error as StdError;
use std::net::SocketAddr;
use std::path::PathBuf;

use nahook_control::{CatalogError, ManagementError, RotateError};
use nahook_core::{Causes, StoreError};
use nahook_embed::OpenError;
use thiserror::Error;

/// Why a command failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerError {
    /// A command was used wrongly in a way the parser cannot see.
    #[error("{0}")]
    Usage(String),
    /// A setting has a value that cannot be used.
    #[error("setting {name}: {reason}")]
    Setting {
        /// The setting, as it is spelt on the command line.
        name: &'static str,
        /// Reason that it cannot be used.
        reason: String,
    },
    /// A file could not be read or does not say what it should.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Reason that it cannot be used.
        reason: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The back end could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The catalog refused or failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The change is not possible, or the store failed.
    #[error(transparent)]
    Management(#[from] ManagementError),
    /// The store failed.
    #[error(transparent)]
    StoreFailed(#[from] StoreError),
    /// The store's key could not be wrapped anew.
    #[error(transparent)]
    Rotate(#[from] RotateError),
    /// The HTTP transport could not be set up.
    #[error("cannot set up the HTTP client")]
    Transport(#[source] Box<dyn StdError + Send + Sync>),
    /// A request to a server failed.
    #[error("the request failed: {0}")]
    Request(String),
    /// Standard output could not be written.
    #[error("cannot write to standard output")]
    Output(#[source] std::io::Error),
    /// Keys and tokens that were drawn could not be shown, and were not made.
    #[error(
        "nothing was made, since the secrets could not be shown on standard output; run it again with one that works"
    )]
    NotShown(#[source] std::io::Error),
    /// The operating system refused something.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl ServerError {
    /// The error and what caused it, in one line.
    pub fn report(&self) -> String {
        Causes(self).to_string()
    }
}
