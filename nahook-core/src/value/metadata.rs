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

/// Labels that are too many or too long. The texts name the label and repeat no value.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum MetadataError {
    /// A key is too long.
    #[error(
        "a key of metadata is longer than {} characters",
        Metadata::KEY_LEN_MAX
    )]
    KeyTooLong,
    /// There are too many.
    #[error("metadata has at most {max} keys")]
    TooManyKeys {
        /// Largest number of labels.
        max: usize,
    },
    /// A value is too long.
    #[error("metadata.{key} is longer than 1,024 characters")]
    ValueTooLong {
        /// Its key.
        key: String,
    },
}

impl Metadata {
    /// Largest number of labels (contract, section 1).
    pub const KEYS_MAX: usize = 5;
    /// Longest key of a label, in characters.
    pub const KEY_LEN_MAX: usize = 128;
    /// Longest value of a label, in characters.
    pub const VALUE_LEN_MAX: usize = 1024;

    /// Checks the number of labels and their lengths.
    pub fn new(labels: BTreeMap<String, String>) -> Result<Self, MetadataError> {
        Self::check(&labels, Self::KEYS_MAX)?;
        Ok(Self(labels))
    }

    /// Checks the number alone: the labels were accepted once, by the rules of then. Deserializing does the same.
    pub fn from_stored(labels: BTreeMap<String, String>) -> Result<Self, MetadataError> {
        check_number(&labels, Self::KEYS_MAX)?;
        Ok(Self(labels))
    }

    /// Checks labels of any kind, of which there may be `keys_max`.
    pub fn check(labels: &BTreeMap<String, String>, keys_max: usize) -> Result<(), MetadataError> {
        check_number(labels, keys_max)?;
        for (key, value) in labels {
            if key.chars().count() > Self::KEY_LEN_MAX {
                return Err(MetadataError::KeyTooLong);
            }
            if value.chars().count() > Self::VALUE_LEN_MAX {
                return Err(MetadataError::ValueTooLong { key: key.clone() });
            }
        }
        Ok(())
    }

    /// The labels, by key.
    pub fn as_map(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Returns true if one of these labels is among them.
    pub fn has_any(&self, labels: &[(String, String)]) -> bool {
        let mut labels = labels.iter();
        labels.any(|(key, value)| self.0.get(key) == Some(value))
    }

    /// Returns true if there are no labels.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn check_number(labels: &BTreeMap<String, String>, max: usize) -> Result<(), MetadataError> {
    if labels.len() > max {
        return Err(MetadataError::TooManyKeys { max });
    }
    Ok(())
}

impl TryFrom<BTreeMap<String, String>> for Metadata {
    type Error = MetadataError;
    fn try_from(labels: BTreeMap<String, String>) -> Result<Self, MetadataError> {
        Self::from_stored(labels)
    }
}

impl From<Metadata> for BTreeMap<String, String> {
    fn from(metadata: Metadata) -> Self {
        metadata.0
    }
}
