//! Labels are at most five, text to text, or refused.
#![no_main]

use std::collections::BTreeMap;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use nahook_http::wire::parse_trigger;

fuzz_target!(|data: &[u8]| {
    let mut body = br#"{"payload":{},"metadata":"#.to_vec();
    body.extend_from_slice(data);
    body.push(b'}');
    let body = Bytes::from(body);
    if let Ok(trigger) = parse_trigger(&body, 1_000) {
        assert!(trigger.metadata.as_map().len() <= 5);
        // Where it is one value, it is what any reader reads.
        if let Ok(labels) = serde_json::from_slice::<BTreeMap<String, String>>(data) {
            assert_eq!(*trigger.metadata.as_map(), labels);
        }
    }
});
