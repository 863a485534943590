//! The port through which one attempt is made: a request out, a status or a coarse failure back.

mod error;

use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Uri};
use nahook_control::EndpointUrl;

pub use self::error::{LocalCause, TimeoutPhase, TlsFault, TransportError};

/// Makes attempts.
///
/// Dropping the future cancels the attempt and closes its connection; what had been sent by then
/// may have been received.
pub trait Transport: Send + Sync {
    /// POSTs `request` and answers what the endpoint said. Any status is `Ok`, a redirect too: it
    /// is for the caller to judge, and is never followed. `Err` means that no status arrived: the
    /// endpoint may have received the request. [`TransportError::Local`] says that there was no attempt at all.
    fn post(
        &self,
        request: OutboundRequest,
    ) -> impl Future<Output = Result<OutboundResponse, TransportError>> + Send;
}

#[deny(clippy::missing_trait_methods)]
impl<T: Transport + ?Sized> Transport for &T {
    async fn post(&self, request: OutboundRequest) -> Result<OutboundResponse, TransportError> {
        (**self).post(request).await
    }
}

#[deny(clippy::missing_trait_methods)]
impl<T: Transport + ?Sized> Transport for Arc<T> {
    async fn post(&self, request: OutboundRequest) -> Result<OutboundResponse, TransportError> {
        (**self).post(request).await
    }
}

/// One request to an endpoint.
#[derive(Clone)]
pub struct OutboundRequest {
    /// URL of the endpoint.
    pub url: OutboundUrl,
    /// The headers to send. `host`, and those that frame the message or rule the connection
    /// (`content-length`, `transfer-encoding`, `connection` …), are the transport's and ignored here.
    pub headers: HeaderMap,
    /// The body, sent verbatim.
    pub body: Bytes,
}

/// A URL that can be posted to: any [`EndpointUrl`]. An address is one however it is spelt. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct OutboundUrl(Arc<Parts>);

/// A URL, and what a request to it has of it, each where HTTP wants it.
#[derive(PartialEq, Eq)]
struct Parts {
    uri: Uri,
    path: Uri,
    host: HeaderValue,
    origin: Origin,
}

/// Scheme, host and port that a connection leads to.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    is_https: bool,
    /// Host and port, the port only where it is not the scheme's. In lower case, as URLs are read.
    authority: Arc<str>,
}

impl OutboundUrl {
    /// The same as HTTP has it.
    pub fn as_uri(&self) -> &Uri {
        &self.0.uri
    }

    /// Path and query, as a request's first line has them.
    pub(crate) fn path(&self) -> &Uri {
        &self.0.path
    }

    /// The request's `host`.
    pub(crate) fn host(&self) -> &HeaderValue {
        &self.0.host
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.0.origin
    }
}

impl FromStr for OutboundUrl {
    type Err = TransportError;

    /// Fails with [`TransportError::InvalidUrl`].
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url: EndpointUrl = text.parse().map_err(|_| TransportError::InvalidUrl)?;
        Parts::of(url.as_str())
            .map(|parts| Self(Arc::new(parts)))
            .ok_or(TransportError::InvalidUrl)
    }
}

impl Parts {
    fn of(url: &str) -> Option<Self> {
        let uri = Uri::try_from(url).ok()?;
        // Without user and password, and the scheme's own port: those were not let in, this was left out.
        let authority = uri.authority()?.as_str();
        let path = uri.path_and_query()?.clone();
        Some(Self {
            host: HeaderValue::from_str(authority).ok()?,
            origin: Origin {
                is_https: uri.scheme() == Some(&Scheme::HTTPS),
                authority: authority.into(),
            },
            path: Uri::from(path),
            uri,
        })
    }
}

// A URL's path and query hold secrets (Slack's path is one entirely), so none is shown.
impl std::fmt::Debug for OutboundUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("OutboundUrl").finish_non_exhaustive()
    }
}

// Headers hold secrets, too.
impl std::fmt::Debug for OutboundRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutboundRequest")
            .field("body_len", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Answer of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundResponse {
    /// The HTTP status, 100–999 and not necessarily a registered one.
    pub status: u16,
    /// The `Retry-After` header, if there was one and it was well formed.
    pub retry_after: Option<RetryAfter>,
    /// Start of the body, as far as the transport has it; empty if it has none. Nothing is decided by it.
    pub body: Bytes,
}

/// A receiver's wish for when to try again (RFC 9110, section 10.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryAfter {
    /// So long after the answer.
    Delay(Duration),
    /// At this instant of the wall clock, the receiver's.
    At(SystemTime),
}

impl RetryAfter {
    /// Reads a header value: seconds as digits, or an HTTP date in any of its three formats.
    /// Anything else is `None`. Seconds beyond `u32::MAX` are that many, so that adding them to a
    /// clock's time cannot overflow.
    pub fn parse(value: &HeaderValue) -> Option<Self> {
        let text = value.to_str().ok()?.trim();
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let secs = text.parse::<u32>().unwrap_or(u32::MAX);
            return Some(Self::Delay(Duration::from_secs(secs.into())));
        }
        httpdate::parse_http_date(text).ok().map(Self::At)
    }

    /// Returns the time to wait from `now`; zero for an instant that has passed. Not capped: the longest
    /// wait to honour is the retry schedule's to say.
    pub fn delay(self, now: SystemTime) -> Duration {
        match self {
            Self::Delay(delay) => delay,
            Self::At(instant) => instant.duration_since(now).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn parse(text: &str) -> Option<RetryAfter> {
        RetryAfter::parse(&HeaderValue::from_str(text).unwrap())
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_nothing_else() {
        let secs = |secs| Some(RetryAfter::Delay(Duration::from_secs(secs)));
        let date = Some(RetryAfter::At(
            UNIX_EPOCH + Duration::from_secs(784_111_777),
        ));
        for (text, expected) in [
            ("0", secs(0)),
            ("120", secs(120)),
            (" 120 ", secs(120)),
            ("99999999999999999999999", secs(u32::MAX.into())),
            ("Sun, 06 Nov 1994 08:49:37 GMT", date),
            ("Sunday, 06-Nov-94 08:49:37 GMT", date),
            ("Sun Nov  6 08:49:37 1994", date),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("soon", None),
        ] {
            assert_eq!(parse(text), expected, "{text:?}");
        }
        let not_ascii = HeaderValue::from_bytes(b"\xff").unwrap();
        assert_eq!(RetryAfter::parse(&not_ascii), None);
    }

    #[test]
    fn a_date_is_a_delay_from_now_and_a_past_one_is_none_at_all() {
        let date = parse("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let at = |secs| UNIX_EPOCH + Duration::from_secs(secs);
        assert_eq!(date.delay(at(784_111_700)), Duration::from_secs(77));
        assert_eq!(date.delay(at(784_111_778)), Duration::ZERO);
        assert_eq!(parse("9").unwrap().delay(at(0)), Duration::from_secs(9));
    }

    #[test]
    fn debug_of_a_request_shows_neither_url_nor_headers() {
        let request = OutboundRequest {
            url: "https://hooks.slack.com/services/T0/B0/hunter2"
                .parse()
                .unwrap(),
            headers: [(
                http::header::AUTHORIZATION,
                HeaderValue::from_static("hunter2"),
            )]
            .into_iter()
            .collect(),
            body: Bytes::from_static(b"hunter2"),
        };
        assert_eq!(
            format!("{request:?}"),
            "OutboundRequest { body_len: 7, .. }"
        );
    }
}
