//! Authentication of the streams' messages: who may publish on the account is not therefore one of the store's processes.

use std::fmt;

use async_nats::header::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nahook_core::Timestamp;
use ring::hmac;

/// Header with the message authentication code: `1.` and base64.
pub(crate) const HEADER: &str = "Nahook-Authentication";
const VERSION: &str = "1.";
/// Length of the header in a message, its name and line end included.
pub(crate) const HEADER_LEN: usize = HEADER.len() + VERSION.len() + 44 + 4;

/// Kind of a message. One that was made for a stream is not taken from a stream of another kind.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Log entries.
    Log,
    /// A note on the progress of records.
    Note,
    /// A record of deliveries, in whichever of its streams.
    Record,
}

impl Kind {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Log => b"log\0",
            Self::Note => b"note\0",
            Self::Record => b"record\0",
        }
    }
}

/// Authentication of messages with a key that the processes of a store share. Without a key, the default, every message is
/// taken.
#[derive(Clone, Default)]
pub struct Authentication {
    key: Option<hmac::Key>,
    accepts_unsigned_until: Option<Timestamp>,
}

impl Authentication {
    /// Signs with this key, and takes nothing that was not signed with it.
    #[must_use]
    pub fn with_key(mut self, key: &[u8; 32]) -> Self {
        self.key = Some(hmac::Key::new(hmac::HMAC_SHA256, key));
        self
    }

    /// Takes messages without a signature until then, for a queue that was used without a key before.
    #[must_use]
    pub fn accept_unsigned_until(mut self, until: Timestamp) -> Self {
        self.accepts_unsigned_until = Some(until);
        self
    }

    /// Signs a message.
    pub(crate) fn sign(&self, kind: Kind, headers: &mut HeaderMap, body: &[u8]) {
        if let Some(key) = &self.key {
            let code = STANDARD.encode(context(key, kind, body).sign());
            headers.insert(HEADER, format!("{VERSION}{code}"));
        }
    }

    /// Returns true if the message is to be taken: it was signed, there is no key, or it need not be signed yet.
    pub(crate) fn is_authentic(
        &self,
        kind: Kind,
        headers: Option<&HeaderMap>,
        body: &[u8],
        now: Timestamp,
    ) -> bool {
        let Some(key) = &self.key else { return true };
        let Some(code) = headers.and_then(|headers| headers.get(HEADER)) else {
            return self.accepts_unsigned_until.is_some_and(|until| now < until);
        };
        let code = code.as_str().strip_prefix(VERSION);
        let Some(code) = code.and_then(|code| STANDARD.decode(code).ok()) else {
            return false;
        };
        let signed = [kind.label(), body].concat();
        hmac::verify(key, &signed, &code).is_ok()
    }
}

fn context(key: &hmac::Key, kind: Kind, body: &[u8]) -> hmac::Context {
    let mut context = hmac::Context::with_key(key);
    context.update(kind.label());
    context.update(body);
    context
}

/// Hides the key.
impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authentication")
            .field("has_key", &self.key.is_some())
            .field("accepts_unsigned_until", &self.accepts_unsigned_until)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    #[test]
    fn message_is_taken_if_it_was_signed_for_its_kind_with_the_key() {
        let authentication = Authentication::default().with_key(&[7; 32]);
        let mut headers = HeaderMap::new();
        authentication.sign(Kind::Record, &mut headers, b"{}");
        let is_authentic = |by: &Authentication, kind, headers: &HeaderMap, body: &[u8]| {
            by.is_authentic(kind, Some(headers), body, NOW)
        };
        assert!(is_authentic(&authentication, Kind::Record, &headers, b"{}"));
        assert!(!is_authentic(
            &authentication,
            Kind::Record,
            &headers,
            b"{} "
        ));
        assert!(!is_authentic(&authentication, Kind::Log, &headers, b"{}"));
        let other = Authentication::default().with_key(&[8; 32]);
        assert!(!is_authentic(&other, Kind::Record, &headers, b"{}"));
        for wrong in ["", "1.", "1.AAAA", "2.AAAA"] {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, wrong);
            assert!(!is_authentic(
                &authentication,
                Kind::Record,
                &headers,
                b"{}"
            ));
        }
        assert!(!authentication.is_authentic(Kind::Record, None, b"{}", NOW));
        let without = Authentication::default();
        assert!(without.is_authentic(Kind::Record, None, b"{}", NOW));
        assert!(is_authentic(&without, Kind::Record, &headers, b"{}"));
    }

    #[test]
    fn unsigned_message_is_taken_until_then_and_a_wrong_one_never() {
        let until = NOW.saturating_add(std::time::Duration::from_secs(1));
        let authentication = Authentication::default()
            .with_key(&[7; 32])
            .accept_unsigned_until(until);
        assert!(authentication.is_authentic(Kind::Record, None, b"{}", NOW));
        assert!(!authentication.is_authentic(Kind::Record, None, b"{}", until));
        let mut wrong = HeaderMap::new();
        wrong.insert(HEADER, "1.AAAA");
        assert!(!authentication.is_authentic(Kind::Record, Some(&wrong), b"{}", NOW));
    }

    #[test]
    fn header_is_as_long_as_records_leave_room_for() {
        let mut headers = HeaderMap::new();
        Authentication::default()
            .with_key(&[7; 32])
            .sign(Kind::Note, &mut headers, b"");
        let value = headers.get(HEADER).map_or(0, |value| value.as_str().len());
        assert_eq!(HEADER.len() + 2 + value + 2, HEADER_LEN);
    }
}
