//! Identifiers: opaque text at the edge, inline and `Copy` inside (contract, section 4).

mod given;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use ulid::Ulid;

use crate::Timestamp;

/// Longest identifier in bytes; every identifier is stored inline, so that copying one never allocates.
pub const ID_LEN_MAX: usize = 47;

/// Reasons for which a text is not an identifier.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum IdError {
    /// A character other than letters, digits and underscore.
    #[error("an id consists of ASCII letters, digits and underscores")]
    Character,
    /// Nothing, or more than [`ID_LEN_MAX`] bytes.
    #[error("an id has 1 to {ID_LEN_MAX} characters")]
    Length,
    /// Not the prefix and 26 characters that this kind of id is made of.
    #[error("this is not an id of the expected kind")]
    Shape,
}

/// The inline text behind every named identifier.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
struct InlineText {
    // Ordered before `len` so that the derived order is the text's order: unused bytes are zero.
    bytes: [u8; ID_LEN_MAX],
    len: u8,
}

impl InlineText {
    fn new(text: &str) -> Result<Self, IdError> {
        let len = u8::try_from(text.len()).map_err(|_| IdError::Length)?;
        if len == 0 || text.len() > ID_LEN_MAX {
            return Err(IdError::Length);
        }
        if !text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            return Err(IdError::Character);
        }
        let mut bytes = [0; ID_LEN_MAX];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self { bytes, len })
    }

    fn as_str(&self) -> &str {
        // Only ASCII gets in, so this never falls back.
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

macro_rules! named_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(InlineText);

        impl $name {
            /// Prefix of generated ids of this kind; given ones may look otherwise.
            pub const PREFIX: &'static str = $prefix;

            /// Takes any text of letters, digits and underscores as an identifier.
            pub fn new(text: &str) -> Result<Self, IdError> {
                InlineText::new(text).map(Self)
            }

            /// The identifier with the given 128 bits, as this kind is drawn.
            pub fn from_bits(bits: u128) -> Self {
                let mut bytes = [0; ID_LEN_MAX];
                let len = write_prefixed($prefix, bits, &mut bytes);
                Self(InlineText { bytes, len })
            }

            /// The text, as the API shows it.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        // Not Borrow<str>: the derived Hash differs from str's.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.as_str().to_owned()
            }
        }
    };
}

named_id!(
    /// An ingestion key's identity; never the secret itself.
    ApiKeyId, "key_"
);
named_id!(
    /// An application: a customer of the workspace, with endpoints of its own.
    ApplicationId, "app_"
);
named_id!(
    /// An entry of the audit log.
    AuditEntryId, "aud_"
);
named_id!(
    /// A receiver of deliveries.
    EndpointId, "ep_"
);
named_id!(
    /// An environment of a workspace.
    EnvironmentId, "env_"
);
named_id!(
    /// An event type of a workspace.
    EventTypeId, "evt_"
);
named_id!(
    /// A management token's identity; never the secret itself.
    ManagementTokenId, "tok_"
);
named_id!(
    /// An endpoint's subscription to every event type that a pattern matches.
    PatternId, "pat_"
);
named_id!(
    /// An endpoint's subscription to an event type.
    SubscriptionId, "sub_"
);
named_id!(
    /// A tenant: nothing crosses from one workspace to another.
    WorkspaceId, "ws_"
);

/// One Trigger or Send: the same for all its deliveries and all their attempts, so that a receiver can drop repeats.
///
/// 128 bits whose upper 48 are the milliseconds of its making, so that ids sort by time.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MessageId(u128);

/// One event for one endpoint.
///
/// A delivery's id is its message's plus its ordinal plus one, so that a wide fan-out draws one id and a store can
/// keep the ids of a fan-out as one. Adapters may rely on it: every delivery that is queued has its id by
/// [`DeliveryId::nth`].
///
/// A delivery that was brought along from elsewhere keeps the id it had there, if that is `del_` and 1 to
/// [`DeliveryId::GIVEN_LEN_MAX`] letters, digits and underscores: it is [the first](DeliveryId::message_if_first) of its
/// message.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DeliveryId(u128);

impl MessageId {
    /// Prefix of these ids.
    pub const PREFIX: &'static str = "msg_";

    /// The id made at `at` with the lower 80 bits of `random`.
    ///
    /// The topmost of the 80 is cleared, so that the ids of the deliveries that follow it cannot run into the time.
    pub fn from_parts(at: Timestamp, random: u128) -> Self {
        const RANDOM_MASK: u128 = (1 << 79) - 1;
        Self(Ulid::from_parts(at.as_millis(), random & RANDOM_MASK).0)
    }

