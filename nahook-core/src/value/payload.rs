//! The event's payload: the caller's own bytes.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use thiserror::Error;

/// One JSON object, byte for byte as the caller sent it; cloning it counts a reference (contract, section 1).
#[derive(Clone, Eq, PartialEq)]
pub struct Payload(Bytes);

/// Reasons for which bytes are not a payload.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum PayloadError {
    /// Not well-formed JSON in UTF-8.
    #[error("payload is not valid JSON")]
    Malformed,
    /// Well-formed, but something else than an object.
    #[error("payload must be a JSON object")]
    NotAnObject,
}

impl Payload {
    /// Checks that the bytes are one JSON object; white space around it is dropped, nothing inside is touched.
    ///
    /// Nesting may be of any depth, numbers of any size, keys repeated: what is not interpreted cannot be damaged.
    pub fn new(json: impl Into<Bytes>) -> Result<Self, PayloadError> {
        let json = json.into();
        let raw: &RawValue = serde_json::from_slice(&json).map_err(|_| PayloadError::Malformed)?;
        Self::from_raw(raw, &json)
    }

    /// Writes a value as JSON; it has to come out as an object.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, PayloadError> {
        Self::new(serde_json::to_vec(value).map_err(|_| PayloadError::Malformed)?)
    }

    /// Takes a value that a parser has found inside `body`, without copying it. The payload keeps the buffer of `body`
    /// alive: [detach](Self::detached) it if that buffer is much larger.
    ///
    /// An empty array stands for an empty object, because PHP encodes an empty map as `[]` (contract, section 1).
    pub fn from_raw(raw: &RawValue, body: &Bytes) -> Result<Self, PayloadError> {
        let text = raw.get();
        if text.starts_with('{') {
            return Ok(Self(slice_of(text.as_bytes(), body)));
        }
        let is_empty_array = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .is_some_and(|between| between.trim_ascii().is_empty());
        if is_empty_array {
            Ok(Self(Bytes::from_static(b"{}")))
        } else {
            Err(PayloadError::NotAnObject)
        }
    }

    /// Copies the payload into its own allocation, so that keeping it does not pin the request buffer, which a clone
    /// shares.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }

    /// Takes bytes that were a payload before, as a store gives them back: nothing is checked again.
    pub fn from_stored(json: Bytes) -> Self {
        Self(json)
    }

    /// Returns the placeholder for the payload of an event whose payload is not kept: no bytes, which no caller can send.
    /// Only a delivery recorder is given it.
    pub const fn not_kept() -> Self {
        Self(Bytes::new())
    }

    /// Returns true if this is a payload, and not the [placeholder](Self::not_kept) for one that is not kept.
    pub fn is_kept(&self) -> bool {
        !self.0.is_empty()
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Length in bytes, as limits count it.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if there are no bytes: never of a payload that is kept, which is at least `{}`.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The part of `body` that `bytes` points at, or a copy if it points elsewhere.
fn slice_of(bytes: &[u8], body: &Bytes) -> Bytes {
    let inside = body.as_ptr_range();
    let part = bytes.as_ptr_range();
    if inside.contains(&part.start) && part.end <= inside.end {
        body.slice_ref(bytes)
    } else {
        Bytes::copy_from_slice(bytes)
    }
}

impl std::fmt::Debug for Payload {
    /// Shows the length only: payloads do not belong in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}
