//! A caller's key for a Send.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::id::DeliveryId;

/// A caller's key for a Send: 1 to 256 bytes of any characters, kept and shown exactly as they came (contract,
/// section 1). Cloning it counts a reference.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct IdempotencyKey(Arc<str>);

/// The text is not an idempotency key.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("an idempotency key has 1 to {} bytes", IdempotencyKey::LEN_MAX)]
pub struct IdempotencyKeyError;

impl IdempotencyKey {
    /// The longest key in bytes.
    pub const LEN_MAX: usize = 256;

    /// Time for which a key stands for the first Send that carried it.
    pub const WINDOW: Duration = Duration::from_hours(24);

    /// Checks the length.
    pub fn new(text: &str) -> Result<Self, IdempotencyKeyError> {
        if (1..=Self::LEN_MAX).contains(&text.len()) {
            Ok(Self(text.into()))
        } else {
            Err(IdempotencyKeyError)
        }
    }

    /// The key of a delivery whose caller gave none: a UUID, made of the delivery's id alone, so that it needs no
    /// look-up.
    ///
    /// Its time and its random bits are those of the id; the six bits that a UUID reserves say that this is version 7.
    pub fn of(delivery: DeliveryId) -> Self {
        const VERSION: u128 = 0xf << 76;
        const VARIANT: u128 = 0x3 << 62;
        let bits = delivery.as_bits() & !VERSION & !VARIANT | 0x7 << 76 | 0x2 << 62;
        let hex = format!("{bits:032x}");
        let text = format!(
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        );
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for IdempotencyKey {
    /// Shows the length only: callers put what they like into it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdempotencyKey({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;
    use crate::id::MessageId;

    #[test]
    fn a_key_has_1_to_256_bytes() {
        for good in ["k", "\0", "заказ 7", &"x".repeat(256)] {
            assert_eq!(IdempotencyKey::new(good).unwrap().as_str(), good);
        }
        for bad in ["", &"x".repeat(257), &"é".repeat(129)] {
            assert_eq!(IdempotencyKey::new(bad), Err(IdempotencyKeyError));
        }
    }

    #[test]
    fn a_deliverys_own_key_is_a_uuid_of_version_7() {
        let at = Timestamp::from_millis(0x0123_4567_89ab);
        let message = MessageId::from_parts(at, 0x7bcd_ef01_2345_6789_abcd);
        let key = IdempotencyKey::of(DeliveryId::nth(message, 0));
        assert_eq!(key.as_str(), "01234567-89ab-7bcd-af01-23456789abce");
    }

    #[test]
    fn siblings_have_keys_of_their_own() {
        let message = MessageId::from_parts(Timestamp::from_millis(7), 0x1234_5678);
        let keys: std::collections::HashSet<_> = (0..1_000)
            .map(|ordinal| IdempotencyKey::of(DeliveryId::nth(message, ordinal)))
            .collect();
        assert_eq!(keys.len(), 1_000);
    }
}
