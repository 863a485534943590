//! Labels attached to an event.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// At most five labels, text to text, attached to every delivery of an event (contract, section 1).
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(
    try_from = "BTreeMap<String, String>",
    into = "BTreeMap<String, String>"
)]
pub struct Metadata(BTreeMap<String, String>);

/// More labels than an event may carry.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("metadata has at most {} keys", Metadata::KEYS_MAX)]
pub struct MetadataError;

impl Metadata {
    /// How many keys there may be.
    pub const KEYS_MAX: usize = 5;

    /// Checks the number of keys.
    pub fn new(labels: BTreeMap<String, String>) -> Result<Self, MetadataError> {
        if labels.len() <= Self::KEYS_MAX {
            Ok(Self(labels))
        } else {
            Err(MetadataError)
        }
    }

    /// The labels, by key.
    pub fn as_map(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Whether there are no labels.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<BTreeMap<String, String>> for Metadata {
    type Error = MetadataError;
    fn try_from(labels: BTreeMap<String, String>) -> Result<Self, MetadataError> {
        Self::new(labels)
    }
}

impl From<Metadata> for BTreeMap<String, String> {
    fn from(metadata: Metadata) -> Self {
        metadata.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(count: usize) -> BTreeMap<String, String> {
        (0..count).map(|n| (n.to_string(), String::new())).collect()
    }

    #[test]
    fn an_event_has_at_most_five_labels() {
        for count in [0, 1, 5] {
            let metadata = Metadata::new(labels(count)).unwrap();
            assert_eq!(metadata.as_map().len(), count);
            assert_eq!(metadata.is_empty(), count == 0);
        }
        assert_eq!(Metadata::new(labels(6)), Err(MetadataError));
    }

    #[test]
    fn labels_survive_their_json_and_are_counted_there_too() {
        let metadata = Metadata::new(labels(5)).unwrap();
        let json = serde_json::to_string(&metadata).unwrap();
        assert_eq!(serde_json::from_str::<Metadata>(&json).unwrap(), metadata);
        let six = serde_json::to_string(&labels(6)).unwrap();
        assert!(serde_json::from_str::<Metadata>(&six).is_err());
    }
}
