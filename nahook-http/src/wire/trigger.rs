//! The body of a Trigger.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use nahook_core::{Metadata, Payload};
use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::BodyError;
use super::fields::{fields_of, read};

/// Body of a Trigger.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TriggerBody {
    /// The caller's own bytes, a slice of the body.
    pub payload: Payload,
    /// The labels; none if the body has none.
    pub metadata: Metadata,
}

/// Reads the body of a Trigger whose payload may have `payload_len_max` bytes.
///
/// The payload stays a slice of `body`: it is found, not interpreted. Unknown fields are ignored, a leading byte order
/// mark is skipped, nesting may be of any depth. An oversized payload is told before anything that is wrong with it or
/// with the metadata (contract, order of checks).
pub fn parse_trigger(body: &Bytes, payload_len_max: usize) -> Result<TriggerBody, BodyError> {
    let [payload, metadata] = fields_of(body, ["payload", "metadata"])?;
    Ok(TriggerBody {
        payload: parse_payload(payload, body, payload_len_max)?,
        metadata: parse_metadata_field(metadata)?,
    })
}

/// The payload in a field, a slice of `body`.
pub(super) fn parse_payload(
    field: Option<&RawValue>,
    body: &Bytes,
    len_max: usize,
) -> Result<Payload, BodyError> {
    let payload = field.ok_or(BodyError::PayloadMissing)?;
    let len = payload.get().len();
    if len > len_max {
        return Err(BodyError::PayloadTooLarge { len, len_max });
    }
    if payload.get() == "null" {
        return Err(BodyError::PayloadNull);
    }
    Payload::from_raw(payload, body).map_err(|_| BodyError::PayloadNotAnObject)
}

/// The labels in a field; none if there is no field.
pub(super) fn parse_metadata_field(field: Option<&RawValue>) -> Result<Metadata, BodyError> {
    field.map_or_else(|| Ok(Metadata::default()), parse_metadata)
}

fn parse_metadata(raw: &RawValue) -> Result<Metadata, BodyError> {
    let text = raw.get();
    let is_empty_array = || {
        let between = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
        between.is_some_and(|between| between.trim_ascii().is_empty())
    };
    // PHP encodes an empty map as `[]` (contract, section 1).
    if text == "null" || is_empty_array() {
        return Ok(Metadata::default());
    }
    if !text.starts_with('{') {
        return Err(BodyError::MetadataNotAnObject);
    }
    // Well-formed already: what still fails is an escape in a key that is not a character.
    let labels = read(text, LabelsVisitor).map_err(|_| BodyError::MetadataNotAnObject)??;
    Metadata::new(labels).map_err(BodyError::Metadata)
}

/// Reads labels; what is wrong with one is a value, not an error of the text.
struct LabelsVisitor;

impl<'a> Visitor<'a> for LabelsVisitor {
    type Value = Result<BTreeMap<String, String>, BodyError>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut labels = BTreeMap::new();
        let mut wrong = None;
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(LabelSeed)?;
            match value {
                None => wrong = wrong.or(Some(BodyError::MetadataValueNotAString)),
                Some(_) if labels.len() > Metadata::KEYS_MAX => {}
                Some(value) => {
                    if labels.insert(key, value).is_some() {
                        wrong = wrong.or(Some(BodyError::DuplicateMetadataKey));
                    }
                }
            }
        }
        Ok(wrong.map_or(Ok(labels), Err))
    }
}

/// A string, or `None` for any other value, of whatever depth.
struct LabelSeed;

impl<'a> DeserializeSeed<'a> for LabelSeed {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Option<String>, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Ok(serde_json::from_str(raw.get()).ok())
    }
}
