//! What can go wrong, told by codes and types, never by a message's text.

use thiserror::Error;

pub(crate) type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a queue could not be connected to.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Credentials or certificates could not be read, or make no sense.
    #[error("the credentials or certificates for NATS cannot be used")]
    Credentials(#[source] Source),
    /// A stream or a consumer exists with other settings than these: change it, or these.
    #[error("{name} exists with another {setting}: {found} instead of {wanted}")]
    Differs {
        /// The stream's name, or the stream's and the consumer's.
        name: String,
        /// Which of its settings.
        setting: &'static str,
        /// What it is.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// The account has no JetStream.
    #[error("JetStream is not enabled on the server or for this account")]
    NoJetStream,
    /// The prefix cannot begin a subject.
    #[error(
        "a prefix of subjects consists of letters, digits, `-`, `_`, and dots between them, and has at most 64 characters"
    )]
    Prefix,
    /// The server refused: wrong credentials, a missing right, a limit of the account.
    #[error("the NATS server refused")]
    Refused(#[source] Source),
    /// The server is older than 2.9.
    #[error("the NATS server is older than 2.9")]
    ServerTooOld,
    /// The server cannot be reached, or did not answer in time.
    #[error("the NATS server cannot be reached")]
    Unreachable(#[source] Source),
    /// A URL cannot be understood.
    #[error("this is not the URL of a NATS server")]
    Url,
}

/// Why the queue could not do what it was asked.
#[derive(Debug, Error)]
pub(crate) enum QueueError {
    #[error("the server did not confirm")]
    Unconfirmed,
    #[error("the queue is closed")]
    Closed,
}
