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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &'static [u8]) -> Result<Payload, PayloadError> {
        Payload::new(Bytes::from_static(json))
    }

    #[test]
    fn what_is_inside_is_kept_to_the_byte() {
        let json = b"{ \"b\" : 1.0e+02,\n\"a\":12345678901234567890123 ,\"a\":\"\\u0041\" }";
        let payload = parse(json);
        assert_eq!(
            payload.map(|p| p.as_bytes().clone()),
            Ok(Bytes::from_static(json))
        );
    }

    #[test]
    fn deep_nesting_is_no_danger() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(Payload::new(Bytes::from(deep)).is_ok());
    }

    #[test]
    fn an_empty_array_is_an_empty_object() {
        assert_eq!(
            parse(b"[ \n]").map(|p| p.as_bytes().clone()),
            Ok(Bytes::from_static(b"{}"))
        );
    }

    #[test]
    fn other_values_and_broken_text_are_refused() {
        for json in [&b"[1]"[..], b"1", b"\"{}\"", b"null", b"true"] {
            assert_eq!(parse(json), Err(PayloadError::NotAnObject));
        }
        for json in [&b""[..], b"{", b"{}{}", b"{\"a\":\"\xff\"}", b"{\"a\":01}"] {
            assert_eq!(parse(json), Err(PayloadError::Malformed));
        }
    }

    #[test]
    fn a_part_of_a_body_shares_its_memory_and_is_copied_when_detached() {
        let body = Bytes::from_static(b" [{\"a\":1},{\"b\":2}] ");
        let items: Vec<&RawValue> = serde_json::from_slice(&body).unwrap();
        let inside = body.as_ptr_range();
        for (item, text) in items.into_iter().zip(["{\"a\":1}", "{\"b\":2}"]) {
            let payload = Payload::from_raw(item, &body).unwrap();
            assert_eq!(payload.as_bytes(), text);
            assert!(inside.contains(&payload.as_bytes().as_ptr()));
            let detached = payload.detached();
            assert_eq!(detached, payload);
            assert!(!inside.contains(&detached.as_bytes().as_ptr()));
        }
    }

    #[test]
    fn a_value_from_elsewhere_is_copied() {
        let body = Bytes::from_static(b"{\"c\":3}");
        let elsewhere = RawValue::from_string("{\"a\":1}".to_owned()).unwrap();
        let payload = Payload::from_raw(&elsewhere, &body).unwrap();
        assert_eq!(payload.as_bytes(), "{\"a\":1}");
        // The body may be no more than the first bytes of where the value lies.
        let text = Bytes::from_static(b"{\"a\":1}");
        let whole: &RawValue = serde_json::from_slice(&text).unwrap();
        for len in [0, 1, text.len() - 1] {
            let payload = Payload::from_raw(whole, &text.slice(..len)).unwrap();
            assert_eq!(payload.as_bytes(), &text, "{len}");
        }
    }

    #[test]
    fn what_is_not_kept_has_no_bytes() {
        let smallest = parse(b" {} ").unwrap();
        assert!(smallest.is_kept() && !smallest.is_empty());
        assert_eq!(smallest.len(), 2);
        let gone = Payload::not_kept();
        assert!(!gone.is_kept() && gone.is_empty());
        assert_eq!(gone.len(), 0);
    }
}
