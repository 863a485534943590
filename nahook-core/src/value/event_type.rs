//! The name of an event type.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// An event type's name: dot-separated segments of `[A-Za-z0-9_-]+`, 1 to 128 bytes in all, case-sensitive
/// (contract, section 1). Cloning it counts a reference.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct EventTypeName(Arc<str>);

/// The text is not an event type's name.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error(
    "an event type name is 1 to {} characters: letters, digits, underscores and hyphens, in segments separated by dots",
    EventTypeName::LEN_MAX
)]
pub struct EventTypeNameError;

impl EventTypeName {
    /// The longest name in bytes.
    pub const LEN_MAX: usize = 128;

    /// Checks the grammar.
    pub fn new(name: &str) -> Result<Self, EventTypeNameError> {
        let segment_is_fine = |segment: &str| {
            !segment.is_empty()
                && segment
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        };
        if name.len() <= Self::LEN_MAX && name.split('.').all(segment_is_fine) {
            Ok(Self(name.into()))
        } else {
            Err(EventTypeNameError)
        }
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventTypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for EventTypeName {
    type Err = EventTypeNameError;
    fn from_str(name: &str) -> Result<Self, EventTypeNameError> {
        Self::new(name)
    }
}

impl TryFrom<String> for EventTypeName {
    type Error = EventTypeNameError;
    fn try_from(name: String) -> Result<Self, EventTypeNameError> {
        Self::new(&name)
    }
}

impl From<EventTypeName> for String {
    fn from(name: EventTypeName) -> Self {
        name.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_grammar() {
        for good in ["a", "order.paid", "Order_1.paid-2", &"x".repeat(128)] {
            assert!(EventTypeName::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "a b",
            "a/b",
            "ordér",
            "a\0",
            &"x".repeat(129),
        ] {
            assert_eq!(EventTypeName::new(bad), Err(EventTypeNameError), "{bad}");
        }
    }

    #[test]
    fn a_name_survives_its_json() {
        let name = EventTypeName::new("order.paid").unwrap();
        let json = serde_json::to_string(&name).unwrap();
        assert_eq!(json, "\"order.paid\"");
        assert_eq!(serde_json::from_str::<EventTypeName>(&json).unwrap(), name);
        assert!(serde_json::from_str::<EventTypeName>("\"a..b\"").is_err());
    }
}
