//! The body of a Trigger.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use nahook_core::{Metadata, Payload};
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use thiserror::Error;

/// What a Trigger's body says.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the contract lists the fields")]
pub struct TriggerBody {
    /// The caller's own bytes, a slice of the body.
    pub payload: Payload,
    /// The labels; none if the body has none.
    pub metadata: Metadata,
}

/// Why a body is refused. The text is shown to the caller and repeats nothing of the body.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum BodyError {
    /// A known field occurs twice: which one was meant, nobody can tell.
    #[error("the field \"{0}\" occurs twice")]
    DuplicateField(&'static str),
    /// A label occurs twice.
    #[error("metadata has a key twice")]
    DuplicateMetadataKey,
    /// No body.
    #[error("the body is empty; it must be a JSON object")]
    Empty,
    /// Not well-formed JSON.
    #[error("the body is not valid JSON (line {line}, column {column})")]
    Malformed {
        /// Counted from 1.
        line: usize,
        /// In bytes, counted from 1.
        column: usize,
    },
    /// `metadata` is something else than an object.
    #[error("metadata must be an object of strings")]
    MetadataNotAnObject,
    /// More labels than an event may carry.
    #[error("metadata has at most {} keys", Metadata::KEYS_MAX)]
    MetadataTooManyKeys,
    /// A label's value is something else than a string, or escapes what is not a character.
    #[error("metadata values must be strings")]
    MetadataValueNotAString,
    /// Well-formed, but something else than an object.
    #[error("the body must be a JSON object")]
    NotAnObject,
    /// Not UTF-8.
    #[error("the body is not valid UTF-8")]
    NotUtf8,
    /// No `payload`.
    #[error("payload is required")]
    PayloadMissing,
    /// `payload` is something else than an object.
    #[error("payload must be a JSON object")]
    PayloadNotAnObject,
    /// `payload` is `null`.
    #[error("payload must be a JSON object, not null")]
    PayloadNull,
    /// `payload` is over the cap.
    #[error("the payload has {len} bytes; at most {len_max} are allowed")]
    PayloadTooLarge {
        /// Its length in bytes.
        len: usize,
        /// The cap in bytes.
        len_max: usize,
    },
}

/// Reads the body of a Trigger whose payload may have `payload_len_max` bytes.
///
/// The payload stays a slice of `body`: it is found, not interpreted. Unknown fields are ignored, a leading byte order
/// mark is skipped, nesting may be of any depth. An oversized payload is told before anything that is wrong with it or
/// with the metadata (contract, order of checks).
pub fn parse_trigger(body: &Bytes, payload_len_max: usize) -> Result<TriggerBody, BodyError> {
    let fields = split(body)?;
    let payload = fields.payload.ok_or(BodyError::PayloadMissing)?;
    let len = payload.get().len();
    if len > payload_len_max {
        return Err(BodyError::PayloadTooLarge {
            len,
            len_max: payload_len_max,
        });
    }
    if payload.get() == "null" {
        return Err(BodyError::PayloadNull);
    }
    Ok(TriggerBody {
        payload: Payload::from_raw(payload, body).map_err(|_| BodyError::PayloadNotAnObject)?,
        metadata: fields
            .metadata
            .map_or_else(|| Ok(Metadata::default()), parse_metadata)?,
    })
}

/// The known fields, found but not interpreted.
#[derive(Default)]
struct Fields<'a> {
    payload: Option<&'a RawValue>,
    metadata: Option<&'a RawValue>,
    duplicate: Option<&'static str>,
}

fn split(body: &Bytes) -> Result<Fields<'_>, BodyError> {
    const BYTE_ORDER_MARK: char = '\u{feff}';
    // The parser would let broken UTF-8 pass inside fields that it skips.
    let text = std::str::from_utf8(body).map_err(|_| BodyError::NotUtf8)?;
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let is_object = match text.trim_ascii_start().bytes().next() {
        None => return Err(BodyError::Empty),
        Some(first) => first == b'{',
    };
    // What is not an object is still read to its end, to tell a wrong value from broken text.
    let fields = if is_object {
        read(text, FieldsVisitor)?
    } else {
        let _: IgnoredAny = serde_json::from_str(text).map_err(|error| malformed(&error))?;
        return Err(BodyError::NotAnObject);
    };
    match fields.duplicate {
        Some(name) => Err(BodyError::DuplicateField(name)),
        None => Ok(fields),
    }
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
    Metadata::new(labels).map_err(|_| BodyError::MetadataTooManyKeys)
}

/// Lets `visitor` read the object in `text`, with nothing after it.
fn read<'a, V: Visitor<'a>>(text: &'a str, visitor: V) -> Result<V::Value, BodyError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = json
        .deserialize_map(visitor)
        .map_err(|error| malformed(&error))?;
    json.end().map_err(|error| malformed(&error))?;
    Ok(value)
}

fn malformed(error: &serde_json::Error) -> BodyError {
    BodyError::Malformed {
        line: error.line(),
        column: error.column(),
    }
}

/// Finds the known fields. It raises no errors of its own, so that every error is the text's.
struct FieldsVisitor;

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum FieldName {
    Payload,
    Metadata,
    #[serde(other)]
    Unknown,
}

impl<'a> Visitor<'a> for FieldsVisitor {
    type Value = Fields<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Fields<'a>, A::Error> {
        let mut fields = Fields::default();
        while let Some(name) = map.next_key()? {
            let (slot, name) = match name {
                FieldName::Payload => (&mut fields.payload, "payload"),
                FieldName::Metadata => (&mut fields.metadata, "metadata"),
                FieldName::Unknown => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            if slot.replace(map.next_value()?).is_some() {
                fields.duplicate = Some(name);
            }
        }
        Ok(fields)
    }
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
