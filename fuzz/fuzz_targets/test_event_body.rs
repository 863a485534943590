//! Any body of a test event is refused as the document says, or its payload is queued byte for byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nahook_fuzz::{routes, stands_in};

/// Beginning of the sample that is sent if there is no payload.
const SAMPLE: &[u8] = br#"{"type":"nahook.test","#;

fuzz_target!(|data: &[u8]| {
    let status = routes().ask("POST", "/endpoints/ep_1/test", data);
    match (status, routes().queued()) {
        (202, Some(payload)) if payload.as_bytes().starts_with(SAMPLE) => {}
        (202, Some(payload)) => stands_in(payload.as_bytes(), data),
        (400 | 413, None) => {}
        (status, queued) => panic!("{status} and {queued:?}"),
    }
});
