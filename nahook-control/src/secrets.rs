//! The secrets we make (contract, section 4).

use crate::SecretText;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nahook_core::IdSource;

/// Prefix of every ingestion key.
pub const API_KEY_PREFIX: &str = "nhk_";
/// Prefix of every management token.
pub const MANAGEMENT_TOKEN_PREFIX: &str = "nhm_";
/// Prefix of every signing secret.
pub const SIGNING_SECRET_PREFIX: &str = "whsec_";

/// The region in keys made here: clients use it only to find a host when they are given none.
const REGION: &str = "us";

/// A new ingestion key: `nhk_{region}_{64 hex}`.
pub fn new_api_key(random: &dyn IdSource) -> SecretText {
    SecretText::new(format!("{API_KEY_PREFIX}{REGION}_{}", hex_256(random)))
}

/// A new management token: `nhm_{64 hex}`.
pub fn new_management_token(random: &dyn IdSource) -> SecretText {
    SecretText::new(format!("{MANAGEMENT_TOKEN_PREFIX}{}", hex_256(random)))
}

/// A new signing secret: `whsec_{base64 of 32 bytes}`.
pub fn new_signing_secret(random: &dyn IdSource) -> SecretText {
    let bytes = [random.random().to_be_bytes(), random.random().to_be_bytes()].concat();
    SecretText::new(format!("{SIGNING_SECRET_PREFIX}{}", STANDARD.encode(bytes)))
}

/// Fewest bytes of a signing secret: 128 bits.
const SIGNING_SECRET_LEN_MIN: usize = 16;

/// Returns true if this is `whsec_` and the base64 of at least 16 bytes.
pub fn signing_secret_is_valid(secret: &str) -> bool {
    secret
        .strip_prefix(SIGNING_SECRET_PREFIX)
        .and_then(|encoded| STANDARD.decode(encoded).ok())
        .is_some_and(|bytes| bytes.len() >= SIGNING_SECRET_LEN_MIN)
}

fn hex_256(random: &dyn IdSource) -> String {
    format!("{:032x}{:032x}", random.random(), random.random())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nahook_core::RandomIds;

    #[test]
    fn secrets_have_256_random_bits() {
        for secret in [new_api_key(&RandomIds), new_management_token(&RandomIds)] {
            let (_, hex) = secret.expose().rsplit_once('_').unwrap();
            assert_eq!(hex.len(), 64);
            assert_ne!(hex[..32], hex[32..]);
        }
        let secret = new_signing_secret(&RandomIds);
        let encoded = secret.expose().strip_prefix(SIGNING_SECRET_PREFIX).unwrap();
        let bytes = STANDARD.decode(encoded).unwrap();
        assert_eq!(bytes.len(), 32);
        assert_ne!(bytes[..16], bytes[16..]);
    }

    #[test]
    fn a_signing_secret_is_the_prefix_and_base64_of_16_bytes() {
        let drawn = new_signing_secret(&RandomIds);
        for good in [drawn.expose(), "whsec_MDEyMzQ1Njc4OWFiY2RlZg=="] {
            assert!(signing_secret_is_valid(good), "{good}");
        }
        for bad in [
            "",
            "whsec_",
            "whsec_hunter2",
            "whsec_aA==",
            "whsec_MDEyMzQ1Njc4OWFiY2Rl",
            "aHVudGVyMg==",
            "WHSEC_aHVudGVyMg==",
            " whsec_aHVudGVyMg==",
        ] {
            assert!(!signing_secret_is_valid(bad), "{bad}");
        }
    }
}
