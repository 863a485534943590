//! Answers to what is no request: hyper refuses it below the routes, with a status and no body.

use nahook_core::{IdSource as _, RandomIds};

use crate::metric::{self, Route};
use crate::problem::Problem;
use crate::{ApiError, RequestId};

/// Text that hyper writes when it refuses a head, up to the date.
const BARE: [&[u8]; 3] = [
    b" 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: ",
    b" 414 URI Too Long\r\nconnection: close\r\ncontent-length: 0\r\ndate: ",
    b" 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: ",
];
const VERSION_LEN: usize = "HTTP/1.1".len();
const DATE_LEN: usize = "Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n".len();

/// Returns how many bytes at the end of `written` are hyper's own refusal.
///
/// No answer of a route is taken for one: those carry an `x-request-id`.
pub(super) fn bare_len(written: &[u8]) -> usize {
    let is_bare = |until_date: &&[u8]| {
        let len = VERSION_LEN + until_date.len() + DATE_LEN;
        let start = written.len().checked_sub(len)?;
        let version = written[start..].starts_with(b"HTTP/1.");
        let rest = &written[start + VERSION_LEN..];
        (version && rest.starts_with(until_date) && rest.ends_with(b"GMT\r\n\r\n")).then_some(len)
    };
    BARE.iter().find_map(is_bare).unwrap_or(0)
}

/// Returns the error to answer when hyper has ended a connection with `error`; none if nobody waits for an answer.
pub(super) fn refusal(error: &hyper::Error) -> Option<ApiError> {
    if error.is_parse_too_large() {
        Some(ApiError::new(
            Problem::HeadTooLarge,
            "The request's headers are too many or too long",
        ))
    } else if error.is_parse_version_h2() {
        Some(ApiError::new(
            Problem::HttpVersion,
            "This server speaks HTTP/1.1",
        ))
    } else {
        let message = "The request is not valid HTTP/1.1";
        error.is_parse().then(|| ApiError::validation(message))
    }
}

/// The error as the last answer of a connection, head and body.
pub(super) fn last_answer(error: &ApiError) -> Vec<u8> {
    metric::count_request(Route::None, error.status().as_u16(), error.code());
    let body = error.to_json();
    let retry_after = error.retry_after_seconds();
    let retry_after = retry_after.map_or(String::new(), |wait| format!("retry-after: {wait}\r\n"));
    let head = format!(
        "HTTP/1.1 {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n{retry_after}x-content-type-options: nosniff\r\nx-request-id: {}\r\n\r\n",
        error.status(),
        body.len(),
        RequestId::drawn(RandomIds.random()),
    );
    [head.into_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSAL: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n";

    #[test]
    fn refusal_is_found_behind_another_answer() {
        assert_eq!(bare_len(REFUSAL), 103);
        let both = [b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx", REFUSAL].concat();
        assert_eq!(bare_len(&both), 103);
    }

    #[test]
    fn answers_of_routes_are_no_refusals() {
        let id = b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\nx-request-id: req_1\r\n\r\n";
        for written in [
            &b""[..],
            &REFUSAL[1..],
            &REFUSAL[..REFUSAL.len() - 1],
            &[&REFUSAL[..64], id].concat(),
            &[REFUSAL, b"x"].concat(),
        ] {
            assert_eq!(bare_len(written), 0);
        }
    }
}
