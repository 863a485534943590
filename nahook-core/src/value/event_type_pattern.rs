//! Patterns of event types.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::event_type::EventTypeName;

/// A pattern that an endpoint subscribes to instead of one event type after the other.
///
/// | pattern | matches |
/// | --- | --- |
/// | `order.*` | `order.` and exactly one more segment: `order.paid`, not `order` or `order.paid.late` |
/// | `order.**` | `order.` and one or more segments: `order.paid` and `order.paid.late`, not `order` |
/// | `*`, `**` | every event type |
///
/// The wildcard is the last segment, and whole segments of an event type's name stand before it. Matching is case-sensitive, as
/// names are. Cloning it counts a reference.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct EventTypePattern(Arc<str>);

/// The text is not a pattern of event types.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error(
    "a pattern is *, or an event type name followed by .* or .**, at most {} characters",
    EventTypePattern::LEN_MAX
)]
pub struct EventTypePatternError;

impl EventTypePattern {
    /// The longest pattern in bytes.
    pub const LEN_MAX: usize = EventTypeName::LEN_MAX;

    /// Checks the grammar.
    pub fn new(pattern: &str) -> Result<Self, EventTypePatternError> {
        let stem = pattern.strip_suffix("**").or(pattern.strip_suffix('*'));
        let is_fine = stem.is_some_and(|stem| {
            stem.is_empty()
                || stem
                    .strip_suffix('.')
                    .is_some_and(|name| EventTypeName::new(name).is_ok())
        });
        if is_fine && pattern.len() <= Self::LEN_MAX {
            Ok(Self(pattern.into()))
        } else {
            Err(EventTypePatternError)
        }
    }

    /// Returns true if an endpoint that is subscribed to the pattern gets events of that type.
    pub fn matches(&self, name: &EventTypeName) -> bool {
        let rest = name.as_str().strip_prefix(self.prefix());
        rest.is_some_and(|rest| self.is_deep() || !rest.contains('.'))
    }

    /// The beginning of every name that the pattern matches: all before the wildcard, with the dot. Empty for every event type.
    pub fn prefix(&self) -> &str {
        self.0.trim_end_matches('*')
    }

    /// Returns true if any number of segments may follow the prefix, and false if exactly one has to.
    pub fn is_deep(&self) -> bool {
        self.0.ends_with("**") || self.prefix().is_empty()
    }

    /// The pattern's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventTypePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for EventTypePattern {
    type Err = EventTypePatternError;
    fn from_str(pattern: &str) -> Result<Self, EventTypePatternError> {
        Self::new(pattern)
    }
}

impl TryFrom<String> for EventTypePattern {
    type Error = EventTypePatternError;
    fn try_from(pattern: String) -> Result<Self, EventTypePatternError> {
        Self::new(&pattern)
    }
}

impl From<EventTypePattern> for String {
    fn from(pattern: EventTypePattern) -> Self {
        pattern.as_str().to_owned()
    }
}

/// Something that an endpoint can be subscribed to: one event type by its name, or every one that a pattern matches.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum EventTypeSelector {
    /// The event type of that name.
    Name(EventTypeName),
    /// Every event type that the pattern matches, those that are made later included.
    Pattern(EventTypePattern),
}

/// The text is neither an event type's name nor a pattern.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error(
    "neither an event type name nor a pattern: letters, digits, underscores and hyphens, in segments separated by dots, of which the last may be * or **"
)]
pub struct EventTypeSelectorError;

impl EventTypeSelector {
    /// Reads a name or a pattern.
    pub fn new(text: &str) -> Result<Self, EventTypeSelectorError> {
        let name = EventTypeName::new(text).map(Self::Name);
        let pattern = || EventTypePattern::new(text).map(Self::Pattern);
        name.or_else(|_| pattern())
            .map_err(|_| EventTypeSelectorError)
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Name(name) => name.as_str(),
            Self::Pattern(pattern) => pattern.as_str(),
        }
    }
}

impl From<EventTypeName> for EventTypeSelector {
    fn from(name: EventTypeName) -> Self {
        Self::Name(name)
    }
}

impl From<EventTypePattern> for EventTypeSelector {
    fn from(pattern: EventTypePattern) -> Self {
        Self::Pattern(pattern)
    }
}

impl FromStr for EventTypeSelector {
    type Err = EventTypeSelectorError;
    fn from_str(text: &str) -> Result<Self, EventTypeSelectorError> {
        Self::new(text)
    }
}

impl TryFrom<String> for EventTypeSelector {
    type Error = EventTypeSelectorError;
    fn try_from(text: String) -> Result<Self, EventTypeSelectorError> {
        Self::new(&text)
    }
}

impl From<EventTypeSelector> for String {
    fn from(selector: EventTypeSelector) -> Self {
        selector.as_str().to_owned()
    }
}
