//! Reading the head of an answer that hyper refuses.
//!
//! Of an answer only the status and `Retry-After` are used, so nothing else in the head may fail an attempt. hyper stays
//! as strict as it is, and decides which connections are used again: that of a refused head is always closed, so that no
//! disagreement about where an answer ends can reach the next one.

use bytes::{Bytes, BytesMut};
use http::HeaderValue;

use crate::transport::{OutboundResponse, RetryAfter};

/// Upper bound on the bytes read of a head. A longer one is judged by its first lines.
pub(super) const HEAD_LEN_MAX: usize = 256 * 1024;

/// Progress of reading a head.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Progress {
    /// It goes on.
    Partial,
    /// It has ended, or is too long to read to its end.
    Complete(OutboundResponse),
    /// It does not begin with a status line.
    NotHttp,
}

/// Reads a head line by line, as leniently as curl: only the status line has to be one, and to have arrived in full.
#[derive(Debug, Default)]
pub(super) struct HeadReader {
    unread: BytesMut,
    /// There is no line end among so many of the unread bytes.
    searched: usize,
    len: usize,
    status: Option<u16>,
    retry_after: Option<RetryAfter>,
}

impl HeadReader {
    /// Reads on.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Progress {
        self.unread.extend_from_slice(bytes);
        self.len += bytes.len();
        while let Some(line) = self.next_line() {
            let is_blank = line.is_empty();
            match self.status {
                None if is_blank => {}
                None => match status_of(&line) {
                    Some(status) => self.status = Some(status),
                    None => return Progress::NotHttp,
                },
                // An interim answer: the real one follows.
                Some(status) if is_blank && is_interim(status) => {
                    self.status = None;
                    self.retry_after = None;
                }
                Some(status) if is_blank => return self.complete(status),
                Some(_) => self.retry_after = self.retry_after.or_else(|| retry_after_of(&line)),
            }
        }
        if self.status.is_none() && !may_begin_a_status_line(&self.unread) {
            return Progress::NotHttp;
        }
        match self.status {
            _ if self.len < HEAD_LEN_MAX => Progress::Partial,
            Some(status) => self.complete(status),
            None => Progress::NotHttp,
        }
    }

    /// Judges a head that broke off: a final status line that has arrived in full is an answer.
    pub(super) fn end(&self) -> Option<OutboundResponse> {
        let status = self.status.filter(|status| !is_interim(*status))?;
        Some(self.response(status))
    }

    /// The next line that is complete, without its end: CR LF, or LF alone.
    fn next_line(&mut self) -> Option<BytesMut> {
        let rest = self.unread.get(self.searched..).unwrap_or_default();
        let Some(at) = rest.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.unread.len();
            return None;
        };
        let mut line = self.unread.split_to(self.searched + at + 1);
        self.searched = 0;
        line.truncate(line.len() - 1);
        if line.ends_with(b"\r") {
            line.truncate(line.len() - 1);
        }
        Some(line)
    }

    fn complete(&self, status: u16) -> Progress {
        Progress::Complete(self.response(status))
    }

    fn response(&self, status: u16) -> OutboundResponse {
        OutboundResponse {
            status,
            retry_after: self.retry_after,
            body: Bytes::new(),
        }
    }
}

/// Returns true if another answer follows. That switches protocols is final: nothing was asked to be switched.
fn is_interim(status: u16) -> bool {
    matches!(status, 100 | 102..=199)
}

const VERSION_PREFIX: &[u8] = b"HTTP/";

fn may_begin_a_status_line(unread: &[u8]) -> bool {
    let len = unread.len().min(VERSION_PREFIX.len());
    let is_line_end = matches!(unread, [] | [b'\r', ..]);
    is_line_end || unread[..len].eq_ignore_ascii_case(&VERSION_PREFIX[..len])
}

/// The status of a status line: of any version, with any space before it and any text behind it.
fn status_of(line: &[u8]) -> Option<u16> {
    let (prefix, rest) = line.split_at_checked(VERSION_PREFIX.len())?;
    if !prefix.eq_ignore_ascii_case(VERSION_PREFIX) {
        return None;
    }
    let space_at = rest.iter().position(u8::is_ascii_whitespace)?;
    let rest = rest[space_at..].trim_ascii_start();
    let (digits, after) = rest.split_at_checked(3)?;
    if after.first().is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let status = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (100..=999).contains(&status).then_some(status)
}