    /// The id with these 128 bits.
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// The id as 128 bits.
    pub const fn as_bits(self) -> u128 {
        self.0
    }
}

impl DeliveryId {
    /// Prefix of these ids.
    pub const PREFIX: &'static str = "del_";

    /// Largest number of characters of a given id after its prefix.
    pub const GIVEN_LEN_MAX: usize = given::LEN_MAX;

    /// The id with these 128 bits.
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// The message whose first delivery this is, if it is a first one: of an id that was given, it always is.
    pub const fn message_if_first(self) -> MessageId {
        MessageId(self.0.wrapping_sub(1))
    }

    /// The id of the delivery with this ordinal, counted from 0, among its message's.
    pub const fn nth(message: MessageId, ordinal: u32) -> Self {
        Self(message.0.wrapping_add(ordinal as u128).wrapping_add(1))
    }

    /// Returns the delivery's position within the message, counted from 0; `None` if it is not one of its first 2³² ones.
    pub fn ordinal(self, message: MessageId) -> Option<u32> {
        u32::try_from(self.0.checked_sub(message.0)?.checked_sub(1)?).ok()
    }

    /// The id as 128 bits.
    pub const fn as_bits(self) -> u128 {
        self.0
    }

    /// Appends the id's text to `out`.
    pub fn write_to(self, out: &mut Vec<u8>) {
        let mut bytes = [0; ID_LEN_MAX];
        let len = self.write(&mut bytes);
        out.extend_from_slice(&bytes[..usize::from(len)]);
    }

    fn write(self, out: &mut [u8; ID_LEN_MAX]) -> u8 {
        match given::write(Self::PREFIX, self.0, out) {
            Some(len) => len,
            None => write_prefixed(Self::PREFIX, self.0, out),
        }
    }

    fn read_given(after_prefix: &str) -> Option<Self> {
        given::read(after_prefix).map(Self)
    }
}

impl MessageId {
    fn write(self, out: &mut [u8; ID_LEN_MAX]) -> u8 {
        write_prefixed(Self::PREFIX, self.0, out)
    }

    /// Messages are never given.
    const fn read_given(_: &str) -> Option<Self> {
        None
    }
}

macro_rules! drawn_id {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut bytes = [0; ID_LEN_MAX];
                let len = self.write(&mut bytes);
                f.pad(std::str::from_utf8(&bytes[..usize::from(len)]).unwrap_or_default())
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let digits = text.strip_prefix(Self::PREFIX).ok_or(IdError::Shape)?;
                if let Some(given) = Self::read_given(digits) {
                    return Ok(given);
                }
                // One spelling an id: the codec would also take upper case.
                if digits.len() != ulid::ULID_LEN || digits.bytes().any(|b| b.is_ascii_uppercase())
                {
                    return Err(IdError::Shape);
                }
                let id = Self(Ulid::from_string(digits).map_err(|_| IdError::Shape)?.0);
                // The codec reads look-alikes and overlong numbers too; only what we would write is ours.
                if id.to_string() == text {
                    Ok(id)
                } else {
                    Err(IdError::Shape)
                }
            }
        }
    };
}

drawn_id!(MessageId);
drawn_id!(DeliveryId);

