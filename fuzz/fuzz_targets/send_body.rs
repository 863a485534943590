//! Any body of a Send is refused, or its payload stands in it byte for byte and its key is what any reader reads.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use nahook_fuzz::stands_in;
use nahook_http::wire::parse_send;

const LEN_MAX: usize = 4_096;

fuzz_target!(|data: &[u8]| {
    let body = Bytes::copy_from_slice(data);
    let Ok(send) = parse_send(&body, LEN_MAX) else {
        return;
    };
    assert!(send.payload.len() <= LEN_MAX);
    stands_in(send.payload.as_bytes(), data);
    let text = std::str::from_utf8(data)
        .unwrap()
        .trim_start_matches('\u{feff}');
    // What a general reader cannot take, such as deep nesting, has nothing to compare with.
    if let Ok(read) = serde_json::from_str::<serde_json::Value>(text) {
        let key = send.idempotency_key.as_ref().map(|key| key.as_str());
        assert_eq!(key, read["idempotencyKey"].as_str());
        assert!(key.is_none_or(|key| (1..=256).contains(&key.len())));
    }
});
