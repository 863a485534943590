//! Any body is refused, or its payload is a JSON object that stands in it byte for byte.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use nahook_http::wire::parse_trigger;

const LEN_MAX: usize = 4_096;

fuzz_target!(|data: &[u8]| {
    let body = Bytes::copy_from_slice(data);
    if let Ok(trigger) = parse_trigger(&body, LEN_MAX) {
        let payload = trigger.payload.as_bytes();
        assert!(payload.len() <= LEN_MAX && trigger.metadata.as_map().len() <= 5);
        assert!(payload.first() == Some(&b'{') && payload.last() == Some(&b'}'));
        let stands_there = data.windows(payload.len()).any(|part| part == payload);
        // PHP's empty list stands for an empty object.
        assert!(stands_there || payload == "{}");
        let _: &serde_json::value::RawValue = serde_json::from_slice(payload).unwrap();
    }
});
