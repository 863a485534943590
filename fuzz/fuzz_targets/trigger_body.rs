//! Any body is refused, or its payload is a JSON object that stands in it byte for byte.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use nahook_fuzz::stands_in;
use nahook_http::wire::parse_trigger;

const LEN_MAX: usize = 4_096;

fuzz_target!(|data: &[u8]| {
    let body = Bytes::copy_from_slice(data);
    if let Ok(trigger) = parse_trigger(&body, LEN_MAX) {
        assert!(trigger.payload.len() <= LEN_MAX && trigger.metadata.as_map().len() <= 5);
        stands_in(trigger.payload.as_bytes(), data);
    }
});
