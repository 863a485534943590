//! Outcomes of records, and the server's answers that tell them.

use async_nats::jetstream::ErrorCode;
use async_nats::{Message, StatusCode};
use nahook_core::FailureKind;
use serde::Deserialize;

/// Outcome of sending a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum RecordOutcome {
    /// A stream holds it.
    Stored,
    /// No stream holds it nor will.
    Refused(Refusal),
    /// A stream may hold it.
    Unclear(FailureKind),
}

/// Reason for which no stream holds a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    /// The NATS user has no right to publish to its subject.
    Forbidden,
    /// The stream or the account is full, or closed for writing.
    Full,
    /// No connection, no leader or no stream took it just now.
    Nobody,
    /// It is a probe, which names another stream.
    OtherStream,
    /// It is larger than the server or the stream permits.
    TooLarge,
}

impl Refusal {
    pub(crate) fn kind(self) -> FailureKind {
        match self {
            Self::Forbidden | Self::Full | Self::Nobody | Self::OtherStream => {
                FailureKind::QueueUnavailable
            }
            Self::TooLarge => FailureKind::PayloadTooLarge,
        }
    }
}

#[derive(Deserialize)]
struct Acknowledgement {
    #[serde(default)]
    stream: Option<String>,
    #[serde(default)]
    error: Option<Refused>,
}

#[derive(Deserialize)]
struct Refused {
    #[serde(default)]
    err_code: u64,
}

pub(super) fn outcome_of(message: &Message) -> RecordOutcome {
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        return RecordOutcome::Refused(Refusal::Nobody);
    }
    match serde_json::from_slice(&message.payload) {
        Ok(Acknowledgement {
            error: Some(refused),
            ..
        }) => of_code(ErrorCode(refused.err_code)),
        Ok(Acknowledgement {
            stream: Some(_), ..
        }) => RecordOutcome::Stored,
        _ => RecordOutcome::Unclear(FailureKind::Internal),
    }
}

/// Outcome of a record that was answered with an error. Only listed codes are known to mean that it was not stored.
fn of_code(code: ErrorCode) -> RecordOutcome {
    let refusal = match code {
        ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM | ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM => {
            Refusal::TooLarge
        }
        // The leader is gone or not chosen yet, or the stream is.
        ErrorCode::CLUSTER_NOT_ACTIVE
        | ErrorCode::CLUSTER_NOT_ASSIGNED
        | ErrorCode::CLUSTER_NOT_AVAILABLE
        | ErrorCode::CLUSTER_NOT_LEADER
        | ErrorCode::STREAM_NOT_FOUND
        | ErrorCode::STREAM_OFFLINE => Refusal::Nobody,
        // STREAM_STORE_FAILED is also the answer of a stream that has reached its limits.
        ErrorCode::STREAM_STORE_FAILED
        | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED
        | ErrorCode::INSUFFICIENT_RESOURCES
        | ErrorCode::MEMORY_RESOURCES_EXCEEDED
        | ErrorCode::STORAGE_RESOURCES_EXCEEDED
        | ErrorCode::STREAM_LIMITS
        | ErrorCode::STREAM_SEALED => Refusal::Full,
        // The answer to a probe.
        ErrorCode::STREAM_NOT_MATCH => Refusal::OtherStream,
        _ => return RecordOutcome::Unclear(FailureKind::Internal),
    };
    RecordOutcome::Refused(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unlisted_code_is_unclear() {
        // A wrong last sequence, an internal error, and codes that do not exist, among others.
        for code in [0, 10_003, 10_051, 10_070, 10_071, 10_164, 99_999] {
            assert_eq!(
                of_code(ErrorCode(code)),
                RecordOutcome::Unclear(FailureKind::Internal),
                "{code}"
            );
        }
    }

    #[test]
    fn listed_code_is_definite() {
        let rows = [
            (10_002, Refusal::Full),
            (10_006, Refusal::Nobody),
            (10_007, Refusal::Nobody),
            (10_008, Refusal::Nobody),
            (10_009, Refusal::Nobody),
            (10_023, Refusal::Full),
            (10_028, Refusal::Full),
            (10_047, Refusal::Full),
            (10_053, Refusal::Full),
            (10_054, Refusal::TooLarge),
            (10_059, Refusal::Nobody),
            (10_060, Refusal::OtherStream),
            (10_077, Refusal::Full),
            (10_097, Refusal::TooLarge),
            (10_109, Refusal::Full),
            (10_118, Refusal::Nobody),
        ];
        for (code, refusal) in rows {
            assert_eq!(
                of_code(ErrorCode(code)),
                RecordOutcome::Refused(refusal),
                "{code}"
            );
            assert!(!refusal.kind().may_be_queued(), "{code}");
        }
    }
}
