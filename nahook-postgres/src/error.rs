//! Errors of the store, told apart by SQLSTATE and by the state of the connection, never by a message's text.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use deadpool_postgres::{HookError, PoolError};
use nahook_control::MasterKeyError;
use nahook_core::{FailureKind, StoreError};
use thiserror::Error;
use tokio_postgres::error::{DbError, Severity};

use crate::config::NEEDED;

/// Why a store could not be connected to.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The direct URL leads to a pooler, where nothing can be listened to.
    #[error("the direct URL leads to a pooler: it has to lead to the server itself")]
    DirectUrl,
    /// The direct URL leads to another database than the store's own.
    #[error("the direct URL leads to another database than the store's")]
    OtherDatabase,
    /// The database does not keep its text in UTF-8.
    #[error("the database's encoding is not UTF-8")]
    Encoding,
    /// A newer version of this program has made the schema.
    #[error(
        "the schema has version {found}, and this program knows versions up to {known}: use a newer program"
    )]
    NewerSchema {
        /// The schema's version.
        found: u32,
        /// The newest version this program knows.
        known: u32,
    },
    /// The schema is missing or outdated, and the settings say to leave it.
    #[error("the schema has version {found}, and version {known} is needed: migrate it first")]
    OutdatedSchema {
        /// The schema's version; 0 if there is none.
        found: u32,
        /// The version that is needed.
        known: u32,
    },
    /// The server refused: no such database or user, a wrong password, a missing right.
    #[error("the server refused the connection")]
    Refused(#[source] Box<dyn StdError + Send + Sync>),
    /// All connections that the server allows are in use.
    #[error("the server has no connection left, and at least {needed} are needed", needed = NEEDED)]
    Full(#[source] Box<dyn StdError + Send + Sync>),
    /// The operator's keys do not open the database's secrets.
    #[error(transparent)]
    SecretKey(MasterKeyError),
    /// The name of the schema cannot be used.
    #[error("a schema's name has 1 to 63 bytes, without `$`, `{{`, `}}` and NUL")]
    SchemaName,
    /// The server is older than Postgres 13.
    #[error("the server is older than Postgres 13")]
    ServerTooOld,
    /// The server lets this role, in this database, have fewer connections than are needed.
    #[error(
        "at least {needed} connections are needed, and the server allows {found} for this role and database"
    )]
    TooFewConnections {
        /// Number of connections needed.
        needed: usize,
        /// Number of connections allowed.
        found: usize,
    },
    /// Certificates could not be read.
    #[error("the certificates to check the server by cannot be read")]
    Tls(#[source] Box<dyn StdError + Send + Sync>),
    /// The server cannot be reached, or did not answer in time.
    #[error("the server cannot be reached")]
    Unreachable(#[source] Box<dyn StdError + Send + Sync>),
    /// The URL cannot be understood.
    #[error("the database's URL is not valid")]
    Url(#[source] Box<dyn StdError + Send + Sync>),
}

impl From<PgError> for ConnectError {
    fn from(error: PgError) -> Self {
        match error.code() {
            Some(_) if error.is_full() => Self::Full(error.into()),
            // The server is there, but starting, stopping or full.
            Some(code) if is_passing(code) => Self::Unreachable(error.into()),
            Some(_) => Self::Refused(error.into()),
            None => Self::Unreachable(error.into()),
        }
    }
}

impl From<tokio_postgres::Error> for ConnectError {
    fn from(error: tokio_postgres::Error) -> Self {
        PgError::from(error).into()
    }
}

/// A statement that failed, or a connection that could not be had.
#[derive(Debug, Error)]
pub(crate) enum PgError {
    /// The store is closed, or closing.
    #[error("the store is closed")]
    Closed,
    /// The session was not started with our options: a pooler is in between that was not there before.
    #[error("a pooler is in between that was not there when the store connected")]
    ForeignSession,
    /// A connection could not be made in time.
    #[error("no connection in time")]
    NoConnection,
    /// The pool gave none.
    #[error("no connection from the pool")]
    Pool(#[from] PoolError),
    /// The statement failed.
    #[error("a statement failed")]
    Statement(#[from] tokio_postgres::Error),
    /// The database holds what we would not have written.
    #[error("a column holds what it should not")]
    Unreadable(#[source] Box<dyn StdError + Send + Sync>),
}

impl PgError {
    /// Says that the database holds what we would not have written.
    pub(crate) fn unreadable(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Unreadable(error.into())
    }

    /// Returns the error that the server reported, if it reported one.
    fn db_error(&self) -> Option<&DbError> {
        match self {
            Self::Pool(
                PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)),
            )
            | Self::Statement(error) => error.as_db_error(),
            Self::Closed
            | Self::ForeignSession
            | Self::NoConnection
            | Self::Pool(_)
            | Self::Unreadable(_) => None,
        }
    }

    /// The SQLSTATE, if the server gave one.
    pub(crate) fn code(&self) -> Option<&str> {
        self.db_error().map(|error| error.code().code())
    }

    /// Returns true if the server has no connection left for us.
    pub(crate) fn is_full(&self) -> bool {
        self.code() == Some("53300")
    }

    /// Returns true if a pooler may have refused our options. What it says differs, so that only what a server says of
    /// anything else does not count: a wrong password, no such database, no connection left, a server that stops.
    pub(crate) fn may_be_a_poolers(&self) -> bool {
        self.code().is_some_and(|code| {
            !["28", "3D", "53", "57"]
                .iter()
                .any(|class| code.starts_with(class))
        })
    }

    /// An error that several wait for.
    pub(crate) fn shared(self: Arc<Self>) -> StoreError {
        if self.is_internal() {
            StoreError::internal(self)
        } else {
            StoreError::unavailable(self)
        }
    }

    /// Returns true if trying again later does not help.
    fn is_internal(&self) -> bool {
        match self {
            Self::Unreadable(_) => true,
            Self::Closed | Self::ForeignSession | Self::NoConnection => false,
            Self::Pool(_) | Self::Statement(_) => self.code().is_some_and(|code| !is_passing(code)),
        }
    }

    /// Returns true if a row was refused because another has its key.
    pub(crate) fn is_taken(&self) -> bool {
        self.code() == Some("23505")
    }
}

impl From<PgError> for StoreError {
    fn from(error: PgError) -> Self {
        if error.is_internal() {
            Self::internal(error)
        } else {
            Self::unavailable(error)
        }
    }
}

/// Returns true if retrying later may help: connection exceptions, roll-backs, lack of resources, locks held by others,
/// an operator at work, and a server that is read-only for now.
fn is_passing(code: &str) -> bool {
    ["08", "40", "53", "57", "58"]
        .iter()
        .any(|class| code.starts_with(class))
        || matches!(code, "25006" | "55006" | "55P03")
}

/// State of a statement that failed and that was a transaction of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum WriteEffect {
    /// The server rolled it back, for this reason.
    RolledBack {
        kind: FailureKind,
        /// True if a part of its rows may be to blame, so that the rest can be written without it.
        is_divisible: bool,
    },
    /// It may have taken effect.
    Unclear,
}

impl WriteEffect {
    /// Sorts a failure by what the server said.
    pub(crate) fn of(error: &tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            // A connection that ends (`FATAL`) may do so after the commit and before the answer.
            Some(error) if error.parsed_severity() == Some(Severity::Error) => {
                Self::of_code(error.code().code())
            }
            _ => Self::Unclear,
        }
    }

    /// The SQLSTATEs that are known to be said before the commit; what is not listed is unclear.
    pub(crate) fn of_code(code: &str) -> Self {
        let (kind, is_divisible) = match code {
            // A foreign key that somebody has added: the row it refers to is gone.
            // Over a limit of the server's own.
            "54000" => (FailureKind::PayloadTooLarge, true),
            // Values and constraints: cardinality, range, encoding, syntax, not-null, foreign key, unique, check, exclusion, a raised
            // exception. Serialization failures and deadlocks.
            "21000" | "22000" | "22001" | "22003" | "22021" | "22P02" | "22P05" | "23000"
            | "23502" | "23503" | "23505" | "23514" | "23P01" | "40001" | "40P01" | "P0001" => {
                (FailureKind::QueueUnavailable, true)
            }
            // Time-outs: of the statement, of a lock. One event may be to blame for either.
            "57014" | "55P03" => (FailureKind::QueueUnavailable, true),
            // The whole server or our rights: read-only, privileges, disk, memory, configuration limits, objects in use,
            // missing objects, prepared statements that were taken away.
            "0A000" | "25006" | "26000" | "3F000" | "42501" | "42703" | "42883" | "42P01"
            | "53000" | "53100" | "53200" | "53400" | "55006" => {
                (FailureKind::QueueUnavailable, false)
            }
            _ => return Self::Unclear,
        };
        Self::RolledBack { kind, is_divisible }
    }
}

impl fmt::Display for WriteEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RolledBack { .. } => "rolled back",
            Self::Unclear => "may have taken effect",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_listed_is_unclear() {
        // Among them a lost connection, an unknown completion, an operator's shutdown, a crash and an internal error.
        for code in [
            "08006", "08007", "40003", "57P01", "57P02", "58030", "XX000", "99999", "",
        ] {
            assert_eq!(WriteEffect::of_code(code), WriteEffect::Unclear, "{code}");
        }
    }

    #[test]
    fn what_passes_is_told_from_what_does_not() {
        for code in [
            "08006", "25006", "40001", "53300", "55006", "55P03", "57P03", "58030",
        ] {
            assert!(is_passing(code), "{code}");
        }
        for code in [
            "22021", "23505", "25001", "28P01", "42P01", "55000", "XX000",
        ] {
            assert!(!is_passing(code), "{code}");
        }
    }

    #[test]
    fn what_is_listed_is_definite() {
        for code in [
            "23503", "54000", "23505", "57014", "55P03", "25006", "53100",
        ] {
            let WriteEffect::RolledBack { kind, .. } = WriteEffect::of_code(code) else {
                panic!("{code} is listed");
            };
            assert!(!kind.may_be_queued(), "{code}");
        }
    }
}
