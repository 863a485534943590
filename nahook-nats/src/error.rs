//! Errors.

use thiserror::Error;

pub(crate) type Source = Box<dyn std::error::Error + Send + Sync>;

/// Reason for a failure to connect.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Credentials or certificates could not be read, or make no sense.
    #[error("the credentials or certificates for NATS cannot be used")]
    Credentials(#[source] Source),
    /// A stream or a consumer exists with other settings than these: change it, or these.
    #[error("{name} exists with another {setting}: {found} instead of {wanted}")]
    Differs {
        /// Name of the stream, or of the stream and the consumer.
        name: String,
        /// Setting that differs.
        setting: &'static str,
        /// Existing value.
        found: String,
        /// Value asked for.
        wanted: String,
    },
    /// The NATS user lacks a right.
    #[error("the NATS user may not {missing}; the README of nahook-nats lists the rights it needs")]
    Forbidden {
        /// Missing right, such as `publish to nahook.deliveries`.
        missing: String,
    },
    /// The server's largest message has no room for a payload.
    #[error(
        "max_payload of the NATS server is {found} bytes, and nahook needs {wanted} at least; 1 MiB is the server's default"
    )]
    MaxPayload {
        /// Largest message of the server, in bytes.
        found: usize,
        /// Smallest acceptable value, in bytes.
        wanted: usize,
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
    /// The server is older than 2.12.
    #[error("the NATS server has version {found}, and nahook needs 2.12 or newer")]
    ServerTooOld {
        /// Version that the server reports.
        found: String,
    },
    /// The server cannot be reached, or did not answer in time.
    #[error("the NATS server cannot be reached")]
    Unreachable(#[source] Source),
    /// A URL cannot be understood.
    #[error("this is not the URL of a NATS server")]
    Url,
}

/// Reason for which nothing can be queued now.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum NotPublishable {
    /// The NATS user may not publish to the stream.
    #[error("the NATS user has no right to publish to the stream")]
    Forbidden,
    /// The stream or the account has no room.
    #[error("the stream or the account is full")]
    Full,
    /// There is no connection, or its answers do not arrive.
    #[error("there is no connection to a NATS server")]
    NoConnection,
    /// The stream is missing, or has no leader.
    #[error("no NATS server answers for the stream")]
    NoStream,
    /// The stream is there, and does not confirm in time that it has stored a record.
    #[error("the stream stores nothing: see the NATS server's log, its disk may be full")]
    NotStored,
    /// The answer takes longer than 1.5 seconds.
    #[error("the NATS server does not answer in time")]
    Silent,
    /// The stream refuses for a reason that this version does not know.
    #[error("the stream refuses")]
    Refused,
}

/// Failure of a call of the queue.
#[derive(Debug, Error)]
pub(crate) enum QueueError {
    #[error("the server did not confirm")]
    Unconfirmed,
    #[error("the queue is closed")]
    Closed,
}

#[cfg(test)]
mod tests {
    use nahook_core::Causes;

    use super::*;

    #[test]
    fn every_cause_is_told_once() {
        let io = std::io::Error::other("no route");
        let error = ConnectError::Unreachable(Box::new(io));
        let told = Causes(&error).to_string();
        assert_eq!(told, "the NATS server cannot be reached: no route");
    }
}
