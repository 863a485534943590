//! Why a body is refused.

use nahook_core::{EventTypeNameError, IdempotencyKey, MetadataError};
use thiserror::Error;

use super::ITEMS_MAX;

/// Why a body is refused. The text is shown to the caller and repeats no value of the body.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
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
    /// Labels that are too many or too long.
    #[error(transparent)]
    Metadata(MetadataError),
    /// A label's value is something else than a string, or escapes what is not a character.
    #[error("metadata values must be strings")]
    MetadataValueNotAString,
    /// Well-formed, but something else than an object.
    #[error("the body must be a JSON object")]
    NotAnObject,
    /// Not UTF-8.
    #[error("the body is not valid UTF-8")]
    NotUtf8,
    /// `endpointId` is something else than a string, or missing.
    #[error("endpointId is required and must be a string")]
    EndpointIdNotAString,
    /// `eventType` is something else than a string, or missing.
    #[error("eventType is required and must be a string")]
    EventTypeNotAString,
    /// `eventType` is no event type's name.
    #[error(transparent)]
    EventTypeName(EventTypeNameError),
    /// `idempotencyKey` is empty or too long.
    #[error("idempotencyKey has 1 to {} bytes", IdempotencyKey::LEN_MAX)]
    IdempotencyKeyLength,
    /// `idempotencyKey` is something else than a string, or escapes what is not a character.
    #[error("idempotencyKey must be a string")]
    IdempotencyKeyNotAString,
    /// An item is something else than an object.
    #[error("an item must be a JSON object")]
    ItemNotAnObject,
    /// `items` is missing, something else than an array, empty, or too long.
    #[error("items must be an array of 1 to {ITEMS_MAX} items")]
    Items,
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
