//! Judges the end of an attempt.

use std::time::{Duration, UNIX_EPOCH};

use nahook_core::Timestamp;

use super::request::RequestError;
use crate::transport::{OutboundResponse, TransportError};

/// Reason for which an attempt ended without an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum NoAnswer {
    /// The worker's own bound was reached, since the transport had none or did not keep it.
    #[error("timed out while waiting for the answer")]
    GaveUp,
    #[error("the attempt failed unexpectedly")]
    Panicked,
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Transport(#[from] TransportError),
}

/// Consequences of an attempt's end for its delivery and its endpoint.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Judgement {
    /// A receiver took it.
    Accepted { status: u16 },
    /// It was not taken.
    Failed {
        status: Option<u16>,
        /// For the tenant.
        error: String,
        /// Time for which the receiver wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// The receiver says that it is gone for good.
    Gone,
}

/// Judges an answer, or the lack of one, that came at `now`.
///
/// Any 2xx is success. `Retry-After` counts on 429 and 503 only: elsewhere it means something else, or nothing.
pub(super) fn judge(answer: &Result<OutboundResponse, NoAnswer>, now: Timestamp) -> Judgement {
    match answer {
        Ok(OutboundResponse { status, .. }) if (200..300).contains(status) => {
            Judgement::Accepted { status: *status }
        }
        Ok(OutboundResponse {
            status: GONE_STATUS,
            ..
        }) => Judgement::Gone,
        Ok(OutboundResponse {
            status,
            retry_after,
            ..
        }) => {
            let wall_clock = UNIX_EPOCH + Duration::from_nanos(now.as_nanos());
            Judgement::Failed {
                status: Some(*status),
                error: describe(*status),
                retry_after: retry_after
                    .filter(|_| matches!(status, 429 | 503))
                    .map(|wish| wish.delay(wall_clock)),
            }
        }
        Err(error) => Judgement::Failed {
            status: None,
            error: error.to_string(),
            retry_after: None,
        },
    }
}

pub(super) const GONE_STATUS: u16 = 410;

pub(super) const GONE: &str = "the endpoint answered 410 Gone and was disabled";

fn describe(status: u16) -> String {
    if (300..400).contains(&status) {
        format!("the endpoint answered with a redirect ({status}), which is not followed")
    } else {
        format!("the endpoint answered with status {status}")
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::transport::RetryAfter;

    fn answered(status: u16) -> Judgement {
        let retry_after = Some(RetryAfter::Delay(Duration::from_mins(1)));
        let answer = OutboundResponse {
            status,
            retry_after,
            body: Bytes::new(),
        };
        judge(&Ok(answer), Timestamp::default())
    }

    #[test]
    fn exactly_the_2xx_are_success() {
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(answered(status), Judgement::Accepted { status });
        }
        for status in [100, 199, 300, 301, 302, 304, 307, 400, 401, 404, 500, 999] {
            let failed = matches!(answered(status), Judgement::Failed { status: Some(s), .. } if s == status);
            assert!(failed, "{status}");
        }
        assert_eq!(answered(410), Judgement::Gone);
    }

    #[test]
    fn retry_after_counts_on_429_and_503_only() {
        for (status, expected) in [(429, Some(60)), (503, Some(60)), (500, None), (301, None)] {
            let Judgement::Failed { retry_after, .. } = answered(status) else {
                panic!("{status} is a failure");
            };
            assert_eq!(retry_after.map(|wait| wait.as_secs()), expected, "{status}");
        }
    }

    #[test]
    fn a_date_is_measured_from_the_workers_clock() {
        let answer = OutboundResponse {
            status: 503,
            retry_after: Some(RetryAfter::At(UNIX_EPOCH + Duration::from_secs(1_000))),
            body: Bytes::new(),
        };
        let wait_at =
            |secs: u64| match judge(&Ok(answer.clone()), Timestamp::from_millis(secs * 1_000)) {
                Judgement::Failed { retry_after, .. } => retry_after,
                other => panic!("{other:?}"),
            };
        assert_eq!(wait_at(940), Some(Duration::from_mins(1)));
        assert_eq!(wait_at(2_000), Some(Duration::ZERO));
    }

    #[test]
    fn the_tenant_is_told_the_status_and_that_redirects_are_not_followed() {
        for (status, told) in [
            (500, "the endpoint answered with status 500"),
            (
                300,
                "the endpoint answered with a redirect (300), which is not followed",
            ),
            (
                399,
                "the endpoint answered with a redirect (399), which is not followed",
            ),
            (400, "the endpoint answered with status 400"),
        ] {
            let Judgement::Failed { error, .. } = answered(status) else {
                panic!("{status} is a failure");
            };
            assert_eq!(error, told);
        }
    }
}