fn retry_after_of(line: &[u8]) -> Option<RetryAfter> {
    let colon_at = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon_at], &line[colon_at + 1..]);
    if !name.trim_ascii().eq_ignore_ascii_case(b"retry-after") {
        return None;
    }
    let value = HeaderValue::from_bytes(value.trim_ascii()).ok()?;
    RetryAfter::parse(&value)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn read(head: impl AsRef<[u8]>) -> Progress {
        HeadReader::default().push(head.as_ref())
    }

    fn status(status: u16) -> Progress {
        Progress::Complete(OutboundResponse {
            status,
            retry_after: None,
            body: Bytes::new(),
        })
    }

    #[test]
    fn status_lines_are_read_leniently() {
        for (line, expected) in [
            ("HTTP/1.1 200 OK", 200),
            ("HTTP/1.1 200", 200),
            ("HTTP/1.0 503 Later", 503),
            ("http/1.1 200 ok", 200),
            ("HTTP/1.1  200  OK", 200),
            ("HTTP/1.1\t204", 204),
            ("HTTP/2 200", 200),
            ("HTTP/1.1 299\u{1}strange", 299),
            ("HTTP/1.1 101 Switching", 101),
            ("HTTP/1.1 999 Unheard of", 999),
        ] {
            assert_eq!(read(format!("{line}\r\n\r\n")), status(expected), "{line}");
            assert_eq!(read(format!("{line}\n\n")), status(expected), "{line}");
        }
        for line in [
            "SSH-2.0-OpenSSH",
            "HTTP/1.1",
            "HTTP/1.1 OK",
            "HTTP/1.1 20",
            "HTTP/1.1 2000 OK",
            "HTTP/1.1 099 low",
            "HTTP/1.1 +20 OK",
            "\u{0}",
        ] {
            assert_eq!(
                read(format!("{line}\r\n\r\n")),
                Progress::NotHttp,
                "{line:?}"
            );
        }
    }

    #[test]
    fn retry_after_is_found_among_lines_that_are_none() {
        let head = "HTTP/1.1 503 Later\r\nno colon\r\n folded\r\nX A: b\r\nRETRY-AFTER : 7 \r\nretry-after: 9\r\n\r\n";
        let retry_after = Some(RetryAfter::Delay(Duration::from_secs(7)));
        let expected = OutboundResponse {
            status: 503,
            retry_after,
            body: Bytes::new(),
        };
        assert_eq!(read(head), Progress::Complete(expected));
    }

    #[test]
    fn interim_answers_are_skipped() {
        let head =
            "HTTP/1.1 103 Early\r\nRetry-After: 1\r\nb a d\r\n\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
        assert_eq!(read(head), status(200));
    }

    #[test]
    fn what_cannot_become_a_status_line_is_refused_before_it_ends() {
        assert_eq!(read("SSH"), Progress::NotHttp);
        assert_eq!(read("HTT"), Progress::Partial);
        assert_eq!(read("\r"), Progress::Partial);
    }

    #[test]
    fn head_that_breaks_off_is_judged_by_a_status_line_that_has_ended() {
        for (head, expected) in [
            ("HTTP/1.1 200 OK\r\n", Some(200)),
            ("HTTP/1.1 500 No\r\nx: y", Some(500)),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 \n", Some(204)),
            ("HTTP/1.1 200 OK", None),
            ("HTTP/1.1 100 Continue\r\n", None),
            ("HTTP/1.1 103 Early\r\n\r\n", None),
            ("", None),
        ] {
            let mut reader = HeadReader::default();
            assert_eq!(reader.push(head.as_bytes()), Progress::Partial, "{head:?}");
            let status = reader.end().map(|response| response.status);
            assert_eq!(status, expected, "{head:?}");
        }
    }

    #[test]
    fn head_without_end_is_judged_by_its_status() {
        let mut reader = HeadReader::default();
        assert_eq!(reader.push(b"HTTP/1.1 200 OK\r\nx: "), Progress::Partial);
        let mut progress = Progress::Partial;
        let mut pushed = 0;
        while progress == Progress::Partial {
            progress = reader.push(&[b'x'; 1000]);
            pushed += 1000;
        }
        assert_eq!(progress, status(200));
        assert!(pushed < HEAD_LEN_MAX + 1000);
        assert_eq!(
            read(format!("HTTP/{}", "1".repeat(HEAD_LEN_MAX))),
            Progress::NotHttp
        );
    }

    proptest! {
        #[test]
        fn pieces_are_read_like_the_whole(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            size in 1_usize..9,
        ) {
            let head = [b"HTTP/1.1 204 \r\n", bytes.as_slice(), b"\n\n"].concat();
            let whole = read(&head);
            let mut reader = HeadReader::default();
            let mut pieces = head.chunks(size).map(|piece| reader.push(piece));
            let ended = pieces.find(|progress| *progress != Progress::Partial);
            prop_assert_eq!(ended, Some(whole));
        }

        #[test]
        fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            read(bytes);
        }
    }
}
