//! Payloads: kept to the byte, and checked.

use bytes::Bytes;
use nahook_core::{Payload, PayloadError};
use serde_json::value::RawValue;

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
