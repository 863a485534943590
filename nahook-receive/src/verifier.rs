//! Verification of a webhook's signature and age.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::HeaderMap;
use subtle::{Choice, ConstantTimeEq as _};

use crate::headers::SignedHeaders;
use crate::{RawWebhook, SecretError, VerifyError};

const DEFAULT_TOLERANCE: Duration = Duration::from_mins(5);

/// Verifies webhooks by Standard Webhooks with one or more secrets. Cheap to clone.
#[derive(Clone)]
pub struct Verifier {
    keys: Arc<[standardwebhooks::Webhook]>,
    tolerance: Duration,
}

impl Verifier {
    /// Creates a verifier that accepts a signature by any of `secrets`: give it the old and the new one while a secret
    /// is being rotated. A secret is base64, with or without `whsec_` before it.
    pub fn new<S: AsRef<str>>(secrets: impl IntoIterator<Item = S>) -> Result<Self, SecretError> {
        let keys = secrets
            .into_iter()
            .map(|secret| key(secret.as_ref()))
            .collect::<Result<Arc<[_]>, _>>()?;
        if keys.is_empty() {
            return Err(SecretError::NoSecrets);
        }
        Ok(Self {
            keys,
            tolerance: DEFAULT_TOLERANCE,
        })
    }

    /// Sets the longest time that a webhook's timestamp may be away from now, in either direction. The default is five
    /// minutes.
    #[must_use]
    pub fn tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Verifies a webhook that is received at `now`. `body` must be the bytes that arrived: parsing and writing them
    /// again changes what was signed.
    pub fn verify(
        &self,
        headers: &HeaderMap,
        body: Bytes,
        now: SystemTime,
    ) -> Result<RawWebhook, VerifyError> {
        let signed = self.check_headers(headers, now)?;
        self.check_signature(&signed, body)
    }

    /// Checks everything that does not need the body, so that a hopeless request is refused before its body is read.
    pub(crate) fn check_headers<'h>(
        &self,
        headers: &'h HeaderMap,
        now: SystemTime,
    ) -> Result<SignedHeaders<'h>, VerifyError> {
        let signed = SignedHeaders::read(headers)?;
        signed.check_age(now, self.tolerance)?;
        Ok(signed)
    }

    pub(crate) fn check_signature(
        &self,
        signed: &SignedHeaders<'_>,
        body: Bytes,
    ) -> Result<RawWebhook, VerifyError> {
        // `standardwebhooks::Webhook::verify` has a fixed tolerance and its own clock, and nothing keeps the compiler from
        // ending its comparison early; so its signature is compared here.
        let mut matches = Choice::from(0);
        for key in &*self.keys {
            let expected = key
                .sign(signed.id, signed.timestamp, &body)
                .map_err(|_| VerifyError::BodyNotText)?;
            for signature in &signed.signatures {
                matches |= signature.as_bytes().ct_eq(expected.as_bytes());
            }
        }
        if bool::from(matches) {
            RawWebhook::verified(signed, body)
        } else {
            Err(VerifyError::SignatureMismatch)
        }
    }
}

// The keys must not reach a log.
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("keys", &self.keys.len())
            .field("tolerance", &self.tolerance)
            .finish()
    }
}

fn key(secret: &str) -> Result<standardwebhooks::Webhook, SecretError> {
    // Anybody can sign with an empty key.
    if secret.strip_prefix("whsec_").unwrap_or(secret).is_empty() {
        return Err(SecretError::Empty);
    }
    // The decoder's error names a byte of the secret.
    standardwebhooks::Webhook::new(secret).map_err(|_| SecretError::Encoding)
}
