//! Standard Webhooks signatures (contract, section 3).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const SECRET_PREFIX: &str = "whsec_";
const VERSION: &str = "v1,";
/// Of one, with the space before the next: 256 bits in base64.
const SIGNATURE_LEN: usize = VERSION.len() + 44 + 1;

/// Signs requests with an endpoint's secrets. Built once, the parsed keys are kept and each
/// signature only copies their state.
#[derive(Clone)]
pub struct Signer {
    keys: Vec<Hmac<Sha256>>,
}

impl Signer {
    /// A signer for `secrets`, each `whsec_` and the key in base64. With several (a secret being
    /// rotated) each request carries a signature by each, in this order.
    pub fn new<S: AsRef<str>>(secrets: impl IntoIterator<Item = S>) -> Result<Self, SecretError> {
        let keys = secrets
            .into_iter()
            .map(|secret| key(secret.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err(SecretError::None);
        }
        Ok(Self { keys })
    }

    /// The value of `webhook-signature` for a request whose `webhook-id` is `message_id`, whose
    /// `webhook-timestamp` is `timestamp_secs` (Unix seconds) and whose body is exactly `body`:
    /// `v1,<base64>` per secret, separated by a space.
    pub fn sign(&self, message_id: &str, timestamp_secs: u64, body: &[u8]) -> String {
        let head = format!("{message_id}.{timestamp_secs}.");
        let mut signatures = String::with_capacity(self.keys.len() * SIGNATURE_LEN);
        for key in &self.keys {
            if !signatures.is_empty() {
                signatures.push(' ');
            }
            let mut mac = key.clone();
            mac.update(head.as_bytes());
            mac.update(body);
            signatures.push_str(VERSION);
            STANDARD.encode_string(mac.finalize().into_bytes(), &mut signatures);
        }
        signatures
    }
}

// Written by hand so that no key can ever reach a log.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}

fn key(secret: &str) -> Result<Hmac<Sha256>, SecretError> {
    let encoded = secret
        .strip_prefix(SECRET_PREFIX)
        .ok_or(SecretError::Prefix)?;
    // The decoder's own error names the offending byte and its place: a piece of the secret.
    let key = STANDARD
        .decode(encoded)
        .map_err(|_| SecretError::Encoding)?;
    if key.is_empty() {
        return Err(SecretError::Empty);
    }
    // HMAC takes a key of any length; the error is the signature's, not the algorithm's.
    Hmac::new_from_slice(&key).map_err(|_| SecretError::Encoding)
}

/// Why a secret cannot sign. Says nothing of the secret itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// There was no secret at all.
    #[error("no signing secret")]
    None,
    /// It does not begin with `whsec_`.
    #[error("a signing secret must begin with `whsec_`")]
    Prefix,
    /// The part after `whsec_` is not base64 (standard alphabet, padded).
    #[error("a signing secret must be base64 after `whsec_`")]
    Encoding,
    /// Nothing follows `whsec_`.
    #[error("a signing secret must not be empty")]
    Empty,
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use proptest::prelude::*;
    use standardwebhooks::Webhook;

    use super::*;

    const SECRET: &str = "whsec_dGVzdF93ZWJob29rX3NpZ25pbmdfa2V5XzMyYnl0ZXMh";
    const OTHER: &str = "whsec_b3RoZXJfd2ViaG9va19zaWduaW5nX2tleV8zMmJ5dGU=";

    #[test]
    fn the_vectors_of_the_contract_are_met() {
        let signer = Signer::new([SECRET]).unwrap();
        for (body, signature) in [
            (
                r#"{"order_id":"ord_123","amount":49.99}"#,
                "v1,VF1JBS4kdSwmE64FeeiWTgszlPCfaop53x8bwzvHizw=",
            ),
            ("", "v1,yNFeVvBSs4aZ/sVHHw1MaUWnN1IGK/Ul/16T8aptSJo="),
            (
                r#"{"name":"café","price":"€9.99"}"#,
                "v1,GcuGAMV9tELnF2rjay6sA8uo5PDPPlhaFi6gKUg06wQ=",
            ),
        ] {
            let value = signer.sign("msg_test_sig_001", 1_712_345_678, body.as_bytes());
            assert_eq!(value, signature, "{body}");
        }
    }

    #[test]
    fn two_secrets_give_two_signatures_in_their_order() {
        let both = Signer::new([SECRET, OTHER])
            .unwrap()
            .sign("msg_1", 7, b"{}");
        let each = [SECRET, OTHER].map(|s| Signer::new([s]).unwrap().sign("msg_1", 7, b"{}"));
        assert_eq!(both, each.join(" "));
        assert_ne!(each[0], each[1]);
    }

    #[test]
    fn a_malformed_secret_is_refused_and_never_shown() {
        for (secret, error) in [
            ("dGVzdA==", SecretError::Prefix),
            ("", SecretError::Prefix),
            ("WHSEC_dGVzdA==", SecretError::Prefix),
            ("whsec_", SecretError::Empty),
            ("whsec_hunter2!", SecretError::Encoding),
            ("whsec_dGVzdA", SecretError::Encoding),
            ("whsec_dGVzdA==\n", SecretError::Encoding),
        ] {
            let refused = Signer::new([SECRET, secret]).unwrap_err();
            assert_eq!(refused, error, "{secret:?}");
            assert!(!format!("{refused} {refused:?}").contains("hunter2"));
        }
        assert_eq!(Signer::new::<&str>([]).unwrap_err(), SecretError::None);
    }

    #[test]
    fn debug_shows_no_key() {
        let shown = format!("{:?}", Signer::new([SECRET, OTHER]).unwrap());
        assert_eq!(shown, "Signer { keys: 2, .. }");
    }

    proptest! {
        #[test]
        fn the_reference_library_verifies_what_is_signed(
            id in "[!-~]{1,60}",
            body in "\\PC{0,400}",
            keys in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..80), 1..4),
        ) {
            let secrets = keys.iter().map(|key| format!("{SECRET_PREFIX}{}", STANDARD.encode(key)));
            let secrets = secrets.collect::<Vec<_>>();
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
            let signature = Signer::new(&secrets).unwrap().sign(&id, now, body.as_bytes());
            let mut headers = http::HeaderMap::new();
            headers.insert("webhook-id", id.parse().unwrap());
            headers.insert("webhook-timestamp", now.into());
            headers.insert("webhook-signature", signature.parse().unwrap());
            for secret in &secrets {
                let receiver = Webhook::new(secret).unwrap();
                prop_assert!(receiver.verify(body.as_bytes(), &headers).is_ok());
            }
            let mut tampered = body.into_bytes();
            tampered.push(b' ');
            prop_assert!(Webhook::new(&secrets[0]).unwrap().verify(&tampered, &headers).is_err());
        }
    }
}
