//! Webhooks signed by nahook's own sender.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::Full;
use nahook_delivery::Signer;
use nahook_receive::{Verifier, VerifyLayer};

pub(crate) const SECRET: &str = "whsec_dGVzdF93ZWJob29rX3NpZ25pbmdfa2V5XzMyYnl0ZXMh";
pub(crate) const OTHER: &str = "whsec_b3RoZXJfd2ViaG9va19zaWduaW5nX2tleV8zMmJ5dGU=";
pub(crate) const SENT: u64 = 1_800_000_000;

/// A webhook as it arrives.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) id: String,
    pub(crate) timestamp: String,
    pub(crate) signature: String,
    pub(crate) body: Vec<u8>,
}

impl Sent {
    pub(crate) fn new(id: &str, body: &[u8]) -> Self {
        Self::by(&[SECRET], id, body)
    }

    pub(crate) fn by(secrets: &[&str], id: &str, body: &[u8]) -> Self {
        let signer = Signer::new(secrets).unwrap();
        Self {
            id: id.to_owned(),
            timestamp: SENT.to_string(),
            signature: signer.sign(id, SENT, body),
            body: body.to_owned(),
        }
    }

    /// One that was sent at another time.
    pub(crate) fn at(unix_seconds: u64, id: &str, body: &[u8]) -> Self {
        let signer = Signer::new([SECRET]).unwrap();
        Self {
            id: id.to_owned(),
            timestamp: unix_seconds.to_string(),
            signature: signer.sign(id, unix_seconds, body),
            body: body.to_owned(),
        }
    }

    pub(crate) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("webhook-id", &self.id),
            ("webhook-timestamp", &self.timestamp),
            ("webhook-signature", &self.signature),
        ] {
            headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    pub(crate) fn body(&self) -> Bytes {
        Bytes::from(self.body.clone())
    }

    /// A POST of it to `path`.
    pub(crate) fn to(&self, path: &str) -> Request<Full<Bytes>> {
        let mut request = Request::post(path).body(Full::new(self.body())).unwrap();
        *request.headers_mut() = self.headers();
        request
    }
}

pub(crate) fn verifier() -> Verifier {
    Verifier::new([SECRET]).unwrap()
}

pub(crate) fn at(unix_seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(unix_seconds)
}

/// A layer whose clock stands at the moment of sending.
pub(crate) fn layer() -> VerifyLayer {
    VerifyLayer::new(verifier()).clock(|| at(SENT))
}
