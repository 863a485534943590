//! What the server's answers say of a record.

use async_nats::jetstream::ErrorCode;
use async_nats::{Message, StatusCode};
use nahook_core::FailureKind;
use serde::Deserialize;

use super::{Fate, Refusal};

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

pub(super) fn fate_of(message: &Message) -> Fate {
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        return Fate::Refused(Refusal::Nobody);
    }
    match serde_json::from_slice(&message.payload) {
        Ok(Acknowledgement {
            error: Some(refused),
            ..
        }) => of_code(ErrorCode(refused.err_code)),
        Ok(Acknowledgement {
            stream: Some(_), ..
        }) => Fate::Stored,
        _ => Fate::Unclear(FailureKind::Internal),
    }
}

/// The codes that are known to be said of messages that were not stored; what is not listed is unclear.
fn of_code(code: ErrorCode) -> Fate {
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
        // The store refused: also how a stream says that its limits are reached.
        ErrorCode::STREAM_STORE_FAILED
        | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED
        | ErrorCode::INSUFFICIENT_RESOURCES
        | ErrorCode::MEMORY_RESOURCES_EXCEEDED
        | ErrorCode::STORAGE_RESOURCES_EXCEEDED
        | ErrorCode::STREAM_LIMITS
        | ErrorCode::STREAM_SEALED => Refusal::Full,
        // Said of a probe.
        ErrorCode::STREAM_NOT_MATCH => Refusal::OtherStream,
        _ => return Fate::Unclear(FailureKind::Internal),
    };
    Fate::Refused(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_listed_is_unclear() {
        // Among them a wrong last sequence, an internal error, and codes that do not exist.
        for code in [0, 10_003, 10_051, 10_070, 10_071, 10_164, 99_999] {
            assert_eq!(
                of_code(ErrorCode(code)),
                Fate::Unclear(FailureKind::Internal),
                "{code}"
            );
        }
    }

    #[test]
    fn what_is_listed_is_definite() {
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
            assert_eq!(of_code(ErrorCode(code)), Fate::Refused(refusal), "{code}");
            assert!(!refusal.kind().may_be_queued(), "{code}");
        }
    }
}