/// Crockford's base 32, in lower case.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Writes the prefix and the 26 lower-case digits of `bits`; returns how many bytes that was.
fn write_prefixed(prefix: &str, bits: u128, out: &mut [u8; ID_LEN_MAX]) -> u8 {
    let len = prefix.len() + ulid::ULID_LEN;
    out[..prefix.len()].copy_from_slice(prefix.as_bytes());
    // A wide receipt writes thousands. Twelve digits fit a word of 60 bits, where shifting is cheap; the codec's digits
    // are upper case besides.
    let word = |shift: u32| {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the lowest 60 bits are meant"
        )]
        let word = (bits >> shift) as u64;
        word
    };
    let digit = |word: u64, shift: u32| DIGITS[(word >> shift & 31) as usize];
    let (low, middle, high) = (word(0), word(60), word(120));
    let digits = &mut out[prefix.len()..len];
    for (place, shift) in (0..60).step_by(5).enumerate() {
        digits[25 - place] = digit(low, shift);
        digits[13 - place] = digit(middle, shift);
    }
    digits[1] = digit(high, 0);
    digits[0] = digit(high, 5);
    u8::try_from(len).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawn_id_survives_its_text() {
        let message = MessageId::from_parts(Timestamp::from_millis(1_712_345_678_901), u128::MAX);
        let text = message.to_string();
        assert_eq!(text.len(), 30);
        assert_eq!(text.parse(), Ok(message));
        let delivery = DeliveryId::nth(message, 9_999);
        assert_eq!(delivery.to_string().parse(), Ok(delivery));
        assert_eq!(delivery.ordinal(message), Some(9_999));
    }

    #[test]
    fn the_digits_are_the_codecs() {
        let mut bits = 1_u128;
        for round in 0..1_000 {
            // Every bit is set and cleared somewhere.
            bits = bits.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ round;
            let text = MessageId::from_bits(bits).to_string();
            let digits = Ulid(bits).to_string().to_ascii_lowercase();
            assert_eq!(text, format!("msg_{digits}"));
        }
    }

    #[test]
    fn an_id_has_one_spelling() {
        let text = MessageId::from_bits(7).to_string();
        for other in [
            text.to_uppercase(),
            text.replace("msg_", "del_"),
            format!("{text}0"),
        ] {
            assert_eq!(other.parse::<MessageId>(), Err(IdError::Shape), "{other}");
        }
        assert_eq!(
            "msg_zzzzzzzzzzzzzzzzzzzzzzzzzz".parse::<MessageId>(),
            Err(IdError::Shape)
        );
    }

    #[test]
    fn a_given_delivery_id_survives_its_text_and_its_bits() {
        for text in [
            "del_fixture_001",
            "del_1",
            "del__",
            "del_Az09",
            "del_abcdefghijklmnopqrst",
        ] {
            let id: DeliveryId = text.parse().unwrap();
            assert_eq!(id.to_string(), text);
            assert_eq!(DeliveryId::from_bits(id.as_bits()), id);
            assert_eq!(DeliveryId::nth(id.message_if_first(), 0), id);
            assert_eq!(id.ordinal(id.message_if_first()), Some(0));
            let mut written = Vec::new();
            id.write_to(&mut written);
            assert_eq!(written, text.as_bytes());
        }
        for bad in [
            "del_",
            "del_ä",
            "del_a-b",
            "del_abcdefghijklmnopqrstu",
            "fixture_001",
            "del_a b",
        ] {
            assert_eq!(bad.parse::<DeliveryId>(), Err(IdError::Shape), "{bad}");
        }
        let id = |text: &str| text.parse::<DeliveryId>().unwrap();
        assert!(id("del_a") < id("del_a1") && id("del_a1") < id("del_b"));
        assert_eq!("msg_1".parse::<MessageId>(), Err(IdError::Shape));
    }

    #[test]
    fn a_given_id_has_no_other_spelling_and_no_drawn_id_looks_like_one() {
        let given: DeliveryId = "del_fixture_001".parse().unwrap();
        let digits = MessageId::from_bits(given.as_bits())
            .to_string()
            .replace("msg_", "del_");
        assert_eq!(digits.parse::<DeliveryId>(), Err(IdError::Shape));
        // Bits that no text packs into are shown as digits.
        let odd = DeliveryId::from_bits(given.as_bits() | 1);
        assert_eq!(odd.to_string().len(), 30);
        assert_eq!(odd.to_string().parse(), Ok(odd));
        let late = MessageId::from_parts(Timestamp::from_nanos(u64::MAX), u128::MAX);
        assert_eq!(DeliveryId::nth(late, u32::MAX).to_string().len(), 30);
    }

    #[test]
    fn deliveries_of_a_message_do_not_run_into_its_time() {
        let message = MessageId::from_parts(Timestamp::from_millis(7), u128::MAX);
        let last = DeliveryId::nth(message, u32::MAX);
        assert_eq!((message.as_bits() >> 80, last.as_bits() >> 80), (7, 7));
    }

    #[test]
    fn ids_sort_by_time() {
        let early = MessageId::from_parts(Timestamp::from_millis(1), u128::MAX);
        let late = MessageId::from_parts(Timestamp::from_millis(2), 0);
        assert!(early < late && early.to_string() < late.to_string());
    }

    #[test]
    fn a_given_id_is_letters_digits_and_underscores() {
        assert_eq!(
            EndpointId::new("ep_1").map(|id| id.to_string()),
            Ok("ep_1".to_owned())
        );
        assert_eq!(EndpointId::new("ep-1"), Err(IdError::Character));
        assert_eq!(EndpointId::new(""), Err(IdError::Length));
        assert_eq!(EndpointId::new(&"x".repeat(48)), Err(IdError::Length));
        assert_eq!(EndpointId::new(&"x".repeat(1_000)), Err(IdError::Length));
    }
}
