//! The parser of Trigger bodies, and how little it does.

use bytes::Bytes;
use nahook_core::MetadataError;
use nahook_http::wire::{BodyError, TriggerBody, parse_trigger};

const LEN_MAX: usize = 1_000_000;

fn parse(body: &str) -> Result<TriggerBody, BodyError> {
    parse_trigger(&Bytes::copy_from_slice(body.as_bytes()), LEN_MAX)
}

fn labels(body: &str) -> Result<Vec<(String, String)>, BodyError> {
    parse(body).map(|trigger| {
        let labels = trigger.metadata.as_map().iter();
        labels.map(|(k, v)| (k.clone(), v.clone())).collect()
    })
}

#[test]
fn the_payload_is_a_slice_of_the_body() {
    let body = Bytes::from_static(b"{\"metadata\":{},\"payload\" : { \"a\" : 1 } , \"x\":1}");
    let trigger = parse_trigger(&body, LEN_MAX).unwrap();
    let payload = trigger.payload.as_bytes();
    assert_eq!(payload, "{ \"a\" : 1 }");
    assert!(body.as_ptr_range().contains(&payload.as_ptr()));
}

#[test]
fn each_fault_has_its_own_words() {
    let malformed = |line, column| BodyError::Malformed { line, column };
    for (body, error) in [
        ("", BodyError::Empty),
        (" \r\n\t", BodyError::Empty),
        ("\u{feff}", BodyError::Empty),
        ("{", malformed(1, 1)),
        ("{\"payload\":{}}\n x", malformed(2, 2)),
        ("{\"payload\":{}} {}", malformed(1, 16)),
        ("{\"payload\":{},}", malformed(1, 15)),
        ("{\"payload\":{\"a\":01}}", malformed(1, 18)),
        ("{\"x\":tru,\"payload\":{}}", malformed(1, 9)),
        ("\u{feff}\u{feff}{\"payload\":{}}", malformed(1, 1)),
        ("[{\"payload\":{}}]", BodyError::NotAnObject),
        ("[{}, {}]", BodyError::NotAnObject),
        ("null", BodyError::NotAnObject),
        ("\"{}\"", BodyError::NotAnObject),
        ("{}", BodyError::PayloadMissing),
        ("{\"Payload\":{}}", BodyError::PayloadMissing),
        ("{\"payload\":null}", BodyError::PayloadNull),
        ("{\"payload\": null }", BodyError::PayloadNull),
        ("{\"payload\":[1]}", BodyError::PayloadNotAnObject),
        ("{\"payload\":\"{}\"}", BodyError::PayloadNotAnObject),
        ("{\"payload\":1}", BodyError::PayloadNotAnObject),
        (
            "{\"payload\":{},\"payload\":{}}",
            BodyError::DuplicateField("payload"),
        ),
        (
            "{\"payload\":{},\"p\\u0061yload\":null}",
            BodyError::DuplicateField("payload"),
        ),
        (
            "{\"metadata\":null,\"payload\":{},\"metadata\":null}",
            BodyError::DuplicateField("metadata"),
        ),
    ] {
        assert!(!error.to_string().is_empty());
        assert_eq!(parse(body), Err(error), "{body}");
    }
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let trigger = parse("\u{feff}{\"payload\":{}}").unwrap();
    assert_eq!(trigger.payload.as_bytes(), "{}");
}

#[test]
fn broken_utf_8_is_refused_wherever_it_is() {
    for body in [
        &b"{\"payload\":{\"a\":\"\xff\"}}"[..],
        b"{\"payload\":{},\"ignored\":\"\xff\"}",
        b"{\"payload\":{},\"\xed\xa0\x80\":1}",
        b"\xff\xfe{\x00}\x00",
    ] {
        let error = parse_trigger(&Bytes::from_static(body), LEN_MAX);
        assert_eq!(error, Err(BodyError::NotUtf8));
    }
}

