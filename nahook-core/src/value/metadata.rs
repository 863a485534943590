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