#[test]
fn what_is_not_interpreted_is_not_damaged() {
    for payload in [
        r#"{"a":1,"a":2}"#,
        r#"{"lone":"\ud800","nul":"\u0000"}"#,
        r#"{"big":1e400,"long":123456789012345678901234567890.10}"#,
        "{\"é\":\"€\",\n\t\"\u{10ffff}\":[]}",
    ] {
        let trigger = parse(&format!("{{\"payload\":{payload}}}")).unwrap();
        assert_eq!(trigger.payload.as_bytes(), payload);
    }
}

#[test]
fn an_empty_array_is_an_empty_object() {
    let trigger = parse(r#"{"payload":[ ],"metadata":[ ]}"#).unwrap();
    assert_eq!(trigger.payload.as_bytes(), "{}");
    assert!(trigger.metadata.is_empty());
}

#[test]
fn metadata_is_at_most_five_strings() {
    let with = |metadata: &str| labels(&format!("{{\"payload\":{{}},\"metadata\":{metadata}}}"));
    for none in ["null", "[]", "{}", " [\n] "] {
        assert_eq!(with(none), Ok(Vec::new()), "{none}");
    }
    let label = ("k\n".to_owned(), "v\u{e9}".to_owned());
    assert_eq!(with(r#"{"k\n":"v\u00e9"}"#), Ok(vec![label]));
    let numbered = |count| {
        let labels: Vec<_> = (0..count).map(|n| format!("\"{n}\":\"\"")).collect();
        format!("{{{}}}", labels.join(","))
    };
    assert_eq!(with(&numbered(5)).map(|labels| labels.len()), Ok(5));
    assert_eq!(
        with(&numbered(6)),
        Err(BodyError::Metadata(MetadataError::TooManyKeys { max: 5 }))
    );
    assert_eq!(
        with(&numbered(9_999)),
        Err(BodyError::Metadata(MetadataError::TooManyKeys { max: 5 }))
    );
    for value in ["1", "null", "true", "{}", "[]", "[\"v\"]", r#""\ud800""#] {
        let metadata = format!("{{\"k\":{value}}}");
        assert_eq!(
            with(&metadata),
            Err(BodyError::MetadataValueNotAString),
            "{value}"
        );
    }
    for metadata in ["1", "\"\"", "true", "[1]", "[[]]", r#"{"\ud800":""}"#] {
        assert_eq!(
            with(metadata),
            Err(BodyError::MetadataNotAnObject),
            "{metadata}"
        );
    }
    assert_eq!(
        with(r#"{"k":"","\u006b":""}"#),
        Err(BodyError::DuplicateMetadataKey)
    );
}

#[test]
fn depth_is_no_danger() {
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    for value in [&nested, &deep] {
        let unknown = format!("{{\"x\":{value},\"payload\":{{}}}}");
        assert!(parse(&unknown).is_ok());
        let payload = format!("{{\"payload\":{{\"a\":{value}}}}}");
        assert!(parse(&payload).is_ok());
        let label = format!("{{\"payload\":{{}},\"metadata\":{{\"k\":{value}}}}}");
        assert_eq!(parse(&label), Err(BodyError::MetadataValueNotAString));
        let open = &value[..100_000];
        for broken in [
            open.to_owned(),
            format!("{{\"payload\":{open}"),
            format!("{{\"payload\":{{}},\"metadata\":{open}"),
        ] {
            let error = parse(&broken).unwrap_err();
            assert!(matches!(error, BodyError::Malformed { .. }), "{error}");
        }
    }
    assert_eq!(parse(&nested), Err(BodyError::NotAnObject));
}

#[test]
fn the_cap_is_on_the_payloads_own_bytes() {
    let body = Bytes::from_static(b"{   \"payload\":{\"a\":1}  ,\"metadata\":{\"k\":\"long\"}}");
    assert!(parse_trigger(&body, 7).is_ok());
    let (len, len_max) = (7, 6);
    let error = BodyError::PayloadTooLarge { len, len_max };
    assert_eq!(parse_trigger(&body, 6), Err(error));
}
